"""When a campaign may send: its days and window in one zone or several.

All of it is pure. Instants are timezone-aware; what is returned is UTC. Wall-clock times come
from the zone database, so a change to or from daylight-saving time moves the window with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from typing import Protocol

from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit import windows
from crm_api.domain.kit.windows import Window, day_span
from crm_api.domain.kit.zones import parse_zone_key

RECIPIENT = "recipient"
"""The campaign time zone that means each recipient's own."""
LOOK_AHEAD = timedelta(weeks=6)
"""How far ahead to look for common minutes of the campaign's and the legal hours. A campaign that
sends on one day a week finds one within four weeks, even if two of these days are holidays."""


def resolve_zones(
    campaign_timezone: str | None, line_timezone: str, zone_key: str
) -> tuple[str, ...]:
    """Return the time zones in which the window must be open at the same time.

    Args:
        campaign_timezone: An IANA name, ``recipient``, or None for the line's.
        line_timezone: An IANA name.
        zone_key: State and time zones of the recipient; read only for ``recipient``.
    """
    if campaign_timezone is None:
        return (line_timezone,)
    if campaign_timezone != RECIPIENT:
        return (campaign_timezone,)
    return tuple(parse_zone_key(zone_key).zones)


def open_until(window: Window, zones: tuple[str, ...], now: datetime) -> datetime | None:
    """Return when the first zone closes if all are open now; None otherwise."""
    return windows.open_until(partial(day_span, window), zones, now)


def next_open(window: Window, zones: tuple[str, ...], now: datetime) -> datetime | None:
    """Return the first instant from ``now`` on at which all zones are open.

    None if there is none within two weeks.
    """
    return windows.next_open(partial(day_span, window), zones, now)


def first_opening(
    window: Window,
    zones: tuple[str, ...],
    at: datetime,
    *,
    legal: Callable[[datetime], datetime | None],
) -> datetime | None:
    """Return the first instant from ``at`` on inside the campaign's and the legal hours.

    None if there is none within six weeks.

    Args:
        window: The campaign's.
        zones: The window must be open in all of them.
        at: The instant from which to look.
        legal: Returns the first instant, from a given one on, at which the law allows a message.
    """
    horizon = at + LOOK_AHEAD
    while at <= horizon:
        own = next_open(window, zones, at)
        lawful = own and legal(own)
        if lawful is None or lawful == own:
            return lawful
        at = lawful
    return None


class ZonedRecipient(Protocol):
    """A recipient with the hours of its campaign and its line, by the names of their columns."""

    @property
    def days(self) -> list[str]:
        """Days of the campaign's window."""

    @property
    def window_start(self) -> time:
        """Start of the campaign's window."""

    @property
    def window_end(self) -> time:
        """End of the campaign's window."""

    @property
    def timezone(self) -> str | None:
        """Time zone of the campaign."""

    @property
    def line_timezone(self) -> str:
        """Time zone of the line."""

    @property
    def zone_key(self) -> str:
        """Zone key of the recipient."""


@dataclass(frozen=True, kw_only=True)
class RecipientHours:
    """The campaign's hours and the legal hours of a recipient.

    Attributes:
        zone_key: The recipient's zone key.
        call: The longest duration of a call. As in the claim, no call begins that may end too late.
    """

    window: Window
    zones: tuple[str, ...]
    zone_key: str
    rules: RuleBook
    call: timedelta

    @classmethod
    def of(cls, row: ZonedRecipient, *, rules: RuleBook, call: timedelta) -> "RecipientHours":
        """Build the hours from a row that joins a recipient with its campaign and line."""
        return cls(
            window=Window.of(row.days, row.window_start, row.window_end),
            zones=resolve_zones(row.timezone, row.line_timezone, row.zone_key),
            zone_key=row.zone_key,
            rules=rules,
            call=call,
        )

    def are_own_open(self, at: datetime) -> bool:
        """Return whether the campaign's hours allow a call to begin."""
        closes_at = open_until(self.window, self.zones, at)
        return closes_at is not None and closes_at > at + self.call

    def are_legal_open(self, at: datetime) -> bool:
        """Return whether the law allows a call to begin."""
        closes_at = self.rules.open_until(self.zone_key, at)
        return closes_at is not None and closes_at > at + self.call

    def opening(self, at: datetime) -> datetime | None:
        """Return the first instant from ``at`` on at which both allow a call; None within weeks."""
        legal = partial(self.rules.next_open, self.zone_key)
        while (opening := first_opening(self.window, self.zones, at, legal=legal)) is not None:
            if self.are_own_open(opening) and self.are_legal_open(opening):
                return opening
            at = opening + self.call
        return None
