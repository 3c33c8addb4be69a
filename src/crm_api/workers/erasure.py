"""Erasures in the background: files go from the store, and what still names a person."""

import time
from typing import Any

import structlog

from crm_api import clock
from crm_api.domain.erasure import service as erasure
from crm_api.domain.erasure.models import Erasure
from crm_api.domain.media.errors import MediaStoreUnavailableError
from crm_api.domain.media.store import MediaStore
from crm_api.domain.sealing import UnsealError
from crm_api.workers.deps import Deps, deps_of

log = structlog.get_logger()

SLICE_SECONDS = 30.0
"""A run stops after about this long; what is left is done by the next."""


async def run_erasures(ctx: dict[str, Any]) -> None:
    """Go on with erasures until none is due or the time is up; a second run changes nothing."""
    deps = deps_of(ctx)
    ends_at = time.monotonic() + SLICE_SECONDS
    while not deps.is_stopping and time.monotonic() < ends_at:
        async with deps.new_uow() as uow:
            row = await erasure.claim(uow, now=clock.now())
        if row is None:
            return
        try:
            await _work_on(deps, row, ends_at=ends_at)
        except UnsealError:
            # Nobody can tell any more what to search for; the lease lets others be served first.
            log.error("erasure was begun under another CRM_SECRET_KEY", erasure_id=str(row.id))  # noqa: TRY400 - the traceback tells nothing


async def _work_on(deps: Deps, row: Erasure, *, ends_at: float) -> None:
    await _remove_files(deps, row)
    has_more = True
    while has_more and not deps.is_stopping and time.monotonic() < ends_at:
        async with deps.new_uow() as uow:
            has_more = await erasure.sweep(
                uow, erasure_id=row.id, now=clock.now(), secret=deps.secret
            )


async def _remove_files(deps: Deps, row: Erasure) -> None:
    """Forget the files, then remove the objects: whoever dies in between is told of them again."""
    async with deps.new_uow() as uow:
        objects = await erasure.clear(uow, erasure_id=row.id, now=clock.now())
    if not objects:
        return
    store = MediaStore.from_settings(deps.settings)
    try:
        for sha256 in objects:
            await store.remove(sha256)
    except MediaStoreUnavailableError as error:
        log.warning("files not removed; tried again", erasure_id=str(row.id), error=error.detail)
        return
    async with deps.new_uow() as uow:
        await erasure.note_removed(uow, erasure_id=row.id, now=clock.now())
