"""Imports in the background: claim one, write it chunk by chunk, go on where a lost worker left."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.transfer import service as transfer
from crm_api.domain.transfer.errors import ImportFileError, UploadGoneError
from crm_api.domain.transfer.models import ContactImport
from crm_api.domain.transfer.source import ImportSource
from crm_api.workers.deps import deps_of

log = structlog.get_logger()

SLICE_SECONDS = 30.0
"""A run stops after about this long and asks for another, so that a job's time-out can be short."""

_OUR_FAULT = "Something went wrong here, and was logged; the rows counted so far stay."


async def run_imports(ctx: dict[str, Any]) -> None:
    """Work on imports until none waits or the time is up; a second run changes nothing."""
    deps = deps_of(ctx)
    ends_at = time.monotonic() + SLICE_SECONDS

    def is_over() -> bool:
        return deps.is_stopping or time.monotonic() >= ends_at

    while not is_over():
        async with deps.new_uow() as uow:
            row = await transfer.claim(uow, now=clock.now())
        if row is None:
            return
        path = transfer.upload_path(deps.settings.data_dir, row.id)
        await work_on(deps.new_uow, row, path=path, is_over=is_over)


async def work_on(
    new_uow: UnitOfWorkFactory, row: ContactImport, *, path: Path, is_over: Callable[[], bool]
) -> None:
    """Write a claimed import; the outcome is in its row.

    Args:
        is_over: Asked after each chunk; when true, what is left waits for the next run.
    """
    try:
        has_ended = await _write(new_uow, row, path=path, is_over=is_over)
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
    await discard(path)


async def discard(path: Path) -> None:
    """Delete an upload that is no longer needed; people's data is not kept twice."""
    with contextlib.suppress(FileNotFoundError):
        await asyncio.to_thread(path.unlink)


async def _write(
    new_uow: UnitOfWorkFactory, row: ContactImport, *, path: Path, is_over: Callable[[], bool]
) -> bool:
    """Write chunks; True when the import has ended, by us or by others."""
    try:
        source = await asyncio.to_thread(ImportSource, path, row.mapping)
    except FileNotFoundError as error:
        raise UploadGoneError(
            "The uploaded file is not in this worker's data directory; all processes share one."
        ) from error
    if row.rows_total is None:
        rows_total = await asyncio.to_thread(source.count_rows)
        async with new_uow() as uow:
            await transfer.keep(uow, import_id=row.id, rows_total=rows_total, now=clock.now())
    if row.rows_processed:
        await asyncio.to_thread(source.skip_to, row.rows_processed)
    while chunk := await asyncio.to_thread(source.next_chunk):
        async with new_uow() as uow:
            is_ours = await transfer.apply_chunk(
                uow, import_id=row.id, chunk=chunk, now=clock.now()
            )
        if not is_ours:
            return await _has_ended(new_uow, row.id)
        if is_over():
            async with new_uow() as uow:
                await transfer.release(uow, import_id=row.id, now=clock.now())
            return False
    async with new_uow() as uow:
        await transfer.complete(uow, import_id=row.id, rows=source.position, now=clock.now())
    return True


async def _has_ended(new_uow: UnitOfWorkFactory, import_id: UUID) -> bool:
    async with new_uow() as uow:
        return (await transfer.get(uow, import_id=import_id)).finished_at is not None


async def _fail(new_uow: UnitOfWorkFactory, import_id: UUID, error: str) -> None:
    async with new_uow() as uow:
        await transfer.fail(uow, import_id=import_id, error=error, now=clock.now())
