"""A look-up finds out at the provider whether the message of an unclear attempt was accepted.

It is dated by its start, and its result is used only if known messages can be read.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import skip_wait
from tests.domain.messaging.sends.ledger import Ledger
from tests.fakes import RecordingQueue
from tests.workers.drain import clock_behind, make_deps, open_ledger

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.workers.messaging import resolve_unknown_sends

AGO = 700.0
"""How many seconds ago the calls were made; longer than the grace (first wait)."""
EMPTY_PAGE = {"data": [], "totalItems": 0, "nextPageToken": None}

Answer = Callable[[httpx.Request], httpx.Response]


async def _look_up(
    settings: Settings, new_uow: UnitOfWorkFactory, queue: RecordingQueue, answer: Answer
) -> None:
    async with OpenPhoneClient(
        base_url="http://provider.test",
        api_key="key",
        transport=httpx.MockTransport(answer),
        sleep=skip_wait,
    ) as provider:
        ctx: dict[str, Any] = {"deps": make_deps(settings, new_uow, queue, provider)}
        await resolve_unknown_sends(ctx)


async def _accepted_and_unclear(new_uow: UnitOfWorkFactory) -> Ledger:
    """Store two calls that began ``AGO`` seconds ago: one was accepted, the other is unclear."""
    ledger = await open_ledger(new_uow, ago=AGO, people=2)
    then = clock_behind(AGO)
    (known,) = await ledger.begin_calls(limit=1, now=then())
    await ledger.accept(known, "ACknown", at=then(), now=then())
    await ledger.make_unclear_attempt(now=then())
    return ledger


async def test_look_up_is_dated_by_its_beginning(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO)
    await ledger.make_unclear_attempt(now=clock_behind(AGO)())
    requested_at = []

    def answer(_: httpx.Request) -> httpx.Response:
        requested_at.append(clock.now())
        return httpx.Response(200, json=EMPTY_PAGE)

    await _look_up(settings, committed_uow, queue, answer)

    nil_at = (await ledger.attempt()).nil_at
    assert nil_at is not None
    assert nil_at <= requested_at[0]


@pytest.mark.parametrize("status", [400, 500])
async def test_look_up_counts_for_nothing_while_a_known_message_cannot_be_read(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue, status: int
) -> None:
    ledger = await _accepted_and_unclear(committed_uow)
    (known, _) = await ledger.attempts()

    def answer(request: httpx.Request) -> httpx.Response:
        if known.phone[1:] in str(request.url.params):
            return httpx.Response(status, json={"message": "not now"})
        return httpx.Response(200, json=EMPTY_PAGE)

    await _look_up(settings, committed_uow, queue, answer)

    (unclear,) = [row for row in await ledger.attempts() if row.status == "unknown"]
    assert unclear.nil_at is None


async def test_look_ups_wait_for_the_shared_limiter(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO)
    await ledger.make_unclear_attempt(now=clock_behind(AGO)())
    free_at = clock.now() + timedelta(seconds=0.3)
    await ledger.run("INSERT INTO rate_limit (name, next_at) VALUES ('openphone', :at)", at=free_at)
    requested_at = []

    def answer(_: httpx.Request) -> httpx.Response:
        requested_at.append(clock.now())
        return httpx.Response(200, json=EMPTY_PAGE)

    await _look_up(settings, committed_uow, queue, answer)

    (row,) = await ledger.rows("SELECT next_at FROM rate_limit")
    assert requested_at[0] >= free_at
    assert row.next_at > free_at
