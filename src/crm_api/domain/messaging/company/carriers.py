"""Carriers and the company's daily budgets for them.

Nothing is limited unless the company declares a budget. All functions are pure.

Sources: Twilio, "T-Mobile daily message limits for long code messaging with A2P 10DLC" (segments,
per brand, shared by all vendors; Sprint and Metro included), and Bird, "Throughput and Daily Caps"
(one tax ID, until midnight Pacific time), both read 2026-11-28.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

DAY_ZONE = "America/Los_Angeles"
"""The carriers' day ends at midnight in this time zone."""


class Carrier(StrEnum):
    """Carriers for which a daily budget can be declared."""

    T_MOBILE = "t_mobile"
    """Includes Sprint and Metro."""
    ATT = "att"
    """Includes Cricket and FirstNet."""
    VERIZON = "verizon"
    US_CELLULAR = "us_cellular"


UNKNOWN = "unknown"
"""Stored on an attempt if the number's carrier is not known, or its name is not recognised."""

_NAMES: tuple[tuple[re.Pattern[str], Carrier], ...] = (
    (re.compile(r"t ?mobile|metro ?pcs|metro by|\bsprint\b"), Carrier.T_MOBILE),
    (re.compile(r"\bat ?(&|and) ?t\b|\bcingular\b|\bcricket\b|\bfirstnet\b"), Carrier.ATT),
    (re.compile(r"\bverizon\b|\bcellco\b|\bvzw\b"), Carrier.VERIZON),
    (re.compile(r"\bu\.? ?s\.? ?cellular\b|\buscc\b|united states cellular"), Carrier.US_CELLULAR),
)
_PUNCTUATION = re.compile(r"[-_/,]+")


@lru_cache(maxsize=1024)
def carrier_of(name: str | None) -> str:
    """Return the carrier for the name that a look-up service gives.

    Other names are ``unknown``, because the network behind a small carrier is not known.
    """
    if name is None:
        return UNKNOWN
    folded = _PUNCTUATION.sub(" ", name.lower())
    return next((carrier for pattern, carrier in _NAMES if pattern.search(folded)), UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """The declared budgets.

    Attributes:
        daily: Segments a day by carrier, less those of other vendors; never negative.
    """

    daily: Mapping[str, int]

    @classmethod
    def of(cls, declared: Mapping[str, Any] | None) -> "Budgets":
        """Read the stored declaration."""
        return cls(
            daily={
                carrier: max(
                    0,
                    one["daily_segments"]
                    - sum(vendor["daily_segments"] for vendor in one["other_vendors"]),
                )
                for carrier, one in (declared or {}).items()
            }
        )

    @property
    def strictest(self) -> str | None:
        """The carrier with the smallest budget; None if no budget is declared."""
        return min(self.daily, key=lambda carrier: (self.daily[carrier], carrier), default=None)

    def counted_as(self, carrier: str) -> str | None:
        """Return the budget that a message counts against; None if it counts against none.

        A message to an unknown carrier counts against the strictest budget.
        """
        counted = self.strictest if carrier == UNKNOWN else carrier
        return counted if counted in self.daily else None

    def left(self, used: Mapping[str, int]) -> dict[str, int]:
        """Return the segments left of each budget; negative if manual messages exceeded it.

        Args:
            used: Segments used in the carriers' day, by carrier as stored on the attempts.
        """
        left = dict(self.daily)
        for carrier, segments in used.items():
            counted = self.counted_as(carrier)
            if counted is not None:
                left[counted] -= segments
        return left


def carrier_day(now: datetime) -> tuple[datetime, datetime]:
    """Return when the current day of the carriers begins and ends, in the zone of ``now``."""
    zone = ZoneInfo(DAY_ZONE)
    today = now.astimezone(zone).date()
    begins, ends = (
        datetime.combine(day, time(0), zone).astimezone(now.tzinfo)
        for day in (today, today + timedelta(days=1))
    )
    return begins, ends
