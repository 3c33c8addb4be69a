"""Jobs that run imports, their undos, and do-not-contact uploads, chunk by chunk."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from crm_api.domain.imports.contacts import fetch, undo
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.kind import CONTACT_IMPORTS
from crm_api.domain.imports.contacts.models import ContactImport, ImportContent
from crm_api.domain.imports.do_not_contact import service as do_not_contact
from crm_api.domain.imports.do_not_contact.service import DO_NOT_CONTACT_UPLOADS
from crm_api.domain.imports.files import runs
from crm_api.domain.inbound.reconciliation.pace import RequestPace
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.people.lists import service as lists
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError
from crm_api.domain.sales.outcome_imports import write as outcome_undo
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import Deps, TimeLimit, deps_of
from crm_api.workers.guards import provider_read
from crm_api.workers.import_kinds import UPLOAD_WORK, contact_work, outcome_work, settle_contacts
from crm_api.workers.import_runs import discard_rows, fail_import, write_import

PROVIDER_RETRY_SECONDS = 30.0
"""If a request to the provider fails, the import waits at least this long before it tries again."""


async def run_imports(ctx: dict[str, Any]) -> None:
    """Run imports and undos until none waits or the job's time limit is near.

    Two runs at once are harmless, because only one worker at a time can work on an import. The job
    also deletes uploaded files that are too old to be used. When no import waits, it merges the
    stored counts of contact lists, because each chunk of an import adds rows to these counts.
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
    new_uow: UnitOfWorkFactory, import_id: UUID, *, is_over: Callable[[], bool]
) -> None:
    """Undo an import chunk by chunk, until all is undone or ``is_over`` returns True."""
    while True:
        async with new_uow() as uow:
            is_open = await undo.undo_chunk(uow, import_id=import_id, now=await uow.database_now())
        if not is_open:
            await settle_contacts(new_uow, import_id)
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
