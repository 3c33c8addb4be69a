"""What a decision about people in review answers."""

from crm_api.domain.schemas import ReadModel


class ReviewRead(ReadModel):
    """What a decision changed.

    Attributes:
        approved: Wait to be texted now; every rule is still asked before they are.
        rejected: Get nothing.
        unchanged: Named, but not in review (any more), no recipients, or no longer to be texted.
        left: Still in review.
    """

    approved: int
    rejected: int
    unchanged: int
    left: int
