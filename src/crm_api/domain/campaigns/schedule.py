"""Compute when a campaign may send, from its days, its daily window and its time zones.

The functions read no database and no clock. They take timezone-aware instants and return UTC.
The daily window of a campaign is a range of local clock times. So its UTC times change when
daylight-saving time begins or ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from typing import Protocol

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit import windows
from crm_api.domain.kit.windows import DAYS, Window, day_span
from crm_api.domain.kit.zones import parse_zone_key

_LAST_MINUTE = time(23, 59)


def describe_hours(campaign: Campaign, *, line_timezone: str) -> str:
    """Return a campaign's hours, such as "on Mon, Tue, 09:00 to 18:00 (America/New_York)"."""
    chosen = [day.title() for day in DAYS if day in campaign.days]
    days = "on all days" if len(chosen) == len(DAYS) else f"on {', '.join(chosen)}"
    end = campaign.window_end
    last = "24:00" if end.replace(second=0, microsecond=0) == _LAST_MINUTE else f"{end:%H:%M}"
    zone = campaign.timezone or line_timezone
    clock = "by the clock of each person" if zone == "recipient" else zone
    return f"{days}, {campaign.window_start:%H:%M} to {last} ({clock})"


RECIPIENT = "recipient"
"""If a campaign's ``timezone`` has this value, the time zone of each recipient is used."""
LOOK_AHEAD = timedelta(weeks=6)
"""How far ahead an instant is searched that is inside both the campaign's hours and the legal
hours. Six weeks are enough. For example, a campaign sends on only one weekday, and the next two
such days are holidays. Such a campaign can still send within four weeks."""


def resolve_zones(
    campaign_timezone: str | None, line_timezone: str, zone_key: str
) -> tuple[str, ...]:
    """Return the time zones that decide when a campaign may send a message to a recipient.

    In all returned time zones, the local time must be within the campaign's daily hours.

    Args:
        campaign_timezone: An IANA name, ``recipient`` for the time zones in ``zone_key``, or None
            for ``line_timezone``.
    """
    if campaign_timezone is None:
        return (line_timezone,)
    if campaign_timezone != RECIPIENT:
        return (campaign_timezone,)
    return tuple(parse_zone_key(zone_key).zones)


def open_until(window: Window, zones: tuple[str, ...], now: datetime) -> datetime | None:
    """Return until when a campaign may send without a break; None if it may not send now.

    Args:
        window: The days and local hours at which the campaign sends.
        zones: In each of these time zones, the local time must be within ``window``.
        now: The present instant.
    """
    return windows.open_until(partial(day_span, window), zones, now)


def next_open(window: Window, zones: tuple[str, ...], now: datetime) -> datetime | None:
    """Return the earliest time at which a campaign may send, but not before ``now``.

    Args:
        zones: In each of these time zones, the local time must be within ``window``.

    Returns:
        None if the campaign may not send within two weeks.
    """
    return windows.next_open(partial(day_span, window), zones, now)


def first_opening(
    window: Window,
    zones: tuple[str, ...],
    at: datetime,
    *,
    legal: Callable[[datetime], datetime | None],
) -> datetime | None:
    """Return the first instant, not before ``at``, when the campaign and the law allow a message.

    Args:
        zones: In each of these time zones, the local time must be within ``window``.
        legal: Returns the first instant, not before its argument, at which the law allows a
            message.

    Returns:
        None if there is no such instant within six weeks.
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
    """A row with the values that decide at which hours a recipient may get a message.

    The values are:

    - the days, hours and time zone of the campaign
    - the time zone of the line
    - the recipient's ``zone_key``: the US states and time zones in which the recipient may live
    """

    @property
    def days(self) -> list[str]:
        """The days of the week on which the campaign may send, as ``mon`` to ``sun``."""

    @property
    def window_start(self) -> time:
        """The local time from which the campaign may send on a day."""

    @property
    def window_end(self) -> time:
        """The local time until which the campaign may send on a day."""

    @property
    def timezone(self) -> str | None:
        """The campaign's IANA time zone, or ``recipient`` for the time zone of each person.

        None means the time zone of the line.
        """

    @property
    def line_timezone(self) -> str:
        """The IANA time zone of the line."""

    @property
    def zone_key(self) -> str:
        """Where the recipient may be: states and time zones, such as ``MA/America/New_York``."""


@dataclass(frozen=True, kw_only=True)
class RecipientHours:
    """The hours in which both the campaign and the law allow a message to a recipient.

    Attributes:
        window: The days and hours of the campaign.
        zones: In each of these time zones, the local time must be within ``window``.
        zone_key: The recipient's zone key, for the legal rules.
        call: The longest duration of a request to the provider. A request must end within the
            hours.
    """

    window: Window
    zones: tuple[str, ...]
    zone_key: str
    rules: RuleBook
    call: timedelta

    @classmethod
    def of(cls, row: ZonedRecipient, *, rules: RuleBook, call: timedelta) -> "RecipientHours":
        """Build the hours in which a recipient may get messages.

        Args:
            row: The values of the recipient, the campaign and the line.
            rules: The legal rules.
            call: The longest time that a request to the provider may take. A request must end
                within the hours.
        """
        return cls(
            window=Window.of(row.days, row.window_start, row.window_end),
            zones=resolve_zones(row.timezone, row.line_timezone, row.zone_key),
            zone_key=row.zone_key,
            rules=rules,
            call=call,
        )

    def are_own_open(self, at: datetime) -> bool:
        """Return whether the campaign's hours allow a message to be sent at this instant."""
        closes_at = open_until(self.window, self.zones, at)
        return closes_at is not None and closes_at > at + self.call

    def are_legal_open(self, at: datetime) -> bool:
        """Return whether the legal hours allow a message to be sent at this instant."""
        closes_at = self.rules.open_until(self.zone_key, at)
        return closes_at is not None and closes_at > at + self.call

    def opening(self, at: datetime) -> datetime | None:
        """Return the first instant, not before ``at``, at which a message may be sent.

        The instant is inside both the campaign's and the legal hours. The result is None if there
        is no such instant within six weeks.
        """
        legal = partial(self.rules.next_open, self.zone_key)
        while (opening := first_opening(self.window, self.zones, at, legal=legal)) is not None:
            if self.are_own_open(opening) and self.are_legal_open(opening):
                return opening
            at = opening + self.call
        return None
