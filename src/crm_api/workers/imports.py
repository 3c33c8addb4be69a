"""Jobs that run imports, their undos, and do-not-contact uploads, chunk by chunk.

Each kind of import (contacts, outcomes, do-not-contact uploads) has its own function.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.contacts import fetch, undo, write
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.chunk_reader import open_chunk_reader
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS, ContactImport, ImportContent
from crm_api.domain.imports.contacts.source import CHUNK_ROWS as CONTACT_ROWS
from crm_api.domain.imports.contacts.source import ContactChunk, sha256_of
from crm_api.domain.imports.do_not_contact import service as do_not_contact
from crm_api.domain.imports.do_not_contact.models import DoNotContactUpload
from crm_api.domain.imports.do_not_contact.service import DO_NOT_CONTACT_UPLOADS
from crm_api.domain.imports.do_not_contact.source import CHUNK_ROWS, NumberChunk, NumberSource
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.chunk_reader import ChunkReader, ChunkT, ThreadChunkReader
from crm_api.domain.imports.files.errors import UploadChangedError
from crm_api.domain.inbound.reconciliation.pace import RequestPace
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.people.lists import service as lists
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError
from crm_api.domain.sales.outcome_imports import write as outcome_write
from crm_api.domain.sales.outcome_imports.source import CHUNK_ROWS as OUTCOME_ROWS
from crm_api.domain.sales.outcome_imports.source import OutcomeChunk, OutcomeSourceFile
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.postgres import DATABASE_UNREACHABLE
from crm_api.workers.deps import Deps, TimeLimit, deps_of
from crm_api.workers.guards import provider_read
from crm_api.workers.import_runs import ImportWork, discard_rows, fail_import, write_import

log = structlog.get_logger()


def contact_work(
    new_uow: UnitOfWorkFactory, *, secret: bytes
) -> ImportWork[ContactImport, ContactChunk]:
    """Return the functions that run contact imports."""

    async def apply_chunk(uow: UnitOfWork, import_id: UUID, chunk: ContactChunk) -> bool:
        now = await uow.database_now()
        return await write.apply_chunk(
            uow, import_id=import_id, chunk=chunk, now=now, secret=secret
        )

    clean_up = ContactCleanUp(new_uow)
    return ImportWork(
        kind=CONTACT_IMPORTS,
        open_rows=partial(_open_contacts, new_uow),
        apply_chunk=apply_chunk,
        needs_rows=lambda uow, import_id: contact_imports.needs_rows(uow, import_id=import_id),
        stays="The rows that are counted as processed are not undone.",
        clean_after=clean_up.after_chunk,
        settle=clean_up.after_import,
    )


def outcome_work(
    new_uow: UnitOfWorkFactory, *, secret: bytes
) -> ImportWork[ContactImport, OutcomeChunk]:
    """Return the functions that run imports of outcomes, such as paid invoices."""

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


class ContactCleanUp:
    """Makes search and lists fast again during and after contact imports.

    The clean-up moves new words from PostgreSQL's pending list into the search indexes. If an
    import has changed many contacts, the clean-up also refreshes the statistics of the tables. If
    possible, it refreshes them while the last chunk is stored. If not, it refreshes them after the
    last chunk.
    """

    def __init__(self, new_uow: UnitOfWorkFactory) -> None:
        self._new_uow = new_uow
        self._refreshed: set[UUID] = set()

    async def after_chunk(self, import_id: UUID, chunk: ContactChunk) -> None:
        """Clean up after a stored chunk, while the next chunk is stored."""
        if len(chunk.records) < write.MANY_PEOPLE:
            return
        await _try_to(write.clean_search, self._new_uow)

        async def refresh_if_next_is_last(session: AsyncSession) -> None:
            row = await session.get_one(ContactImport, import_id)
            rows_left = (row.rows_total or 0) - chunk.end
            is_next_last = 0 < rows_left <= CONTACT_ROWS
            if is_next_last and _count_changes(row) >= write.ANALYZE_FROM:
                await write.refresh_statistics(session)
                self._refreshed.add(import_id)

        await _try_to(refresh_if_next_is_last, self._new_uow)

    async def after_import(self, import_id: UUID) -> None:
        """Clean up after the last chunk."""
        changes = _count_changes(await _read_import(self._new_uow, import_id))
        if changes:
            await _try_to(write.clean_search, self._new_uow)
        if changes >= write.ANALYZE_FROM and import_id not in self._refreshed:
            await _try_to(write.refresh_statistics, self._new_uow)
        self._refreshed.discard(import_id)


async def _read_import(new_uow: UnitOfWorkFactory, import_id: UUID) -> ContactImport:
    async with new_uow() as uow:
        return await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id)


def _count_changes(row: ContactImport) -> int:
    """Return the number of contacts that the import created or changed."""
    return 0 if row.dry_run else row.created + row.updated


async def _try_to(
    settle: Callable[[AsyncSession], Awaitable[None]], new_uow: UnitOfWorkFactory
) -> None:
    """Run a clean-up step. Only log its failure, because the contacts are already stored."""
    try:
        async with new_uow() as uow:
            await settle(uow.session)
    except (DBAPIError, *DATABASE_UNREACHABLE):
        log.warning("could not clean up after an import", step=settle.__name__, exc_info=True)


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
    """Open a file of outcomes, and skip the rows that are already processed.

    Raises:
        UploadChangedError: The import applies the result of a dry run, but the file differs from
            the file that the dry run has read.
    """
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
            raise UploadChangedError


async def _counted(
    new_uow: UnitOfWorkFactory, row: ContactImport, source: ChunkReader[ChunkT]
) -> ChunkReader[ChunkT]:
    """Store the number of rows in an import's file, if it is not stored yet.

    If the number cannot be stored, the file is closed, and the error is raised.

    Returns:
        ``source``, the reader of the file, unchanged.
    """
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
    stays="Flags that were already set are kept.",
)
"""The functions that process do-not-contact uploads (files of phone numbers to exclude)."""


PROVIDER_RETRY_SECONDS = 30.0
"""How many seconds an import waits at least before it repeats a failed request to the provider."""


async def run_imports(ctx: dict[str, Any]) -> None:
    """Run imports and undos until no work is left or the job's time limit is near.

    Two runs at the same time are harmless: only one worker at a time can work on an import. The job
    also deletes old uploaded files. When no import waits, the job merges the rows of
    ``contact_list_tally``, which stores how many contacts each list has.
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
            await undo_import(deps.new_uow, undone, is_over=is_over)
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
        await fail_import(deps.new_uow, CONTACT_IMPORTS, row.id, error.detail)
        await discard_rows(
            deps.new_uow, contact_work(deps.new_uow, secret=deps.secret), row.id, path
        )
        return False
    if not is_here:
        async with deps.new_uow() as uow:
            await runs.release(uow, CONTACT_IMPORTS, import_id=row.id, now=await uow.database_now())
    return is_here


async def undo_import(
    new_uow: UnitOfWorkFactory, row: ContactImport, *, is_over: Callable[[], bool]
) -> None:
    """Undo an import chunk by chunk, until all is undone or ``is_over`` returns True."""
    is_outcomes = row.kind == ImportContent.OUTCOMES
    undo_chunk = outcome_write.undo_chunk if is_outcomes else undo.undo_chunk
    while True:
        async with new_uow() as uow:
            is_open = await undo_chunk(uow, import_id=row.id, now=await uow.database_now())
        if not is_open:
            # PostgreSQL refreshes the statistics of the tables later, by its automatic ANALYZE. So
            # only the search index is cleaned up here.
            if not is_outcomes and _count_changes(await _read_import(new_uow, row.id)):
                await _try_to(write.clean_search, new_uow)
            return
        if is_over():
            async with new_uow() as uow:
                await undo.release_undo(uow, import_id=row.id, now=await uow.database_now())
            return


async def run_do_not_contact(ctx: dict[str, Any]) -> None:
    """Run do-not-contact uploads until no upload waits or the job's time limit is near.

    Two runs at the same time are harmless, because only one worker at a time can work on an upload.
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
