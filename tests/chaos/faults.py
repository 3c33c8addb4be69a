"""The faults, one at a time; each coroutine begins its fault and returns when it is over."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.cuts import Cut, State
from tests.chaos.decisions import Deciders
from tests.chaos.machine import Clock, Need
from tests.chaos.pauses import End, by_a_person, by_time, pause_for_a_year
from tests.chaos.stage import Stage

LASTS = 8.0
DOWN_FOR = 3.0
AGAIN_AFTER = 0.5
"""Time after which `crm-api up` restarts a program."""
AMID_START = 1.5
"""At this age `crm-api up` is not ready yet."""
HOUR = 3_600.0
DAY = 24 * HOUR
ORDERS = 1_000_000
"""More than will be used, so that the rest shows how often the provider refused."""

Strike = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table."""

    name: str
    strike: Strike
    need: Need | None = None


async def nothing(stage: Stage) -> None:  # noqa: ARG001
    """Measure without a fault."""
    await asyncio.sleep(DOWN_FOR)


async def postgres_killed(stage: Stage) -> None:
    parts = stage.parts
    with parts.down("postgres"):
        parts.kill_postgres()
        await asyncio.sleep(DOWN_FOR)
        parts.postgres.stop()
        parts.postgres.spawn()
    await asyncio.to_thread(parts.postgres.wait_ready)


async def redis_killed(stage: Stage) -> None:
    parts = stage.parts
    with parts.down("redis"):
        parts.kill_redis()
        await asyncio.sleep(DOWN_FOR)
        parts.redis.stop()
        parts.redis.spawn()
    await asyncio.to_thread(parts.redis.wait_ready)


async def redis_emptied(stage: Stage) -> None:
    for _ in range(3):
        await stage.empty_redis()
        await asyncio.sleep(1)


async def worker_killed(stage: Stage) -> None:
    parts = stage.parts
    with parts.down("worker"):
        for _ in range(3):
            parts.worker.kill()
            await asyncio.sleep(AGAIN_AFTER)
            parts.worker.start()
            # Long enough on most machines for it to send again.
            await asyncio.sleep(3)


async def api_killed(stage: Stage) -> None:
    parts = stage.parts
    with parts.down("API"):
        parts.api.kill()
        await asyncio.sleep(AGAIN_AFTER)
        parts.api.start()


async def everything_killed_once(stage: Stage) -> None:
    """Kill `crm-api up` with all that it started, and start it at once."""
    stage.up.kill_and_start()
    await stage.until_ready()


async def everything_killed(stage: Stage) -> None:
    """Kill everything three times, once during the start."""
    await everything_killed_once(stage)
    # Long enough for it to send again.
    await asyncio.sleep(3)
    stage.up.kill_and_start()
    await asyncio.sleep(AMID_START)
    await everything_killed_once(stage)


def provider(*orders: Mapping[str, Any]) -> Strike:
    """Return a strike in which the provider fails in these ways at once."""

    async def strike(stage: Stage) -> None:
        for order in orders:
            await stage.order(**order)
        await asyncio.sleep(LASTS)
        await stage.clear_orders()

    return strike


async def account_refused(stage: Stage) -> None:
    """Refuse the account until a person has paid and unblocks the lines."""
    body = {"kind": "402", "count": ORDERS}
    (await stage.provider.post("/sandbox/faults", json=body)).raise_for_status()
    await asyncio.sleep(LASTS)
    orders = (await stage.provider.get("/sandbox/faults")).json()["data"]
    stage.refusals_heard = ORDERS - sum(order["count"] for order in orders)
    await stage.clear_orders()
    for line in (*stage.crowd.lines, stage.capped_line):
        await stage.crowd.ask("POST", f"/v1/lines/{line}/unblock")


def asked_to_wait(end: End) -> Strike:
    """Return a strike in which the provider asks for a pause of a year, which ``end`` ends."""

    async def strike(stage: Stage) -> None:
        await pause_for_a_year(stage, seconds=LASTS, end=end)

    return strike


async def disk_full(stage: Stage) -> None:
    disk = stage.parts.disk
    if disk is None:
        raise RuntimeError("there is no small disk")
    disk.fill()
    await asyncio.sleep(LASTS)
    disk.empty()


def cut(of: Callable[[Stage], Cut], state: State, *, delay_seconds: float = 0.0) -> Strike:
    async def strike(stage: Stage) -> None:
        of(stage).become(state, delay_seconds=delay_seconds)
        await asyncio.sleep(LASTS)
        of(stage).become(State.WHOLE)

    return strike


def stepped(of: Callable[[Stage], Clock | None], seconds: float) -> Strike:
    """Set a clock wrong, with some answers lost meanwhile, and right again."""

    async def strike(stage: Stage) -> None:
        found = of(stage)
        if found is None:
            raise RuntimeError("there is no clock to set")
        await stage.order("500_after", probability=0.2)
        await asyncio.sleep(2)
        found.step(seconds)
        await asyncio.sleep(LASTS)
        found.step(0)
        await stage.clear_orders()

    return strike


def decided_by_api_clock(seconds: float) -> Strike:
    """Return a strike in which people opt out and in, also through an API with a wrong clock.

    Messages to them are under way meanwhile; after all decisions they are sent a campaign.
    """

    async def strike(stage: Stage) -> None:
        found = stage.parts.api_clock
        if found is None:
            raise RuntimeError("there is no clock to set")
        deciders = Deciders(
            engine=stage.engine,
            provider=stage.provider,
            crowd=stage.crowd,
            chance=stage.traffic.chance,
        )
        people = await deciders.gather()
        found.step(seconds)
        await deciders.start_campaign(people)
        stage.decided = await deciders.decide(people)
        found.step(0)

    return strike


def _worker(stage: Stage) -> Cut:
    return stage.parts.worker_cut


def _api(stage: Stage) -> Cut:
    return stage.parts.api_cut


def _worker_clock(stage: Stage) -> Clock | None:
    return stage.parts.worker_clock


def _api_clock(stage: Stage) -> Clock | None:
    return stage.parts.api_clock


worker_reset = cut(_worker, State.RESETTING)

FAULTS: tuple[Fault, ...] = (
    Fault(name="nothing fails", strike=nothing),
    Fault(name="PostgreSQL killed", strike=postgres_killed),
    Fault(name="Redis killed", strike=redis_killed),
    Fault(name="Redis emptied, three times", strike=redis_emptied),
    Fault(name="worker killed, three times", strike=worker_killed),
    Fault(name="API killed", strike=api_killed),
    Fault(name="everything killed, three times", strike=everything_killed, need=Need.UP),
    Fault(name="provider slow", strike=provider({"kind": "slow"})),
    Fault(
        name="provider answers 500",
        strike=provider({"kind": "500_before"}, {"kind": "500_before", "on": "read"}),
    ),
    Fault(name="provider answers 429", strike=provider({"kind": "429"})),
    Fault(
        name="provider asks for a pause of a year; a person ends it",
        strike=asked_to_wait(by_a_person),
    ),
    Fault(
        name="provider asks for a pause of a year; its ten minutes end",
        strike=asked_to_wait(by_time),
    ),
    Fault(name="provider refuses the account (402)", strike=account_refused),
    Fault(
        name="provider resets connections",
        strike=provider(
            {"kind": "reset_before", "probability": 0.5},
            {"kind": "reset_after"},
            {"kind": "reset_before", "on": "read"},
        ),
    ),
    Fault(
        name="half of the provider's answers lost",
        strike=provider(
            {"kind": "hang_after", "probability": 0.25},
            {"kind": "reset_after", "probability": 0.33},
        ),
    ),
    Fault(name="disk full", strike=disk_full, need=Need.SMALL_DISK),
    Fault(
        name="worker's clock an hour ahead",
        strike=stepped(_worker_clock, HOUR),
        need=Need.CLOCKS,
    ),
    Fault(
        name="worker's clock an hour behind",
        strike=stepped(_worker_clock, -HOUR),
        need=Need.CLOCKS,
    ),
    Fault(name="API's clock an hour ahead", strike=stepped(_api_clock, HOUR), need=Need.CLOCKS),
    Fault(name="API's clock an hour behind", strike=stepped(_api_clock, -HOUR), need=Need.CLOCKS),
    Fault(
        name="API's clock a day ahead, people opt out and in",
        strike=decided_by_api_clock(DAY),
        need=Need.API_CLOCK,
    ),
    Fault(
        name="API's clock a day behind, people opt out and in",
        strike=decided_by_api_clock(-DAY),
        need=Need.API_CLOCK,
    ),
    Fault(name="worker cut from the database", strike=cut(_worker, State.SILENT)),
    Fault(name="worker cut, old connections dead", strike=cut(_worker, State.FORGETFUL)),
    Fault(name="worker's connections reset", strike=worker_reset),
    Fault(
        name="worker's way to the database 200 ms longer",
        strike=cut(_worker, State.SLOW, delay_seconds=0.1),
    ),
    Fault(name="API cut from the database", strike=cut(_api, State.SILENT)),
    Fault(name="API cut, old connections dead", strike=cut(_api, State.FORGETFUL)),
    Fault(name="API's connections reset", strike=cut(_api, State.RESETTING)),
)
