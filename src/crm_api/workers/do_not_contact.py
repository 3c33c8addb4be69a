"""Do-not-contact uploads in the background, chunk by chunk; a lost worker's go on elsewhere."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.do_not_contact import service as do_not_contact
from crm_api.domain.do_not_contact.models import DoNotContactUpload
from crm_api.domain.do_not_contact.source import NumberSource
from crm_api.domain.transfer.errors import ImportFileError, UploadGoneError
from crm_api.workers.deps import deps_of

log = structlog.get_logger()

SLICE_SECONDS = 30.0
"""A run stops after about this long and asks for another, so that a job's time-out can be short."""
_OUR_FAULT = "Something went wrong here, and was logged; the flags put so far stay."


async def run_do_not_contact(ctx: dict[str, Any]) -> None:
    """Work on uploads until none waits or the time is up; a second run changes nothing."""
    deps = deps_of(ctx)
    ends_at = time.monotonic() + SLICE_SECONDS

    def is_over() -> bool:
        return deps.is_stopping or time.monotonic() >= ends_at

    while not is_over():
        async with deps.new_uow() as uow:
            row = await do_not_contact.claim(uow, now=clock.now())
        if row is None:
            return
        path = do_not_contact.upload_path(deps.settings.data_dir, row.id)
        await work_on(deps.new_uow, row, path=path, is_over=is_over)


async def work_on(
    new_uow: UnitOfWorkFactory,
    row: DoNotContactUpload,
    *,
    path: Path,
    is_over: Callable[[], bool],
) -> None:
    """Flag the numbers of a claimed upload; the outcome is in its row."""
    try:
        has_ended = await _write(new_uow, row, path=path, is_over=is_over)
    except ImportFileError as error:
        await _fail(new_uow, row, error.detail)
    except (DataError, IntegrityError, ProgrammingError):
        log.exception("do-not-contact upload failed", upload_id=str(row.id))
        await _fail(new_uow, row, _OUR_FAULT)
    except (DBAPIError, OSError):
        # The database is away or busy: the lease runs out, and the next run goes on.
        raise
    except Exception:
        log.exception("do-not-contact upload failed", upload_id=str(row.id))
        await _fail(new_uow, row, _OUR_FAULT)
    else:
        if not has_ended:
            return
    with contextlib.suppress(FileNotFoundError):
        await asyncio.to_thread(path.unlink)


async def _write(
    new_uow: UnitOfWorkFactory,
    row: DoNotContactUpload,
    *,
    path: Path,
    is_over: Callable[[], bool],
) -> bool:
    """Write chunks; True when the upload has ended, by us or by others."""
    try:
        source = await asyncio.to_thread(NumberSource, path, row.columns)
    except FileNotFoundError as error:
        raise UploadGoneError(
            "The uploaded file is not in this worker's data directory; all processes share one."
        ) from error
    if row.rows_processed:
        await asyncio.to_thread(source.skip_to, row.rows_processed)
    while chunk := await asyncio.to_thread(source.next_chunk):
        async with new_uow() as uow:
            is_ours = await do_not_contact.apply_chunk(
                uow, upload_id=row.id, chunk=chunk, now=clock.now()
            )
        if not is_ours:
            async with new_uow() as uow:
                return (await do_not_contact.get(uow, upload_id=row.id)).finished_at is not None
        if is_over():
            async with new_uow() as uow:
                await do_not_contact.release(uow, upload_id=row.id, now=clock.now())
            return False
    async with new_uow() as uow:
        await do_not_contact.complete(uow, upload_id=row.id, rows=source.position, now=clock.now())
    return True


async def _fail(new_uow: UnitOfWorkFactory, row: DoNotContactUpload, error: str) -> None:
    async with new_uow() as uow:
        await do_not_contact.fail(uow, upload_id=row.id, error=error, now=clock.now())
