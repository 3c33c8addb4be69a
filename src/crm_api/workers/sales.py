"""The jobs of appointments: send reminders, and synchronise calendars on other servers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from crm_api.domain.kit.addresses import AddressPolicy
from crm_api.domain.sales.calendar_accounts import service
from crm_api.domain.sales.calendar_accounts.dav_client import DavClient, Login
from crm_api.domain.sales.calendar_accounts.sync import synchronise
from crm_api.domain.sales.reminders import sending
from crm_api.platform import clock
from crm_api.platform.encryption import UnsealError
from crm_api.workers.deps import TimeLimit, deps_of

LOST_KEY = (
    "The password cannot be decrypted, because CRM_SECRET_KEY has changed. Delete the account and "
    "create it again."
)


async def send_reminders(ctx: dict[str, Any]) -> Mapping[str, int]:
    """Queue, postpone or skip each reminder that is due.

    Two runs at the same time are harmless.

    Returns:
        The number of reminders for each new status: ``queued``, ``waiting`` (postponed) or
        ``skipped``. A status without reminders is left out.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    decided: Counter[str] = Counter()
    async with deps.new_uow() as uow:
        await sending.withdraw_late_reminders(uow, now=clock.now())
    while not limit.is_over():
        async with deps.new_uow() as uow:
            due = await sending.find_due_reminders(uow, now=clock.now())
        count = decided.total()
        for one in due:
            if limit.is_over():
                break
            async with deps.new_uow() as uow:
                status = await sending.decide_reminder(
                    uow,
                    one,
                    rules=deps.rules,
                    business=await deps.business(uow),
                    now=clock.now(),
                )
            if status is not None:
                decided[status.value] += 1
        if decided.total() == count:
            break
    return dict(decided)


async def sync_calendars(ctx: dict[str, Any]) -> Mapping[str, int]:
    """Synchronise all calendars that are due. Two runs at the same time are harmless.

    Returns:
        ``calendars``: synchronised calendars. ``pulled``: appointments that the calendars changed.
        ``pushed``: events written to or deleted in the calendars. ``stale``: events that were not
        written, because they had been changed in the calendar.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    policy = AddressPolicy.for_webhooks(deps.settings)
    figures = Counter(calendars=0, pulled=0, pushed=0, stale=0)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            account = await service.claim_account(uow, now=clock.now())
        if account is None:
            break
        try:
            password = service.open_password(account, key=deps.secret)
        except UnsealError:
            async with deps.new_uow() as uow:
                await service.note_failure(uow, account=account, error=LOST_KEY, now=clock.now())
            continue
        login = Login(username=account.username, password=password)
        async with DavClient(account.url, login, policy=policy) as client:
            done = await synchronise(
                deps.new_uow, account, client, now=clock.now, is_over=limit.is_over
            )
        figures["calendars"] += 1
        figures.update(asdict(done))
    return dict(figures)
