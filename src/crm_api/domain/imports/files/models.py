"""Base classes of the tables of contact imports and do-not-contact uploads."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ImportStatus(StrEnum):
    """The status of an import."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (ImportStatus.PENDING, ImportStatus.RUNNING)


class FileImport(Base):
    """An import of the rows of one file.

    After an interruption, a worker continues after the first ``rows_processed`` rows.
    """

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    file_name: Mapped[str | None]
    """The name under which the user uploaded the file. It is never used as a path."""
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
    """A value or a row that was not imported, and the reason."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    import_id: Mapped[UUID]
    line: Mapped[int] = mapped_column(Integer)
    """The line in the file on which the row starts, from 1."""
    column: Mapped[str | None]
    value: Mapped[str | None]
    reason: Mapped[str]
