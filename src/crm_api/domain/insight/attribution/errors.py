"""Errors of attribution."""

from crm_api.domain.kit.errors import InvalidError, NotFoundError, TransientError


class RulesNotFoundError(NotFoundError):
    """No version of the attribution rules has this number."""

    code = "attribution_rules_not_found"
    title = "Attribution rules not found"
    detail = "There is no such version of the rules. GET /v1/attribution-rules lists all versions."


class NoWindowError(InvalidError):
    """The new rules would credit no outcome, because all their windows are 0 hours.

    A window is a number of hours after a reply, a call or a delivery. An outcome within these hours
    is credited to the message.
    """

    code = "no_window"
    title = "No window"
    pointer = "/windows"
    detail = (
        "All windows are 0 hours, so no outcome would be credited. Set at least one window to "
        "1 hour or more."
    )


class CreditsNotComputedError(TransientError):
    """Many outcomes have no credits yet, so the client must repeat the request later.

    A credit is the share of an outcome, such as a paid invoice, that belongs to one message. A job
    is computing the missing credits.
    """

    code = "credits_not_computed"
    title = "Credits not computed yet"
    detail = (
        "Many outcomes were recorded in a short time, and a job is computing their credits. "
        "Try again in a minute."
    )
