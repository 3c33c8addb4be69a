"""Read the times of an event that another calendar program has written (RFC 5545)."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from crm_api.domain.sales.appointments.booking import LONGEST

if TYPE_CHECKING:
    import icalendar

Span = tuple[datetime, datetime]
MOST_TIMES = 400
"""The largest number of computed occurrences of one recurring event: one a day for a year."""
LONGEST_BODY = 1_000_000
LONGEST_UID = 500
LONGEST_LINE = 200
NO_LENGTH = timedelta(minutes=30)
"""The assumed length of an event that has no end and no duration."""
TOO_OFTEN = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
"""The occurrences of events with these frequencies are not computed: there could be millions."""
_OFF = frozenset({"CANCELLED"})


@dataclass(frozen=True, kw_only=True)
class RemoteEvent:
    """An event of a calendar.

    Attributes:
        span: Start and end in UTC; None for a recurring event.
        location: The place, in one line of text; None if the event has no place.
        is_free: Whether the owner of the calendar is free during the event.
        times: Start and end of each occurrence of a recurring event in a limited period, the
            earliest first; empty for other events.
    """

    uid: str
    span: Span | None
    summary: str | None
    location: str | None
    is_cancelled: bool
    is_free: bool
    times: list[Span] = field(default_factory=list)


def read_remote_event(
    body: str, *, zone: ZoneInfo, begin: datetime, end: datetime
) -> RemoteEvent | None:
    """Read an event; return None if the text has no event or cannot be read.

    Args:
        body: The iCalendar text.
        zone: The time zone for all-day events, and for times without a time zone.
        begin: The start of the period for which occurrences of a recurring event are computed.
        end: The end of this period.
    """
    import icalendar  # noqa: PLC0415 - 9 MB and 60 ms, which only calendars need

    if len(body) > LONGEST_BODY:
        return None
    try:
        calendar = icalendar.Calendar.from_ical(body)
        events = list(calendar.walk("VEVENT"))
        main = next((one for one in events if "RECURRENCE-ID" not in one), None)
        uid = "" if main is None else str(main.get("UID", "")).replace("\x00", "")
        if main is None or not 0 < len(uid) <= LONGEST_UID:
            return None
        recurs = len(events) > 1 or any(name in main for name in ("RRULE", "RDATE"))
        is_cancelled = str(main.get("STATUS", "")).upper() in _OFF
        is_free = str(main.get("TRANSP", "")).upper() == "TRANSPARENT"
        is_busy = recurs and not is_cancelled and not is_free
        return RemoteEvent(
            uid=uid,
            span=None if recurs else _span(main, zone),
            times=list(_times(calendar, main, zone, begin, end)) if is_busy else [],
            summary=_line(main.get("SUMMARY")),
            location=_line(main.get("LOCATION")),
            is_cancelled=is_cancelled,
            is_free=is_free,
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
        return None


def digest_of_location(location: str | None) -> bytes:
    """Return a hash of a location in the form in which ``read_remote_event`` returns it."""
    return blake2b((_line(location) or "").encode(), digest_size=16).digest()


def move_event(body: str, *, starts_at: datetime, ends_at: datetime, zone: ZoneInfo) -> bytes:
    """Return the iCalendar text of an event with new times, and with a new sequence number.

    If the event already has these times, the text is returned unchanged. So an all-day event does
    not get times of day.

    Raises:
        ValueError: The text has no event.
    """
    import icalendar  # noqa: PLC0415 - as above

    calendar = icalendar.Calendar.from_ical(body)
    event = next(iter(calendar.walk("VEVENT")), None)
    if event is None:
        raise ValueError("The text has no event.")
    with suppress(ValueError, KeyError):
        if _span(event, zone) == (starts_at, ends_at):
            return body.encode()
    for name in ("DTSTART", "DTEND", "DURATION", "SEQUENCE"):
        was = event.pop(name, None)
        if name == "SEQUENCE":
            event.add("sequence", int(was or 0) + 1)
    event.add("dtstart", starts_at.astimezone(zone))
    event.add("dtend", ends_at.astimezone(zone))
    calendar.add_missing_timezones()
    return bytes(calendar.to_ical())


def _span(event: "icalendar.Component", zone: ZoneInfo) -> Span:
    start = event.decoded("DTSTART")
    if "DTEND" in event:
        end = event.decoded("DTEND")
    elif "DURATION" in event:
        end = start + event.decoded("DURATION")
    else:
        end = start + (timedelta(days=1) if not isinstance(start, datetime) else timedelta(0))
    first, over = _instant(start, zone), _instant(end, zone)
    if over <= first:
        over = first + NO_LENGTH
    if over - first > LONGEST:
        raise ValueError("The event is longer than an appointment may be.")
    return first, over


def _instant(value: date | datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a date or a time. ``zone`` is used if the value has no time zone.

    Raises:
        ValueError: The year is not from 1970 to 2199.
    """
    if not isinstance(value, datetime):
        value = datetime.combine(value, time.min, zone)
    elif value.tzinfo is None:
        value = value.replace(tzinfo=zone)
    if value.year not in range(1970, 2200):
        raise ValueError("The year is not from 1970 to 2199.")
    return value.astimezone(UTC)


def _times(
    calendar: "icalendar.Component",
    main: "icalendar.Component",
    zone: ZoneInfo,
    begin: datetime,
    end: datetime,
) -> Iterator[Span]:
    """Yield start and end of each occurrence of a recurring event in a period, earliest first."""
    import recurring_ical_events  # noqa: PLC0415 - as above

    rules: Any = main.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        if {str(one).upper() for one in rule.get("FREQ", [])} & TOO_OFTEN:
            return
    for one in islice(recurring_ical_events.of(calendar).after(begin), MOST_TIMES):
        if str(one.get("STATUS", "")).upper() in _OFF:
            continue
        first, over = _span(one, zone)
        if first >= end:
            return
        yield first, over


def _line(value: object) -> str | None:
    text = " ".join(str(value or "").replace("\x00", "").split())
    return text[:LONGEST_LINE].strip() or None
