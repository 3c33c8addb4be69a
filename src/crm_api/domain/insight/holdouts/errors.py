"""Errors of holdouts."""

from crm_api.domain.kit.errors import ConflictError, Example, InvalidError, NotFoundError
from crm_api.domain.kit.examples import example_id


class HoldoutNotFoundError(NotFoundError):
    """No holdout has this id."""

    code = "holdout_not_found"
    title = "Holdout not found"
    detail = "There is no holdout with this id. GET /v1/holdouts lists the holdouts."


class HoldoutOverlapsError(ConflictError):
    """The period overlaps the period of another holdout, which has the id ``holdout_id``."""

    code = "holdout_overlaps"
    title = "Another holdout runs in this period"
    example = Example(
        "Another holdout runs in a part of this period. Choose a period after the end of that "
        "holdout.",
        holdout_id=example_id("holdout"),
    )


class HoldoutPeriodError(InvalidError):
    """The end of the holdout is not later than its beginning, or is in the past."""

    code = "holdout_period"
    title = "Invalid period of a holdout"
    pointer = "/until"
    detail = "`until` must be later than `from`, and later than today (UTC)."
