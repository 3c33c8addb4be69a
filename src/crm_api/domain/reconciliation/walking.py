"""Works on the run that is next: all texts first, then conversations and the calls of each.

Where a run stands is JSON, and any worker can go on there::

    {"stage": "messages", "lines": {"PN…": "+1617…"}, "token": "…", "pages": 12,
     "edge": "2026-11-24T…", "near": {"AC…": "2026-11-24T…"}, "reached": "2026-11-24T…"}
    {"stage": "threads", "is_v1": false, "token": "…", "pages": 1, "done": ["CN…"],
     "began_at": "2026-11-24T…"}
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneDownError,
    OpenPhoneListError,
)
from crm_api.domain.reconciliation import progress, texts, threads
from crm_api.domain.reconciliation.errors import RunLostError
from crm_api.domain.reconciliation.filling import Filler
from crm_api.domain.reconciliation.models import ReconciliationRun
from crm_api.domain.reconciliation.reading import Position, Reading
from crm_api.domain.reconciliation.turns import Sleep, Turns
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.webhooks.reception import Reception

log = structlog.get_logger()

OUR_FAULT = "Something went wrong here, and was logged; what was taken over stays."
STUCK = "Its workers ended again and again before they came any further."


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run works with."""

    new_uow: UnitOfWorkFactory
    provider: OpenPhoneClient
    limiter: Limiter
    reception: Reception
    now: Callable[[], datetime]
    sleep: Sleep = asyncio.sleep
    around: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    """Stands around what is read in a slice, and may refuse it."""


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What became of a slice.

    Attributes:
        wait: The provider could not be read; it goes on after this.
    """

    wait: timedelta | None = None


async def work(parts: Parts, *, is_over: Callable[[], bool]) -> Worked | None:
    """Work on the run that is next, until it has ended or the time is over.

    Its end, and why it could not go on, are in its row.

    Returns:
        None when there is none to work on.
    """
    async with parts.new_uow() as uow:
        run = await progress.claim(uow, now=parts.now())
    if run is None:
        return None
    turns = Turns(limiter=parts.limiter, new_uow=parts.new_uow, now=parts.now, sleep=parts.sleep)
    try:
        return await _work_on(parts, run, turns, is_over=is_over)
    except OpenPhoneDownError as error:
        return await _hold(parts, run, error)
    except (OpenPhoneBusyError, OpenPhoneListError) as error:
        asked = getattr(error, "retry_after_seconds", None)
        if asked:
            await turns.put_off(asked)
        return await _postpone(parts, run, error)
    except RunLostError:
        log.warning("another worker goes on with the reconciliation", run_id=str(run.id))
        return Worked()
    except CrmError as error:
        await _fail(parts, run, error.detail)
    except (DBAPIError, OSError):
        # The database is away: the lease runs out, and the next worker goes on.
        raise
    except Exception:
        log.exception("reconciliation failed", run_id=str(run.id))
        await _fail(parts, run, OUR_FAULT)
    return Worked()


async def _work_on(
    parts: Parts, run: ReconciliationRun, turns: Turns, *, is_over: Callable[[], bool]
) -> Worked:
    if run.failures >= progress.MOST_FAILURES:
        await _fail(parts, run, run.last_error or STUCK)
        return Worked()
    filler = Filler(
        run,
        new_uow=parts.new_uow,
        lists=parts.provider.lists,
        turns=turns,
        reception=parts.reception,
        now=parts.now,
    )
    reading = Reading(
        run=run,
        provider=parts.provider,
        turns=turns,
        filler=filler,
        now=parts.now,
        is_over=is_over,
    )
    async with parts.around():
        is_done = await walk(reading)
    if not is_done:
        async with parts.new_uow() as uow:
            await progress.let_go(uow, run)
        return Worked()
    async with parts.new_uow() as uow:
        await progress.complete(uow, run, now=parts.now())
    log.info(
        "reconciled with OpenPhone",
        run_id=str(run.id),
        seen=run.items_seen,
        created=run.created,
        updated=run.updated,
        errors=run.errors,
    )
    return Worked()


async def walk(reading: Reading) -> bool:
    """Go on where the run stands; False when the time was over before all was seen.

    What was read before the provider went away is written down all the same: a page that never
    comes must not hold up those before it.

    Raises:
        CrmError: As ``texts.read`` and ``threads.read``.
    """
    position = {**reading.run.position}
    if not position:
        await reading.turns.take()
        numbers = await reading.provider.list_phone_numbers()
        lines = {one.phone_number_id: one.number for one in numbers}
        position = texts.begin(reading, lines=lines)
    try:
        return await _walk_from(reading, position)
    except OpenPhoneBusyError:
        if reading.batch.pages:
            if position["stage"] == "messages":
                texts.cover(reading, position, is_last=False)
            await reading.write(position)
        raise


async def _walk_from(reading: Reading, position: Position) -> bool:
    if position["stage"] == "messages":
        after = threads.begin(reading.now(), is_v1=False)
        is_read = await texts.read(reading, position, after=after)
        if is_read is None:
            position.update(threads.begin(reading.now(), is_v1=True))
        elif not is_read:
            return False
    while position["stage"] in {"threads", "late_threads"}:
        if not await threads.read(reading, position):
            return False
    return True


async def _postpone(parts: Parts, run: ReconciliationRun, error: CrmError) -> Worked:
    log.warning("OpenPhone cannot be read", run_id=str(run.id), error=error.code)
    try:
        async with parts.new_uow() as uow:
            return Worked(
                wait=await progress.postpone(uow, run, error=error.detail, now=parts.now())
            )
    except RunLostError:
        return Worked()


async def _hold(parts: Parts, run: ReconciliationRun, error: CrmError) -> Worked:
    try:
        async with parts.new_uow() as uow:
            return Worked(wait=await progress.hold(uow, run, why=error.detail, now=parts.now()))
    except RunLostError:
        return Worked()


async def _fail(parts: Parts, run: ReconciliationRun, why: str) -> None:
    try:
        async with parts.new_uow() as uow:
            await progress.fail(uow, run, error=why, now=parts.now())
    except RunLostError:
        log.warning("another worker goes on with the reconciliation", run_id=str(run.id))
