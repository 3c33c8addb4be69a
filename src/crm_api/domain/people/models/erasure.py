"""The table of erasures and their progress."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ErasureStatus(StrEnum):
    """The status of an erasure."""

    SWEEPING = "sweeping"
    """The contact is erased. The tables are still searched for other data about the person."""
    COMPLETED = "completed"


class Erasure(Base):
    """One erasure of a person.

    While the tables are searched for data of the person, ``sealed`` contains the encrypted search
    terms, such as the person's phone numbers. The terms are removed when the search is done.
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
    """The erased contact. Its row is kept without personal data, because other rows refer to it."""
    reason: Mapped[str]
    actor: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'sweeping'"))
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    position: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The progress: contact ids, table and page to search next, rows found, and files to remove."""
    next_at: Mapped[datetime]
    """When a worker may claim the erasure. After a claim, this is when the claim expires."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
