"""Tests of the check that detects a silence of events, with a clock that the tests move."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest_asyncio
from sqlalchemy import text
from tests.conftest import NOW
from tests.fakes import RecordingQueue
from tests.workers.inbound.health_bench import HealthBench, open_bench

from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

NewUow = Callable[[], UnitOfWork]

# This statement adds a received message for every five minutes between 9:00 and 18:00 in New York,
# Monday to Friday, for ``weeks`` weeks before ``now``.
_TRAFFIC = text("""
    INSERT INTO webhook_event (id, provider_event_id, scheme, type, status, next_attempt_at,
        received_at, payload)
    SELECT gen_random_uuid(), :name || at, '2026-03-30', 'message.received', 'processed', at, at,
           jsonb_build_object('text', CAST(:words AS text))
      FROM generate_series(CAST(:now AS timestamptz) - make_interval(weeks => :weeks),
                           CAST(:until AS timestamptz), interval '5 minutes') AS at
     WHERE extract(isodow FROM at AT TIME ZONE 'America/New_York') < 6
       AND extract(hour FROM at AT TIME ZONE 'America/New_York') BETWEEN 9 AND 17
""")


@pytest_asyncio.fixture
async def bench(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> AsyncIterator[HealthBench]:
    async with open_bench(settings, committed_uow, queue, own_lines=False) as bench:
        yield bench


async def _add_traffic(
    bench: HealthBench, *, weeks: int, until: datetime, words: str = "Hi", name: str = "EV"
) -> None:
    async with bench.deps.new_uow() as uow:
        await uow.session.execute(
            _TRAFFIC,
            {"now": NOW, "weeks": weeks, "until": until, "words": words, "name": name},
        )


async def _check_at(bench: HealthBench, now: datetime) -> dict[str, object]:
    bench.now = now
    await bench.work()
    return await bench.last("silence")


async def test_silence_in_office_hours_fails_the_check_until_the_next_event(
    bench: HealthBench,
) -> None:
    until = NOW + timedelta(hours=1)
    await _add_traffic(bench, weeks=8, until=until)
    before = await _check_at(bench, until + timedelta(minutes=4))
    silent = await _check_at(bench, until + timedelta(hours=2, minutes=5))
    was_ready, alerts = await bench.readiness(), await bench.alerts()
    bench.sandbox.workspace.receive(
        bench.sandbox.workspace.config.lines[0], "+16175550123", "Hello"
    )
    await bench.finish_deliveries()
    after = await _check_at(bench, until + timedelta(hours=2, minutes=16))

    assert before["status"] == "passed"
    assert (silent["status"], silent["leg"]) == ("failed", "silent")
    assert "No event has arrived since 2026-11-25T16:00:00.000Z" in str(silent["failure"])
    assert (was_ready, alerts["silence"]) == ("degraded", True)
    assert after["status"] == "passed"
    assert (await bench.alerts())["silence"] is False


async def test_silence_at_night_passes_the_check(bench: HealthBench) -> None:
    await _add_traffic(bench, weeks=8, until=NOW + timedelta(hours=8))
    night = await _check_at(bench, NOW + timedelta(hours=16))

    assert night["status"] == "passed"


async def test_silence_is_not_judged_with_three_weeks_of_record(bench: HealthBench) -> None:
    await _add_traffic(bench, weeks=3, until=NOW)
    check = await _check_at(bench, NOW + timedelta(hours=5))

    assert check["status"] == "passed"
    assert isinstance(check["evidence"], dict)
    assert check["evidence"]["not_judged_because"] == "less than four weeks are on record"


async def test_own_test_messages_do_not_count_as_traffic(bench: HealthBench) -> None:
    """Prove that the test messages of the service itself are not included as traffic.

    They arrive every hour and would hide a silence. If they are switched off, their absence must
    not look like a silence.
    """
    await _add_traffic(bench, weeks=8, until=NOW)
    await _add_traffic(
        bench, weeks=1, until=NOW + timedelta(hours=3), words="Webhook check 0a1b2c", name="own"
    )
    silent = await _check_at(bench, NOW + timedelta(hours=3, minutes=1))

    assert silent["status"] == "failed"


async def test_check_without_stored_events_passes(bench: HealthBench) -> None:
    assert (await _check_at(bench, NOW))["status"] == "passed"
