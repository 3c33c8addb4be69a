"""Alerts, worker heartbeats, and the last run of each scheduled job."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.ids import new_id


class Alert(Base):
    """Something that a person should see; one row per kind and subject, counted."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("kind", "subject"),
        Index("idx_alert_last_seen", "last_seen_at", "id"),
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
    resolved_at: Mapped[datetime | None]


class ScheduledJob(Base):
    """The last run of one scheduled job."""

    __tablename__ = "scheduled_job"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_started_at: Mapped[datetime]
    last_finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    last_result: Mapped[str | None]
    """``ok`` or ``failed``."""
    last_error: Mapped[str | None]
    runs: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class WorkerHeartbeat(Base):
    """A worker that lives, and when it last said so."""

    __tablename__ = "worker_heartbeat"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class AuditEntry(Base):
    """A decision that somebody made; never changed or removed (a trigger refuses it)."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime]
