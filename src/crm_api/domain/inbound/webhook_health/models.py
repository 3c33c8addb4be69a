"""Tables of the webhook health checks and of the redeliveries that they requested."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class WebhookHealthSide(StrEnum):
    """Kind of a webhook health check.

    Attributes:
        TEST_TEXT: A test message is sent from one line of the company to another line. The event
            about this message must arrive.
        SILENCE: The check decides whether no event has arrived for an unusually long time.
        PROVIDER: The webhooks and the delivery log at the provider are checked.
    """

    TEST_TEXT = "test_text"
    SILENCE = "silence"
    PROVIDER = "provider"


class CheckStatus(StrEnum):
    """State of a webhook health check.

    Attributes:
        WAITING: It has no result yet.
        PASSED: It found no fault.
        FAILED: It found a fault.
    """

    WAITING = "waiting"
    PASSED = "passed"
    FAILED = "failed"


class WebhookHealthCheck(Base):
    """One check of whether the provider's events arrive.

    While its status is ``waiting``, a worker must still carry it out.
    """

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
    """``schedule``, or the name of the API key or user that requested the check."""
    token: Mapped[str | None]
    """Random text in the body of the test message, by which its event is recognised."""
    activity_id: Mapped[UUID | None]
    """Id of the test message on the timeline."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    latency_ms: Mapped[int | None] = mapped_column(Integer)
    concluded_at: Mapped[datetime | None]
    leg: Mapped[str | None]
    """A code for the step that failed, such as ``not_sent``; None if no step failed."""
    failure: Mapped[str | None]
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class WebhookRedelivery(Base):
    """A delivery that the provider stopped retrying, and that we asked the provider to repeat."""

    __tablename__ = "webhook_redelivery"

    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str]
    provider_event_id: Mapped[str | None]
    times: Mapped[int] = mapped_column(SmallInteger)
    """The number of times that we asked the provider to repeat the delivery."""
    asked_at: Mapped[datetime]
