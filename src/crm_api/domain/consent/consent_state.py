"""Derive the consent flags of a phone number from the history of decisions about it.

Messages may arrive late, twice or out of order. Decisions are applied in the order in which they
were made. If the time of a decision is later than its arrival, the time of arrival is used instead.
So the flags do not depend on the order of arrival (ARCHITECTURE.md, "Invariant 8").
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
    """A decision about a phone number.

    Attributes:
        at: When the decision was made. But if this time is later than the arrival of the decision,
            the time of the arrival is used. Decisions are applied in the order of ``at``.
        action: What was decided, such as an opt-out: a ``ConsentAction``.
        source: How the decision reached this service: a ``ConsentSource``.
    """

    at: datetime
    action: str
    source: str


@dataclass(frozen=True, kw_only=True)
class ConsentState:
    """Whether a phone number is opted out or on hold; it is never both.

    A number is on hold while a user must decide whether the person wants no more messages.
    """

    opted_out: bool = False
    on_hold: bool = False

    @classmethod
    def of_flags(cls, flags: Collection[str]) -> Self:
        """Return the state of a phone number that has these flags."""
        return cls(opted_out=FlagType.OPTED_OUT in flags, on_hold=FlagType.OPT_OUT_HOLD in flags)

    @property
    def flags(self) -> set[FlagType]:
        """The flags that a phone number must have in this state."""
        out = {FlagType.OPTED_OUT} if self.opted_out else set()
        return out | ({FlagType.OPT_OUT_HOLD} if self.on_hold else set())

    def after(self, action: str) -> "ConsentState":
        """Return the state of a phone number after one more decision.

        ``action`` is a ``ConsentAction``. The action ``hold`` does not change an opted-out number.
        The action ``release`` ends a hold, but not an opt-out.
        """
        if action == ConsentAction.OPT_OUT:
            return ConsentState(opted_out=True)
        if action == ConsentAction.OPT_IN:
            return ConsentState()
        if action == ConsentAction.HOLD:
            return ConsentState(opted_out=self.opted_out, on_hold=not self.opted_out)
        return ConsentState(opted_out=self.opted_out)


def apply_decision(said: Iterable[Decision], *, new: Decision, now: ConsentState) -> ConsentState:
    """Return the consent state of a phone number after a new decision.

    All decisions are applied in the order in which they were made. So an old decision that arrives
    late is applied before the newer decisions.

    The flags of a number show its present state. If a flag was changed without a decision, the
    stored decisions do not lead to the present state. Then the stored decisions are ignored, and
    only the new decision is applied to the present state.

    Args:
        said: The stored decisions, in the order in which they arrived.
        new: The new decision.
        now: The present state, as the number's flags show it.
    """
    decisions = list(said)
    if state_after(decisions) != now:
        return now.after(new.action)
    return state_after([*decisions, new])


def state_after(decisions: Iterable[Decision]) -> ConsentState:
    """Return whether a phone number is opted out or on hold after all decisions about it.

    A decision is, for example, an opt-out. Flags that were set without a decision are ignored.

    Args:
        decisions: All decisions about the number, in the order of arrival. This function sorts them
            by the time at which they were made.
    """
    state = ConsentState()
    for decision in sorted(decisions, key=_order):
        state = state.after(decision.action)
    return state


def _order(decision: Decision) -> tuple[datetime, bool, int]:
    """Return the key that sorts decisions by the time at which they were made.

    Decisions are applied in the sorted order, so a later decision can replace an earlier one. If
    several decisions were made at the same instant, they are sorted as follows:

    - Decisions from messages come first. The strictest is the last of them, so that no other
      message replaces it.
    - Other decisions follow. They keep the order of arrival, because the sort is stable.
    """
    is_message = decision.source == ConsentSource.MESSAGE
    strictness = _STRICTNESS[ConsentAction(decision.action)] if is_message else 0
    return decision.at, not is_message, strictness
