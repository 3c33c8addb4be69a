"""Runs of the reconciliation, and when the receiver of webhooks was last seen."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class Trigger(StrEnum):
    """Why a run was made."""

    DAILY = "daily"
    OUTAGE = "outage"
    """The receiver of webhooks was away."""
    MANUAL = "manual"
    IMPORT = "import"
    """The first one, which takes over all that the provider has."""


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


OPEN = (RunStatus.PENDING, RunStatus.RUNNING)


class ReconciliationRun(Base):
    """One comparison of a span of time; ``position`` is where a run that died goes on."""

    __tablename__ = "reconciliation_run"
    __table_args__ = (
        CheckConstraint(one_of("trigger", Trigger), name="trigger"),
        CheckConstraint(one_of("status", RunStatus), name="status"),
        Index("idx_reconciliation_run_created", "created_at", "id"),
        Index(
            "idx_reconciliation_run_open",
            "created_at",
            "id",
            postgresql_where=text(one_of("status", OPEN)),
        ),
        Index(
            "idx_reconciliation_run_completed",
            "until",
            postgresql_where=text("status = 'completed' AND continues"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    trigger: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    since: Mapped[datetime | None]
    """None is the beginning."""
    until: Mapped[datetime]
    continues: Mapped[bool] = mapped_column(server_default=text("false"))
    """Runs before it cover all up to its beginning: the next one may begin where it ends."""
    position: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    pages_done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    items_seen: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    updated: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    already_known: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    errors: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    drift: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """What differed, by kind: ``{"created": {"count": 2, "examples": [{…}]}}``."""
    failures: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """How often in a row the provider could not be read."""
    last_error: Mapped[str | None]
    lease_token: Mapped[UUID | None]
    """Whoever works on the run holds it; nobody else may write."""
    lease_until: Mapped[datetime | None]
    """Before this nobody else goes on with the run."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ReceiverHeartbeat(Base):
    """When a web process that takes webhooks last said that it lives."""

    __tablename__ = "receiver_heartbeat"

    name: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
