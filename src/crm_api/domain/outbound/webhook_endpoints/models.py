"""Webhook endpoints and their secrets."""

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

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class EndpointStatus(StrEnum):
    """Whether an endpoint gets events."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why an endpoint gets no events."""

    REQUESTED = "requested"
    FAILING = "failing"
    """No delivery succeeded for days."""
    GONE = "gone"
    """It answered 410."""


class WebhookEndpoint(Base):
    """An address of a third party that gets events."""

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
    """Empty means all that ``scopes`` may see."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """Scopes of the caller who last set the address or the event types; they limit the events."""
    created_by: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    """The first failure since the last success."""
    held_until: Mapped[datetime | None]
    """End of a pause that it asked for (429 or 503 with Retry-After)."""
    since_transaction: Mapped[int] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint")
    )
    """It gets events of later transactions only: those after it was enabled."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    """Its deliveries are deleted in the background, and the row after the last of them."""


class WebhookSecret(Base):
    """A signing secret, encrypted; one per endpoint is current, others end soon."""

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
    """Signs beside the current one until then; None for the current one."""
