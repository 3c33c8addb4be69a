"""Recognise mobile carriers, and compute how much of each carrier's daily budget is left.

A budget is the number of message segments that the company may send to a carrier's customers per
day. A carrier without a declared budget is not limited. All functions are pure.

Sources: Twilio, "T-Mobile daily message limits for long code messaging with A2P 10DLC" (the limit
counts segments, per brand, over all vendors; it includes Sprint and Metro), and Bird, "Throughput
and Daily Caps" (the limit is per tax ID, until midnight Pacific time), both read 2026-11-28.
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
"""The day of a carrier's daily limit ends at midnight in this time zone."""


class Carrier(StrEnum):
    """The mobile carriers for which a daily limit of message segments can be declared.

    Attributes:
        T_MOBILE: T-Mobile, including Sprint and Metro.
        ATT: AT&T, including Cricket and FirstNet.
        VERIZON: Verizon.
        US_CELLULAR: UScellular.
    """

    T_MOBILE = "t_mobile"
    ATT = "att"
    VERIZON = "verizon"
    US_CELLULAR = "us_cellular"


UNKNOWN = "unknown"
"""The value that a send attempt stores as carrier if the carrier of the number is not known, or if
the name of the carrier is not recognised."""

_NAMES: tuple[tuple[re.Pattern[str], Carrier], ...] = (
    (re.compile(r"\bat ?(&|and) ?t\b|\bcingular\b|\bcricket\b|\bfirstnet\b"), Carrier.ATT),
    (re.compile(r"\bt ?mobile\b|metro ?pcs|metro by|\bsprint\b"), Carrier.T_MOBILE),
    (re.compile(r"\bverizon\b|\bcellco\b|\bvzw\b"), Carrier.VERIZON),
    (re.compile(r"\bu\.? ?s\.? ?cellular\b|\buscc\b|united states cellular"), Carrier.US_CELLULAR),
)
_PUNCTUATION = re.compile(r"[-_/,]+")


@lru_cache(maxsize=1024)
def carrier_of(name: str | None) -> str:
    """Convert the carrier name from a phone look-up service to a ``Carrier``, or to ``unknown``.

    The name of a small carrier also becomes ``unknown``. A small carrier uses the network of a
    large carrier, and the name does not show which network.
    """
    if name is None:
        return UNKNOWN
    folded = _PUNCTUATION.sub(" ", name.lower())
    return next((carrier for pattern, carrier in _NAMES if pattern.search(folded)), UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """The daily budgets that the company declared for carriers, in message segments.

    Attributes:
        daily: By carrier, the segments that this service may send per day. Segments for other
            message services are already subtracted. Never negative.
    """

    daily: Mapping[str, int]

    @classmethod
    def of(cls, declared: Mapping[str, Any] | None) -> "Budgets":
        """Build the carriers' daily budgets from the setting ``carrier_budgets``.

        A budget is the number of message segments that may be sent to a carrier per day. If
        ``declared`` is None, no carrier has a budget.
        """
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
        """The carrier with the smallest daily budget of segments; None if no carrier has one."""
        return min(self.daily, key=lambda carrier: (self.daily[carrier], carrier), default=None)

    def counted_as(self, carrier: str) -> str | None:
        """Return the carrier whose budget a message uses; None if no budget applies.

        A budget is the number of message segments that may be sent to a carrier per day.

        Args:
            carrier: The carrier of the recipient's number. If it is ``unknown``, the result is the
                carrier with the smallest budget.
        """
        counted = self.strictest if carrier == UNKNOWN else carrier
        return counted if counted in self.daily else None

    def left(self, used: Mapping[str, int]) -> dict[str, int]:
        """Return how many SMS segments of each carrier's daily budget are left.

        A value can be negative, because messages that users write are sent even if the budget is
        used up.

        Args:
            used: For each carrier, the number of segments since midnight Pacific time. The segments
                of the carrier ``unknown`` are subtracted from the smallest budget.
        """
        left = dict(self.daily)
        for carrier, segments in used.items():
            counted = self.counted_as(carrier)
            if counted is not None:
                left[counted] -= segments
        return left


def carrier_day(now: datetime) -> tuple[datetime, datetime]:
    """Return the two midnights, Pacific time, between which ``now`` lies.

    Carriers count the messages of each day from midnight to midnight, Pacific time. The two
    returned instants are in the time zone of ``now``.
    """
    zone = ZoneInfo(DAY_ZONE)
    today = now.astimezone(zone).date()
    begins, ends = (
        datetime.combine(day, time(0), zone).astimezone(now.tzinfo)
        for day in (today, today + timedelta(days=1))
    )
    return begins, ends
