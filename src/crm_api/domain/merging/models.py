"""The table of merges."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.ids import new_id


class ContactMerge(Base):
    """One merge: who was merged into whom, and what it takes to undo it."""

    __tablename__ = "contact_merge"
    __table_args__ = (
        CheckConstraint("undone_at IS NULL OR snapshot IS NULL", name="snapshot"),
        Index("idx_contact_merge_merged", "merged_at", "id"),
        Index("idx_contact_merge_primary", "primary_id"),
        Index("idx_contact_merge_duplicates", "duplicate_ids", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    primary_id: Mapped[UUID]
    duplicate_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    snapshot: Mapped[dict[str, Any] | None]
    """What each had before; gone once it was undone, or the person deleted."""
    merged_by: Mapped[str]
    merged_at: Mapped[datetime]
    undone_by: Mapped[str | None]
    undone_at: Mapped[datetime | None]
