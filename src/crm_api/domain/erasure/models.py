"""Erasures, and how far each is."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class ErasureStatus(StrEnum):
    """Where an erasure stands."""

    SWEEPING = "sweeping"
    """The person is gone; the ledgers are being searched for what still names them."""
    COMPLETED = "completed"


class Erasure(Base):
    """One erasure.

    While the ledgers are searched, ``sealed`` holds what is searched for, encrypted; it is removed
    when that is done.
    """

    __tablename__ = "erasure"
    __table_args__ = (
        CheckConstraint(one_of("status", ErasureStatus), name="status"),
        CheckConstraint("(status = 'sweeping') = (sealed IS NOT NULL)", name="sealed"),
        Index("idx_erasure_created", "created_at", "id"),
        Index(
            "idx_erasure_sweeping",
            "next_at",
            "id",
            postgresql_where=text("status = 'sweeping'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    contact_id: Mapped[UUID]
    """Its row stays, blank, for those that refer to it."""
    reason: Mapped[str]
    actor: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'sweeping'"))
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    position: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """Where the search goes on: ``{table, block, found, objects}``."""
    next_at: Mapped[datetime]
    """When a worker may go on; while one works, the end of its lease."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
