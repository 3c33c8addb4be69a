"""Imports in the background: claim one, write it chunk by chunk, go on where a lost worker left."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.errors import OpenPhoneBusyError
from crm_api.domain.reconciliation.turns import Turns
from crm_api.domain.transfer import fetching, undoing
from crm_api.domain.transfer import service as transfer
from crm_api.domain.transfer.errors import ImportFileError, UploadChangedError, UploadGoneError
from crm_api.domain.transfer.models import ContactImport
from crm_api.domain.transfer.reading import Reading, Readings, open_reading
from crm_api.domain.transfer.source import sha256_of
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import Deps, deps_of
from crm_api.workers.reads import reading

log = structlog.get_logger()

SLICE_SECONDS = 30.0
"""A run stops after about this long and asks for another, so that a job's time-out can be short."""

AWAY_SECONDS = 30.0
"""How long an import waits at least for a provider that cannot be read."""

_OUR_FAULT = "Something went wrong here, and was logged; the rows counted so far stay."


async def run_imports(ctx: dict[str, Any]) -> None:
    """Work on imports and undos until none waits or the time is up; a second run changes nothing.

    Uploads that nobody can need any more are deleted on the way.
    """
    deps = deps_of(ctx)
    readings = deps.import_readings
    ends_at = time.monotonic() + SLICE_SECONDS

    def is_over() -> bool:
        return deps.is_stopping or time.monotonic() >= ends_at

    folder = transfer.uploads_folder(deps.settings.data_dir)
    await asyncio.to_thread(transfer.discard_old_uploads, folder, now=clock.now())
    while not is_over():
        async with deps.new_uow() as uow:
            undone = await undoing.claim(uow, now=clock.now())
        if undone is not None:
            await undo(deps.new_uow, undone.id, is_over=is_over)
            continue
        async with deps.new_uow() as uow:
            row = await transfer.claim(uow, now=clock.now())
        if row is None:
            await readings.close()
            return
        path = transfer.rows_path(deps.settings.data_dir, row)
        if fetching.is_needed(row) and not await _fetch(deps, row, path=path, is_over=is_over):
            continue
        await work_on(
            deps.new_uow,
            row,
            path=path,
            is_over=is_over,
            secret=deps.secret,
            readings=readings,
        )
    if deps.is_stopping:
        await readings.close()


async def work_on(
    new_uow: UnitOfWorkFactory,
    row: ContactImport,
    *,
    path: Path,
    is_over: Callable[[], bool],
    secret: bytes,
    readings: Readings | None = None,
) -> None:
    """Write a claimed import; the outcome is in its row.

    Args:
        is_over: Asked after each chunk; when true, what is left waits for the next run.
        readings: Keeps the file open for that; None closes it.
    """
    kept = readings or Readings()
    try:
        has_ended = await _write(
            new_uow, row, path=path, is_over=is_over, secret=secret, readings=kept
        )
    except ImportFileError as error:
        await _fail(new_uow, row.id, error.detail)
    except (DataError, IntegrityError, ProgrammingError):
        log.exception("import failed", import_id=str(row.id))
        await _fail(new_uow, row.id, _OUR_FAULT)
    except (DBAPIError, OSError):
        # The database is away or busy: the lease runs out, and the next run goes on.
        raise
    except Exception:
        log.exception("import failed", import_id=str(row.id))
        await _fail(new_uow, row.id, _OUR_FAULT)
    else:
        if not has_ended:
            return
    finally:
        if readings is None:
            await kept.close()
    await _discard(new_uow, row.id, path)


async def _fetch(
    deps: Deps, row: ContactImport, *, path: Path, is_over: Callable[[], bool]
) -> bool:
    """Bring the provider's contacts here; False when that has not come to its end now."""
    turns = Turns(limiter=deps.limiter, new_uow=deps.new_uow, now=clock.now)
    provider = fetching.Provider(
        lists=deps.provider.lists, take_turn=turns.take, around=lambda: reading(deps)
    )
    try:
        is_here = await fetching.fetch(
            provider, row, new_uow=deps.new_uow, path=path, now=clock.now, is_over=is_over
        )
    except OpenPhoneBusyError as error:
        seconds = max(error.retry_after_seconds or 0.0, AWAY_SECONDS)
        until = clock.now() + timedelta(seconds=seconds)
        async with deps.new_uow() as uow:
            await transfer.postpone(
                uow, import_id=row.id, until=until, why=error.detail, now=clock.now()
            )
        await deps.queue.push(Job(name=JobName.RUN_IMPORTS, delay_seconds=seconds + 1))
        return False
    except CrmError as error:
        await _fail(deps.new_uow, row.id, error.detail)
        await _discard(deps.new_uow, row.id, path)
        return False
    if not is_here:
        async with deps.new_uow() as uow:
            await transfer.release(uow, import_id=row.id, now=clock.now())
    return is_here


async def undo(new_uow: UnitOfWorkFactory, import_id: UUID, *, is_over: Callable[[], bool]) -> None:
    """Take back a claimed import, chunk by chunk; the outcome is in its row."""
    while True:
        async with new_uow() as uow:
            if not await undoing.undo_chunk(uow, import_id=import_id, now=clock.now()):
                return
        if is_over():
            async with new_uow() as uow:
                await undoing.release(uow, import_id=import_id, now=clock.now())
            return


async def _write(
    new_uow: UnitOfWorkFactory,
    row: ContactImport,
    *,
    path: Path,
    is_over: Callable[[], bool],
    secret: bytes,
    readings: Readings,
) -> bool:
    """Write chunks; True when the import has ended, by us or by others."""
    source = await readings.take(row.id, position=row.rows_processed)
    try:
        source = source or await _open(row, path)
        if row.rows_total is None:
            total = source.rows_total
            async with new_uow() as uow:
                await transfer.keep(uow, import_id=row.id, rows_total=total, now=clock.now())
        while chunk := await source.next_chunk():
            async with new_uow() as uow:
                is_ours = await transfer.apply_chunk(
                    uow, import_id=row.id, chunk=chunk, now=clock.now(), secret=secret
                )
            if not is_ours:
                return await _has_ended(new_uow, row.id)
            if is_over():
                async with new_uow() as uow:
                    await transfer.release(uow, import_id=row.id, now=clock.now())
                readings.keep(row.id, source)
                return False
        async with new_uow() as uow:
            await transfer.complete(uow, import_id=row.id, rows=source.position, now=clock.now())
        return True
    finally:
        if source is not None and row.id not in readings.kept:
            await source.close()


async def _open(row: ContactImport, path: Path) -> Reading:
    """Open the rows of an import where it left off, if they are those that it was made for."""
    try:
        if row.dry_run_id is not None:
            digest = await asyncio.to_thread(sha256_of, path)
            if digest != row.rows_sha256:
                raise UploadChangedError("The uploaded file is not the one of the dry run.")
        return await open_reading(path, row.mapping, start=row.rows_processed)
    except FileNotFoundError as error:
        raise UploadGoneError(
            "The uploaded file is not in this worker's data directory; all processes share one."
        ) from error


async def _has_ended(new_uow: UnitOfWorkFactory, import_id: UUID) -> bool:
    async with new_uow() as uow:
        return (await transfer.get(uow, import_id=import_id)).finished_at is not None


async def _discard(new_uow: UnitOfWorkFactory, import_id: UUID, path: Path) -> None:
    """Delete an upload that is no longer needed; people's data is not kept twice."""
    async with new_uow() as uow:
        is_needed = await transfer.needs_rows(uow, import_id=import_id)
    if not is_needed:
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(path.unlink)


async def _fail(new_uow: UnitOfWorkFactory, import_id: UUID, error: str) -> None:
    async with new_uow() as uow:
        await transfer.fail(uow, import_id=import_id, error=error, now=clock.now())
