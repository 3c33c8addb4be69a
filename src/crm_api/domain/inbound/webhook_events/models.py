"""Tables of received webhook events."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class WebhookEventStatus(StrEnum):
    """State of a received event.

    Attributes:
        PENDING: It is waiting to be applied.
        PROCESSED: It was applied.
        FAILED: It could not be applied, and is retried at ``next_attempt_at``.
        DEAD: It could not be applied, and all retries are used up. It waits for a replay.
        IGNORED: Its type changes nothing in this service.
    """

    PENDING = "pending"
    PROCESSED = "processed"
    FAILED = "failed"
    DEAD = "dead"
    IGNORED = "ignored"


UNUSUAL = (WebhookEventStatus.FAILED, WebhookEventStatus.DEAD, WebhookEventStatus.IGNORED)
"""The statuses of the events in a partial index. Most events are pending or processed; these events
are not in the index."""
WAITING = (WebhookEventStatus.PENDING, WebhookEventStatus.FAILED)


class WebhookEvent(Base):
    """One received event. It is stored before it is acknowledged.

    The table has a partition for each month. The id of an event contains a time, which decides the
    partition of the event.
    """

    __tablename__ = "webhook_event"
    __table_args__ = (
        CheckConstraint(one_of("scheme", SignatureScheme), name="scheme"),
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
    """The id ``EV…`` in the envelope. If the envelope has no id, it is the delivery id. If there is
    no delivery id either, it is a hash of the body."""
    delivery_id: Mapped[str | None]
    scheme: Mapped[str]
    type: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    last_error: Mapped[str | None]
    error_code: Mapped[str | None]
    """Code of the last error. It is kept until the event is applied, even during a replay."""
    received_at: Mapped[datetime]
    processed_at: Mapped[datetime | None]
    payload: Mapped[dict[str, Any]]


class WebhookEventKey(Base):
    """The id of one event, unique over all partitions of the table of events.

    It is written together with the event by one statement.
    """

    __tablename__ = "webhook_event_key"

    provider_event_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[UUID]
