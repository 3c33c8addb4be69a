"""The daily run: due each morning in the first line's time zone, late once if it was missed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from crm_api.domain.messaging.models.lines import DEFAULT_TIMEZONE, Line
from crm_api.domain.monitoring.scheduled_jobs.models import DailyRun as StoredRun
from crm_api.platform.database import UnitOfWork

HOUR = 7
"""Local time of the first line: before the day's messages begin, when people read mail."""
LETTER_TAKES = timedelta(seconds=120)
"""Longer than sending a mail takes; if the worker dies, another one sends it after this."""
RETRY = timedelta(minutes=10)
LONGEST_ERROR = 300


@dataclass(frozen=True, kw_only=True)
class DailyRun:
    """A day's run and what is still to do.

    Attributes:
        day: The morning on which it is due.
        since: Beginning of the letter's span, included.
        until: End of the span: midnight before ``day``.
        is_cleaned: The clean-up of this day is done.
        has_letter: A letter is due and has not been sent.
    """

    day: date
    zone: str
    since: datetime
    until: datetime
    is_cleaned: bool
    has_letter: bool


def due_day_of(now: datetime, zone: str) -> date:
    """Return the last day whose run is due; before ``HOUR`` it is yesterday."""
    local = now.astimezone(ZoneInfo(zone))
    return local.date() if local.hour >= HOUR else local.date() - timedelta(days=1)


# The next letter also covers days without a sent letter, a week at most.
MAKE_RUN = text("""
    INSERT INTO daily_run (day, since, until, made_at)
    SELECT :day, greatest(coalesce(max(r.until), CAST(:until AS timestamptz) - interval '1 day'),
                          CAST(:until AS timestamptz) - interval '7 days'), :until, :now
    FROM daily_run r WHERE r.mailed_at IS NOT NULL AND r.until < CAST(:until AS timestamptz)
    ON CONFLICT (day) DO NOTHING
""")


async def make_daily_run(uow: UnitOfWork, *, now: datetime) -> DailyRun:
    """Create the due run if it does not exist; return what is still to do.

    A business whose first line was added after the span gets no letter about it.
    """
    line = await _find_first_line(uow)
    zone = DEFAULT_TIMEZONE if line is None else line.timezone
    day = due_day_of(now, zone)
    until = datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
    await uow.session.execute(MAKE_RUN, {"day": day, "until": until, "now": now})
    row = await uow.session.get_one(StoredRun, day, populate_existing=True)
    return DailyRun(
        day=day,
        zone=zone,
        since=row.since,
        until=row.until,
        is_cleaned=row.cleaned_at is not None,
        has_letter=row.mailed_at is None and line is not None and line.created_at < row.until,
    )


async def next_daily_run_at(uow: UnitOfWork, *, now: datetime) -> datetime:
    """Return when the next daily run is due."""
    line = await _find_first_line(uow)
    zone = ZoneInfo(DEFAULT_TIMEZONE if line is None else line.timezone)
    day = due_day_of(now, zone.key) + timedelta(days=1)
    return datetime.combine(day, time(HOUR), zone).astimezone(UTC)


STORE_CLEANED = text("UPDATE daily_run SET cleaned_at = :now WHERE day = :day")


async def store_clean_up_done(uow: UnitOfWork, *, day: date, now: datetime) -> None:
    """Store that the clean-up is done."""
    await uow.session.execute(STORE_CLEANED, {"day": day, "now": now})


CLAIM_LETTER = text("""
    UPDATE daily_run SET mail_claimed_until = :claimed_until
    WHERE day = :day AND mailed_at IS NULL
      AND (mail_claimed_until IS NULL OR mail_claimed_until <= :now)
    RETURNING day
""")


async def claim_letter(uow: UnitOfWork, *, day: date, now: datetime) -> bool:
    """Claim the day's letter for sending; False when it was sent or another worker has it."""
    values = {"day": day, "claimed_until": now + LETTER_TAKES, "now": now}
    return (await uow.session.execute(CLAIM_LETTER, values)).first() is not None


STORE_SENT = text("""
    UPDATE daily_run SET mailed_at = :now, mail_claimed_until = NULL, last_error = NULL
    WHERE day = :day
""")


async def store_letter_sent(uow: UnitOfWork, *, day: date, now: datetime) -> None:
    """Store that the letter was sent."""
    await uow.session.execute(STORE_SENT, {"day": day, "now": now})


POSTPONE_LETTER = text("""
    UPDATE daily_run SET mail_claimed_until = :retry_at, last_error = :error WHERE day = :day
""")


async def postpone_letter(uow: UnitOfWork, *, day: date, error: str, now: datetime) -> None:
    """Postpone the letter, because it could not be sent."""
    values = {"day": day, "retry_at": now + RETRY, "error": error[:LONGEST_ERROR]}
    await uow.session.execute(POSTPONE_LETTER, values)


async def _find_first_line(uow: UnitOfWork) -> Line | None:
    """Return the oldest line; None when there is no line."""
    line: Line | None = await uow.session.scalar(
        select(Line).order_by(Line.created_at, Line.id).limit(1)
    )
    return line
