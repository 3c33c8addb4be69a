"""The table of the audit log."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Identity,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base


class AuditEntry(Base):
    """One action of a caller or of the service.

    A trigger refuses every change of an entry, and the deletion of an entry younger than a year.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("idx_audit_log_created", "created_at", "id"),
        Index("idx_audit_log_subject", "subject", "created_at", "id"),
        Index("idx_audit_log_actor", "actor", "created_at", "id"),
        Index(
            "idx_audit_log_actor_id",
            "actor_id",
            "created_at",
            "id",
            postgresql_where=text("actor_id IS NOT NULL"),
        ),
        Index("idx_audit_log_act", text("COALESCE(operation, action)"), "created_at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    actor: Mapped[str]
    actor_id: Mapped[str | None]
    """The id of the API key or user; None if the service itself or a command acted."""
    action: Mapped[str]
    operation: Mapped[str | None]
    """The operationId of the request that caused the action; None outside of requests."""
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    request_id: Mapped[str | None]
    address: Mapped[str | None]
    created_at: Mapped[datetime]
