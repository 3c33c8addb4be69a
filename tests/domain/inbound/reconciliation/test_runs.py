"""Reconciliation runs: when a run is made, which worker claims it, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from tests.domain.inbound.reconciliation.support import (
    ReconciliationHarness,
    reconciliation_harness,
)
from tests.factories import make_line
from tests.fakes import RecordingQueue

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.reconciliation import run_progress, runs
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.run_progress import RunLostError
from crm_api.domain.inbound.reconciliation.schemas import ReconciliationCreate
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import JobName

NIGHT = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

NewUow = Callable[[], UnitOfWork]


@pytest_asyncio.fixture
async def harness(new_uow: UnitOfWorkFactory) -> AsyncIterator[ReconciliationHarness]:
    async with reconciliation_harness(new_uow) as made:
        yield made


async def _add_line(new_uow: NewUow, *, at: datetime = NIGHT - DAY) -> None:
    async with new_uow() as uow:
        await make_line(uow.session, now=at)


async def _make_daily_run(new_uow: NewUow, now: datetime) -> ReconciliationRun | None:
    async with new_uow() as uow:
        run_id = await runs.make_daily_run(uow, now=now)
        return None if run_id is None else await runs.get_run(uow, run_id=run_id)


async def _store_heartbeat(new_uow: NewUow, now: datetime) -> UUID | None:
    async with new_uow() as uow:
        return await runs.store_receiver_heartbeat(uow, now=now)


async def _complete_waiting_run(new_uow: NewUow, now: datetime) -> None:
    """Claim the waiting run and complete it."""
    async with new_uow() as uow:
        run = await run_progress.claim_run(uow, now=now)
        assert run is not None
        await run_progress.complete_run(uow, run, now=now)


async def test_first_night_imports_and_the_next_night_continues_from_its_end(
    new_uow: NewUow,
) -> None:
    await _add_line(new_uow)
    first = await _make_daily_run(new_uow, NIGHT)
    again = await _make_daily_run(new_uow, NIGHT + MINUTE)
    await _complete_waiting_run(new_uow, NIGHT + HOUR)
    second = await _make_daily_run(new_uow, NIGHT + DAY)

    assert first is not None
    assert (first.trigger, first.since, first.until) == ("import", None, NIGHT)
    assert again is None
    assert second is not None
    assert (second.trigger, second.since, second.until) == ("daily", NIGHT - DAY, NIGHT + DAY)


async def test_new_installation_waits_for_its_first_night(new_uow: NewUow) -> None:
    await _add_line(new_uow, at=NIGHT + HOUR)

    assert await _make_daily_run(new_uow, NIGHT + 2 * HOUR) is None
    assert await _make_daily_run(new_uow, NIGHT + DAY - MINUTE) is None
    assert await _make_daily_run(new_uow, NIGHT + DAY + 9 * HOUR) is not None


async def test_without_a_line_no_run_is_made(new_uow: NewUow) -> None:
    assert await _make_daily_run(new_uow, NIGHT) is None


async def test_run_of_a_missed_night_is_made_later(new_uow: NewUow) -> None:
    await _add_line(new_uow)
    await _make_daily_run(new_uow, NIGHT)
    await _complete_waiting_run(new_uow, NIGHT + HOUR)

    late = await _make_daily_run(new_uow, NIGHT + DAY + 9 * HOUR)

    assert late is not None
    assert await _make_daily_run(new_uow, NIGHT + DAY + 10 * HOUR) is None


async def test_two_workers_make_one_run_a_night(committed_uow: NewUow) -> None:
    await _add_line(committed_uow)
    made = await asyncio.gather(*(_make_daily_run(committed_uow, NIGHT) for _ in range(5)))

    assert len([run for run in made if run is not None]) == 1


async def test_run_after_a_failed_run_covers_its_span(new_uow: NewUow) -> None:
    await _add_line(new_uow)
    await _make_daily_run(new_uow, NIGHT)
    await _complete_waiting_run(new_uow, NIGHT)
    await _make_daily_run(new_uow, NIGHT + DAY)
    async with new_uow() as uow:
        run = await run_progress.claim_run(uow, now=NIGHT + DAY)
        assert run is not None
        await run_progress.fail_run(uow, run, error="It went wrong.", now=NIGHT + DAY)

    third = await _make_daily_run(new_uow, NIGHT + 2 * DAY)

    assert third is not None
    assert third.since == NIGHT - runs.OVERLAP


async def test_run_of_a_part_does_not_shorten_the_next_daily_run(new_uow: NewUow) -> None:
    """Test that a run for one hour does not replace the daily comparison of earlier times."""
    await _add_line(new_uow)
    await _make_daily_run(new_uow, NIGHT)
    await _complete_waiting_run(new_uow, NIGHT)
    later = NIGHT + 3 * DAY - HOUR
    async with new_uow() as uow:
        await runs.request_run(uow, ReconciliationCreate(since=later - HOUR), now=later)
    await _complete_waiting_run(new_uow, later)

    run = await _make_daily_run(new_uow, NIGHT + 3 * DAY)

    assert run is not None
    assert run.since == NIGHT - runs.OVERLAP


async def test_second_outage_extends_a_run_that_has_not_begun(new_uow: NewUow) -> None:
    await _add_line(new_uow)
    await _store_heartbeat(new_uow, NIGHT)
    run_id = await _store_heartbeat(new_uow, NIGHT + HOUR)
    assert run_id is not None

    again = await _store_heartbeat(new_uow, NIGHT + 2 * HOUR)

    assert again is None
    async with new_uow() as uow:
        run = await runs.get_run(uow, run_id=run_id)
    assert (run.since, run.until) == (NIGHT - runs.OVERLAP, NIGHT + 2 * HOUR)


async def test_outage_of_the_receiver_makes_a_run(new_uow: NewUow, queue: RecordingQueue) -> None:
    await _store_heartbeat(new_uow, NIGHT)
    quiet = await _store_heartbeat(new_uow, NIGHT + MINUTE)
    made = await _store_heartbeat(new_uow, NIGHT + MINUTE + HOUR)
    again = await _store_heartbeat(new_uow, NIGHT + MINUTE + HOUR)

    assert quiet is None
    assert again is None
    assert made is not None
    async with new_uow() as uow:
        run = await runs.get_run(uow, run_id=made)
    assert (run.trigger, run.since) == ("outage", NIGHT + MINUTE - runs.OVERLAP)
    assert run.until == NIGHT + MINUTE + HOUR
    assert queue.names == [JobName.RECONCILE_OPENPHONE]


async def test_first_start_is_not_an_outage(new_uow: NewUow) -> None:
    assert await _store_heartbeat(new_uow, NIGHT) is None


async def test_processes_that_restart_together_make_one_run(committed_uow: NewUow) -> None:
    await _store_heartbeat(committed_uow, NIGHT)

    made = await asyncio.gather(*(_store_heartbeat(committed_uow, NIGHT + HOUR) for _ in range(5)))

    assert len([run for run in made if run is not None]) == 1


async def test_second_outage_adds_no_second_waiting_run(new_uow: NewUow) -> None:
    await _store_heartbeat(new_uow, NIGHT)

    first = await _store_heartbeat(new_uow, NIGHT + HOUR)
    second = await _store_heartbeat(new_uow, NIGHT + 2 * HOUR)

    assert first is not None
    assert second is None


async def _store_ended_alert(
    new_uow: NewUow, kind: AlertKind, subject: str, *, begins: datetime, ends: datetime
) -> None:
    async with new_uow() as uow:
        await alerts.raise_alert(uow, kind=kind, subject=subject, detail="x", now=begins)
        await alerts.resolve_alert(uow, kind=kind, subject=subject, now=ends)


async def _make_run_after_gap(new_uow: NewUow, now: datetime) -> ReconciliationRun | None:
    async with new_uow() as uow:
        run_id = await runs.make_run_after_gap(uow, now=now)
        return None if run_id is None else await runs.get_run(uow, run_id=run_id)


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (AlertKind.PROVIDER_DOWN, "openphone"),
        (AlertKind.WEBHOOK_HEALTH, "silence"),
        (AlertKind.WEBHOOK_REFUSED, "signature_mismatch"),
    ],
)
async def test_ended_gap_makes_one_run(new_uow: NewUow, kind: AlertKind, subject: str) -> None:
    await _add_line(new_uow)
    await _make_daily_run(new_uow, NIGHT)
    await _complete_waiting_run(new_uow, NIGHT)
    began_at = NIGHT + 3 * HOUR
    await _store_ended_alert(new_uow, kind, subject, begins=began_at, ends=began_at + HOUR)

    run = await _make_run_after_gap(new_uow, began_at + HOUR)

    assert run is not None
    assert (run.trigger, run.since, run.continues) == ("outage", NIGHT - runs.OVERLAP, True)
    assert await _make_run_after_gap(new_uow, began_at + 2 * HOUR) is None


@pytest.mark.parametrize(
    ("kind", "subject", "lasted"),
    [
        (AlertKind.PROVIDER_DOWN, "openphone", 4 * MINUTE),
        (AlertKind.WEBHOOK_REFUSED, "signature_missing", HOUR),
        (AlertKind.LINE_BLOCKED, "a line", HOUR),
    ],
)
async def test_alert_without_a_gap_makes_no_run(
    new_uow: NewUow, kind: AlertKind, subject: str, lasted: timedelta
) -> None:
    await _add_line(new_uow)
    await _make_daily_run(new_uow, NIGHT)
    await _store_ended_alert(
        new_uow, kind, subject, begins=NIGHT + HOUR, ends=NIGHT + HOUR + lasted
    )

    assert await _make_run_after_gap(new_uow, NIGHT + 3 * HOUR) is None


async def test_gap_before_the_first_run_makes_no_run(new_uow: NewUow) -> None:
    await _store_ended_alert(
        new_uow, AlertKind.PROVIDER_DOWN, "openphone", begins=NIGHT, ends=NIGHT + HOUR
    )

    assert await _make_run_after_gap(new_uow, NIGHT + 3 * HOUR) is None


async def test_runs_are_claimed_one_at_a_time_in_order_of_creation(
    committed_uow: NewUow,
) -> None:
    for minute in range(3):
        async with committed_uow() as uow:
            await runs.request_run(uow, ReconciliationCreate(), now=NIGHT + minute * MINUTE)

    async def claim(now: datetime) -> ReconciliationRun | None:
        async with committed_uow() as uow:
            return await run_progress.claim_run(uow, now=now)

    taken = await asyncio.gather(*(claim(NIGHT + HOUR) for _ in range(4)))
    [run] = [one for one in taken if one is not None]
    assert run.created_at == NIGHT
    assert await claim(NIGHT + HOUR) is None
    await _complete_claimed_run(committed_uow, run)
    following = await claim(NIGHT + HOUR)
    assert following is not None
    assert following.created_at == NIGHT + MINUTE


async def _complete_claimed_run(new_uow: NewUow, run: ReconciliationRun) -> None:
    async with new_uow() as uow:
        await run_progress.complete_run(uow, run, now=NIGHT + HOUR)


async def test_worker_with_an_expired_lease_writes_nothing(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await runs.request_run(uow, ReconciliationCreate(), now=NIGHT)
        first = await run_progress.claim_run(uow, now=NIGHT)
        second = await run_progress.claim_run(uow, now=NIGHT + run_progress.LEASE)
    assert first is not None
    assert second is not None

    async with new_uow() as uow:
        with pytest.raises(RunLostError):
            await run_progress.store_progress(
                uow, _with_lost_token(first, second), now=NIGHT, items_seen=7
            )


def _with_lost_token(run: ReconciliationRun, taken: ReconciliationRun) -> ReconciliationRun:
    """Return the run as its first worker knows it: with a token that the row no longer has."""
    assert run.id == taken.id
    return ReconciliationRun(id=run.id, lease_token=UUID(int=1))


async def test_run_that_repeatedly_loses_its_worker_fails(harness: ReconciliationHarness) -> None:
    run_id = await harness.request_run()
    for _ in range(run_progress.MOST_FAILURES + 1):
        async with harness.parts.new_uow() as uow:
            assert await run_progress.claim_run(uow, now=harness.clock.now) is not None
        harness.advance(run_progress.LEASE.total_seconds())

    await harness.work_on_run()

    run = await harness.read_run(run_id)
    assert run.status == "failed"
    assert "ended repeatedly" in (run.last_error or "")
    assert "reconciliation_failed" in await harness.alerts()


async def test_last_run_is_returned_for_a_metric(harness: ReconciliationHarness) -> None:
    async with harness.parts.new_uow() as uow:
        nothing = await runs.find_last_run(uow)
    await harness.run()
    harness.advance(HOUR.total_seconds())
    harness.receive("lost")
    harness.advance(HOUR.total_seconds())
    await harness.run()

    async with harness.parts.new_uow() as uow:
        last = await runs.find_last_run(uow)

    assert nothing is None
    assert last is not None
    assert last.status == "completed"
    assert last.finished_at == harness.clock.now
    assert last.drift == {"created": 1, "corrected": 0, "unknown_here": 0, "unknown_there": 0}
