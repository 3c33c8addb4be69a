"""The daily run: a clean-up and a digest mail each morning.

The morning begins at ``HOUR`` in the time zone of the phone line that was added first (the *first
line*). If no worker runs at that time, the daily run happens later on that day.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from crm_api.domain.messaging.models.lines import DEFAULT_TIMEZONE, Line
from crm_api.domain.monitoring.scheduled_jobs.models import DailyRun as StoredRun
from crm_api.platform.database import UnitOfWork

HOUR = 7
"""The hour at which the daily run is due, in the time zone of the phone line that was added first.
At this hour, users read their mail, and the campaigns of the day have not begun to send."""
MAIL_TAKES = timedelta(seconds=120)
"""For how long a worker reserves the digest mail in order to send it. The sending takes less time.
If the worker dies, another worker sends the mail after this time."""
RETRY = timedelta(minutes=10)
"""The wait before the digest mail is tried again after an error."""
LONGEST_ERROR = 300
"""The largest number of characters that are stored of an error message."""


@dataclass(frozen=True, kw_only=True)
class DailyRun:
    """The daily run of one day, and what is still to do.

    Attributes:
        day: The run is due in the morning of this day.
        zone: The time zone of the line that was added first, or the default time zone.
        since: The beginning of the period of the digest mail.
        until: The end of this period: the midnight at which ``day`` begins.
        is_cleaned: True if the clean-up of this day is done.
        has_mail: True if the digest mail must still be sent.
    """

    day: date
    zone: str
    since: datetime
    until: datetime
    is_cleaned: bool
    has_mail: bool


def due_day_of(now: datetime, zone: str) -> date:
    """Return the newest day whose daily run is due.

    The daily run of a day is due at the hour ``HOUR`` of that day, in the time zone ``zone``. Until
    then, the function returns the day before.
    """
    local = now.astimezone(ZoneInfo(zone))
    return local.date() if local.hour >= HOUR else local.date() - timedelta(days=1)


# The digest mail reports the time since the last sent digest mail, but at most one week.
MAKE_RUN = text("""
    INSERT INTO daily_run (day, since, until, made_at)
    SELECT :day, greatest(coalesce(max(r.until), CAST(:until AS timestamptz) - interval '1 day'),
                          CAST(:until AS timestamptz) - interval '7 days'), :until, :now
    FROM daily_run r WHERE r.mailed_at IS NOT NULL AND r.until < CAST(:until AS timestamptz)
    ON CONFLICT (day) DO NOTHING
""")


async def make_daily_run(uow: UnitOfWork, *, now: datetime) -> DailyRun:
    """Return the daily run that is due now; store it if it is not stored yet.

    A daily run is the clean-up and the digest mail of one day. No mail is sent for a day that began
    before the first line was added.
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
        has_mail=row.mailed_at is None and line is not None and line.created_at < row.until,
    )


async def next_daily_run_at(uow: UnitOfWork, *, now: datetime) -> datetime:
    """Return when the first daily run (clean-up and digest mail) after ``now`` is due."""
    line = await _find_first_line(uow)
    zone = ZoneInfo(DEFAULT_TIMEZONE if line is None else line.timezone)
    day = due_day_of(now, zone.key) + timedelta(days=1)
    return datetime.combine(day, time(HOUR), zone).astimezone(UTC)


STORE_CLEANED = text("UPDATE daily_run SET cleaned_at = :now WHERE day = :day")


async def store_clean_up_done(uow: UnitOfWork, *, day: date, now: datetime) -> None:
    """Store that the clean-up of a day is done."""
    await uow.session.execute(STORE_CLEANED, {"day": day, "now": now})


CLAIM_MAIL = text("""
    UPDATE daily_run SET mail_claimed_until = :claimed_until
    WHERE day = :day AND mailed_at IS NULL
      AND (mail_claimed_until IS NULL OR mail_claimed_until <= :now)
    RETURNING day
""")


async def claim_digest_mail(uow: UnitOfWork, *, day: date, now: datetime) -> bool:
    """Reserve the digest mail of a day, so that only this worker sends it.

    Returns:
        False if the mail was sent, if another worker is sending it, or if it failed and must not be
        tried again yet.
    """
    values = {"day": day, "claimed_until": now + MAIL_TAKES, "now": now}
    return (await uow.session.execute(CLAIM_MAIL, values)).first() is not None


STORE_MAILED = text("""
    UPDATE daily_run SET mailed_at = :now, mail_claimed_until = NULL, last_error = NULL
    WHERE day = :day
""")


async def store_digest_mailed(uow: UnitOfWork, *, day: date, now: datetime) -> None:
    """Store that the digest mail of a day was sent."""
    await uow.session.execute(STORE_MAILED, {"day": day, "now": now})


POSTPONE_MAIL = text("""
    UPDATE daily_run SET mail_claimed_until = :retry_at, last_error = :error WHERE day = :day
""")


async def postpone_digest_mail(uow: UnitOfWork, *, day: date, error: str, now: datetime) -> None:
    """Store why the digest mail was not sent, and plan the next attempt after ``RETRY``."""
    values = {"day": day, "retry_at": now + RETRY, "error": error[:LONGEST_ERROR]}
    await uow.session.execute(POSTPONE_MAIL, values)


async def _find_first_line(uow: UnitOfWork) -> Line | None:
    """Return the phone line that was added first; None if there is no line."""
    line: Line | None = await uow.session.scalar(
        select(Line).order_by(Line.created_at, Line.id).limit(1)
    )
    return line
