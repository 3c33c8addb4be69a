"""When a campaign may send: its days and window in one zone or several.

All of it is pure. Instants are timezone-aware; what is returned is UTC. Wall-clock times come
from the zone database, so a change to or from daylight-saving time moves the window with it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from crm_api.domain import windows
from crm_api.domain.windows import Window, day_span
from crm_api.domain.zones import parse_zone_key

RECIPIENT = "recipient"
"""The campaign time zone that stands for each recipient's own."""
LOOK_AHEAD = timedelta(weeks=6)
"""How far ahead the campaign's hours and the legal ones may meet: on one day a week of which two in
a row are holidays they do within four weeks."""


def resolve_zones(
    campaign_timezone: str | None, line_timezone: str, zone_key: str
) -> tuple[str, ...]:
    """Return the zones in all of which the window must be open.

    Args:
        campaign_timezone: An IANA name, ``recipient``, or None for the line's.
        line_timezone: An IANA name.
        zone_key: Where the recipient plausibly is; read only for ``recipient``.
    """
    if campaign_timezone is None:
        return (line_timezone,)
    if campaign_timezone != RECIPIENT:
        return (campaign_timezone,)
    return tuple(parse_zone_key(zone_key).zones)


def open_until(window: Window, zones: tuple[str, ...], now: datetime) -> datetime | None:
    """Return when the first zone closes if all are open now, else None."""
    return windows.open_until(partial(day_span, window), zones, now)


def next_open(window: Window, zones: tuple[str, ...], now: datetime) -> datetime | None:
    """Return the first instant from ``now`` on at which all zones are open.

    None when there is none within two weeks.
    """
    return windows.next_open(partial(day_span, window), zones, now)


def first_opening(
    window: Window,
    zones: tuple[str, ...],
    at: datetime,
    *,
    legal: Callable[[datetime], datetime | None],
) -> datetime | None:
    """Return the first instant from ``at`` on at which the campaign's and the legal hours are open.

    None when they do not meet within six weeks.

    Args:
        window: The campaign's.
        zones: In all of which it must be open.
        at: The instant from which to look.
        legal: Gives the first instant from another on at which the law lets a text leave.
    """
    horizon = at + LOOK_AHEAD
    while at <= horizon:
        own = next_open(window, zones, at)
        lawful = own and legal(own)
        if lawful is None or lawful == own:
            return lawful
        at = lawful
    return None
