"""The provider's side: its webhooks, and what it could not deliver; the time is moved."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from tests.fakes import RecordingQueue
from tests.workers.health_house import House, open_house

from crm_api.db import UnitOfWork
from crm_api.domain.webhook_setup.keyring import KeyRing
from crm_api.sandbox.faults import Fault, FaultKind, FaultScope
from crm_api.sandbox.webhooks import Hook
from crm_api.settings import Settings
from crm_api.workers.webhook_health import registrar_of

NewUow = Callable[[], UnitOfWork]
PERSON = "+16175550123"


@pytest_asyncio.fixture
async def house(
    settings: Settings, committed_uow: NewUow, queue: RecordingQueue
) -> AsyncIterator[House]:
    async with open_house(settings, committed_uow, queue, own_lines=False) as house:
        yield house


def _hook(house: House) -> Hook:
    (hook,) = house.sandbox.world.deliverer.hooks.values()
    return hook


async def _texts(house: House, count: int, *, first: int = 0) -> None:
    line = house.sandbox.world.config.lines[0]
    for number in range(first, first + count):
        house.sandbox.world.receive(line, PERSON, f"text {number}")
    await house.settle()


async def _known_texts(house: House) -> int:
    await house._apply()
    found = await house.rows("SELECT count(*) AS n FROM activity WHERE direction = 'incoming'")
    count: int = found[0]["n"]
    return count


@pytest.mark.parametrize(
    ("change", "leg", "repair"),
    [
        ({"status": "disabled"}, "disabled", "crm-api webhooks register"),
        ({"events": frozenset({"message.received"})}, "events_missing", "register"),
        ({"resource_ids": frozenset({"PNsandbox2"})}, "lines_missing", "register"),
        ({"url": "https://elsewhere.example/hook"}, "missing", "webhooks that point elsewhere: 1"),
    ],
)
async def test_wrong_registration_is_red_with_its_repair_and_green_when_repaired(
    house: House, change: dict[str, Any], leg: str, repair: str
) -> None:
    hook = _hook(house)
    kept = {name: getattr(hook, name) for name in change}
    for name, value in change.items():
        setattr(hook, name, value)
    await house.work()
    red, was_ready = await house.last("provider"), await house.readiness()
    for name, value in kept.items():
        setattr(hook, name, value)
    await house.pass_time(minutes=10)
    green = await house.last("provider")

    assert (red["status"], red["leg"]) == ("failed", leg)
    assert repair in red["failure"]
    assert was_ready == "degraded"
    assert green["status"] == "passed"
    assert await house.alerts() == {"provider": False}


async def test_key_that_nobody_knows_is_red_and_rotation_makes_it_green(house: House) -> None:
    house.deps.settings = house.deps.settings.model_copy(update={"openphone_api_key": "real"})
    house.keys = KeyRing((), load=house.keys._load)
    await house.work()
    red = await house.last("provider")
    await registrar_of(house.deps, now=house.clock).rotate()
    await house.pass_time(minutes=10)
    await _texts(house, 1)

    assert (red["status"], red["leg"]) == ("failed", "key_unknown")
    assert "crm-api webhooks rotate" in red["failure"]
    assert (await house.last("provider"))["status"] == "passed"
    assert await _known_texts(house) == 1


async def test_given_up_deliveries_are_asked_for_once_and_come(house: House) -> None:
    await house.work()
    house.is_down = True
    await _texts(house, 7)
    house.is_down = False
    await _texts(house, 3, first=7)
    await house.pass_time(minutes=61)
    red = await house.last("provider")
    came = await _known_texts(house)
    await house.pass_time(minutes=10)
    green = await house.last("provider")

    assert (red["status"], red["leg"]) == ("failed", "given_up")
    assert red["evidence"]["asked_again"] == 7
    assert "gave up 7 events that are not here" in red["failure"]
    assert came == 10
    assert green["status"] == "passed"
    assert {row["times"] for row in await house.rows("SELECT times FROM webhook_redelivery")} == {1}


async def test_given_up_one_that_is_here_by_another_way_is_left(house: House) -> None:
    await house.work()
    house.is_down = True
    await _texts(house, 1)
    (delivery,) = house.sandbox.world.deliverer.log.values()
    house.is_down = False
    await house.rows(
        "INSERT INTO webhook_event_key (provider_event_id, event_id) "
        "VALUES (:id, gen_random_uuid()) RETURNING event_id",
        id=delivery.event_id,
    )
    await house.pass_time(minutes=61)

    check = await house.last("provider")
    assert check["status"] == "passed"
    assert check["evidence"]["held_all_the_same"] == 1
    assert len(delivery.attempts) == 8


async def test_one_that_never_comes_is_asked_for_three_times(house: House) -> None:
    await house.work()
    house.is_down = True
    await _texts(house, 1)
    (delivery,) = house.sandbox.world.deliverer.log.values()
    for _ in range(8):
        await house.pass_time(minutes=61)

    check = await house.last("provider")
    assert sum(attempt.trigger == "manual" for attempt in delivery.attempts) == 3
    assert (check["leg"], check["evidence"]["lost"]) == ("given_up", 1)
    assert "1 did not come for all that" in check["failure"]


async def test_entry_that_names_no_event_is_opened(house: House) -> None:
    """Entries from before September 2026 do not."""
    await house.work()
    house.is_down = True
    await _texts(house, 1)
    (delivery,) = house.sandbox.world.deliverer.log.values()
    delivery.event_id = None
    house.is_down = False
    await house.pass_time(minutes=61)
    red = await house.last("provider")
    await house._apply()
    await house.pass_time(minutes=10)

    assert red["evidence"]["asked_again"] == 1
    assert (await house.last("provider"))["status"] == "passed"


async def test_what_is_tried_for_long_is_red_before_it_is_given_up(house: House) -> None:
    await house.work()
    house.is_down = True
    house.sandbox.world.configure(time_scale=1.0)
    house.sandbox.world.deliverer._config = house.sandbox.world.config
    line = house.sandbox.world.config.lines[0]
    house.sandbox.world.receive(line, PERSON, "waits")
    for _ in range(1000):
        await asyncio.sleep(0)
    house.sandbox.world.timers.clear()
    await house.pass_time(minutes=61)

    check = await house.last("provider")
    assert (check["status"], check["leg"]) == ("failed", "not_delivered")
    assert "tried for more than ten minutes to deliver 1 events" in check["failure"]


async def test_provider_that_is_away_is_waited_for_and_then_named(house: House) -> None:
    fault = Fault(kind=FaultKind.ERROR_BEFORE, on=FaultScope.READ, probability=1.0)
    house.sandbox.world.faults.orders.append(fault)
    house.deps.provider._reader._sleep = _no_sleep
    await house.work()
    waiting = await house.last("provider")
    await house.pass_time(minutes=16)
    red = await house.last("provider")
    house.sandbox.world.faults.orders.clear()
    await house.pass_time(minutes=10)

    assert waiting["status"] == "waiting"
    assert (red["status"], red["leg"]) == ("failed", "provider_away")
    assert (await house.last("provider"))["status"] == "passed"


async def test_provider_that_refuses_the_key_is_named(house: House) -> None:
    fault = Fault(kind=FaultKind.UNAUTHORIZED, on=FaultScope.READ, probability=1.0)
    house.sandbox.world.faults.orders.append(fault)
    await house.work()

    check = await house.last("provider")
    assert (check["status"], check["leg"]) == ("failed", "refused")


async def test_hundreds_that_were_given_up_come_in_turns(house: House) -> None:
    await house.work()
    house.is_down = True
    await _texts(house, 230)
    house.is_down = False
    await house.pass_time(minutes=61)
    first = await house.last("provider")
    await house.pass_time(minutes=10)
    second = await house.last("provider")
    await house.pass_time(minutes=10)

    assert (first["evidence"]["given_up"], first["evidence"]["asked_again"]) == (230, 200)
    assert second["evidence"]["asked_again"] == 30
    assert (await house.last("provider"))["status"] == "passed"
    assert await _known_texts(house) == 230


async def test_outage_of_a_day_is_seen_to_its_end(house: House) -> None:
    """The log is read far enough back: it is given up more than a day after it happened."""
    await house.work()
    house.is_down = True
    await _texts(house, 1)
    house.is_down = False
    await house.pass_time(hours=29)
    await house.pass_time(minutes=10)

    assert await _known_texts(house) == 1


async def _no_sleep(_seconds: float) -> None:
    return
