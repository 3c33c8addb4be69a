"""The hours of one recipient: until when, and when next, a call may begin that can also end."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Row

from crm_api.domain.campaigns.schedule import first_opening, open_until, resolve_zones
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.windows import Window


@dataclass(frozen=True, kw_only=True)
class Hours:
    """The campaign's hours and the legal ones at a recipient's place.

    Attributes:
        call: How long a call takes at most; like the claim, one that could not end in time does
            not begin.
    """

    window: Window
    zones: tuple[str, ...]
    place: str
    rules: RuleBook
    call: timedelta

    @classmethod
    def of(cls, row: Row[Any], *, rules: RuleBook, call: timedelta) -> "Hours":
        """Take them from a recipient's row, which has its campaign's and line's columns too."""
        return cls(
            window=Window.of(row.days, row.window_start, row.window_end),
            zones=resolve_zones(row.timezone, row.line_timezone, row.zone_key),
            place=row.zone_key,
            rules=rules,
            call=call,
        )

    def are_own_open(self, at: datetime) -> bool:
        """Tell whether the campaign's hours let a call begin."""
        closes_at = open_until(self.window, self.zones, at)
        return closes_at is not None and closes_at > at + self.call

    def are_legal_open(self, at: datetime) -> bool:
        """Tell whether the law lets a call begin."""
        closes_at = self.rules.open_until(self.place, at)
        return closes_at is not None and closes_at > at + self.call

    def opening(self, at: datetime) -> datetime | None:
        """Return the first instant from ``at`` on at which both let a call begin."""
        legal = partial(self.rules.next_open, self.place)
        while (opening := first_opening(self.window, self.zones, at, legal=legal)) is not None:
            if self.are_own_open(opening) and self.are_legal_open(opening):
                return opening
            at = opening + self.call
        return None
