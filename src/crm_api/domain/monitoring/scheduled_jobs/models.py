"""Scheduled jobs, the daily run, and worker heartbeats."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Integer,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class ScheduledJob(Base):
    """The last run of one scheduled job, and the minutes that it missed."""

    __tablename__ = "scheduled_job"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_started_at: Mapped[datetime]
    last_finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    last_result: Mapped[str | None]
    """``ok`` or ``failed``."""
    last_error: Mapped[str | None]
    runs: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    covered_until: Mapped[datetime | None]
    """Last instant at which it is known to have begun, been under way or ended."""
    misses: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Whole minutes in which it neither began nor was under way, up to its last begin."""
    missed_from: Mapped[datetime | None]
    """The first minute of the last such gap."""
    missed_until: Mapped[datetime | None]
    """The last minute of that gap."""
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Failed runs in a row."""
    failing_since: Mapped[datetime | None]


class WorkerHeartbeat(Base):
    """A worker process and its last heartbeat."""

    __tablename__ = "worker_heartbeat"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    host: Mapped[str | None]
    process_id: Mapped[int | None]
    version: Mapped[str | None]
    stopped_at: Mapped[datetime | None]
    """When it stopped on request; None if it runs or died."""


class DailyRun(Base):
    """What a morning has to do and has done; ``day`` is in the first line's time zone."""

    __tablename__ = "daily_run"

    day: Mapped[date] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    until: Mapped[datetime]
    """The letter covers the time from ``since`` to ``until``."""
    made_at: Mapped[datetime]
    cleaned_at: Mapped[datetime | None]
    mail_claimed_until: Mapped[datetime | None]
    """Until then a worker sends the letter, or a failed letter is not retried."""
    mailed_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
