"""What stands on a number, as the history of what was said about it tells (I8).

Texts arrive late, twice and out of order. What counts is when they were said: the standing is the
fold of all decisions in that order, so every order of arrival ends in the same state.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from crm_api.domain.consent.models import ConsentAction, FlagType


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The two flags that decisions put on a number; both never stand at once."""

    opted_out: bool = False
    on_hold: bool = False

    @property
    def flags(self) -> set[FlagType]:
        """The flags that should stand."""
        out = {FlagType.OPTED_OUT} if self.opted_out else set()
        return out | ({FlagType.OPT_OUT_HOLD} if self.on_hold else set())

    def after(self, action: str) -> "Standing":
        """Return the standing once this was decided."""
        if action == ConsentAction.OPT_OUT:
            return Standing(opted_out=True)
        if action == ConsentAction.OPT_IN:
            return Standing()
        if action == ConsentAction.HOLD:
            return Standing(opted_out=self.opted_out, on_hold=not self.opted_out)
        return Standing(opted_out=self.opted_out)


def fold(
    said: Iterable[tuple[datetime, str]], *, new: tuple[datetime, str], now: Standing
) -> Standing:
    """Return what stands once ``new`` is known too.

    Args:
        said: When and what, in the order of arrival; of two at the same time the later arrived
            counts.
        now: What stands. Where the history does not explain it, a flag came by another way; then
            ``new`` is the next word, and nothing is undone that nobody took back.
    """
    decisions = list(said)
    if _fold(decisions) != now:
        return now.after(new[1])
    return _fold([*decisions, new])


def _fold(decisions: Iterable[tuple[datetime, str]]) -> Standing:
    standing = Standing()
    for _, action in sorted(decisions, key=lambda decision: decision[0]):
        standing = standing.after(action)
    return standing
