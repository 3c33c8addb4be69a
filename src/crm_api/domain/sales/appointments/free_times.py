"""Find the free times of an assignee inside the working hours."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from crm_api.domain.messaging.company.office_hours import OfficeHours, open_spans
from crm_api.domain.messaging.models.lines import CompanySettings
from crm_api.domain.sales.appointments.booking import overlaps
from crm_api.domain.sales.appointments.errors import FreeTimesRangeError, WorkingHoursError
from crm_api.domain.sales.appointments.models import BUSY, Appointment
from crm_api.platform.database import UnitOfWork

LONGEST_PERIOD = timedelta(days=62)
"""The longest period that one request may search, so that the response stays small."""

Span = tuple[datetime, datetime]
"""A period: its start (inclusive) and its end (exclusive), both in UTC."""


@dataclass(frozen=True, kw_only=True)
class WorkingHours:
    """When appointments may take place.

    Attributes:
        days: The days of the week with working hours; 0 is Monday.
        start: When the working hours of a day begin.
        end: When the working hours of a day end.
        zone: The time zone of ``start`` and ``end``.
        holidays: Days without appointments.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo
    holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        """Check that the working day ends after it begins.

        Raises:
            WorkingHoursError: ``end`` is not later than ``start``.
        """
        if self.start >= self.end:
            raise WorkingHoursError

    def spans(self, begin: datetime, end: datetime) -> Iterator[Span]:
        """Yield the working hours of each day between two instants, the earliest first.

        The results are in UTC. Working hours before ``begin`` and after ``end`` are cut off.
        """
        day, last = begin.astimezone(self.zone).date(), end.astimezone(self.zone).date()
        while day <= last:
            if day.weekday() in self.days and day not in self.holidays:
                first = max(self._instant(day, self.start), begin)
                over = min(self._instant(day, self.end), end)
                if first < over:
                    yield first, over
            day += timedelta(days=1)

    def _instant(self, day: date, clock: time) -> datetime:
        # The end of a day, 24:00, is stored as `time.max`. It is the beginning of the next day.
        if clock == time.max:
            day, clock = day + timedelta(days=1), time.min
        return datetime.combine(day, clock, self.zone).astimezone(UTC)


class Hours(Protocol):
    """When appointments may take place: the interface of ``WorkingHours`` and ``OfficeTimes``."""

    def spans(self, begin: datetime, end: datetime) -> Iterator[Span]:
        """Yield the periods, between two instants, in which appointments may take place.

        The periods are in UTC, the earliest first.
        """


@dataclass(frozen=True, kw_only=True)
class OfficeTimes:
    """The office hours of the company. On a holiday of the company, there are no office hours."""

    hours: OfficeHours
    holidays: frozenset[date]

    def spans(self, begin: datetime, end: datetime) -> Iterator[Span]:
        """Yield the office hours between two instants, in UTC, the earliest first."""
        zone = ZoneInfo(self.hours.timezone)
        day, last = begin.astimezone(zone).date(), end.astimezone(zone).date()
        while day <= last:
            for opens, closes in open_spans(self.hours, day) if day not in self.holidays else ():
                first, over = max(opens, begin), min(closes, end)
                if first < over:
                    yield first.astimezone(UTC), over.astimezone(UTC)
            day += timedelta(days=1)


async def read_holidays(uow: UnitOfWork) -> frozenset[date]:
    """Return the holidays of the company. On these days, the office is closed."""
    rows = await uow.session.scalar(select(CompanySettings.holidays))
    return frozenset(date.fromisoformat(one["date"]) for one in rows or ())


async def read_office_times(uow: UnitOfWork) -> OfficeTimes | None:
    """Return the office hours and holidays of the company; None if no office hours are set."""
    stored = await uow.session.scalar(select(CompanySettings.office_hours))
    if stored is None:
        return None
    return OfficeTimes(hours=OfficeHours.model_validate(stored), holidays=await read_holidays(uow))


# This selects the times at which a user is busy because of a recurring event in a calendar.
BUSY_TIMES = text("""
    SELECT b.starts_at, b.ends_at
    FROM calendar_busy_time b
    JOIN calendar_event e ON e.id = b.event_id
    JOIN calendar_account c ON c.id = e.account_id
    WHERE b.starts_at < :end AND b.starts_at > CAST(:begin AS timestamptz) - interval '31 days'
      AND b.ends_at > :begin
      AND (CAST(:assignee_id AS uuid) IS NULL OR c.assignee_id = CAST(:assignee_id AS uuid))
""")


async def find_free_times(
    uow: UnitOfWork,
    hours: Hours,
    *,
    begin: datetime,
    end: datetime,
    assignee_id: UUID | None,
    shortest: timedelta,
) -> list[Span]:
    """Return the free periods in the working hours, the earliest first.

    A user is busy during appointments, and during recurring events of the user's calendars.

    Args:
        assignee_id: The user who must be free. If None, every user must be free, and appointments
            without an assignee count as busy times too.
        shortest: The minimum duration of a period.

    Raises:
        FreeTimesRangeError: ``end`` is not after ``begin``, or more than 62 days after it.
    """
    if not timedelta(0) < end - begin <= LONGEST_PERIOD:
        raise FreeTimesRangeError
    statement = select(Appointment.starts_at, Appointment.ends_at).where(
        Appointment.status.in_(BUSY), *overlaps(begin, end)
    )
    if assignee_id is not None:
        statement = statement.where(Appointment.assignee_id == assignee_id)
    rows = [
        *await uow.session.execute(statement),
        *await uow.session.execute(
            BUSY_TIMES, {"begin": begin, "end": end, "assignee_id": assignee_id}
        ),
    ]
    busy = sorted((row.starts_at, row.ends_at) for row in rows)
    return [
        (first, over)
        for span in hours.spans(begin, end)
        for first, over in gaps(span, busy)
        if over - first >= shortest
    ]


def gaps(span: Span, busy: Iterable[Span]) -> Iterator[Span]:
    """Yield the parts of a period in which nobody is busy, the earliest first.

    Args:
        span: The period.
        busy: The periods in which somebody is busy, in the order of their starts. They may overlap.
    """
    free_from, end = span
    for first, over in busy:
        if first >= end:
            break
        if first > free_from:
            yield free_from, first
        free_from = max(free_from, over)
    if free_from < end:
        yield free_from, end
