"""Tables of webhook deliveries and of the cursor in the log of events."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class DeliveryStatus(StrEnum):
    """State of a delivery.

    Attributes:
        PENDING: The delivery waits for its first attempt or for a retry.
        DELIVERED: The endpoint accepted the delivery.
        FAILED: The delivery is not retried any more. It can be sent again on request.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookDelivery(Base):
    """One event on its way to one endpoint; its id is the header ``webhook-id`` of each attempt.

    While a worker has a claim on the delivery, ``next_attempt_at`` is the end of the lease.
    ``claims`` counts the claims and the requested retries. A worker can store a result only if the
    number has not changed since its claim.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint(one_of("status", DeliveryStatus), name="status"),
        CheckConstraint("(status = 'delivered') = (delivered_at IS NOT NULL)", name="delivered"),
        Index(
            "idx_webhook_delivery_due",
            "endpoint_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("idx_webhook_delivery_created", "endpoint_id", "created_at", "id"),
        Index(
            "idx_webhook_delivery_failed",
            "endpoint_id",
            "created_at",
            "id",
            postgresql_where=text("status = 'failed'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    endpoint_id: Mapped[UUID]
    """Not a foreign key, because PostgreSQL would check it for thousands of rows per second."""
    type: Mapped[str]
    happened_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]
    """The member ``data`` of the sent body: ids and states."""
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Number of ended attempts since the delivery was created or was sent again on request."""
    claims: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    last_attempt_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    response_status: Mapped[int | None] = mapped_column(SmallInteger)
    response_body: Mapped[str | None]
    """The beginning of the endpoint's last response, for debugging."""
    error_code: Mapped[str | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class WebhookCursor(Base):
    """Position in the log of events: deliveries of all events up to this position are stored.

    A worker locks this row while it stores deliveries of further events.
    """

    __tablename__ = "webhook_cursor"

    name: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[int] = mapped_column(BigInteger)
