"""Tables of scheduled jobs, daily runs and worker heartbeats."""

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
    """The last run of a scheduled job, and the minutes that the job has missed.

    A worker should begin every job once a minute. A missed minute is a minute in which no worker
    began the job, and no earlier run of the job was still at work.
    """

    __tablename__ = "scheduled_job"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_started_at: Mapped[datetime]
    last_finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    last_result: Mapped[str | None]
    """The result of the last run: ``ok`` or ``failed``; None before the first run has ended."""
    last_error: Mapped[str | None]
    runs: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    covered_until: Mapped[datetime | None]
    """The last time at which the job is known to have been at work: it began, was running, or
    ended."""
    misses: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """The total number of minutes in which the job neither began nor was at work."""
    missed_from: Mapped[datetime | None]
    """The first minute of the last period in which the job neither began nor was at work; None if
    there was no such period."""
    missed_until: Mapped[datetime | None]
    """The last minute of the last period in which the job neither began nor was at work; None if
    there was no such period."""
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of runs that have failed in a row."""
    failing_since: Mapped[datetime | None]


class WorkerHeartbeat(Base):
    """A worker process and the time of its last heartbeat."""

    __tablename__ = "worker_heartbeat"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    host: Mapped[str | None]
    process_id: Mapped[int | None]
    version: Mapped[str | None]
    stopped_at: Mapped[datetime | None]
    """When the worker stopped because it was asked to; None if it runs or has died."""


class DailyRun(Base):
    """The daily run of one day: whether its clean-up and its digest mail are done.

    The day begins and ends in the time zone of the phone line that was added first.
    """

    __tablename__ = "daily_run"

    day: Mapped[date] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    until: Mapped[datetime]
    """The digest mail reports the period from ``since`` to ``until``."""
    made_at: Mapped[datetime]
    cleaned_at: Mapped[datetime | None]
    mail_claimed_until: Mapped[datetime | None]
    """Until this time, no further worker sends the digest mail: a worker is sending it now, or a
    failed mail waits for the next attempt."""
    mailed_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
