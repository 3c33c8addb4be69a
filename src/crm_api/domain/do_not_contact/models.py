"""Uploads of numbers that must not be texted, and what in them was no number."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class UploadStatus(StrEnum):
    """Where an upload stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_UPLOADS = (UploadStatus.PENDING, UploadStatus.RUNNING)


class DoNotContactUpload(Base):
    """One list on its way in, and its scrub report; ``rows_processed`` is the checkpoint."""

    __tablename__ = "do_not_contact_upload"
    __table_args__ = (
        CheckConstraint(one_of("status", UploadStatus), name="status"),
        Index("idx_do_not_contact_upload_created", "created_at", "id"),
        Index(
            "idx_do_not_contact_upload_waiting",
            "updated_at",
            "id",
            postgresql_where=text(one_of("status", OPEN_UPLOADS)),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    file_name: Mapped[str | None]
    """As the user called it; never used as a path."""
    byte_size: Mapped[int] = mapped_column(BigInteger)
    columns: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """Those that hold numbers."""
    reason: Mapped[str]
    """Stands on each flag."""
    actor: Mapped[str]
    dry_run: Mapped[bool]
    rows_processed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    numbers_read: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    invalid: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    duplicates_in_file: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    already_suppressed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    newly_suppressed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    contacts_matched: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    texts_withdrawn: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    texts_sent_lately: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class DoNotContactUploadError(Base):
    """A cell that holds no number."""

    __tablename__ = "do_not_contact_upload_error"
    __table_args__ = (Index("idx_do_not_contact_upload_error_upload", "upload_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    upload_id: Mapped[UUID] = mapped_column(
        ForeignKey("do_not_contact_upload.id", ondelete="CASCADE")
    )
    line: Mapped[int] = mapped_column(Integer)
    """The line in the file on which the row starts, from 1."""
    column: Mapped[str | None]
    value: Mapped[str | None]
    reason: Mapped[str]
