"""Once a day: make the months ahead, archive and drop those whose time is over."""

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy.exc import DBAPIError

from crm_api.domain.media.errors import MediaStoreUnavailableError
from crm_api.domain.media.store import MediaStore
from crm_api.domain.retention import archive, service
from crm_api.domain.retention.errors import ArchiveNotKeptError
from crm_api.domain.retention.tables import ACTIVITY, TABLES, WEBHOOK_EVENT, Month
from crm_api.workers.deps import Deps

log = structlog.get_logger()

Now = Callable[[], datetime]


async def keep_months(deps: Deps, *, now: Now) -> None:
    """Do what is to be done with months; cut short or refused it goes on the next day.

    Args:
        now: The machine's time: ids, which decide the month, are made by it.
    """
    kept = {
        WEBHOOK_EVENT: deps.settings.webhook_event_months,
        ACTIVITY: deps.settings.activity_months,
    }
    for table in TABLES:
        try:
            async with deps.new_uow() as uow:
                while await service.add_next_month(uow, table, now=now()):
                    log.info("month added", table=table.name)
            async with deps.new_uow() as uow:
                await service.analyze(uow, table)
            months = kept[table]
            if months is not None:
                async with deps.new_uow() as uow:
                    over = await service.list_over(uow, table, kept_months=months, now=now())
                for month in over:
                    await _take_out(deps, month, now=now)
        except DBAPIError as error:
            # Somebody else reads for long; a month ahead is there, and an old one may wait.
            log.warning("months not kept", table=table.name, error=type(error.orig).__name__)
        async with deps.new_uow() as uow:
            waiting = await service.list_taken_out(uow, table)
        for month in waiting:
            await _archive(deps, month, now=now)


async def _take_out(deps: Deps, month: Month, *, now: Now) -> None:
    """Forget what refers to the month, then take it out; each step may be repeated."""
    async with deps.new_uow() as uow:
        if await service.is_waited_for(uow, month, now=now()):
            return
    after = service.NO_ID
    while True:
        async with deps.new_uow() as uow:
            last = await service.forget_keys(uow, month, after=after)
        if last is None:
            break
        after = last
    if not await _remove_media(deps, month):
        return
    async with deps.new_uow() as uow:
        is_out = await service.take_out(uow, month, now=now())
    if is_out:
        log.info("month taken out", month=month.name)


async def _remove_media(deps: Deps, month: Month) -> bool:
    store = MediaStore.from_settings(deps.settings)
    while True:
        async with deps.new_uow() as uow:
            count, objects = await service.forget_media(uow, month)
        try:
            for sha256 in objects:
                await store.remove(sha256)
        except MediaStoreUnavailableError as error:
            log.warning("files of a month not removed", month=month.name, error=error.detail)
            return False
        if not count:
            return True


async def _archive(deps: Deps, month: Month, *, now: Now) -> None:
    """Archive a month, and drop it only then."""
    try:
        archived = await archive.keep(deps.new_uow, month, location=deps.settings.archive_location)
    except ArchiveNotKeptError as error:
        async with deps.new_uow() as uow:
            await service.note_not_kept(uow, month, why=error.detail, now=now())
        return
    async with deps.new_uow() as uow:
        await service.drop(uow, month, archived, now=now())
    log.info("month archived and dropped", month=month.name, rows=archived.rows)
