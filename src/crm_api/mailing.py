"""Builds what mails alerts, as the settings say."""

from crm_api.domain.operations.mail import Mailer, parse_server
from crm_api.settings import Settings


def open_mailer(settings: Settings) -> Mailer | None:
    """Make the mailer; None when mail is not set up. Nothing is connected yet."""
    if settings.smtp_url is None or not settings.alert_emails:
        return None
    return Mailer(
        parse_server(settings.smtp_url.get_secret_value()),
        sender=settings.alert_sender,
        recipients=settings.alert_emails,
    )
