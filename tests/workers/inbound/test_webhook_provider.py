"""Tests of the check of webhooks and undelivered events at the provider, with a moved clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from tests.fakes import RecordingQueue
from tests.workers.inbound.health_bench import HealthBench, open_bench

from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.dev.sandbox.webhook_sender import Hook
from crm_api.domain.inbound.webhook_setup.keyring import KeyRing
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings
from crm_api.workers.inbound import registrar_of

NewUow = Callable[[], UnitOfWork]
PERSON = "+16175550123"


@pytest_asyncio.fixture
async def bench(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> AsyncIterator[HealthBench]:
    async with open_bench(settings, committed_uow, queue, own_lines=False) as bench:
        yield bench


def _hook(bench: HealthBench) -> Hook:
    (hook,) = bench.sandbox.workspace.deliverer.hooks.values()
    return hook


async def _receive_messages(bench: HealthBench, count: int, *, first: int = 0) -> None:
    line = bench.sandbox.workspace.config.lines[0]
    for number in range(first, first + count):
        bench.sandbox.workspace.receive(line, PERSON, f"text {number}")
    await bench.finish_deliveries()


async def _known_messages(bench: HealthBench) -> int:
    await bench._apply()
    found = await bench.rows("SELECT count(*) AS n FROM activity WHERE direction = 'incoming'")
    count: int = found[0]["n"]
    return count


@pytest.mark.parametrize(
    ("change", "leg", "repair"),
    [
        ({"status": "disabled"}, "disabled", "crm-api webhooks register"),
        ({"events": frozenset({"message.received"})}, "events_missing", "register"),
        ({"resource_ids": frozenset({"PNsandbox2"})}, "lines_missing", "register"),
        (
            {"url": "https://elsewhere.example/hook"},
            "missing",
            "Webhooks that point to other addresses: 1",
        ),
    ],
)
async def test_wrong_registration_fails_the_check_with_its_remedy_until_it_is_corrected(
    bench: HealthBench, change: dict[str, Any], leg: str, repair: str
) -> None:
    hook = _hook(bench)
    kept = {name: getattr(hook, name) for name in change}
    for name, value in change.items():
        setattr(hook, name, value)
    await bench.work()
    failed, was_ready = await bench.last("provider"), await bench.readiness()
    for name, value in kept.items():
        setattr(hook, name, value)
    await bench.pass_time(minutes=10)
    passed = await bench.last("provider")

    assert (failed["status"], failed["leg"]) == ("failed", leg)
    assert repair in failed["failure"]
    assert was_ready == "degraded"
    assert passed["status"] == "passed"
    assert await bench.alerts() == {"provider": False}


async def test_unknown_key_fails_the_check_until_the_key_is_rotated(bench: HealthBench) -> None:
    bench.deps.settings = bench.deps.settings.model_copy(update={"openphone_api_key": "real"})
    bench.keys = KeyRing((), load=bench.keys._load)
    await bench.work()
    failed = await bench.last("provider")
    await registrar_of(bench.deps, now=bench.clock).rotate()
    await bench.pass_time(minutes=10)
    await _receive_messages(bench, 1)

    assert (failed["status"], failed["leg"]) == ("failed", "key_unknown")
    assert "crm-api webhooks rotate" in failed["failure"]
    assert (await bench.last("provider"))["status"] == "passed"
    assert await _known_messages(bench) == 1


async def test_given_up_deliveries_are_requested_once_and_arrive(bench: HealthBench) -> None:
    await bench.work()
    bench.is_down = True
    await _receive_messages(bench, 7)
    bench.is_down = False
    await _receive_messages(bench, 3, first=7)
    await bench.pass_time(minutes=61)
    failed = await bench.last("provider")
    known = await _known_messages(bench)
    await bench.pass_time(minutes=10)
    passed = await bench.last("provider")

    assert (failed["status"], failed["leg"]) == ("failed", "given_up")
    assert failed["evidence"]["asked_again"] == 7
    assert "stopped retrying 7 events that are not stored here" in failed["failure"]
    assert known == 10
    assert passed["status"] == "passed"
    assert {row["times"] for row in await bench.rows("SELECT times FROM webhook_redelivery")} == {1}


async def test_given_up_delivery_whose_event_is_stored_is_not_requested(bench: HealthBench) -> None:
    await bench.work()
    bench.is_down = True
    await _receive_messages(bench, 1)
    (delivery,) = bench.sandbox.workspace.deliverer.log.values()
    bench.is_down = False
    await bench.rows(
        "INSERT INTO webhook_event_key (provider_event_id, event_id) "
        "VALUES (:id, gen_random_uuid()) RETURNING event_id",
        id=delivery.event_id,
    )
    await bench.pass_time(minutes=61)

    check = await bench.last("provider")
    assert check["status"] == "passed"
    assert check["evidence"]["held_all_the_same"] == 1
    assert len(delivery.attempts) == 8


async def test_delivery_that_never_arrives_is_requested_three_times(bench: HealthBench) -> None:
    await bench.work()
    bench.is_down = True
    await _receive_messages(bench, 1)
    (delivery,) = bench.sandbox.workspace.deliverer.log.values()
    for _ in range(8):
        await bench.pass_time(minutes=61)

    check = await bench.last("provider")
    assert sum(attempt.trigger == "manual" for attempt in delivery.attempts) == 3
    assert (check["leg"], check["evidence"]["lost"]) == ("given_up", 1)
    assert "could not be recovered: 1" in check["failure"]


async def test_event_id_of_a_log_entry_without_one_is_read_from_the_delivery(
    bench: HealthBench,
) -> None:
    """Prove that old entries of the provider's delivery log can be used.

    Entries from before September 2026 contain no event id.
    """
    await bench.work()
    bench.is_down = True
    await _receive_messages(bench, 1)
    (delivery,) = bench.sandbox.workspace.deliverer.log.values()
    delivery.event_id = None
    bench.is_down = False
    await bench.pass_time(minutes=61)
    failed = await bench.last("provider")
    await bench._apply()
    await bench.pass_time(minutes=10)

    assert failed["evidence"]["asked_again"] == 1
    assert (await bench.last("provider"))["status"] == "passed"


async def test_delivery_with_many_attempts_fails_the_check_before_it_is_given_up(
    bench: HealthBench,
) -> None:
    await bench.work()
    bench.is_down = True
    bench.sandbox.workspace.configure(time_scale=1.0)
    bench.sandbox.workspace.deliverer._config = bench.sandbox.workspace.config
    line = bench.sandbox.workspace.config.lines[0]
    bench.sandbox.workspace.receive(line, PERSON, "waits")
    for _ in range(1000):
        await asyncio.sleep(0)
    bench.sandbox.workspace.timeline.clear()
    await bench.pass_time(minutes=61)

    check = await bench.last("provider")
    assert (check["status"], check["leg"]) == ("failed", "not_delivered")
    assert "tried for more than ten minutes to deliver 1 events" in check["failure"]


async def test_unavailable_provider_fails_the_check_after_a_wait(bench: HealthBench) -> None:
    fault = Fault(kind=FaultKind.ERROR_BEFORE, on=FaultScope.READ, probability=1.0)
    bench.sandbox.workspace.faults.active.append(fault)
    bench.deps.provider._reader._sleep = _no_sleep
    await bench.work()
    waiting = await bench.last("provider")
    await bench.pass_time(minutes=16)
    failed = await bench.last("provider")
    bench.sandbox.workspace.faults.active.clear()
    await bench.pass_time(minutes=10)

    assert waiting["status"] == "waiting"
    assert (failed["status"], failed["leg"]) == ("failed", "provider_away")
    assert (await bench.last("provider"))["status"] == "passed"


async def test_provider_that_refuses_the_api_key_fails_the_check(bench: HealthBench) -> None:
    fault = Fault(kind=FaultKind.UNAUTHORIZED, on=FaultScope.READ, probability=1.0)
    bench.sandbox.workspace.faults.active.append(fault)
    await bench.work()

    check = await bench.last("provider")
    assert (check["status"], check["leg"]) == ("failed", "refused")


async def test_hundreds_of_given_up_deliveries_are_requested_in_batches(bench: HealthBench) -> None:
    await bench.work()
    bench.is_down = True
    await _receive_messages(bench, 230)
    bench.is_down = False
    await bench.pass_time(minutes=61)
    first = await bench.last("provider")
    await bench.pass_time(minutes=10)
    second = await bench.last("provider")
    await bench.pass_time(minutes=10)

    assert (first["evidence"]["given_up"], first["evidence"]["asked_again"]) == (230, 200)
    assert second["evidence"]["asked_again"] == 30
    assert (await bench.last("provider"))["status"] == "passed"
    assert await _known_messages(bench) == 230


async def test_events_of_an_outage_of_a_day_are_recovered(bench: HealthBench) -> None:
    """Prove that the provider's delivery log is read far enough back.

    The provider gives up a delivery more than a day after its event.
    """
    await bench.work()
    bench.is_down = True
    await _receive_messages(bench, 1)
    bench.is_down = False
    await bench.pass_time(hours=29)
    await bench.pass_time(minutes=10)

    assert await _known_messages(bench) == 1


async def _no_sleep(_seconds: float) -> None:
    return
