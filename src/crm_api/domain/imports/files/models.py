"""What the tables of every kind of import have in common."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ImportStatus(StrEnum):
    """The states of an import."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (ImportStatus.PENDING, ImportStatus.RUNNING)


class FileImport(Base):
    """An import of the rows of one file; ``rows_processed`` is the checkpoint to resume from."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    file_name: Mapped[str | None]
    """The user's name for it; never used as a path."""
    byte_size: Mapped[int] = mapped_column(BigInteger)
    rows_processed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    duplicates_in_file: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    invalid: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class FileImportError(Base):
    """A value or a row that was refused, and why."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    import_id: Mapped[UUID]
    line: Mapped[int] = mapped_column(Integer)
    """The line in the file on which the row starts, from 1."""
    column: Mapped[str | None]
    value: Mapped[str | None]
    reason: Mapped[str]
