"""The answer to "why does this person not get a text"."""

from typing import Self

from crm_api.domain.campaigns.explaining import Explanation
from crm_api.domain.schemas import Instant, ReadModel


class StopRead(ReadModel):
    """A rule that stops the text; ``until`` is null when time alone does not lift it."""

    rule: str
    detail: str
    until: Instant | None


class ExplanationRead(ReadModel):
    """Whether a recipient would be texted now.

    ``rule`` is the first that stops it, ``stops`` are all of them. ``next_allowed_at`` is now when
    nothing stops it, and null when somebody has to do something first.
    """

    step: int
    status: str
    would_send_now: bool
    rule: str | None
    detail: str | None
    next_allowed_at: Instant | None
    stops: list[StopRead]

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """Write an explanation as the answer."""
        first = explanation.stops[0] if explanation.stops else None
        return cls(
            step=explanation.step,
            status=explanation.status,
            would_send_now=explanation.would_send_now,
            rule=first.rule if first else None,
            detail=first.detail if first else None,
            next_allowed_at=explanation.next_allowed_at,
            stops=[StopRead.model_validate(stop) for stop in explanation.stops],
        )
