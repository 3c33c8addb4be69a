"""Mail what there is to tell about alerts, and try outside systems that were down."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.errors import OpenPhoneBusyError
from crm_api.domain.operations import circuits
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.operations.telling import Teller
from crm_api.domain.sends import settling
from crm_api.domain.sends.settling import PARKED_ALERT
from crm_api.domain.webhooks import service as webhooks
from crm_api.domain.webhooks.effects import DOUBTFUL_TEXT
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import Deps, deps_of

log = structlog.get_logger()

Now = Callable[[], datetime]


async def send_alerts(ctx: dict[str, Any]) -> None:
    """End alerts whose cause is gone, and mail what has not been told; a second run finds none."""
    await tell(deps_of(ctx), now=clock.now)


async def tell(deps: Deps, *, now: Now) -> None:
    """Do what ``send_alerts`` says, by this clock."""
    async with deps.new_uow() as uow:
        await operations.resolve_silent(uow, now=now())
        await webhooks.resolve_recovered(uow, now=now())
        await _resolve_decided(uow, now=now())
    if deps.mailer is not None:
        count = await Teller(deps.new_uow, deps.mailer, deps.settings).tell(now=now)
        if count:
            log.info("alerts mailed", count=count)


async def _resolve_decided(uow: UnitOfWork, *, now: datetime) -> None:
    """End the alerts that asked a person to decide, where that has been done."""
    doubts = await operations.open_subjects(uow, kind=DOUBTFUL_TEXT)
    if doubts:
        held = await consent.held(uow, contact_ids=[UUID(one) for one in doubts], now=now)
        await _resolve(uow, DOUBTFUL_TEXT, doubts, but=held, now=now)
    parked = await operations.open_subjects(uow, kind=PARKED_ALERT)
    if parked:
        still = await settling.still_parked(uow, ids=[UUID(one) for one in parked])
        await _resolve(uow, PARKED_ALERT, parked, but=still, now=now)


async def _resolve(
    uow: UnitOfWork, kind: AlertKind, subjects: Sequence[str], *, but: set[UUID], now: datetime
) -> None:
    for subject in subjects:
        if UUID(subject) not in but:
            await operations.resolve_alert(uow, kind=kind, subject=subject, now=now)


async def try_provider(ctx: dict[str, Any]) -> None:
    """Find out by a read whether a provider that was down answers again; sends go on then."""
    await try_again(deps_of(ctx), now=clock.now)


async def try_again(deps: Deps, *, now: Now) -> None:
    """Do what ``try_provider`` says, by this clock."""
    circuit = circuits.PROVIDER
    async with deps.new_uow() as uow:
        await circuits.end_quiet_trial(uow, circuit, now=now())
        if not await circuits.begin_trial(uow, circuit, now=now()):
            return
    error = await _ask(deps)
    async with deps.new_uow() as uow:
        state = await circuits.end_trial(uow, circuit, error=error, now=now())
    log.info("provider tried", answers=not state.is_open, error=error)
    if not state.is_open:
        for name in (
            JobName.SEND_MESSAGES,
            JobName.PROCESS_CAMPAIGN_QUEUE,
            JobName.RESOLVE_UNKNOWN_SENDS,
        ):
            await deps.queue.push(Job(name=name))


async def _ask(deps: Deps) -> str | None:
    """Return what went wrong; None when there was an answer, even a refusal."""
    try:
        await deps.provider.list_phone_numbers()
    except OpenPhoneBusyError as error:
        return None if error.is_answer else error.detail
    except CrmError:
        return None
    return None
