"""The day's run: due each morning where the business is, made up for once when it was missed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from crm_api.db import UnitOfWork
from crm_api.domain.lines.models import DEFAULT_TIMEZONE
from crm_api.domain.operations import daily_statements as sql

HOUR = 7
"""In the zone of the first line: before the day's texts begin, and when somebody reads mail."""
LETTER_TAKES = timedelta(seconds=120)
"""Longer than handing in a mail takes; a worker that dies meanwhile leaves it to another."""
RETRY = timedelta(minutes=10)
LONGEST_ERROR = 300


@dataclass(frozen=True, kw_only=True)
class DailyRun:
    """A day's run and what is left of it.

    Attributes:
        day: On which morning it is due.
        since: The letter tells of what happened from here …
        until: … to here: the midnight before.
        is_cleaned: What is over has been cleaned up.
        may_tell: There is a letter to write, and it has not been sent.
    """

    day: date
    zone: str
    since: datetime
    until: datetime
    is_cleaned: bool
    may_tell: bool


def due_day(now: datetime, zone: str) -> date:
    """Return the last day whose run is due; before the hour it is yesterday's."""
    local = now.astimezone(ZoneInfo(zone))
    return local.date() if local.hour >= HOUR else local.date() - timedelta(days=1)


async def make(uow: UnitOfWork, *, now: datetime) -> DailyRun:
    """Make the run that is due, unless it is there; read what is left of it.

    A business that had no line yet when the day began is told nothing of it.
    """
    line = (await uow.session.execute(sql.FIRST_LINE)).one_or_none()
    zone = DEFAULT_TIMEZONE if line is None else str(line.timezone)
    day = due_day(now, zone)
    until = datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
    await uow.session.execute(sql.MAKE, {"day": day, "until": until, "now": now})
    row = (await uow.session.execute(sql.READ, {"day": day})).one()
    return DailyRun(
        day=day,
        zone=zone,
        since=row.since,
        until=row.until,
        is_cleaned=row.cleaned_at is not None,
        may_tell=row.mailed_at is None and line is not None and line.created_at < row.until,
    )


async def next_due(uow: UnitOfWork, *, now: datetime) -> datetime:
    """Return when the next day's run falls due."""
    line = (await uow.session.execute(sql.FIRST_LINE)).one_or_none()
    zone = ZoneInfo(DEFAULT_TIMEZONE if line is None else str(line.timezone))
    day = due_day(now, zone.key) + timedelta(days=1)
    return datetime.combine(day, time(HOUR), zone).astimezone(UTC)


async def note_cleaned(uow: UnitOfWork, *, day: date, now: datetime) -> None:
    """Note that what is over has been cleaned up."""
    await uow.session.execute(sql.NOTE_CLEANED, {"day": day, "now": now})


async def claim_letter(uow: UnitOfWork, *, day: date, now: datetime) -> bool:
    """Take the day's letter to send it; False when it is sent, or another's."""
    values = {"day": day, "claimed_until": now + LETTER_TAKES, "now": now}
    return (await uow.session.execute(sql.CLAIM_LETTER, values)).first() is not None


async def note_mailed(uow: UnitOfWork, *, day: date, now: datetime) -> None:
    """Note that the letter is sent."""
    await uow.session.execute(sql.NOTE_MAILED, {"day": day, "now": now})


async def put_off(uow: UnitOfWork, *, day: date, error: str, now: datetime) -> None:
    """Let the letter be sent later, for it could not be."""
    values = {"day": day, "retry_at": now + RETRY, "error": error[:LONGEST_ERROR]}
    await uow.session.execute(sql.PUT_OFF, values)
