"""What can go wrong with alerts and what tells of them."""

from crm_api.domain.errors import NotFoundError, TransientError


class AlertNotFoundError(NotFoundError):
    """No alert has this id."""

    code = "alert_not_found"
    title = "Alert not found"


class MailNotSentError(TransientError):
    """The mail server could not be reached, or did not take the mail."""

    code = "mail_not_sent"
    title = "Mail not sent"
