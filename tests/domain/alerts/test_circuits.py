"""A circuit (a breaker for an outside system) opens after failures, and closes after responses.

While the circuit is open, only one process at a time makes a test call.
"""

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


class Circuit:
    """The circuit breaker for the provider, with a clock that the test sets."""

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
            await circuits.record_response(uow, PROVIDER, now=self.now, is_proof=is_proof)

    async def begin_trial(self) -> bool:
        async with self._new_uow() as uow:
            return await circuits.begin_trial(uow, PROVIDER, now=self.now)

    async def end(self, error: str | None) -> CircuitState:
        async with self._new_uow() as uow:
            return await circuits.end_trial(uow, PROVIDER, error=error, now=self.now)

    async def end_trial_without_answer(self) -> None:
        async with self._new_uow() as uow:
            await circuits.end_trial_without_answer(uow, PROVIDER, now=self.now)

    async def state(self) -> CircuitState:
        async with self._new_uow() as uow:
            return await circuits.read_circuit(uow, PROVIDER)


@pytest.fixture
def circuit(new_uow: UnitOfWorkFactory) -> Circuit:
    return Circuit(new_uow)


async def alerts(session: AsyncSession) -> list[dict[str, Any]]:
    return await rows(session, "SELECT kind, subject, detail, count, resolved_at FROM alert")


async def test_circuit_without_a_row_is_closed(circuit: Circuit, session: AsyncSession) -> None:
    await circuit.answer()

    assert await circuit.state() == CircuitState()
    assert not await circuit.begin_trial()
    assert await rows(session, "SELECT * FROM circuit") == []


async def test_consecutive_failures_open_the_circuit_raise_an_alert_and_schedule_a_test_call(
    circuit: Circuit, session: AsyncSession, queue: RecordingQueue
) -> None:
    await circuit.fail(PROVIDER.opens_after - 1)
    before = await circuit.state()
    circuit.now += SECOND
    after = await circuit.fail()

    assert (before.is_open, after.is_open) == (False, True)
    assert (after.failing_since, after.opened_at) == (NOW, circuit.now)
    assert after.trial_at == circuit.now + PROVIDER.waits.first
    (alert,) = await alerts(session)
    assert (alert["kind"], alert["subject"], alert["count"]) == ("provider_down", "openphone", 1)
    assert "Failing since 2026-11-25 15:00 UTC: No answer within 15 s." in alert["detail"]
    wait = PROVIDER.waits.first.total_seconds()
    assert Job(name=JobName.TRY_PROVIDER, delay_seconds=wait) in queue.jobs


async def test_an_answer_between_failures_resets_the_count(circuit: Circuit) -> None:
    for _ in range(3):
        await circuit.fail(PROVIDER.opens_after - 1)
        await circuit.answer(is_proof=False)

    assert await circuit.state() == CircuitState(
        # After a response, only the time of the last failure is left. This time alone has no
        # effect.
        last_failed_at=NOW
    )


async def test_failures_far_apart_do_not_open_the_circuit(circuit: Circuit) -> None:
    for _ in range(2 * PROVIDER.opens_after):
        state = await circuit.fail()
        circuit.now += PROVIDER.forgets_after + SECOND

    assert (state.is_open, state.failures) == (False, 1)


async def test_one_process_at_a_time_makes_the_test_call_once_it_is_due(circuit: Circuit) -> None:
    await circuit.fail(PROVIDER.opens_after)
    circuit.now += PROVIDER.waits.first - SECOND
    too_early = await circuit.begin_trial()
    circuit.now += SECOND
    trials = [await circuit.begin_trial() for _ in range(3)]
    circuit.now += circuits.TRIAL_TAKES

    assert (too_early, trials) == (False, [True, False, False])
    assert await circuit.begin_trial(), (
        "another process may try after a process that did not end its test call"
    )


async def test_wait_doubles_with_each_failed_test_call_up_to_a_limit(
    circuit: Circuit, session: AsyncSession
) -> None:
    await circuit.fail(PROVIDER.opens_after)
    waits = []
    for _ in range(7):
        at = (await circuit.state()).trial_at
        assert at is not None
        waits.append((at - circuit.now).total_seconds())
        circuit.now = at
        assert await circuit.begin_trial()
        await circuit.end("503")

    assert waits == [20, 40, 80, 160, 300, 300, 300]
    (alert,) = await alerts(session)
    assert (alert["count"], alert["resolved_at"]) == (8, None)


async def test_answered_test_call_starts_a_trial_and_the_next_answer_closes_the_circuit(
    circuit: Circuit, session: AsyncSession
) -> None:
    await circuit.fail(PROVIDER.opens_after)
    circuit.now += PROVIDER.waits.first
    assert await circuit.begin_trial()
    on_trial = await circuit.end(None)
    alerts_on_trial = await alerts(session)
    await circuit.answer(is_proof=False)
    on_trial_still = await circuit.state()
    await circuit.answer()

    assert (on_trial.is_open, on_trial_still.opens) == (False, 1)
    assert alerts_on_trial[0]["resolved_at"] is None, "a read is not proof that sends succeed"
    assert await circuit.state() == CircuitState(last_failed_at=circuit.now)
    assert (await alerts(session))[0]["resolved_at"] == circuit.now


async def test_first_failure_on_trial_opens_the_circuit_for_longer(circuit: Circuit) -> None:
    await circuit.fail(PROVIDER.opens_after)
    circuit.now += PROVIDER.waits.first
    await circuit.begin_trial()
    await circuit.end(None)
    state = await circuit.fail()

    assert state.is_open
    assert state.trial_at == circuit.now + 2 * PROVIDER.waits.first


async def test_trial_without_any_call_closes_the_circuit(
    circuit: Circuit, session: AsyncSession
) -> None:
    await circuit.fail(PROVIDER.opens_after)
    circuit.now += PROVIDER.waits.first
    await circuit.begin_trial()
    await circuit.end(None)
    circuit.now += circuits.TRIAL_LASTS - SECOND
    await circuit.end_trial_without_answer()
    too_early = await circuit.state()
    circuit.now += SECOND
    await circuit.end_trial_without_answer()

    assert too_early.opens == 1
    assert (await circuit.state()).opens == 0
    assert (await alerts(session))[0]["resolved_at"] == circuit.now


async def test_failures_of_calls_under_way_do_not_move_the_test_call(circuit: Circuit) -> None:
    opened = await circuit.fail(PROVIDER.opens_after)
    circuit.now += SECOND
    late = await circuit.fail(100)

    assert (late.opened_at, late.trial_at, late.opens) == (opened.opened_at, opened.trial_at, 1)


async def test_answer_to_a_call_under_way_closes_the_circuit_at_once(circuit: Circuit) -> None:
    await circuit.fail(PROVIDER.opens_after)

    await circuit.answer()

    assert not (await circuit.state()).is_open
