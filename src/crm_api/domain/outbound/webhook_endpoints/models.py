"""Tables of webhook endpoints and their secrets."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class EndpointStatus(StrEnum):
    """Whether a webhook endpoint gets events.

    Attributes:
        ACTIVE: The endpoint gets events.
        DISABLED: The endpoint gets no events until it is enabled again.
    """

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why a webhook endpoint is disabled.

    Attributes:
        REQUESTED: A caller disabled the endpoint.
        FAILING: The endpoint accepted no delivery for days.
        GONE: The endpoint responded with 410 (Gone).
    """

    REQUESTED = "requested"
    FAILING = "failing"
    GONE = "gone"


class WebhookEndpoint(Base):
    """An address of a third party to which events are sent."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        CheckConstraint(one_of("status", EndpointStatus), name="status"),
        CheckConstraint(one_of("disabled_reason", DisabledReason), name="disabled_reason"),
        CheckConstraint(
            "(status = 'disabled') = (disabled_reason IS NOT NULL) "
            "AND (status = 'disabled') = (disabled_at IS NOT NULL)",
            name="disabled",
        ),
        Index(
            "idx_webhook_endpoint_created",
            "created_at",
            "id",
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """The event types to send; empty means all types that ``scopes`` allow."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """The scopes of the caller who last set the address or the event types. They limit the events
    that are sent."""
    created_by: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    """When the first failure since the last success happened; None if there was no failure."""
    held_until: Mapped[datetime | None]
    """End of a pause that the endpoint asked for (429 or 503 with Retry-After)."""
    since_transaction: Mapped[int] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint")
    )
    """The number of the transaction that created the endpoint or last enabled it. The endpoint gets
    only events of later transactions."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    """When a caller deleted the endpoint. A job then deletes its deliveries, and finally this row.
    """


class WebhookSecret(Base):
    """An encrypted signing secret. Each endpoint has one current secret; older secrets expire."""

    __tablename__ = "webhook_secret"
    __table_args__ = (
        Index("idx_webhook_secret_endpoint", "endpoint_id", "created_at"),
        Index(
            "uq_webhook_secret_current",
            "endpoint_id",
            unique=True,
            postgresql_where=text("expires_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    """Until this time, the old secret signs deliveries too; None for the current secret."""
