"""The ledger of received events."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class WebhookEventStatus(StrEnum):
    """Where a received event stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    FAILED = "failed"
    """Will be tried again at ``next_attempt_at``."""
    DEAD = "dead"
    """Tried to the end; waits for a replay."""
    IGNORED = "ignored"
    """Of a type that changes nothing here."""


UNUSUAL = (WebhookEventStatus.FAILED, WebhookEventStatus.DEAD, WebhookEventStatus.IGNORED)
"""Indexed by status: those that come in and those that are applied pay nothing for it."""
WAITING = (WebhookEventStatus.PENDING, WebhookEventStatus.FAILED)


class WebhookEvent(Base):
    """One event, stored before it was acknowledged; a partition a month, by the time of the id."""

    __tablename__ = "webhook_event"
    __table_args__ = (
        CheckConstraint(one_of("status", WebhookEventStatus), name="status"),
        Index(
            "idx_webhook_event_processed",
            "next_attempt_at",
            "id",
            postgresql_where=text(one_of("status", WAITING)),
        ),
        Index("idx_webhook_event_received", "received_at", "id"),
        Index(
            "idx_webhook_event_status",
            "status",
            "received_at",
            "id",
            postgresql_where=text(one_of("status", UNUSUAL)),
        ),
        Index(
            "idx_webhook_event_error",
            "error_code",
            "received_at",
            "id",
            postgresql_where=text("error_code IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    provider_event_id: Mapped[str]
    """The envelope's ``EV…`` id; without one the delivery id, else a digest of the body."""
    delivery_id: Mapped[str | None]
    scheme: Mapped[str]
    type: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    last_error: Mapped[str | None]
    error_code: Mapped[str | None]
    """What kind of error it was; stays until the event is applied, also when it is replayed."""
    received_at: Mapped[datetime]
    processed_at: Mapped[datetime | None]
    payload: Mapped[dict[str, Any]]


class WebhookEventKey(Base):
    """That an event is stored, over all months: written with it, by one statement."""

    __tablename__ = "webhook_event_key"

    provider_event_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[UUID]
