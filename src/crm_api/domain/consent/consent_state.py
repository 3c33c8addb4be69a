"""Derive the consent flags of a phone number from the history of decisions about it.

Decisions are applied in the order in which they were made. So the flags do not depend on the order
in which the decisions arrive (ARCHITECTURE.md, "Invariant 8"). If the stated time of a decision is
later than its arrival, the time of the arrival is used.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from crm_api.domain.consent.models import (
    REPEATED_BY_LISTS,
    ConsentAction,
    ConsentSource,
    FlagType,
)

_STRICTNESS = {
    ConsentAction.OPT_IN: 0,
    ConsentAction.RELEASE: 1,
    ConsentAction.HOLD: 2,
    ConsentAction.OPT_OUT: 3,
}


class Decision(NamedTuple):
    """A decision about a phone number.

    Attributes:
        at: When the decision was made, or when it arrived if the arrival was earlier. Decisions are
            applied in the order of ``at``.
        action: What was decided: a ``ConsentAction``.
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

    If the stored decisions lead to the present state, all decisions are applied in the order in
    which they were made. If not, only the new decision is applied, to the present state.

    Args:
        said: The stored decisions, in the order of arrival.
        now: The present state, as the number's flags show it.
    """
    decisions = list(said)
    if state_after(decisions) != now:
        return now.after(new.action)
    return state_after([*decisions, new])


def state_after(decisions: Iterable[Decision]) -> ConsentState:
    """Return whether a phone number is opted out or on hold after all decisions about it.

    Flags that were set without a decision are ignored.

    Args:
        decisions: All decisions about the number, in the order of arrival.
    """
    state = ConsentState()
    for decision in sorted(decisions, key=_order):
        state = state.after(decision.action)
    return state


def is_last_by_list(decisions: Iterable[Decision]) -> bool:
    """Return whether the last decision about a phone number is an opt-out from a list.

    Then another opt-out from a list needs no entry in the history. If the last decision has another
    source, an entry is needed. Without it, a START that was written between that decision and the
    list, and that arrives after the list, would end the opt-out.
    """
    last = sorted(decisions, key=_order)[-1:]
    return any(
        one.action == ConsentAction.OPT_OUT and one.source in REPEATED_BY_LISTS for one in last
    )


def _order(decision: Decision) -> tuple[datetime, bool, int]:
    """Return the key that sorts decisions by the time at which they were made.

    If several decisions have the same instant, decisions from messages come first, and the
    strictest of them is the last. Then follow the decisions from all other sources, in the order of
    arrival. They keep this order because the sort is stable.
    """
    is_message = decision.source == ConsentSource.MESSAGE
    strictness = _STRICTNESS[ConsentAction(decision.action)] if is_message else 0
    return decision.at, not is_message, strictness
