"""Settles unclear sends, and sends what is queued outside campaigns."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row

from crm_api import clock, failpoints, instruments
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.answers import AnswerKind
from crm_api.domain.openphone.errors import OpenPhoneDownError
from crm_api.domain.openphone.facts import MessageFacts
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.sends import settling, texts
from crm_api.domain.sends.claiming import Claimed
from crm_api.domain.sends.dispatch import Dispatcher
from crm_api.domain.sends.models import AttemptStatus
from crm_api.domain.sends.settling import Look
from crm_api.jobs import Job, JobName
from crm_api.workers import clocks
from crm_api.workers.deps import Deps, deps_of
from crm_api.workers.reads import reading

log = structlog.get_logger()

SWEEP = 500
LOOKS = 100
"""Unclear sends that one run looks up, at most; the next run goes on with the others."""


async def resolve_unknown_sends(ctx: dict[str, Any]) -> None:
    """Give back claims whose lease is over, and settle unclear sends by asking the provider.

    By a wrong clock a lease or the grace would be over that is not: then nothing is concluded.
    """
    deps = deps_of(ctx)
    if not await clocks.agrees(deps):
        return
    while True:
        async with deps.new_uow() as uow:
            swept = await settling.expire_leases(uow, limit=SWEEP, now=clock.now())
            await failpoints.reach("settle.leases_open")
        if swept < SWEEP:
            break
    async with deps.new_uow() as uow:
        unknown = await settling.list_unknown(uow, limit=LOOKS)
    results = await _settle_all(deps, unknown)
    async with deps.new_uow() as uow:
        await campaigns.complete_finished(uow, now=clock.now())
    await _come_back_for_leases(deps)
    if AttemptStatus.NOT_FOUND in results or swept:
        await deps.queue.push(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    if AttemptStatus.UNKNOWN in results:
        delay = deps.times.look_gap.total_seconds() + 0.1
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))


async def _come_back_for_leases(deps: Deps) -> None:
    """Run again when the first lease is over: its worker may be gone."""
    async with deps.new_uow() as uow:
        ends_at = await settling.next_lease_end(uow)
    if ends_at is not None:
        delay = max(0.0, (ends_at - clock.now()).total_seconds()) + 0.5
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))


async def _settle_all(deps: Deps, unknown: Sequence[Row[Any]]) -> set[AttemptStatus]:
    lagging: dict[UUID, bool] = {}
    results: set[AttemptStatus] = set()
    for attempt in unknown:
        if deps.is_stopping or not await clocks.agrees(deps):
            break
        try:
            if attempt.line_id not in lagging:
                lagging[attempt.line_id] = await _list_lags(deps, attempt)
            look = await _look_up(deps, attempt, list_lags=lagging[attempt.line_id])
        except OpenPhoneDownError:
            # All of them wait for it; the next run begins with the same.
            break
        except CrmError as error:
            # An incomplete look-up says nothing; the next run begins a new one.
            log.warning("look-up failed", attempt=str(attempt.id), error=error.code)
            async with deps.new_uow() as uow:
                await settling.postpone(uow, attempt, now=clock.now())
            results.add(AttemptStatus.UNKNOWN)
            continue
        await failpoints.reach("settle.looked_up")
        async with deps.new_uow() as uow:
            status = await settling.conclude(uow, attempt, look, times=deps.times, now=clock.now())
            await failpoints.reach("settle.open")
        await failpoints.reach("settle.committed")
        log.info("unclear send looked up", attempt=str(attempt.id), result=status)
        instruments.SETTLED.labels(status.value).inc()
        results.add(status)
    return results


async def _look_up(deps: Deps, attempt: Row[Any], *, list_lags: bool) -> Look:
    async with reading(deps):
        begun_at = await _wait_for_turn(deps)
        messages = [
            facts
            async for facts in deps.provider.list_messages(
                phone_number_id=attempt.phone_number_id,
                participant=attempt.phone,
                created_after=attempt.called_at - deps.times.skew,
                created_before=attempt.called_at + deps.times.grace,
            )
        ]
    return Look(begun_at=begun_at, messages=messages, list_lags=list_lags)


async def _list_lags(deps: Deps, attempt: Row[Any]) -> bool:
    """R12: True when a text that the list must show by now is missing from it."""
    async with deps.new_uow() as uow:
        canary = await settling.find_canary(
            uow, line_id=attempt.line_id, times=deps.times, now=clock.now()
        )
    if canary is None:
        return False
    try:
        async with reading(deps):
            await _wait_for_turn(deps)
            if await _is_listed(deps, attempt.phone_number_id, canary):
                return False
    except OpenPhoneDownError:
        raise
    except CrmError:
        return True
    async with deps.new_uow() as uow:
        await operations.raise_alert(
            uow,
            kind=AlertKind.PROVIDER_LIST_LAGS,
            subject=str(attempt.line_id),
            detail="OpenPhone's message list does not show a text that it accepted a while ago. "
            "Unclear sends are not tried again until it does. There is nothing to do; if it lasts "
            "for hours, ask the provider's support.",
            now=clock.now(),
        )
    return True


async def _is_listed(deps: Deps, phone_number_id: str, canary: Row[Any]) -> bool:
    found: list[MessageFacts] = [
        facts
        async for facts in deps.provider.list_messages(
            phone_number_id=phone_number_id,
            participant=canary.phone,
            created_after=canary.accepted_at - deps.times.skew,
            created_before=canary.accepted_at + deps.times.skew,
        )
    ]
    return any(facts.provider_message_id == canary.provider_message_id for facts in found)


async def _wait_for_turn(deps: Deps) -> datetime:
    """Wait until the shared limiter allows a call; the instant at which it begins."""
    async with deps.new_uow() as uow:
        starts_at = await deps.limiter.reserve(uow, calls=1, now=clock.now())
    await asyncio.sleep(max(0.0, (starts_at - clock.now()).total_seconds()))
    return clock.now()


async def send_messages(ctx: dict[str, Any]) -> dict[str, object] | None:
    """Send queued texts: manual replies, help and confirmations; works until none waits."""
    deps = deps_of(ctx)
    if not await clocks.agrees(deps):
        return None

    async def claim_more(limit: int) -> list[Claimed]:
        async with deps.new_uow() as uow:
            return await texts.claim_queued(
                uow, limit=limit, times=deps.times, rules=deps.rules, now=clock.now()
            )

    dispatcher = Dispatcher(
        new_uow=deps.new_uow,
        provider=deps.provider,
        limiter=deps.limiter,
        times=deps.times,
        now=clock.now,
        circuit=deps.circuit,
    )
    deps.on_stop.add(dispatcher.stop)
    try:
        tally = await dispatcher.run(claim_more)
    finally:
        deps.on_stop.discard(dispatcher.stop)
    if tally.answers.get(AnswerKind.UNCLEAR):
        delay = deps.times.look_gap.total_seconds()
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
    return {"did": str(tally)} if tally.claimed else None
