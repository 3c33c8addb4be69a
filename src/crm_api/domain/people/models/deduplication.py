"""The tables of merges, and of pairs of contacts that may be one person."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, Index, SmallInteger, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ContactMerge(Base):
    """One merge of duplicates into a primary contact, with the data needed to undo it."""

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
    """The contacts before the merge; None after the merge was undone or a contact was deleted."""
    merged_by: Mapped[str]
    merged_at: Mapped[datetime]
    undone_by: Mapped[str | None]
    undone_at: Mapped[datetime | None]

    @property
    def can_be_undone(self) -> bool:
        """True if the merge can still be undone."""
        return self.snapshot is not None


_SCORE = (
    "CAST(round(100 - (100 - coalesce(email, 0)) * (100 - coalesce(address, 0)) "
    "* (100 - coalesce(phone, 0)) / 10000.0) AS smallint)"
)


class MergeCandidate(Base):
    """A pair of contacts that may be one person, with a score for each reason.

    The scores of ``email``, ``address`` and ``phone`` are from 0 to 100; None if the reason does
    not apply. A dismissed pair stays stored, so that the job ``find_duplicates`` does not suggest
    it again.
    """

    __tablename__ = "merge_candidate"
    __table_args__ = (
        UniqueConstraint("first_id", "second_id"),
        CheckConstraint("first_id < second_id", name="order"),
        Index(
            "idx_merge_candidate_score",
            text("score DESC"),
            text("id DESC"),
            postgresql_where=text("dismissed_at IS NULL"),
        ),
        Index("idx_merge_candidate_second", "second_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    first_id: Mapped[UUID]
    second_id: Mapped[UUID]
    email: Mapped[int | None] = mapped_column(SmallInteger)
    address: Mapped[int | None] = mapped_column(SmallInteger)
    phone: Mapped[int | None] = mapped_column(SmallInteger)
    score: Mapped[int] = mapped_column(SmallInteger, Computed(_SCORE, persisted=True))
    """The points of all reasons, combined like independent probabilities: 80 and 60 points give 92.
    """
    found_at: Mapped[datetime]
    dismissed_at: Mapped[datetime | None]
    dismissed_by: Mapped[str | None]


class DuplicateScan(Base):
    """Stores when the last search for duplicates began and ended. The table has one row."""

    __tablename__ = "duplicate_scan"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
