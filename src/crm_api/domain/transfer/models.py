"""Imports of contacts, and the rows that they could not take."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class ImportStatus(StrEnum):
    """Where an import stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class OnDuplicate(StrEnum):
    """What an import does to a contact that exists."""

    FILL = "fill"
    OVERWRITE = "overwrite"
    SKIP = "skip"


class ContactImport(Base):
    """One uploaded file on its way in; ``rows_processed`` is the checkpoint to resume from."""

    __tablename__ = "contact_import"
    __table_args__ = (
        CheckConstraint(one_of("status", ImportStatus), name="status"),
        CheckConstraint(one_of("on_duplicate", OnDuplicate), name="on_duplicate"),
        Index("idx_contact_import_created", "created_at", "id"),
        Index(
            "idx_contact_import_waiting",
            "created_at",
            "id",
            postgresql_where=text("status IN ('pending', 'running')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    file_name: Mapped[str | None]
    """As the user called it; never used as a path."""
    byte_size: Mapped[int] = mapped_column(BigInteger)
    detected_format: Mapped[str | None]
    mapping: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    on_duplicate: Mapped[str] = mapped_column(server_default=text("'fill'"))
    dry_run: Mapped[bool] = mapped_column(server_default=text("false"))
    list_id: Mapped[UUID | None]
    rows_total: Mapped[int | None] = mapped_column(Integer)
    rows_processed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    updated: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    unchanged: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    duplicates_in_file: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    invalid: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ContactImportError(Base):
    """One thing in a file that could not be taken, and why."""

    __tablename__ = "contact_import_error"
    __table_args__ = (Index("idx_contact_import_error_import", "import_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    import_id: Mapped[UUID] = mapped_column(ForeignKey("contact_import.id", ondelete="CASCADE"))
    line: Mapped[int] = mapped_column(Integer)
    """The line in the file on which the row starts, from 1."""
    column: Mapped[str | None]
    value: Mapped[str | None]
    code: Mapped[str]
    reason: Mapped[str]
