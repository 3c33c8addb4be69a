"""Tables of reconciliation runs, and of the last time at which webhooks could be received."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class Trigger(StrEnum):
    """Why a reconciliation run was created.

    Attributes:
        DAILY: It is the daily run.
        OUTAGE: Webhooks may have been missed for some time.
        MANUAL: A user requested the run.
        IMPORT: It is the first run, which stores everything that the provider has.
    """

    DAILY = "daily"
    OUTAGE = "outage"
    MANUAL = "manual"
    IMPORT = "import"


class RunStatus(StrEnum):
    """State of a reconciliation run.

    Attributes:
        PENDING: No worker has begun it.
        RUNNING: A worker has begun it.
        COMPLETED: It has compared the whole time span.
        FAILED: It ended early, because of an error or because the provider could not be read.
    """

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


OPEN = (RunStatus.PENDING, RunStatus.RUNNING)


class ReconciliationRun(Base):
    """One run that compares the provider's messages and calls of a time span with the stored ones.

    The column ``position`` contains the progress of the run. An interrupted run continues there.
    """

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
    """Start of the compared time span; None means from the beginning."""
    until: Mapped[datetime]
    continues: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if completed runs have compared everything before ``since``. When this run is completed,
    everything before ``until`` has been compared."""
    position: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    pages_done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    items_seen: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    updated: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    already_known: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    errors: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    drift: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The differences by kind: ``{"created": {"count": 2, "examples": [{…}]}}``."""
    failures: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Number of consecutive failures."""
    last_error: Mapped[str | None]
    lease_token: Mapped[UUID | None]
    """Token of the worker that works on the run; only this worker may write to it."""
    lease_until: Mapped[datetime | None]
    """No other worker claims the run before this time."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ReceiverHeartbeat(Base):
    """The last time at which a web process reported that it can receive webhooks."""

    __tablename__ = "receiver_heartbeat"

    name: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
