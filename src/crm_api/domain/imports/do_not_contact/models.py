"""The tables of do-not-contact uploads, and of the errors in their cells and rows."""

from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.imports.files.models import OPEN, FileImport, FileImportError, ImportStatus
from crm_api.domain.kit.vocabulary import one_of


class DoNotContactUpload(FileImport):
    """An uploaded list of phone numbers that must not get messages, with its counts."""

    __tablename__ = "do_not_contact_upload"
    __table_args__ = (
        CheckConstraint(one_of("status", ImportStatus), name="status"),
        Index("idx_do_not_contact_upload_created", "created_at", "id"),
        Index(
            "idx_do_not_contact_upload_waiting",
            "updated_at",
            "id",
            postgresql_where=text(one_of("status", OPEN)),
        ),
    )

    columns: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """The names of the columns that contain phone numbers."""
    reason: Mapped[str]
    """The reason that is stored with the flag of each number."""
    actor: Mapped[str]
    dry_run: Mapped[bool]
    numbers_read: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    already_suppressed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    newly_suppressed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    contacts_matched: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    texts_withdrawn: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    texts_sent_lately: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class DoNotContactUploadError(FileImportError):
    """A cell that is not a phone number, or a row that cannot be read."""

    __tablename__ = "do_not_contact_upload_error"
    __table_args__ = (Index("idx_do_not_contact_upload_error_upload", "upload_id", "id"),)

    import_id: Mapped[UUID] = mapped_column(
        "upload_id", ForeignKey("do_not_contact_upload.id", ondelete="CASCADE")
    )
