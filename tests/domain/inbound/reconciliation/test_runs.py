"""When runs are made, which worker has them, and what they report afterwards."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from tests.domain.inbound.reconciliation.support import Bench, bench
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
async def at(new_uow: UnitOfWorkFactory) -> AsyncIterator[Bench]:
    async with bench(new_uow) as made:
        yield made


async def _add_line(new_uow: NewUow, *, at: datetime = NIGHT - DAY) -> None:
    async with new_uow() as uow:
        await make_line(uow.session, now=at)


async def _daily(new_uow: NewUow, now: datetime) -> ReconciliationRun | None:
    async with new_uow() as uow:
        run_id = await runs.make_daily_run(uow, now=now)
        return None if run_id is None else await runs.get_run(uow, run_id=run_id)


async def _beat(new_uow: NewUow, now: datetime) -> UUID | None:
    async with new_uow() as uow:
        return await runs.store_receiver_heartbeat(uow, now=now)


async def _complete(new_uow: NewUow, now: datetime) -> None:
    """Complete the waiting run."""
    async with new_uow() as uow:
        run = await run_progress.claim_run(uow, now=now)
        assert run is not None
        await run_progress.complete_run(uow, run, now=now)


async def test_first_night_imports_and_the_next_goes_on_from_there(new_uow: NewUow) -> None:
    await _add_line(new_uow)
    first = await _daily(new_uow, NIGHT)
    again = await _daily(new_uow, NIGHT + MINUTE)
    await _complete(new_uow, NIGHT + HOUR)
    second = await _daily(new_uow, NIGHT + DAY)

    assert first is not None
    assert (first.trigger, first.since, first.until) == ("import", None, NIGHT)
    assert again is None
    assert second is not None
    assert (second.trigger, second.since, second.until) == ("daily", NIGHT - DAY, NIGHT + DAY)


async def test_new_installation_waits_for_its_first_night(new_uow: NewUow) -> None:
    await _add_line(new_uow, at=NIGHT + HOUR)

    assert await _daily(new_uow, NIGHT + 2 * HOUR) is None
    assert await _daily(new_uow, NIGHT + DAY - MINUTE) is None
    assert await _daily(new_uow, NIGHT + DAY + 9 * HOUR) is not None


async def test_without_a_line_there_is_nothing_to_compare(new_uow: NewUow) -> None:
    assert await _daily(new_uow, NIGHT) is None


async def test_night_without_a_worker_is_made_up_for(new_uow: NewUow) -> None:
    await _add_line(new_uow)
    await _daily(new_uow, NIGHT)
    await _complete(new_uow, NIGHT + HOUR)

    late = await _daily(new_uow, NIGHT + DAY + 9 * HOUR)

    assert late is not None
    assert await _daily(new_uow, NIGHT + DAY + 10 * HOUR) is None


async def test_two_workers_make_one_run_a_night(committed_uow: NewUow) -> None:
    await _add_line(committed_uow)
    made = await asyncio.gather(*(_daily(committed_uow, NIGHT) for _ in range(5)))

    assert len([run for run in made if run is not None]) == 1


async def test_failed_run_leaves_its_span_to_the_next(new_uow: NewUow) -> None:
    await _add_line(new_uow)
    await _daily(new_uow, NIGHT)
    await _complete(new_uow, NIGHT)
    await _daily(new_uow, NIGHT + DAY)
    async with new_uow() as uow:
        run = await run_progress.claim_run(uow, now=NIGHT + DAY)
        assert run is not None
        await run_progress.fail_run(uow, run, error="It went wrong.", now=NIGHT + DAY)

    third = await _daily(new_uow, NIGHT + 2 * DAY)

    assert third is not None
    assert third.since == NIGHT - runs.OVERLAP


async def test_run_of_a_part_does_not_count_as_whole(new_uow: NewUow) -> None:
    """A run for one hour of today: earlier times must still be compared."""
    await _add_line(new_uow)
    await _daily(new_uow, NIGHT)
    await _complete(new_uow, NIGHT)
    later = NIGHT + 3 * DAY - HOUR
    async with new_uow() as uow:
        await runs.request_run(uow, ReconciliationCreate(since=later - HOUR), now=later)
    await _complete(new_uow, later)

    run = await _daily(new_uow, NIGHT + 3 * DAY)

    assert run is not None
    assert run.since == NIGHT - runs.OVERLAP


async def test_receiver_that_was_away_makes_a_run(new_uow: NewUow, queue: RecordingQueue) -> None:
    await _beat(new_uow, NIGHT)
    quiet = await _beat(new_uow, NIGHT + MINUTE)
    made = await _beat(new_uow, NIGHT + MINUTE + HOUR)
    again = await _beat(new_uow, NIGHT + MINUTE + HOUR)

    assert quiet is None
    assert again is None
    assert made is not None
    async with new_uow() as uow:
        run = await runs.get_run(uow, run_id=made)
    assert (run.trigger, run.since) == ("outage", NIGHT + MINUTE - runs.OVERLAP)
    assert run.until == NIGHT + MINUTE + HOUR
    assert queue.names == [JobName.RECONCILE_OPENPHONE]


async def test_first_start_is_no_outage(new_uow: NewUow) -> None:
    assert await _beat(new_uow, NIGHT) is None


async def test_processes_that_come_back_together_make_one_run(committed_uow: NewUow) -> None:
    await _beat(committed_uow, NIGHT)

    made = await asyncio.gather(*(_beat(committed_uow, NIGHT + HOUR) for _ in range(5)))

    assert len([run for run in made if run is not None]) == 1


async def test_outage_that_follows_another_waits_with_it(new_uow: NewUow) -> None:
    await _beat(new_uow, NIGHT)

    first = await _beat(new_uow, NIGHT + HOUR)
    second = await _beat(new_uow, NIGHT + 2 * HOUR)

    assert first is not None
    assert second is None


async def _alert(
    new_uow: NewUow, kind: AlertKind, subject: str, *, begins: datetime, ends: datetime
) -> None:
    async with new_uow() as uow:
        await alerts.raise_alert(uow, kind=kind, subject=subject, detail="x", now=begins)
        await alerts.resolve_alert(uow, kind=kind, subject=subject, now=ends)


async def _after_gap(new_uow: NewUow, now: datetime) -> ReconciliationRun | None:
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
async def test_gap_that_is_over_makes_one_run(
    new_uow: NewUow, kind: AlertKind, subject: str
) -> None:
    await _add_line(new_uow)
    await _daily(new_uow, NIGHT)
    await _complete(new_uow, NIGHT)
    began_at = NIGHT + 3 * HOUR
    await _alert(new_uow, kind, subject, begins=began_at, ends=began_at + HOUR)

    run = await _after_gap(new_uow, began_at + HOUR)

    assert run is not None
    assert (run.trigger, run.since, run.continues) == ("outage", NIGHT - runs.OVERLAP, True)
    assert await _after_gap(new_uow, began_at + 2 * HOUR) is None


@pytest.mark.parametrize(
    ("kind", "subject", "lasted"),
    [
        (AlertKind.PROVIDER_DOWN, "openphone", 4 * MINUTE),
        (AlertKind.WEBHOOK_REFUSED, "signature_missing", HOUR),
        (AlertKind.LINE_BLOCKED, "a line", HOUR),
    ],
)
async def test_what_is_no_gap_makes_no_run(
    new_uow: NewUow, kind: AlertKind, subject: str, lasted: timedelta
) -> None:
    await _add_line(new_uow)
    await _daily(new_uow, NIGHT)
    await _alert(new_uow, kind, subject, begins=NIGHT + HOUR, ends=NIGHT + HOUR + lasted)

    assert await _after_gap(new_uow, NIGHT + 3 * HOUR) is None


async def test_gap_before_the_first_run_is_left_to_its_night(new_uow: NewUow) -> None:
    await _alert(new_uow, AlertKind.PROVIDER_DOWN, "openphone", begins=NIGHT, ends=NIGHT + HOUR)

    assert await _after_gap(new_uow, NIGHT + 3 * HOUR) is None


async def test_one_run_at_a_time_in_the_order_in_which_they_were_made(
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
    await _end(committed_uow, run)
    following = await claim(NIGHT + HOUR)
    assert following is not None
    assert following.created_at == NIGHT + MINUTE


async def _end(new_uow: NewUow, run: ReconciliationRun) -> None:
    async with new_uow() as uow:
        await run_progress.complete_run(uow, run, now=NIGHT + HOUR)


async def test_worker_whose_lease_ran_out_writes_nothing_more(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await runs.request_run(uow, ReconciliationCreate(), now=NIGHT)
        first = await run_progress.claim_run(uow, now=NIGHT)
        second = await run_progress.claim_run(uow, now=NIGHT + run_progress.LEASE)
    assert first is not None
    assert second is not None

    async with new_uow() as uow:
        with pytest.raises(RunLostError):
            await run_progress.store_progress(uow, _as(first, second), now=NIGHT, items_seen=7)


def _as(run: ReconciliationRun, taken: ReconciliationRun) -> ReconciliationRun:
    """Return the run as its first worker knows it, with a token that the row no longer has."""
    assert run.id == taken.id
    return ReconciliationRun(id=run.id, lease_token=UUID(int=1))


async def test_run_that_kills_its_workers_is_given_up(at: Bench) -> None:
    run_id = await at.ask()
    for _ in range(run_progress.MOST_FAILURES + 1):
        async with at.parts.new_uow() as uow:
            assert await run_progress.claim_run(uow, now=at.clock.now) is not None
        at.pass_by(run_progress.LEASE.total_seconds())

    await at.work()

    run = await at.read(run_id)
    assert run.status == "failed"
    assert "ended repeatedly" in (run.last_error or "")
    assert "reconciliation_failed" in await at.alerts()


async def test_last_run_is_returned_for_a_metric(at: Bench) -> None:
    async with at.parts.new_uow() as uow:
        nothing = await runs.find_last_run(uow)
    await at.run()
    at.pass_by(HOUR.total_seconds())
    at.receive("lost")
    at.pass_by(HOUR.total_seconds())
    await at.run()

    async with at.parts.new_uow() as uow:
        last = await runs.find_last_run(uow)

    assert nothing is None
    assert last is not None
    assert last.status == "completed"
    assert last.finished_at == at.clock.now
    assert last.drift == {"created": 1, "corrected": 0, "unknown_here": 0, "unknown_there": 0}
