"""Imports of contacts, and the rows that they could not take."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
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


class ImportSourceKind(StrEnum):
    """Where the rows of an import come from."""

    FILE = "file"
    OPENPHONE = "openphone"


class UndoState(StrEnum):
    """How far an import is taken back."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"


class OnDuplicate(StrEnum):
    """What an import does to a contact that exists."""

    FILL = "fill"
    OVERWRITE = "overwrite"
    SKIP = "skip"


class ContactImport(Base):
    """One file, or the provider's contacts, on the way in.

    ``rows_processed`` is the checkpoint to resume from. A dry run keeps its rows, so that a commit
    of it reads the very same.
    """

    __tablename__ = "contact_import"
    __table_args__ = (
        CheckConstraint(one_of("status", ImportStatus), name="status"),
        CheckConstraint(one_of("on_duplicate", OnDuplicate), name="on_duplicate"),
        CheckConstraint(one_of("source", ImportSourceKind), name="source"),
        CheckConstraint(one_of("undo_state", UndoState), name="undo_state"),
        CheckConstraint("NOT dry_run OR undo_state IS NULL", name="dry_run_undo_state"),
        Index("idx_contact_import_created", "created_at", "id"),
        Index(
            "idx_contact_import_waiting",
            "created_at",
            "id",
            postgresql_where=text("status IN ('pending', 'running')"),
        ),
        Index(
            "idx_contact_import_undoing",
            "updated_at",
            "id",
            postgresql_where=text("undo_state IN ('pending', 'running')"),
        ),
        Index(
            "uq_contact_import_dry_run_id",
            "dry_run_id",
            unique=True,
            postgresql_where=text(
                "status IN ('pending', 'running', 'completed') AND undone_at IS NULL"
            ),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    source: Mapped[str] = mapped_column(server_default=text("'file'"))
    file_name: Mapped[str | None]
    """As the user called it; never used as a path."""
    byte_size: Mapped[int] = mapped_column(BigInteger)
    rows_sha256: Mapped[str | None]
    """Of the rows as they are read: the upload, or what a workbook or the provider gave."""
    detected_format: Mapped[str | None]
    mapping: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    columns: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """Of each column: the field it is taken for, how surely, and by what it was told."""
    notes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    on_duplicate: Mapped[str] = mapped_column(server_default=text("'fill'"))
    dry_run: Mapped[bool] = mapped_column(server_default=text("false"))
    dry_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact_import.id"))
    """The dry run whose rows, mapping and options these are."""
    list_id: Mapped[UUID | None]
    list_name: Mapped[str | None]
    """What a dry run was asked to put people on; its commit makes the list."""
    fetch_token: Mapped[str | None]
    """The provider's next page; null before the first, empty after the last, null for a file."""
    fetched_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """How much of the rows the provider has given so far; null for a file."""
    rows_total: Mapped[int | None] = mapped_column(Integer)
    rows_processed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    updated: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    unchanged: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    duplicates_in_file: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    invalid: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    changed_since_dry_run: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """People of whom the store had changed so that it came otherwise than the dry run said."""
    changes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """By field: how often it was filled, and how often overwritten."""
    sample: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """The first people that are new or change, with each field before and after."""
    undo_state: Mapped[str | None]
    undo_counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """How many contacts and memberships were taken back so far, and how many were left."""
    undone_at: Mapped[datetime | None]
    cleaned_at: Mapped[datetime | None]
    """When what is needed to undo or commit it was given up."""
    error: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def undo(self) -> dict[str, Any] | None:
        """How far it is taken back; None unless somebody asked for that."""
        return None if self.undo_state is None else {"status": self.undo_state, **self.undo_counts}


class ContactImportChunk(Base):
    """What one transaction of an import did, so that it can be undone or compared."""

    __tablename__ = "contact_import_chunk"

    import_id: Mapped[UUID] = mapped_column(
        ForeignKey("contact_import.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(Integer, primary_key=True)
    """How many rows of the file come before it."""
    applied_at: Mapped[datetime]
    """Also ``updated_at`` of all contacts that it wrote; a later one says: edited since."""
    outcomes: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()))
    """Of a dry run: for each person in order a digest of what would become of them."""
    created_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    changed_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    changes: Mapped[list[Any]] = mapped_column(ARRAY(JSONB()))
    """As many as ``changed_ids``: ``{"filled": ["city"], "old": {"company": "Granite"}}``."""
    undone_at: Mapped[datetime | None]


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
