"""Errors of attribution."""

from crm_api.domain.kit.errors import InvalidError, NotFoundError, TransientError


class RulesNotFoundError(NotFoundError):
    """No version of the attribution rules has this number."""

    code = "attribution_rules_not_found"
    title = "Attribution rules not found"

    def __init__(self) -> None:
        super().__init__(
            "There is no such version of the rules. GET /v1/attribution-rules lists all versions."
        )


class NoWindowError(InvalidError):
    """The new rules would credit no outcome, because all their windows are 0 hours.

    A window is the time after a reply, call or delivery in which an outcome is credited to it.
    """

    code = "no_window"
    title = "No window"
    pointer = "/windows"

    def __init__(self) -> None:
        super().__init__("Give at least one window of one hour or more; 0 turns a class off.")


class CreditsNotComputedError(TransientError):
    """Too many outcomes have no credits yet; a job is computing them."""

    code = "credits_not_computed"
    title = "Credits not computed yet"

    def __init__(self) -> None:
        super().__init__(
            "Many outcomes were recorded at once, and a job is crediting them. Try again in a "
            "minute."
        )
