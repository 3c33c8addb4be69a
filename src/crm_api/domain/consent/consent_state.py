"""Derive the consent flags of a number from the history of decisions about it.

Messages arrive late, twice and out of order. Decisions are applied in the order of their instants,
limited to their receipt. So every order of arrival gives the same flags (ARCHITECTURE.md,
"Invariant 8").
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from crm_api.domain.consent.models import ConsentAction, ConsentSource, FlagType

_STRICTNESS = {
    ConsentAction.OPT_IN: 0,
    ConsentAction.RELEASE: 1,
    ConsentAction.HOLD: 2,
    ConsentAction.OPT_OUT: 3,
}


class Decision(NamedTuple):
    """One decision; ``at`` is the instant that orders decisions."""

    at: datetime
    action: str
    source: str


@dataclass(frozen=True, kw_only=True)
class ConsentState:
    """The two flags that decisions set on a number; never both at once."""

    opted_out: bool = False
    on_hold: bool = False

    @classmethod
    def of_flags(cls, flags: Collection[str]) -> Self:
        """Return the state of a number that has these flags."""
        return cls(opted_out=FlagType.OPTED_OUT in flags, on_hold=FlagType.OPT_OUT_HOLD in flags)

    @property
    def flags(self) -> set[FlagType]:
        """The flags that the number should have."""
        out = {FlagType.OPTED_OUT} if self.opted_out else set()
        return out | ({FlagType.OPT_OUT_HOLD} if self.on_hold else set())

    def after(self, action: str) -> "ConsentState":
        """Return the state after one more decision."""
        if action == ConsentAction.OPT_OUT:
            return ConsentState(opted_out=True)
        if action == ConsentAction.OPT_IN:
            return ConsentState()
        if action == ConsentAction.HOLD:
            return ConsentState(opted_out=self.opted_out, on_hold=not self.opted_out)
        return ConsentState(opted_out=self.opted_out)


def apply_decision(said: Iterable[Decision], *, new: Decision, now: ConsentState) -> ConsentState:
    """Return the state with a new decision, which may be older than known ones.

    Args:
        said: The decisions so far, in the order of arrival.
        new: The new decision.
        now: The present flags of the number. If the history does not explain them, a flag was set
            in another way. Then ``new`` is applied to the present flags, so that no flag is removed
            without a decision.
    """
    decisions = list(said)
    if state_after(decisions) != now:
        return now.after(new.action)
    return state_after([*decisions, new])


def state_after(decisions: Iterable[Decision]) -> ConsentState:
    """Return the state that results from the history alone.

    Args:
        decisions: In the order of arrival.
    """
    state = ConsentState()
    for decision in sorted(decisions, key=_order):
        state = state.after(decision.action)
    return state


def _order(decision: Decision) -> tuple[datetime, bool, int]:
    """Return the sort key of a decision: its instant first.

    For messages of one instant, the order is unknown: the strictest comes last and decides. Other
    decisions of that instant come after the messages. Among those, the order of arrival stays,
    because the sort is stable.
    """
    is_message = decision.source == ConsentSource.MESSAGE
    strictness = _STRICTNESS[ConsentAction(decision.action)] if is_message else 0
    return decision.at, not is_message, strictness
