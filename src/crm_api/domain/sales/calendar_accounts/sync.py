"""Synchronise one calendar: first apply the changes of its events, then write the appointments."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from crm_api.domain.sales.calendar_accounts import pull, push, service
from crm_api.domain.sales.calendar_accounts.dav_client import AT_ONCE, DavClient
from crm_api.domain.sales.calendar_accounts.errors import CalendarServerError
from crm_api.domain.sales.calendar_accounts.models import CalendarAccount
from crm_api.platform.database import UnitOfWorkFactory

log = structlog.get_logger()


@dataclass(kw_only=True)
class SyncFigures:
    """The counts of one synchronisation.

    Attributes:
        pulled: The number of appointments that were added or changed to match the calendar.
        pushed: The number of events that were written or deleted.
        stale: The number of events that were not written or deleted, because they were changed in
            the calendar meanwhile. The next synchronisation reads them.
    """

    pulled: int = 0
    pushed: int = 0
    stale: int = 0


async def synchronise(
    new_uow: UnitOfWorkFactory,
    account: CalendarAccount,
    client: DavClient,
    *,
    now: Callable[[], datetime],
    is_over: Callable[[], bool] = lambda: False,
) -> SyncFigures:
    """Synchronise a claimed calendar with the appointments, in both directions; release the claim.

    No transaction is open during a request to the calendar server. An error of the server is stored
    in the account. If this synchronisation ends early, the next synchronisation continues, and does
    not apply a change twice.

    Args:
        is_over: Returns True when this synchronisation must end. The next one writes the remaining
            events.
    """
    figures = SyncFigures()
    try:
        token = await _pull(new_uow, account, client, figures, now=now)
        await _push(new_uow, account, client, figures, now=now, is_over=is_over)
    except CalendarServerError as error:
        log.warning("calendar not synchronised", account=str(account.id), error=error.detail)
        async with new_uow() as uow:
            await service.note_failure(uow, account=account, error=error.detail, now=now())
        return figures
    async with new_uow() as uow:
        await service.note_success(uow, account_id=account.id, sync_token=token, now=now())
    return figures


async def _pull(
    new_uow: UnitOfWorkFactory,
    account: CalendarAccount,
    client: DavClient,
    figures: SyncFigures,
    *,
    now: Callable[[], datetime],
) -> str | None:
    changes = await client.list_changes(account.sync_token)
    async with new_uow() as uow:
        known = await pull.read_known_events(uow, account_id=account.id)
    wanted = pull.hrefs_to_read(changes, known, now=now())
    for first in range(0, len(wanted), AT_ONCE):
        resources = await client.read_events(wanted[first : first + AT_ONCE])
        events = await asyncio.to_thread(
            pull.parse_events, resources, timezone=account.timezone, now=now()
        )
        async with new_uow() as uow:
            figures.pulled += await pull.apply_events(uow, account, events, now=now())
    gone = pull.deleted_hrefs(changes, known)
    if gone:
        async with new_uow() as uow:
            figures.pulled += await pull.delete_events(uow, account, gone, now=now())
    async with new_uow() as uow:
        await service.store_token(uow, account_id=account.id, sync_token=changes.token)
    return changes.token


async def _push(
    new_uow: UnitOfWorkFactory,
    account: CalendarAccount,
    client: DavClient,
    figures: SyncFigures,
    *,
    now: Callable[[], datetime],
    is_over: Callable[[], bool],
) -> None:
    async with new_uow() as uow:
        planned = await push.plan_writes(uow, account, client, now=now())
    for one in planned:
        if is_over():
            return
        if await push.write_one(new_uow, client, one):
            figures.pushed += 1
        else:
            figures.stale += 1
