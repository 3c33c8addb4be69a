"""Alerts, circuits, worker heartbeats, and the last run of each scheduled job."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class AlertStatus(StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    """Not over, but somebody has taken note of it."""
    RESOLVED = "resolved"


class News(StrEnum):
    """What there is to tell about an alert."""

    OPENED = "opened"
    REPEATED = "repeated"
    """It goes on happening."""
    ESCALATED = "escalated"
    """Nobody has acknowledged it for long."""
    RESOLVED = "resolved"


class Alert(Base):
    """Something that a person should see; one row per kind and subject, counted."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("kind", "subject"),
        Index("idx_alert_last_seen", "last_seen_at", "id"),
        Index("idx_alert_open", "last_seen_at", "id", postgresql_where=text("resolved_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    subject: Mapped[str]
    """What it is about, for example a line's id."""
    detail: Mapped[str]
    context: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    count: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    """When it came up, the last time; earlier times are over."""
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]

    @property
    def status(self) -> AlertStatus:
        """Where it stands."""
        if self.resolved_at is not None:
            return AlertStatus.RESOLVED
        return AlertStatus.OPEN if self.acknowledged_at is None else AlertStatus.ACKNOWLEDGED


TOLD_AS = (News.OPENED, News.ESCALATED, News.RESOLVED)


class AlertNotice(Base):
    """What a channel, such as mail, has told about an alert."""

    __tablename__ = "alert_notice"
    __table_args__ = (
        CheckConstraint(one_of("told_as", TOLD_AS), name="told_as"),
        Index("idx_alert_notice_told", "channel", "told_at"),
    )

    alert_id: Mapped[UUID] = mapped_column(
        ForeignKey("alert.id", ondelete="CASCADE"), primary_key=True
    )
    channel: Mapped[str] = mapped_column(primary_key=True)
    told_as: Mapped[str | None]
    told_at: Mapped[datetime | None]
    told_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The alert's count when it was last told."""
    claimed_until: Mapped[datetime | None]
    """Somebody is telling it; taken for lost after this."""


class Circuit(Base):
    """Whether an outside system may be called, as all processes together know it."""

    __tablename__ = "circuit"

    name: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """In a row, with no answer between them."""
    failing_since: Mapped[datetime | None]
    last_failed_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    opened_at: Mapped[datetime | None]
    """Nothing is called from then on; None: it is closed."""
    trial_at: Mapped[datetime | None]
    """From when one call may find out whether it goes again."""
    opens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How often it opened since all was well; each time it waits longer."""


class ScheduledJob(Base):
    """The last run of one scheduled job, and the minutes in which it did not run."""

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
    """The last instant at which it is known to have begun, been under way or ended."""
    misses: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Minutes in which it neither began nor was under way, up to its last begin."""
    missed_from: Mapped[datetime | None]
    """The first minute of the last such gap."""
    missed_until: Mapped[datetime | None]
    """The last minute of it."""
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """In a row."""
    failing_since: Mapped[datetime | None]


class DailyRun(Base):
    """What a morning has to do and has done; the day is that of the first line's zone."""

    __tablename__ = "daily_run"

    day: Mapped[date] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    until: Mapped[datetime]
    """Of the time between the letter tells."""
    made_at: Mapped[datetime]
    cleaned_at: Mapped[datetime | None]
    mail_claimed_until: Mapped[datetime | None]
    """Somebody sends the letter, or it is not tried again before this."""
    mailed_at: Mapped[datetime | None]
    last_error: Mapped[str | None]


class WorkerHeartbeat(Base):
    """A worker that lives, and when it last said so."""

    __tablename__ = "worker_heartbeat"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    host: Mapped[str | None]
    process_id: Mapped[int | None]
    version: Mapped[str | None]
    stopped_at: Mapped[datetime | None]
    """It ended as it was asked to; None: it lives, or died."""


class AuditEntry(Base):
    """What somebody did; never changed, and for a year not removed (a trigger refuses it)."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("idx_audit_log_created", "created_at", "id"),
        Index("idx_audit_log_subject", "subject", "created_at", "id"),
        Index("idx_audit_log_actor", "actor", "created_at", "id"),
        Index(
            "idx_audit_log_actor_id",
            "actor_id",
            "created_at",
            "id",
            postgresql_where=text("actor_id IS NOT NULL"),
        ),
        Index("idx_audit_log_act", text("COALESCE(operation, action)"), "created_at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    actor: Mapped[str]
    actor_id: Mapped[str | None]
    """The key or user; None for the service itself and for commands."""
    action: Mapped[str]
    operation: Mapped[str | None]
    """The operationId of the request in whose transaction it was; None outside of requests."""
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    request_id: Mapped[str | None]
    address: Mapped[str | None]
    created_at: Mapped[datetime]
