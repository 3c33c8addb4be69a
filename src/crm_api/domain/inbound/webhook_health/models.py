"""Checks of whether events arrive, and their results."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class WebhookHealthSide(StrEnum):
    """Kind of a check."""

    TEST_TEXT = "test_text"
    """A message between two own lines, through the whole path."""
    SILENCE = "silence"
    """No events at a time when there usually are some."""
    PROVIDER = "provider"
    """The provider's webhooks and delivery log, compared with ours."""


class CheckStatus(StrEnum):
    """State of a check."""

    WAITING = "waiting"
    PASSED = "passed"
    FAILED = "failed"


class WebhookHealthCheck(Base):
    """One check of one kind; while it is ``waiting`` it is the order to check."""

    __tablename__ = "webhook_health_check"
    __table_args__ = (
        CheckConstraint(one_of("side", WebhookHealthSide), name="side"),
        CheckConstraint(one_of("status", CheckStatus), name="status"),
        Index("idx_webhook_health_check_created", "created_at", "id"),
        Index(
            "idx_webhook_health_check_concluded",
            "side",
            "created_at",
            postgresql_where=text("status <> 'waiting'"),
        ),
        Index(
            "uq_webhook_health_check_waiting",
            "side",
            unique=True,
            postgresql_where=text("status = 'waiting'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    side: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    asked_by: Mapped[str]
    """``schedule``, or the name of the API key."""
    token: Mapped[str | None]
    """In the body of the test message; its event is recognised by it."""
    activity_id: Mapped[UUID | None]
    """The test message on the timeline."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    latency_ms: Mapped[int | None] = mapped_column(Integer)
    concluded_at: Mapped[datetime | None]
    leg: Mapped[str | None]
    """Where it failed, in one word."""
    failure: Mapped[str | None]
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class WebhookRedelivery(Base):
    """A delivery that the provider gave up, and that it was asked to repeat."""

    __tablename__ = "webhook_redelivery"

    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str]
    provider_event_id: Mapped[str | None]
    times: Mapped[int] = mapped_column(SmallInteger)
    """How often it was asked for."""
    asked_at: Mapped[datetime]
