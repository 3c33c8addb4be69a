"""Asks the provider: are our webhooks as they should be, and what could it not deliver?

What it gave up and we do not hold is asked for again, a few times; what it still tries comes by
itself.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
)
from crm_api.domain.openphone.facts import HookDelivery
from crm_api.domain.openphone.signature import SignatureScheme
from crm_api.domain.webhook_health import queries
from crm_api.domain.webhook_health.service import Conclusion
from crm_api.domain.webhook_setup.comparing import Registration
from crm_api.domain.webhook_setup.registering import Registrar

LOOKS_BACK = timedelta(hours=30)
"""A delivery is given up 27 h 35 min after it was first tried; with an hour between looks."""
LATE = timedelta(minutes=10)
"""One attempt may meet a restart; what waits longer has failed at least three times."""
MOST_ASKED = 200
"""In one look; the next one goes on."""
WORKING_SECONDS = 30.0
"""Of asking in one look; well within the job's time-out."""
MOST_READ = 20
"""Deliveries without an event's id that one look opens to find it."""
MOST_TIMES = 3
ASK_AGAIN_AFTER = timedelta(hours=1)

Turn = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class _Logged:
    """A delivery with the webhook whose log it is in."""

    webhook_id: str
    delivery: HookDelivery


@dataclass(kw_only=True)
class _Log:
    """What the provider's log tells.

    Attributes:
        failed: Given up.
        waiting: Still tried, though long on their way.
        is_told: Every log could be read to its end.
    """

    failed: list[_Logged] = field(default_factory=list)
    waiting: list[_Logged] = field(default_factory=list)
    is_told: bool = True


@dataclass(kw_only=True)
class _Count:
    """What became of the deliveries that were given up."""

    held: int = 0
    asked: int = 0
    lost: int = 0
    under_way: int = 0


async def examine(registrar: Registrar, *, turn: Turn, now: datetime) -> Conclusion:
    """Compare what is registered, read the log of deliveries, and ask for what is missing.

    Args:
        turn: Waits until the provider may be called.

    Raises:
        OpenPhoneBusyError: The provider is away; nothing can be said.
        OpenPhoneListError: Its list of webhooks does not come to an end.
        UnreadableEventError: A webhook in it cannot be read.
    """
    await turn()
    await turn()
    try:
        found = await registrar.look()
    except OpenPhoneRefusedError as error:
        sentence = f"The provider does not tell which webhooks there are: {error.detail}"
        return Conclusion(leg="refused", failure=sentence)
    log = await _read_logs(registrar, found, turn=turn, now=now)
    missing, count = await _missing(registrar, log, turn=turn, now=now)
    await _ask_again(registrar, missing, count, turn=turn)
    evidence = {
        "webhooks": [one.webhook.webhook_id for one in found.ours],
        "foreign": len(found.foreign),
        "log_is_told": log.is_told,
        "given_up": len(log.failed),
        "held_all_the_same": count.held,
        "asked_again": count.asked,
        "under_way_again": count.under_way,
        "lost": count.lost,
        "waiting": len(log.waiting),
    }
    return replace(_conclude(found, log, count), evidence=evidence)


def _conclude(found: Registration, log: _Log, count: _Count) -> Conclusion:
    if found.findings:
        said = " ".join(f"{one.sentence} Repair: `{one.repair}`." for one in found.findings)
        return Conclusion(leg=found.findings[0].fault.value, failure=said)
    if log.waiting:
        sentence = (
            f"The provider has tried for more than ten minutes to deliver {len(log.waiting)} "
            "events, and goes on. `crm-api webhooks test` shows what it gets for an answer."
        )
        return Conclusion(leg="not_delivered", failure=sentence)
    missing = count.asked + count.under_way + count.lost
    if missing:
        sentence = (
            f"The provider gave up {missing} events that are not here. It was asked again for "
            f"{count.asked + count.under_way} of them"
        )
        sentence += f"; {count.lost} did not come for all that." if count.lost else "."
        return Conclusion(leg="given_up", failure=sentence)
    return Conclusion()


async def _read_logs(
    registrar: Registrar, found: Registration, *, turn: Turn, now: datetime
) -> _Log:
    log = _Log()
    for one in found.of(SignatureScheme.STANDARD):
        webhook_id = one.webhook.webhook_id
        try:
            log.failed += [
                _Logged(webhook_id=webhook_id, delivery=delivery)
                async for delivery in _entries(registrar, webhook_id, "failed", turn=turn, now=now)
            ]
            for status in ("sending", "pending"):
                log.waiting += [
                    _Logged(webhook_id=webhook_id, delivery=delivery)
                    async for delivery in _entries(
                        registrar, webhook_id, status, turn=turn, now=now
                    )
                    if delivery.created_at is not None and now - delivery.created_at > LATE
                ]
        except (OpenPhoneRefusedError, OpenPhoneListError):
            # Not every plan or host has the log; what it tells is a bonus.
            log.is_told = False
    return log


async def _entries(
    registrar: Registrar, webhook_id: str, status: str, *, turn: Turn, now: datetime
) -> AsyncIterator[HookDelivery]:
    await turn()
    async for delivery in registrar.hooks.deliveries(
        webhook_id, status=status, after=now - LOOKS_BACK
    ):
        yield delivery


async def _missing(
    registrar: Registrar, log: _Log, *, turn: Turn, now: datetime
) -> tuple[list[_Logged], _Count]:
    """Return which of the given-up deliveries are to be asked for, and count the others."""
    failed = [await _with_event_id(registrar, one, turn=turn) for one in log.failed[:MOST_READ]]
    failed += log.failed[MOST_READ:]
    event_ids = [one.delivery.event_id for one in failed if one.delivery.event_id is not None]
    async with registrar.new_uow() as uow:
        held = await queries.held_events(uow.session, event_ids)
        asked = await queries.asked(uow.session, [one.delivery.delivery_id for one in failed])
    missing, count = [], _Count()
    for one in failed:
        before = asked.get(one.delivery.delivery_id)
        if one.delivery.event_id in held:
            count.held += 1
        elif before is None or (
            before.times < MOST_TIMES and now - before.asked_at >= ASK_AGAIN_AFTER
        ):
            missing.append(one)
        elif now - before.asked_at < ASK_AGAIN_AFTER:
            count.under_way += 1
        else:
            count.lost += 1
    return missing, count


async def _with_event_id(registrar: Registrar, one: _Logged, *, turn: Turn) -> _Logged:
    """Open a delivery whose entry names no event; what was sent names it."""
    if one.delivery.event_id is not None:
        return one
    await turn()
    try:
        opened = await registrar.hooks.delivery(one.webhook_id, one.delivery.delivery_id)
    except OpenPhoneRefusedError:
        return one
    return one if opened is None else replace(one, delivery=opened)


async def _ask_again(
    registrar: Registrar, missing: Sequence[_Logged], count: _Count, *, turn: Turn
) -> None:
    asked: list[_Logged] = []
    refused, began = 0, time.monotonic()
    try:
        for one in missing[:MOST_ASKED]:
            if time.monotonic() - began > WORKING_SECONDS:
                break
            await turn()
            try:
                await registrar.hooks.retry(one.webhook_id, one.delivery.delivery_id)
            except OpenPhoneBusyError:
                break
            except CrmError:
                refused += 1
                continue
            asked.append(one)
    finally:
        # Noted also when this is cut off: what was asked for was asked for.
        now = registrar.now()
        async with registrar.new_uow() as uow:
            for one in asked:
                await queries.note_asked(
                    uow.session,
                    delivery_id=one.delivery.delivery_id,
                    webhook_id=one.webhook_id,
                    event_id=one.delivery.event_id,
                    now=now,
                )
    count.asked = len(asked)
    count.lost += refused
    # The next look goes on with those that were not come to.
    count.under_way += len(missing) - len(asked) - refused
