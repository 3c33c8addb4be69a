"""When a circuit opens, which process may make the test call, and when the circuit closes."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import rows
from tests.fakes import RecordingQueue

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts.circuits import PROVIDER, CircuitState
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName

SECOND = timedelta(seconds=1)


class Line:
    """The provider's circuit with the test's own clock."""

    def __init__(self, new_uow: UnitOfWorkFactory) -> None:
        self._new_uow = new_uow
        self.now = NOW

    async def fail(self, count: int = 1, *, error: str = "No answer within 15 s.") -> CircuitState:
        async with self._new_uow() as uow:
            return await circuits.record_failures(
                uow, PROVIDER, count=count, error=error, now=self.now
            )

    async def answer(self, *, is_proof: bool = True) -> None:
        async with self._new_uow() as uow:
            await circuits.record_answer(uow, PROVIDER, now=self.now, is_proof=is_proof)

    async def may_try(self) -> bool:
        async with self._new_uow() as uow:
            return await circuits.begin_trial(uow, PROVIDER, now=self.now)

    async def end(self, error: str | None) -> CircuitState:
        async with self._new_uow() as uow:
            return await circuits.end_trial(uow, PROVIDER, error=error, now=self.now)

    async def rest(self) -> None:
        async with self._new_uow() as uow:
            await circuits.end_trial_without_answer(uow, PROVIDER, now=self.now)

    async def state(self) -> CircuitState:
        async with self._new_uow() as uow:
            return await circuits.read_circuit(uow, PROVIDER)


@pytest.fixture
def line(new_uow: UnitOfWorkFactory) -> Line:
    return Line(new_uow)


async def alerts(session: AsyncSession) -> list[dict[str, Any]]:
    return await rows(session, "SELECT kind, subject, detail, count, resolved_at FROM alert")


async def test_circuit_without_a_row_is_closed(line: Line, session: AsyncSession) -> None:
    await line.answer()

    assert await line.state() == CircuitState()
    assert not await line.may_try()
    assert await rows(session, "SELECT * FROM circuit") == []


async def test_failures_in_a_row_open_it_raise_an_alert_and_schedule_a_test_call(
    line: Line, session: AsyncSession, queue: RecordingQueue
) -> None:
    await line.fail(PROVIDER.opens_after - 1)
    before = await line.state()
    line.now += SECOND
    after = await line.fail()

    assert (before.is_open, after.is_open) == (False, True)
    assert (after.failing_since, after.opened_at) == (NOW, line.now)
    assert after.trial_at == line.now + PROVIDER.waits.first
    (alert,) = await alerts(session)
    assert (alert["kind"], alert["subject"], alert["count"]) == ("provider_down", "openphone", 1)
    assert "Failing since 2026-11-25 15:00 UTC: No answer within 15 s." in alert["detail"]
    wait = PROVIDER.waits.first.total_seconds()
    assert Job(name=JobName.TRY_PROVIDER, delay_seconds=wait) in queue.jobs


async def test_an_answer_between_failures_resets_the_count(line: Line) -> None:
    for _ in range(3):
        await line.fail(PROVIDER.opens_after - 1)
        await line.answer(is_proof=False)

    assert await line.state() == CircuitState(
        last_failed_at=NOW  # information only
    )


async def test_failures_far_apart_do_not_open_it(line: Line) -> None:
    for _ in range(2 * PROVIDER.opens_after):
        state = await line.fail()
        line.now += PROVIDER.forgets_after + SECOND

    assert (state.is_open, state.failures) == (False, 1)


async def test_one_process_at_a_time_makes_the_test_call_and_not_too_early(line: Line) -> None:
    await line.fail(PROVIDER.opens_after)
    line.now += PROVIDER.waits.first - SECOND
    early = await line.may_try()
    line.now += SECOND
    tries = [await line.may_try() for _ in range(3)]
    line.now += circuits.TRIAL_TAKES

    assert (early, tries) == (False, [True, False, False])
    assert await line.may_try(), "the process that made the test call died"


async def test_wait_doubles_with_each_failed_test_call_up_to_a_limit(
    line: Line, session: AsyncSession
) -> None:
    await line.fail(PROVIDER.opens_after)
    waits = []
    for _ in range(7):
        at = (await line.state()).trial_at
        assert at is not None
        waits.append((at - line.now).total_seconds())
        line.now = at
        assert await line.may_try()
        await line.end("503")

    assert waits == [20, 40, 80, 160, 300, 300, 300]
    (alert,) = await alerts(session)
    assert (alert["count"], alert["resolved_at"]) == (8, None)


async def test_answered_test_call_puts_it_on_trial_and_the_next_answer_closes_it(
    line: Line, session: AsyncSession
) -> None:
    await line.fail(PROVIDER.opens_after)
    line.now += PROVIDER.waits.first
    assert await line.may_try()
    on_trial = await line.end(None)
    alerts_on_trial = await alerts(session)
    await line.answer(is_proof=False)
    still = await line.state()
    await line.answer()

    assert (on_trial.is_open, still.opens) == (False, 1)
    assert alerts_on_trial[0]["resolved_at"] is None, "a read is not proof that sends succeed"
    assert await line.state() == CircuitState(last_failed_at=line.now)
    assert (await alerts(session))[0]["resolved_at"] == line.now


async def test_first_failure_on_trial_opens_it_again_for_longer(line: Line) -> None:
    await line.fail(PROVIDER.opens_after)
    line.now += PROVIDER.waits.first
    await line.may_try()
    await line.end(None)
    state = await line.fail()

    assert state.is_open
    assert state.trial_at == line.now + 2 * PROVIDER.waits.first


async def test_trial_without_any_call_closes_it(line: Line, session: AsyncSession) -> None:
    await line.fail(PROVIDER.opens_after)
    line.now += PROVIDER.waits.first
    await line.may_try()
    await line.end(None)
    line.now += circuits.TRIAL_LASTS - SECOND
    await line.rest()
    early = await line.state()
    line.now += SECOND
    await line.rest()

    assert early.opens == 1
    assert (await line.state()).opens == 0
    assert (await alerts(session))[0]["resolved_at"] == line.now


async def test_calls_under_way_when_it_opens_do_not_move_the_test_call(line: Line) -> None:
    opened = await line.fail(PROVIDER.opens_after)
    line.now += SECOND
    late = await line.fail(100)

    assert (late.opened_at, late.trial_at, late.opens) == (opened.opened_at, opened.trial_at, 1)


async def test_answer_to_a_call_under_way_closes_it_at_once(line: Line) -> None:
    await line.fail(PROVIDER.opens_after)

    await line.answer()

    assert not (await line.state()).is_open
