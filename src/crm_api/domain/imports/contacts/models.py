"""The tables of contact imports, and the ``ImportKind`` of these imports."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.imports.contacts.errors import ImportFinishedError, ImportNotFoundError
from crm_api.domain.imports.files.models import FileImport, FileImportError, ImportStatus
from crm_api.domain.imports.files.runs import ImportKind
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base, UnitOfWork
from crm_api.platform.jobs import JobName


class ImportSourceKind(StrEnum):
    """Where the rows of an import come from."""

    FILE = "file"
    OPENPHONE = "openphone"


class ImportContent(StrEnum):
    """What each row of an import describes.

    Attributes:
        CONTACTS: A contact.
        OUTCOMES: An outcome, a quote or an invoice.
    """

    CONTACTS = "contacts"
    OUTCOMES = "outcomes"


class UndoState(StrEnum):
    """The status of the undo of an import."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"


class OnDuplicate(StrEnum):
    """What an import does with a contact that already exists."""

    FILL = "fill"
    OVERWRITE = "overwrite"
    SKIP = "skip"


class ContactImport(FileImport):
    """An import of one file, or of the provider's contacts.

    A dry run changes no contacts. Its file stays stored, because an import that commits the dry run
    reads the same rows.
    """

    __tablename__ = "contact_import"
    __table_args__ = (
        CheckConstraint(one_of("status", ImportStatus), name="status"),
        CheckConstraint(one_of("on_duplicate", OnDuplicate), name="on_duplicate"),
        CheckConstraint(one_of("source", ImportSourceKind), name="source"),
        CheckConstraint(one_of("kind", ImportContent), name="kind"),
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

    kind: Mapped[str] = mapped_column(server_default=text("'contacts'"))
    """What the rows of the file are. An import of outcomes is done by
    ``domain/sales/outcome_imports``."""
    actor: Mapped[str | None]
    """The user or API key that requested an import of outcomes; None for an import of contacts."""
    source: Mapped[str] = mapped_column(server_default=text("'file'"))
    rows_sha256: Mapped[str | None]
    """SHA-256 of the CSV that is imported: the upload, or the CSV that was made from a workbook or
    from the provider's contacts."""
    detected_format: Mapped[str | None]
    mapping: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    columns: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """For each column of the file: its field, how certain the field is, and how it was found."""
    notes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    on_duplicate: Mapped[str] = mapped_column(server_default=text("'fill'"))
    dry_run: Mapped[bool] = mapped_column(server_default=text("false"))
    dry_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact_import.id"))
    """The dry run that this import commits, with its rows, mapping and options."""
    list_id: Mapped[UUID | None]
    list_name: Mapped[str | None]
    """The name of the list that the contacts join. A dry run does not create the list."""
    fetch_token: Mapped[str | None]
    """Token of the next page of contacts at the provider. None: no page was read yet. Empty: the
    last page was read.

    For the import of a file, it is always None.
    """
    fetched_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """The size in bytes of the rows that were fetched from the provider so far; None for a file."""
    rows_total: Mapped[int | None] = mapped_column(Integer)
    created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    updated: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    unchanged: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    changed_since_dry_run: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of people whose result differs from the result in the dry run, because contacts
    have changed since then."""
    changes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """For each field: how often the import filled it, and how often it overwrote it."""
    sample: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """The first new and changed contacts as examples, with the old and new value of each field."""
    repeated_lines: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """The first 100 rows that were left out as duplicates.

    The phone number of such a row is also in an earlier row. Each item has the line numbers of both
    rows in the file: ``{"line": 7, "first_line": 2}``.
    """
    undo_state: Mapped[str | None]
    undo_counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The counts of the undo so far; the keys are ``undo_request.COUNTS``."""
    undone_at: Mapped[datetime | None]
    cleaned_at: Mapped[datetime | None]
    """When the data needed to undo or commit the import was deleted; None until then."""

    @property
    def undo(self) -> dict[str, Any] | None:
        """The status and the counts of the undo; None if no undo was requested."""
        return None if self.undo_state is None else {"status": self.undo_state, **self.undo_counts}


class ContactImportChunk(Base):
    """One chunk of an import, or of a dry run of an import.

    An import stores what the chunk changed, for an undo. A dry run stores a digest of the planned
    result for each person. An import that commits the dry run compares its results with the
    digests.
    """

    __tablename__ = "contact_import_chunk"

    import_id: Mapped[UUID] = mapped_column(
        ForeignKey("contact_import.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(Integer, primary_key=True)
    """The number of rows of the file before this chunk."""
    applied_at: Mapped[datetime]
    """When the chunk was stored. The contacts that the chunk created or changed have the same time
    in ``updated_at``, until they are edited."""
    outcomes: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()))
    """In a dry run: a digest of the planned result for each person, in order. Otherwise empty."""
    created_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    """The contacts that the chunk created; in an import of outcomes, the outcomes it recorded."""
    changed_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    changes: Mapped[list[Any]] = mapped_column(ARRAY(JSONB()))
    """For each of ``changed_ids``: which fields were empty before, and the old values of the other
    changed fields: ``{"filled": ["city"], "old": {"company": "Granite"}}``."""
    undone_at: Mapped[datetime | None]


class ContactImportError(FileImportError):
    """A value or a row that was not imported, and the reason."""

    __tablename__ = "contact_import_error"
    __table_args__ = (Index("idx_contact_import_error_import", "import_id", "id"),)

    import_id: Mapped[UUID] = mapped_column(ForeignKey("contact_import.id", ondelete="CASCADE"))
    code: Mapped[str]


_EMITTED = (
    *("status", "dry_run", "rows_total", "rows_processed"),
    *("created", "updated", "unchanged", "duplicates_in_file", "invalid"),
)


async def emit_progress(uow: UnitOfWork, row: ContactImport) -> None:
    """Record an event with the progress of an import, or with the progress of undoing it."""
    data = {name: getattr(row, name) for name in _EMITTED}
    await event_recording.record_event(
        uow, type=EventType.IMPORT_PROGRESS, subject_id=row.id, data={**data, "undo": row.undo}
    )


CONTACT_IMPORTS = ImportKind(
    table=ContactImport,
    error_table=ContactImportError,
    job=JobName.RUN_IMPORTS,
    list_name="imports",
    not_found=ImportNotFoundError,
    has_ended=ImportFinishedError,
    emit_progress=emit_progress,
)
