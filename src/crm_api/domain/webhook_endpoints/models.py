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

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class EndpointStatus(StrEnum):
    """Whether an endpoint is told anything."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why an endpoint is told nothing."""

    REQUESTED = "requested"
    FAILING = "failing"
    """For days nothing arrived."""
    GONE = "gone"
    """It answered 410."""


class WebhookEndpoint(Base):
    """An address of somebody else's that is told what happens."""

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
    """Empty: all that ``scopes`` may see."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """Of whoever last said where it is and what it gets; it gets nothing that they may not see."""
    created_by: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    """The first failure since the last success."""
    held_until: Mapped[datetime | None]
    """It asked to be left alone until then (429 or 503 with Retry-After)."""
    since_transaction: Mapped[int] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint")
    )
    """It is told of transactions after this one: of what happens from when it was enabled on."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    """Its history is removed in the background, and the row with the last of it."""


class WebhookSecret(Base):
    """A signing secret, sealed; one of an endpoint's is current, others are on their way out."""

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
    """Signs beside the current one until then; None: it is the current one."""
