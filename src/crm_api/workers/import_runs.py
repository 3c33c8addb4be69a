"""Run an import of any kind, chunk by chunk, and store the result of the import."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic
from uuid import UUID

import structlog
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.chunk_reader import ChunkReader, ChunkT, OpenReaders
from crm_api.domain.imports.files.errors import ImportFileError, UploadGoneError
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.imports.files.runs import ImportKind, ImportRow
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.postgres import DATABASE_UNREACHABLE

log = structlog.get_logger()


async def _do_nothing(*_: object) -> None:
    """Do nothing. This is the default of the clean-up functions in ``ImportWork``."""


@dataclass(frozen=True, kw_only=True)
class ImportWork(Generic[ImportRow, ChunkT]):
    """The functions with which a worker runs imports of one kind.

    Attributes:
        open_rows: Opens the file, and skips the rows that are already processed.
        apply_chunk: Stores a chunk and the progress in one transaction. Returns False if the import
            has ended or another worker has continued it.
        needs_rows: Returns True if another run may still need the file, which then must not be
            deleted.
        stays: A sentence for the user that says which changes remain after a failed import.
        clean_after: Cleans up after a stored chunk, in its own transaction, while the next chunk is
            stored. A chunk gets no clean-up if the clean-up of an earlier chunk is still running.
        settle: Cleans up once, after the last chunk, before the import is completed.
    """

    kind: ImportKind[ImportRow]
    open_rows: Callable[[ImportRow, Path], Awaitable[ChunkReader[ChunkT]]]
    apply_chunk: Callable[[UnitOfWork, UUID, ChunkT], Awaitable[bool]]
    needs_rows: Callable[[UnitOfWork, UUID], Awaitable[bool]]
    stays: str
    clean_after: Callable[[UUID, ChunkT], Awaitable[None]] = _do_nothing
    settle: Callable[[UUID], Awaitable[None]] = _do_nothing


async def write_import(
    new_uow: UnitOfWorkFactory,
    work: ImportWork[ImportRow, ChunkT],
    row: ImportRow,
    *,
    path: Path,
    is_over: Callable[[], bool],
    readings: OpenReaders[ChunkT] | None = None,
) -> None:
    """Run an import that is reserved for this worker, and store its result in the database.

    Args:
        is_over: Called after each chunk. If it returns True, this run ends, and the next run of the
            job continues the import.
        readings: Keeps the file open for the next run; None closes the file at the end.
    """
    readers: OpenReaders[ChunkT] = OpenReaders() if readings is None else readings
    failed = f"The import failed because of an internal error, which was logged. {work.stays}"
    try:
        has_ended = await _write(new_uow, work, row, path=path, is_over=is_over, readings=readers)
    except ImportFileError as error:
        await fail_import(new_uow, work.kind, row.id, error.detail)
    except (DataError, IntegrityError, ProgrammingError):
        log.exception("import failed", import_id=str(row.id))
        await fail_import(new_uow, work.kind, row.id, failed)
    except DATABASE_UNREACHABLE:
        # The database is unavailable, so the import cannot be marked as failed. When its lease (the
        # reservation by this worker) has expired, a later run continues the import.
        raise
    except Exception:
        log.exception("import failed", import_id=str(row.id))
        await fail_import(new_uow, work.kind, row.id, failed)
    else:
        if not has_ended:
            return
    finally:
        if readings is None:
            await readers.close()
    await discard_rows(new_uow, work, row.id, path)


async def _write(
    new_uow: UnitOfWorkFactory,
    work: ImportWork[ImportRow, ChunkT],
    row: ImportRow,
    *,
    path: Path,
    is_over: Callable[[], bool],
    readings: OpenReaders[ChunkT],
) -> bool:
    """Store chunks until no rows are left or ``is_over`` returns True.

    Also stop if the import has ended, or if another worker has continued it.

    Returns:
        True if the import has ended.
    """
    kind = work.kind
    source = await readings.take(row.id, position=row.rows_processed)
    cleaning: asyncio.Future[None] = asyncio.ensure_future(_do_nothing())
    try:
        source = source or await _open(work, row, path)
        while chunk := await source.next_chunk():
            async with new_uow() as uow:
                is_ours = await work.apply_chunk(uow, row.id, chunk)
            if cleaning.done():
                cleaning = asyncio.ensure_future(work.clean_after(row.id, chunk))
            if not is_ours:
                async with new_uow() as uow:
                    ended = await runs.get_import(uow, kind, import_id=row.id)
                    return ended.finished_at is not None
            if is_over():
                async with new_uow() as uow:
                    now = await uow.database_now()
                    await runs.release(uow, kind, import_id=row.id, now=now)
                readings.keep(row.id, source)
                return False
        await cleaning
        await work.settle(row.id)
        async with new_uow() as uow:
            now = await uow.database_now()
            await runs.complete(uow, kind, import_id=row.id, rows=source.position, now=now)
        return True
    finally:
        await cleaning
        if source is not None and row.id not in readings.by_import:
            await source.close()


async def _open(
    work: ImportWork[ImportRow, ChunkT], row: ImportRow, path: Path
) -> ChunkReader[ChunkT]:
    try:
        return await work.open_rows(row, path)
    except FileNotFoundError as error:
        raise UploadGoneError(
            "The uploaded file is missing in the worker's data directory. Make sure that all "
            "processes use the same data directory, and upload the file again."
        ) from error


async def discard_rows(
    new_uow: UnitOfWorkFactory, work: ImportWork[ImportRow, ChunkT], import_id: UUID, path: Path
) -> None:
    """Delete the file with the rows of an import, if the import no longer needs the file.

    The file contains personal data.
    """
    async with new_uow() as uow:
        is_needed = await work.needs_rows(uow, import_id)
    if not is_needed:
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def fail_import(
    new_uow: UnitOfWorkFactory, kind: ImportKind[ImportRow], import_id: UUID, error: str
) -> None:
    """End an import as failed; ``error`` is the sentence for the user."""
    status = ImportStatus.FAILED
    async with new_uow() as uow:
        now = await uow.database_now()
        await runs.end_import(uow, kind, import_id=import_id, status=status, error=error, now=now)
