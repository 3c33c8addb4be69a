"""The dispatcher, from the claim to the recording of responses, against the sandbox."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts
from tests.factories import number
from tests.measuring import measured

from crm_api.dev.sandbox.app import Sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.sandbox.faults import Fault
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.messaging.sends.limiter import CallStarts, Limiter
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

FAST = 10_000.0


@pytest.fixture
def sandbox_config(sandbox_config: SandboxConfig) -> SandboxConfig:
    return replace(sandbox_config, clock=lambda: NOW, slow_seconds=0)


def _dispatcher(
    new_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, *, rate: float = FAST, **more: Any
) -> Dispatcher:
    return Dispatcher(
        new_uow=new_uow,
        provider=openphone,
        limiter=more.pop("limiter", None) or Limiter(rate_per_second=rate),
        times=more.pop("times", TIMES),
        now=more.pop("now", lambda: NOW),
        **more,
    )


def _accepted(sandbox: Sandbox) -> Counter[str]:
    return Counter(phone for message in sandbox.workspace.store.ordered for phone in message.to)


async def test_every_recipient_is_called_once_and_recorded(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    ledger = await Ledger.open(committed_uow, people=99, bodies=("Hi {{ first_name }}",))

    tally = await _dispatcher(committed_uow, openphone).run(
        lambda limit: ledger.claim(limit=min(limit, 50))
    )

    assert _accepted(sandbox) == Counter(number(position) for position in range(99))
    assert Counter(row.status for row in await ledger.recipients()) == {"sent": 99}
    assert (tally.claimed, tally.called, tally.answers) == (99, 99, {"accepted": 99})
    ids = {row.provider_message_id for row in await ledger.attempts()}
    assert ids == set(sandbox.workspace.store.by_id)


async def test_two_dispatchers_call_each_recipient_once(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    ledger = await Ledger.open(committed_uow, people=99)

    await asyncio.gather(
        *(
            _dispatcher(committed_uow, openphone).run(
                lambda limit: ledger.claim(limit=min(limit, 10))
            )
            for _ in range(2)
        )
    )

    assert _accepted(sandbox) == Counter(number(position) for position in range(99))


async def test_recipient_refused_by_the_gate_is_not_called(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    ledger = await Ledger.open(committed_uow, people=3)

    async def claim_and_opt_out(limit: int) -> list[ClaimedAttempt]:
        batch = await ledger.claim(limit=limit)
        if batch:
            await ledger.flag("opted_out")
        return batch

    tally = await _dispatcher(committed_uow, openphone).run(claim_and_opt_out)

    assert number(0) not in _accepted(sandbox)
    assert (tally.called, tally.refused_by_gate) == (2, 1)
    assert [row.status for row in await ledger.recipients()] == ["skipped", "sent", "sent"]


async def test_call_begins_only_after_the_commit_of_its_gate(
    committed_uow: UnitOfWorkFactory, sandbox: Sandbox, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow, people=5)
    seen = []

    async def answer(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        async with committed_db.connect() as other:
            status = await other.scalar(
                text("SELECT status FROM send_attempt WHERE phone = :phone"), {"phone": phone}
            )
        seen.append(status)
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        await _dispatcher(committed_uow, client).run(lambda limit: ledger.claim(limit=limit))

    assert seen == ["calling"] * 5
    assert sandbox.workspace.store.ordered == []


FAULTS = [
    (FaultKind.THROTTLED, ("pending", "later")),
    (FaultKind.ERROR_BEFORE, ("unknown", "unclear")),
    (FaultKind.ERROR_AFTER, ("unknown", "unclear")),
    (FaultKind.NO_ID, ("unknown", "unclear")),
    (FaultKind.INVALID, ("failed", "refused")),
]


@pytest.mark.parametrize(("fault", "ends"), FAULTS)
async def test_fault_of_one_call_affects_only_its_recipient(
    committed_uow: UnitOfWorkFactory,
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
    fault: FaultKind,
    ends: tuple[str, str],
) -> None:
    status, outcome = ends
    ledger = await Ledger.open(committed_uow, people=5)
    line_id = str(ledger.line.id)
    sandbox.workspace.faults.active.append(Fault(kind=fault, number=number(2), count=1))

    await _dispatcher(committed_uow, openphone).run(lambda limit: ledger.claim(limit=limit))

    found = [row.status for row in await ledger.recipients()]
    assert found == ["sent", "sent", status, "sent", "sent"]
    assert measured("crm_sends_total", line_id=line_id, outcome="accepted") == 4
    assert measured("crm_sends_total", line_id=line_id, outcome=outcome) == 1


async def test_account_refusal_stops_the_remaining_calls(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    ledger = await Ledger.open(committed_uow, people=300, line_limit=1000, daily_limit=1000)
    sandbox.workspace.faults.active.append(Fault(kind=FaultKind.NO_CREDITS, probability=1.0))

    tally = await _dispatcher(committed_uow, openphone).run(
        lambda limit: ledger.claim(limit=min(limit, 20))
    )

    assert sandbox.workspace.store.ordered == []
    assert tally.called < 150
    assert Counter(row.status for row in await ledger.recipients()) == {"pending": 300}
    assert {row.attempts for row in await ledger.recipients()} == {0}
    assert await ledger.alerts() == {"line_blocked"}


async def test_throttled_key_slows_all_workers(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    ledger = await Ledger.open(committed_uow)
    sandbox.workspace.faults.active.append(Fault(kind=FaultKind.THROTTLED, count=1, retry_after=30))

    await _dispatcher(committed_uow, openphone).run(lambda limit: ledger.claim(limit=limit))

    async with committed_uow() as uow:
        other = Limiter(rate_per_second=FAST)
        assert await other.reserve(uow, calls=1, now=NOW) >= after(30)
    assert (await ledger.recipient()).due_at >= after(30)


async def test_stop_releases_the_claims(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    ledger = await Ledger.open(committed_uow, people=10)
    dispatcher = _dispatcher(committed_uow, openphone)

    async def claim_then_stop(limit: int) -> list[ClaimedAttempt]:
        batch = await ledger.claim(limit=limit)
        dispatcher.stop()
        return batch

    tally = await dispatcher.run(claim_then_stop)

    assert (tally.claimed, tally.called, tally.is_interrupted) == (10, 0, True)
    assert sandbox.workspace.store.ordered == []
    assert {row.status for row in await ledger.attempts()} == {"released"}
    assert {row.status for row in await ledger.recipients()} == {"pending"}


async def test_stop_ends_a_wait_for_the_limiter(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    """Test that a worker that stops does not wait for the end of a long pause of the provider."""
    ledger = await Ledger.open(committed_uow, people=2)
    limiter = Limiter(rate_per_second=FAST)
    async with committed_uow() as uow:
        await limiter.pause(uow, seconds=25, asked_seconds=25, now=NOW)
    dispatcher = _dispatcher(committed_uow, openphone, limiter=limiter)
    asked = asyncio.Event()

    async def claim_more(limit: int) -> list[ClaimedAttempt]:
        batch = await ledger.claim(limit=limit)
        if not batch:
            asked.set()
        return batch

    running = asyncio.create_task(dispatcher.run(claim_more))
    await asked.wait()

    dispatcher.stop()
    async with asyncio.timeout(30):
        await running

    assert sandbox.workspace.store.ordered == []
    assert {row.status for row in await ledger.recipients()} == {"pending"}


async def test_calls_under_way_are_recorded_after_stop(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=3)
    released = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        dispatcher.stop()
        released.set()
        await released.wait()
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        dispatcher = _dispatcher(committed_uow, client)
        await dispatcher.run(lambda limit: ledger.claim(limit=limit))

    assert {row.status for row in await ledger.recipients()} == {"sent"}


async def test_no_answer_is_lost_when_the_claim_fails(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    ledger = await Ledger.open(committed_uow, people=10)
    claims = 0

    async def claim_once(limit: int) -> list[ClaimedAttempt]:
        nonlocal claims
        claims += 1
        if claims > 1:
            raise OperationalError("claim", {}, Exception("away"))
        return await ledger.claim(limit=limit)

    with pytest.raises(OperationalError):
        await _dispatcher(committed_uow, openphone).run(claim_once)

    sent = sum(row.status == "sent" for row in await ledger.recipients())
    assert sent == len(sandbox.workspace.store.ordered)
    assert {row.status for row in await ledger.attempts()} <= {"sent", "released"}


async def test_answer_is_kept_while_the_database_is_unavailable(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow)
    asked: list[str] = []
    failures = 1

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        asked.append("POST")
        return httpx.Response(202, json={"data": {"id": "AC1"}})

    def fail_once() -> UnitOfWork:
        nonlocal failures
        if asked and failures:
            failures -= 1
            raise OperationalError("record", {}, Exception("away"))
        return committed_uow()

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        await _dispatcher(fail_once, client).run(lambda limit: ledger.claim(limit=limit))

    assert failures == 0
    assert asked == ["POST"]
    assert (await ledger.attempt()).status == "sent"
    assert (await ledger.recipient()).status == "sent"


async def test_answer_takes_its_message_from_a_wrong_match(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox
) -> None:
    first = await Ledger.open(committed_uow)
    await first.make_unclear_attempt()
    await first.run("UPDATE send_attempt SET status = 'parked'")
    second = await Ledger.open(committed_uow, line=first.line)
    await second.run("UPDATE send_attempt SET called_at = :at", at=after(-601))
    batch = await second.claim()
    await second.run("UPDATE send_attempt SET called_at = :at WHERE status = 'parked'", at=NOW)

    async def answer(request: httpx.Request) -> httpx.Response:
        # The webhook is applied before the response. It is matched to the parked attempt of the
        # first campaign, which is wrong.
        await request.aread()
        await second.report(message_facts("delivered", updated_at=after(2)), now=after(3))
        return httpx.Response(202, json={"data": {"id": "AC1", "createdAt": NOW.isoformat()}})

    batches = iter([batch, []])

    async def claim_more(limit: int) -> list[ClaimedAttempt]:  # noqa: ARG001 - the dispatcher passes it
        return next(batches)

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        await _dispatcher(committed_uow, client).run(claim_more)

    assert (await second.recipient()).status == "sent"
    assert (await first.recipient()).status == "unknown"
    assert openphone is not None
    assert sandbox.workspace.store.ordered == []


async def test_run_stops_when_the_clock_of_the_provider_is_wrong(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=100)

    async def answer(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        date = {"date": "Wed, 25 Nov 2026 15:00:06 GMT"}
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}}, headers=date)

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        tally = await _dispatcher(committed_uow, client).run(
            lambda limit: ledger.claim(limit=min(limit, 10))
        )

    assert tally.provider_skew == timedelta(seconds=-6)
    assert tally.called < tally.claimed
    # The run stopped because of a wrong clock, so the job must not request its next run at once.
    assert not tally.is_interrupted


@pytest.mark.parametrize("hours", [-1, 1])
async def test_no_request_begins_after_the_clock_of_the_worker_was_set(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, sandbox: Sandbox, hours: int
) -> None:
    ledger = await Ledger.open(committed_uow, people=300)

    tally = await _dispatcher(
        committed_uow,
        openphone,
        wall_offset=lambda: 3_600.0 * hours if sandbox.workspace.store.ordered else 0.0,
    ).run(lambda limit: ledger.claim(limit=min(limit, 10)))

    statuses = Counter(row.status for row in await ledger.recipients())
    assert statuses == {"sent": tally.called, "pending": 300 - tally.called}
    assert 0 < tally.called < 300
    assert {row.status for row in await ledger.attempts()} == {"sent", "released"}


async def test_calls_claimed_ahead_take_at_most_a_third_of_the_lease(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient
) -> None:
    for rate in (1.0, 8.0, 60.0):
        for lease in (20, 60):
            times = replace(TIMES, lease=timedelta(seconds=lease))
            dispatcher = _dispatcher(committed_uow, openphone, rate=rate, times=times)
            assert 1 <= dispatcher.claim_size <= max(1, rate * lease / 3)


async def test_two_dispatchers_together_do_not_exceed_the_rate(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=40)
    starts: list[float] = []
    loop = asyncio.get_running_loop()

    async def answer(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        starts.append(loop.time())
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})

    begun = loop.time()
    clock = lambda: NOW + timedelta(seconds=loop.time() - begun)  # noqa: E731 - real seconds from NOW
    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        await asyncio.gather(
            *(
                _dispatcher(committed_uow, client, rate=40.0, now=clock).run(
                    lambda limit: ledger.claim(limit=min(limit, 8))
                )
                for _ in range(2)
            )
        )

    starts.sort()
    assert len(starts) == 40
    # At 40 calls a second, 40 calls have 39 gaps of 25 ms. A call may start late, but never early.
    assert starts[-1] - begun >= 0.9
    # In half a second, the rate allows 20 calls. Each of the two workers may add the 16 calls of
    # one gate.
    busiest = max(sum(start <= other < start + 0.5 for other in starts) for start in starts)
    assert busiest <= 20 + 2 * 16


@contextmanager
def _statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """Yield a list to which each statement that the block sends to the database is added."""
    found: list[str] = []

    def collect(*args: Any) -> None:
        found.append(str(args[2]))

    event.listen(engine.sync_engine, "before_cursor_execute", collect)
    yield found
    event.remove(engine.sync_engine, "before_cursor_execute", collect)


async def test_drain_needs_no_statement_for_each_message(
    committed_uow: UnitOfWorkFactory, openphone: OpenPhoneClient, committed_db: AsyncEngine
) -> None:
    costs = {}
    for people in (200, 400):
        await _truncate(committed_db)
        ledger = await Ledger.open(committed_uow, people=people, line_limit=1000, daily_limit=1000)
        with _statements(committed_db) as statements:
            tally = await _dispatcher(committed_uow, openphone).run(
                lambda limit, ledger=ledger: ledger.claim(limit=limit)  # type: ignore[misc]
            )
        assert tally.answers == {"accepted": people}
        costs[people] = len(statements)

    # Each gate of 32 calls, each recording (every 0.2 s) and each claim of 500 recipients needs a
    # few statements.
    assert (costs[400] - costs[200]) / 2 <= 20
    assert costs[400] <= 100


async def _truncate(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text("TRUNCATE send_attempt, campaign_membership, campaign, line, contact CASCADE")
        )


async def test_unused_call_starts_expire(new_uow: UnitOfWorkFactory) -> None:
    """Test that unused starts of calls expire.

    Otherwise, a run after a pause could send above the rate.
    """
    starts = CallStarts(Limiter(rate_per_second=10), gate_size=4)

    first = await starts.take(1, new_uow=new_uow, now=NOW)
    soon = await starts.take(1, new_uow=new_uow, now=after(0.5))
    late = await starts.take(1, new_uow=new_uow, now=after(5))

    assert (first, soon, late) == (NOW, after(0.1), after(5))
