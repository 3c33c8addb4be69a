"""Deliveries and their results, and the cursor in the log of events."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class DeliveryStatus(StrEnum):
    """State of a delivery."""

    PENDING = "pending"
    """Waits for its first try or a retry."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Its retries are used up; it can be sent again on request."""


class WebhookDelivery(Base):
    """One event to one endpoint; its id is the ``webhook-id``, the same at each try.

    While a worker has it, ``next_attempt_at`` is the end of the lease, and ``claims`` identifies
    the claim: results of an earlier claim are not recorded.
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
    """No foreign key: it would be checked for each of thousands of rows a second."""
    type: Mapped[str]
    happened_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]
    """As sent: ids and states."""
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Tries that ended, since it was created or sent again on request."""
    claims: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    last_attempt_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    response_status: Mapped[int | None] = mapped_column(SmallInteger)
    response_body: Mapped[str | None]
    """Beginning of the answer, for debugging."""
    error_code: Mapped[str | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class WebhookCursor(Base):
    """Position up to which the log was fanned out; its row lock lets one worker do it at a time."""

    __tablename__ = "webhook_cursor"

    name: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[int] = mapped_column(BigInteger)
