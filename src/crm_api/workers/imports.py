"""Jobs that run imports, their undos, and do-not-contact uploads, chunk by chunk."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Generic
from uuid import UUID

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.contacts import fetch, settling, undo, write
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.chunk_reader import open_chunk_reader
from crm_api.domain.imports.contacts.kind import CONTACT_IMPORTS
from crm_api.domain.imports.contacts.models import ContactImport, ImportContent
from crm_api.domain.imports.contacts.source import ContactChunk, sha256_of
from crm_api.domain.imports.do_not_contact import service as do_not_contact
from crm_api.domain.imports.do_not_contact.models import DoNotContactUpload
from crm_api.domain.imports.do_not_contact.service import DO_NOT_CONTACT_UPLOADS
from crm_api.domain.imports.do_not_contact.source import CHUNK_ROWS, NumberChunk, NumberSource
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.chunk_reader import (
    ChunkReader,
    ChunkT,
    OpenReaders,
    ThreadChunkReader,
)
from crm_api.domain.imports.files.errors import ImportFileError, UploadChangedError, UploadGoneError
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.imports.files.runs import ImportKind, ImportRow
from crm_api.domain.inbound.reconciliation.pace import RequestPace
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.people.lists import service as lists
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError
from crm_api.domain.sales.outcome_imports import undo as outcome_undo
from crm_api.domain.sales.outcome_imports import write as outcome_write
from crm_api.domain.sales.outcome_imports.source import CHUNK_ROWS as OUTCOME_ROWS
from crm_api.domain.sales.outcome_imports.source import OutcomeChunk, OutcomeSourceFile
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.postgres import DATABASE_UNREACHABLE
from crm_api.workers.deps import Deps, TimeLimit, deps_of
from crm_api.workers.guards import provider_read

log = structlog.get_logger()

PROVIDER_RETRY_SECONDS = 30.0
"""If the provider cannot be read now, the import waits at least this long before it tries again."""


async def run_imports(ctx: dict[str, Any]) -> None:
    """Run imports and undos until none waits or the job's time limit is near.

    Two runs at once are harmless, because only one worker at a time can work on an import. The job
    also deletes uploaded files that are too old to be used, and merges the counts of lists, which
    each chunk of an import adds to.
    """
    deps = deps_of(ctx)
    readings = deps.import_readings
    work = contact_work(deps.new_uow, secret=deps.secret)
    is_over = TimeLimit(deps).is_over
    folder = contact_imports.uploads_folder(deps.settings.data_dir)
    await asyncio.to_thread(contact_imports.discard_old_uploads, folder, wall_now=clock.wall_now())
    while not is_over():
        async with deps.new_uow() as uow:
            undone = await undo.claim_undo(uow.session, now=await uow.database_now())
        if undone is not None:
            undo_one = undo_outcomes if undone.kind == ImportContent.OUTCOMES else undo_import
            await undo_one(deps.new_uow, undone.id, is_over=is_over)
            continue
        async with deps.new_uow() as uow:
            row = await runs.claim_import(
                uow.session, CONTACT_IMPORTS, now=await uow.database_now()
            )
        if row is None:
            await readings.close()
            async with deps.new_uow() as uow:
                await lists.merge_list_tallies(uow)
            return
        path = contact_imports.rows_path(deps.settings.data_dir, row)
        if row.kind == ImportContent.OUTCOMES:
            outcomes = outcome_work(deps.new_uow, secret=deps.secret)
            await write_import(deps.new_uow, outcomes, row, path=path, is_over=is_over)
            continue
        if fetch.needs_fetch(row) and not await _fetch(deps, row, path=path, is_over=is_over):
            continue
        await write_import(deps.new_uow, work, row, path=path, is_over=is_over, readings=readings)
    if deps.is_stopping:
        await readings.close()


async def _do_nothing(_: object) -> None:
    """Do nothing, for kinds of imports that leave nothing to clean up."""


@dataclass(frozen=True, kw_only=True)
class ImportWork(Generic[ImportRow, ChunkT]):
    """The functions with which a worker runs imports of one kind.

    Attributes:
        open_rows: Opens the file, and skips the rows that are already processed.
        apply_chunk: Stores a chunk and the checkpoint in one transaction. Returns False if the
            import has ended or another worker has continued it.
        needs_rows: Returns True if another run can still need the file, which then must not be
            deleted.
        stays: A sentence for the user that names the changes that a failed import keeps.
        clean_after: Cleans up after a stored chunk, in a transaction of its own and beside the next
            chunk. Returns without a transaction if the chunk needs no cleaning.
        settle: Cleans up after the last chunk, before the import is completed.
    """

    kind: ImportKind[ImportRow]
    open_rows: Callable[[ImportRow, Path], Awaitable[ChunkReader[ChunkT]]]
    apply_chunk: Callable[[UnitOfWork, UUID, ChunkT], Awaitable[bool]]
    needs_rows: Callable[[UnitOfWork, UUID], Awaitable[bool]]
    stays: str
    clean_after: Callable[[ChunkT], Awaitable[None]] = _do_nothing
    settle: Callable[[UUID], Awaitable[None]] = _do_nothing


def contact_work(
    new_uow: UnitOfWorkFactory, *, secret: bytes
) -> ImportWork[ContactImport, ContactChunk]:
    """Return the functions that run contact imports."""

    async def apply_chunk(uow: UnitOfWork, import_id: UUID, chunk: ContactChunk) -> bool:
        now = await uow.database_now()
        return await write.apply_chunk(
            uow, import_id=import_id, chunk=chunk, now=now, secret=secret
        )

    async def clean_after(chunk: ContactChunk) -> None:
        if len(chunk.records) >= settling.MANY_PEOPLE:
            await _try_to(settling.clean_search, new_uow)

    return ImportWork(
        kind=CONTACT_IMPORTS,
        open_rows=partial(_open_contacts, new_uow),
        apply_chunk=apply_chunk,
        needs_rows=lambda uow, import_id: contact_imports.needs_rows(uow, import_id=import_id),
        stays="The rows that are counted as processed are not undone.",
        clean_after=clean_after,
        settle=partial(_settle_contacts, new_uow),
    )


def outcome_work(
    new_uow: UnitOfWorkFactory, *, secret: bytes
) -> ImportWork[ContactImport, OutcomeChunk]:
    """Return the functions that run imports of outcomes."""

    async def apply_chunk(uow: UnitOfWork, import_id: UUID, chunk: OutcomeChunk) -> bool:
        now = await uow.database_now()
        return await outcome_write.apply_chunk(
            uow, import_id=import_id, chunk=chunk, now=now, secret=secret
        )

    return ImportWork(
        kind=CONTACT_IMPORTS,
        open_rows=partial(_open_outcomes, new_uow),
        apply_chunk=apply_chunk,
        needs_rows=lambda uow, import_id: contact_imports.needs_rows(uow, import_id=import_id),
        stays="The outcomes that are counted as created are not reversed. Undo the import.",
    )


async def _settle_contacts(new_uow: UnitOfWorkFactory, import_id: UUID) -> None:
    """Make search and lists fast at the end of an import or its undo.

    Clean the indexes of the search, and refresh the statistics after many changes.
    """
    async with new_uow() as uow:
        row = await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id)
        changed = 0 if row.dry_run else row.created + row.updated
    if changed:
        await _try_to(settling.clean_search, new_uow)
    if changed >= settling.ANALYZE_FROM:
        await _try_to(settling.refresh_statistics, new_uow)


async def _try_to(
    settle: Callable[[AsyncSession], Awaitable[None]], new_uow: UnitOfWorkFactory
) -> None:
    """Run a step of settling; only log a fault, because the contacts are already stored."""
    try:
        async with new_uow() as uow:
            await settle(uow.session)
    except (DBAPIError, *DATABASE_UNREACHABLE):
        log.warning("imported contacts not settled", step=settle.__name__, exc_info=True)


async def write_import(
    new_uow: UnitOfWorkFactory,
    work: ImportWork[ImportRow, ChunkT],
    row: ImportRow,
    *,
    path: Path,
    is_over: Callable[[], bool],
    readings: OpenReaders[ChunkT] | None = None,
) -> None:
    """Run an import that this worker has claimed, and store the result in the import's row.

    Args:
        is_over: Called after each chunk. If it returns True, this run ends, and the next run of the
            job continues the import.
        readings: Keeps the file open for the next run of the job. With None, the file is closed.
    """
    readers: OpenReaders[ChunkT] = OpenReaders() if readings is None else readings
    failed = f"The import failed because of an internal error, which was logged. {work.stays}"
    try:
        has_ended = await _write(new_uow, work, row, path=path, is_over=is_over, readings=readers)
    except ImportFileError as error:
        await _fail(new_uow, work.kind, row.id, error.detail)
    except (DataError, IntegrityError, ProgrammingError):
        log.exception("import failed", import_id=str(row.id))
        await _fail(new_uow, work.kind, row.id, failed)
    except DATABASE_UNREACHABLE:
        # The database is not available now. The lease expires, and a later run continues.
        raise
    except Exception:
        log.exception("import failed", import_id=str(row.id))
        await _fail(new_uow, work.kind, row.id, failed)
    else:
        if not has_ended:
            return
    finally:
        if readings is None:
            await readers.close()
    await _discard(new_uow, work, row.id, path)


async def _fetch(
    deps: Deps, row: ContactImport, *, path: Path, is_over: Callable[[], bool]
) -> bool:
    """Write the provider's contacts to the import's file; return True if the file is complete."""
    pace = RequestPace(limiter=deps.limiter, new_uow=deps.new_uow, now=clock.now)
    provider = fetch.Provider(
        lists=deps.provider.lists,
        take_turn=pace.wait_for_request,
        around=lambda: provider_read(deps),
    )
    try:
        is_here = await fetch.fetch_contacts(
            provider, row, new_uow=deps.new_uow, path=path, now=clock.now, is_over=is_over
        )
    except OpenPhoneBusyError as error:
        seconds = max(error.retry_after_seconds or 0.0, PROVIDER_RETRY_SECONDS)
        until = clock.now() + timedelta(seconds=seconds)
        async with deps.new_uow() as uow:
            await contact_imports.postpone_import(
                uow, import_id=row.id, until=until, why=error.detail, now=await uow.database_now()
            )
        await deps.queue.push(Job(name=JobName.RUN_IMPORTS, delay_seconds=seconds + 1))
        return False
    except CrmError as error:
        await _fail(deps.new_uow, CONTACT_IMPORTS, row.id, error.detail)
        await _discard(deps.new_uow, contact_work(deps.new_uow, secret=deps.secret), row.id, path)
        return False
    if not is_here:
        async with deps.new_uow() as uow:
            await runs.release(uow, CONTACT_IMPORTS, import_id=row.id, now=await uow.database_now())
    return is_here


async def undo_import(
    new_uow: UnitOfWorkFactory, import_id: UUID, *, is_over: Callable[[], bool]
) -> None:
    """Undo an import chunk by chunk, until all is undone or ``is_over`` returns True."""
    while True:
        async with new_uow() as uow:
            is_open = await undo.undo_chunk(uow, import_id=import_id, now=await uow.database_now())
        if not is_open:
            await _settle_contacts(new_uow, import_id)
            return
        if is_over():
            async with new_uow() as uow:
                await undo.release_undo(uow, import_id=import_id, now=await uow.database_now())
            return


async def undo_outcomes(
    new_uow: UnitOfWorkFactory, import_id: UUID, *, is_over: Callable[[], bool]
) -> None:
    """Undo an import of outcomes by chunks, until all is undone or ``is_over`` returns True."""
    while True:
        async with new_uow() as uow:
            now = await uow.database_now()
            is_open = await outcome_undo.undo_chunk(uow, import_id=import_id, now=now)
        if not is_open:
            return
        if is_over():
            async with new_uow() as uow:
                await undo.release_undo(uow, import_id=import_id, now=await uow.database_now())
            return


async def _write(
    new_uow: UnitOfWorkFactory,
    work: ImportWork[ImportRow, ChunkT],
    row: ImportRow,
    *,
    path: Path,
    is_over: Callable[[], bool],
    readings: OpenReaders[ChunkT],
) -> bool:
    """Store chunks until the file or the time limit ends; return True if the import has ended."""
    kind = work.kind
    source = await readings.take(row.id, position=row.rows_processed)
    cleaning: asyncio.Future[None] = asyncio.ensure_future(_do_nothing(None))
    try:
        source = source or await _open(work, row, path)
        while chunk := await source.next_chunk():
            async with new_uow() as uow:
                is_ours = await work.apply_chunk(uow, row.id, chunk)
            if cleaning.done():
                cleaning = asyncio.ensure_future(work.clean_after(chunk))
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


async def _open_contacts(
    new_uow: UnitOfWorkFactory, row: ContactImport, path: Path
) -> ChunkReader[ContactChunk]:
    """Open the file, and skip the rows that are already processed.

    Raises:
        UploadChangedError: The import applies the result of a dry run, but the file differs from
            the file that the dry run has read.
    """
    await _check_file(row, path)
    source = await open_chunk_reader(path, row.mapping, start=row.rows_processed)
    return await _counted(new_uow, row, source)


async def _open_outcomes(
    new_uow: UnitOfWorkFactory, row: ContactImport, path: Path
) -> ChunkReader[OutcomeChunk]:
    """Open a file of outcomes as ``_open_contacts`` opens one of contacts."""
    await _check_file(row, path)
    source = await asyncio.to_thread(OutcomeSourceFile, path, row.mapping)
    rows_total = None if row.rows_total is not None else await asyncio.to_thread(source.count_rows)
    await asyncio.to_thread(source.skip_to, row.rows_processed)
    reader = ThreadChunkReader(source, chunk_rows=OUTCOME_ROWS, rows_total=rows_total)
    return await _counted(new_uow, row, reader)


async def _check_file(row: ContactImport, path: Path) -> None:
    if row.dry_run_id is not None:
        digest = await asyncio.to_thread(sha256_of, path)
        if digest != row.rows_sha256:
            raise UploadChangedError(
                "The stored file differs from the file of the dry run. Upload the file again."
            )


async def _counted(
    new_uow: UnitOfWorkFactory, row: ContactImport, source: ChunkReader[ChunkT]
) -> ChunkReader[ChunkT]:
    """Store the number of rows of an import that has none yet; close the reader on a fault."""
    if row.rows_total is None:
        try:
            async with new_uow() as uow:
                await contact_imports.store_row_count(
                    uow,
                    import_id=row.id,
                    rows_total=source.rows_total,
                    now=await uow.database_now(),
                )
        except BaseException:
            await source.close()
            raise
    return source


async def _discard(
    new_uow: UnitOfWorkFactory, work: ImportWork[ImportRow, ChunkT], import_id: UUID, path: Path
) -> None:
    """Delete an import's file if it is no longer needed, because it contains personal data."""
    async with new_uow() as uow:
        is_needed = await work.needs_rows(uow, import_id)
    if not is_needed:
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def _fail(
    new_uow: UnitOfWorkFactory, kind: ImportKind[ImportRow], import_id: UUID, error: str
) -> None:
    status = ImportStatus.FAILED
    async with new_uow() as uow:
        now = await uow.database_now()
        await runs.end_import(uow, kind, import_id=import_id, status=status, error=error, now=now)


async def run_do_not_contact(ctx: dict[str, Any]) -> None:
    """Run do-not-contact uploads until none waits or the job's time limit is near.

    Two runs at once are harmless, because only one worker at a time can work on an upload.
    """
    deps = deps_of(ctx)
    is_over = TimeLimit(deps).is_over
    while not is_over():
        async with deps.new_uow() as uow:
            now = await uow.database_now()
            row = await runs.claim_import(uow.session, DO_NOT_CONTACT_UPLOADS, now=now)
        if row is None:
            return
        path = do_not_contact.upload_path(deps.settings.data_dir, row.id)
        await write_import(deps.new_uow, UPLOAD_WORK, row, path=path, is_over=is_over)


async def _open_numbers(row: DoNotContactUpload, path: Path) -> ChunkReader[NumberChunk]:
    source = await asyncio.to_thread(NumberSource, path, row.columns)
    await asyncio.to_thread(source.skip_to, row.rows_processed)
    return ThreadChunkReader(source, chunk_rows=CHUNK_ROWS)


async def _apply_chunk(uow: UnitOfWork, upload_id: UUID, chunk: NumberChunk) -> bool:
    now = await uow.database_now()
    return await do_not_contact.apply_chunk(uow, upload_id=upload_id, chunk=chunk, now=now)


UPLOAD_WORK = ImportWork(
    kind=DO_NOT_CONTACT_UPLOADS,
    open_rows=_open_numbers,
    apply_chunk=_apply_chunk,
    needs_rows=lambda uow, upload_id: do_not_contact.needs_rows(uow, upload_id=upload_id),
    stays="The flags that are already set stay.",
)
"""The functions that run do-not-contact uploads."""
