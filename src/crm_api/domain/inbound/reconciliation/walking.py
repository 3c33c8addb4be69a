"""Work on the next reconciliation run: first all messages, then the calls of each conversation.

The progress of a run (its position) is stored as JSON, so that any worker can continue the run::
    {"stage": "messages", "lines": {"PN…": "+1617…"}, "token": "…", "pages": 12,
     "edge": "2026-11-24T…", "near": {"AC…": "2026-11-24T…"}, "reached": "2026-11-24T…"}
    {"stage": "threads", "is_v1": false, "token": "…", "pages": 1, "done": ["CN…"],
     "began_at": "2026-11-24T…"}

- ``stage``: First ``messages``, then ``threads`` (conversations), then ``late_threads``
  (conversations that were updated since ``began_at``), then ``done``.
- ``lines``: The phone number of each line, by the provider's id of the line.
- ``token``: The token of the next page; null for the first page.
- ``pages``: The number of pages of the list that were read so far.
- ``edge``: Messages after this time were already compared (see ``message_list.cover``).
- ``near``: The id of each compared message near ``edge``, with the time of the message in the list
  (see ``message_list.cover``).
- ``reached``: The time of the oldest message of the batches that were written.
- ``below``: Missing until the provider refuses a page token. Then it is a time, and only messages
  before this time are read again.
- ``begun_below``: The value that ``reached`` had when the provider refused the token. If the
  provider refuses a token again before ``reached`` has changed, the run fails.
- ``is_v1``: True if messages are read by conversation, because API v1 has no list of all messages.
- ``done``: The ids of the conversations of the current page that were already read.
- ``began_at``: When the reading of the conversations began.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from crm_api.domain.inbound.reconciliation import conversation_lists, message_list, run_progress
from crm_api.domain.inbound.reconciliation.filling import Filler
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.pace import RequestPace, Sleep
from crm_api.domain.inbound.reconciliation.reading import Position, Reading
from crm_api.domain.inbound.reconciliation.run_progress import RunLostError
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneDownError,
    OpenPhoneListError,
)
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.postgres import DATABASE_UNREACHABLE

log = structlog.get_logger()

OUR_FAULT = "An internal error occurred and was logged. Data that was already stored is kept."
STUCK = "The workers of the run ended repeatedly without progress."


@dataclass(frozen=True, kw_only=True)
class ReconciliationParts:
    """The database, the provider's client, limits and clocks for a reconciliation run."""

    new_uow: UnitOfWorkFactory
    provider: OpenPhoneClient
    limiter: Limiter
    apply_settings: ApplySettings
    now: Callable[[], datetime]
    receipt: Callable[[UnitOfWork], Awaitable[datetime]] = UnitOfWork.database_now
    """Returns the time of receipt for stored items: the database's time of the transaction."""
    sleep: Sleep = asyncio.sleep
    around: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    """Returns a context manager; the work until the time limit runs inside its ``with`` block. The
    context manager raises an error if no request may be sent to the provider now."""


@dataclass(frozen=True, kw_only=True)
class SliceResult:
    """Result of the work of one job on a reconciliation run.

    Attributes:
        wait: How long to wait before the run continues, because the provider was unavailable or
            its response was not usable; None if no wait is needed.
    """

    wait: timedelta | None = None


async def work_on_next_run(
    parts: ReconciliationParts, *, is_over: Callable[[], bool]
) -> SliceResult | None:
    """Work on the next reconciliation run until it ends or the time is up.

    The row of the run stores how the run ended, or why the run could not continue.

    Returns:
        The result; None if there is no run to work on.
    """
    async with parts.new_uow() as uow:
        run = await run_progress.claim_run(uow, now=parts.now())
    if run is None:
        return None
    try:
        return await _work_or_store_failure(parts, run, is_over=is_over)
    except RunLostError:
        log.warning("reconciliation run taken over by another worker", run_id=str(run.id))
        return SliceResult()


async def _work_or_store_failure(
    parts: ReconciliationParts, run: ReconciliationRun, *, is_over: Callable[[], bool]
) -> SliceResult:
    pace = RequestPace(
        limiter=parts.limiter, new_uow=parts.new_uow, now=parts.now, sleep=parts.sleep
    )
    try:
        return await _work_on(parts, run, pace, is_over=is_over)
    except OpenPhoneDownError as error:
        async with parts.new_uow() as uow:
            held_for = await run_progress.hold_run(uow, run, why=error.detail, now=parts.now())
        return SliceResult(wait=held_for)
    except (OpenPhoneBusyError, OpenPhoneListError) as error:
        if isinstance(error, OpenPhoneBusyError) and error.retry_after_seconds:
            await pace.pause_calls(error.retry_after_seconds, asked_seconds=error.retry_after_asked)
        log.warning("reconciliation run postponed", run_id=str(run.id), error=error.code)
        async with parts.new_uow() as uow:
            wait = await run_progress.postpone_run(uow, run, error=error.detail, now=parts.now())
        return SliceResult(wait=wait)
    except (RunLostError, *DATABASE_UNREACHABLE):
        # If the database is unavailable, the lease of the run expires. Then another worker claims
        # the run.
        raise
    except CrmError as error:
        await _fail(parts, run, error.detail)
    except Exception:
        log.exception("reconciliation run failed", run_id=str(run.id))
        await _fail(parts, run, OUR_FAULT)
    return SliceResult()


async def _work_on(
    parts: ReconciliationParts,
    run: ReconciliationRun,
    pace: RequestPace,
    *,
    is_over: Callable[[], bool],
) -> SliceResult:
    if run.failures >= run_progress.MOST_FAILURES:
        await _fail(parts, run, run.last_error or STUCK)
        return SliceResult()
    filler = Filler(
        run,
        new_uow=parts.new_uow,
        lists=parts.provider.lists,
        pace=pace,
        apply_settings=parts.apply_settings,
        now=parts.now,
        receipt=parts.receipt,
    )
    reading = Reading(
        run=run,
        provider=parts.provider,
        pace=pace,
        filler=filler,
        now=parts.now,
        is_over=is_over,
    )
    async with parts.around():
        is_done = await walk(reading)
    if not is_done:
        async with parts.new_uow() as uow:
            await run_progress.release_run(uow, run)
        return SliceResult()
    async with parts.new_uow() as uow:
        await run_progress.complete_run(uow, run, now=parts.now())
    log.info(
        "reconciliation run completed",
        run_id=str(run.id),
        items_seen=run.items_seen,
        created=run.created,
        updated=run.updated,
        errors=run.errors,
    )
    return SliceResult()


async def walk(reading: Reading) -> bool:
    """Continue a reconciliation run from its stored position.

    If the provider fails, the pages that were read before the failure are stored nevertheless.

    Returns:
        False if the time of the job is up before the run ends; otherwise True.

    Raises:
        OpenPhoneBusyError: The provider is unavailable or its response is unreadable; try later.
        OpenPhoneDownError: No requests may be sent to the provider now.
        OpenPhoneListError: A list repeats itself or does not end.
        OpenPhoneRefusedError: The provider refused the request; a retry cannot succeed.
        RunLostError: Another worker has taken over the run.
    """
    position = {**reading.run.position}
    if not position:
        await reading.pace.wait_for_request()
        numbers = await reading.provider.list_phone_numbers()
        lines = {one.phone_number_id: one.number for one in numbers}
        position = message_list.begin(reading, lines=lines)
    try:
        return await _walk_from(reading, position)
    except OpenPhoneBusyError:
        if reading.batch.pages:
            if position["stage"] == "messages":
                message_list.cover(reading, position, is_last=False)
            await reading.write(position)
        raise


async def _walk_from(reading: Reading, position: Position) -> bool:
    if position["stage"] == "messages":
        after = conversation_lists.begin(reading.now(), is_v1=False)
        is_read = await message_list.read(reading, position, after=after)
        if is_read is None:
            position.update(conversation_lists.begin(reading.now(), is_v1=True))
        elif not is_read:
            return False
    while position["stage"] in {"threads", "late_threads"}:
        if not await conversation_lists.read(reading, position):
            return False
    return True


async def _fail(parts: ReconciliationParts, run: ReconciliationRun, why: str) -> None:
    async with parts.new_uow() as uow:
        await run_progress.fail_run(uow, run, error=why, now=parts.now())
