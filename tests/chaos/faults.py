"""What fails, one at a time; each coroutine begins its fault and returns when it is over."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.chaos.cuts import Cut, State
from tests.chaos.machine import Clock
from tests.chaos.stage import Stage

LASTS = 8.0
DOWN_FOR = 3.0
AGAIN_AFTER = 0.5
"""So soon `crm-api up` starts a program again."""
HOUR = 3_600.0
ORDERS = 1_000_000
"""More than will be used, so that what is left tells how often the provider refused."""

Strike = Callable[[Stage], Awaitable[None]]


class Need(StrEnum):
    """What a machine may lack."""

    SMALL_DISK = "a small disk"
    CLOCKS = "clocks"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table."""

    name: str
    strike: Strike
    need: Need | None = None


async def nothing(stage: Stage) -> None:  # noqa: ARG001
    """Show what is measured where nothing fails."""
    await asyncio.sleep(DOWN_FOR)


async def postgres_killed(stage: Stage) -> None:
    with stage.down("postgres"):
        stage.kill_postgres()
        await asyncio.sleep(DOWN_FOR)
        stage.postgres.stop()
        stage.postgres.spawn()
    await asyncio.to_thread(stage.postgres.wait_ready)


async def redis_killed(stage: Stage) -> None:
    with stage.down("redis"):
        stage.kill_redis()
        await asyncio.sleep(DOWN_FOR)
        stage.redis.stop()
        stage.redis.spawn()
    await asyncio.to_thread(stage.redis.wait_ready)


async def redis_emptied(stage: Stage) -> None:
    for _ in range(3):
        await stage.empty_redis()
        await asyncio.sleep(1)


async def worker_killed(stage: Stage) -> None:
    with stage.down("worker"):
        for _ in range(3):
            stage.worker.kill()
            await asyncio.sleep(AGAIN_AFTER)
            stage.worker.start()
            # Long enough that it has begun to send again, on most machines.
            await asyncio.sleep(3)


async def api_killed(stage: Stage) -> None:
    with stage.down("API"):
        stage.api.kill()
        await asyncio.sleep(AGAIN_AFTER)
        stage.api.start()


def provider(*orders: Mapping[str, Any]) -> Strike:
    """Have the provider fail in these ways at once."""

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


async def disk_full(stage: Stage) -> None:
    if stage.disk is None:
        raise RuntimeError("there is no small disk")
    stage.disk.fill()
    await asyncio.sleep(LASTS)
    stage.disk.empty()


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


def _worker(stage: Stage) -> Cut:
    return stage.worker_cut


def _api(stage: Stage) -> Cut:
    return stage.api_cut


def _worker_clock(stage: Stage) -> Clock | None:
    return stage.worker_clock


def _api_clock(stage: Stage) -> Clock | None:
    return stage.api_clock


worker_reset = cut(_worker, State.RESETTING)

FAULTS: tuple[Fault, ...] = (
    Fault(name="nothing fails", strike=nothing),
    Fault(name="PostgreSQL killed", strike=postgres_killed),
    Fault(name="Redis killed", strike=redis_killed),
    Fault(name="Redis emptied, three times", strike=redis_emptied),
    Fault(name="worker killed, three times", strike=worker_killed),
    Fault(name="API killed", strike=api_killed),
    Fault(name="provider slow", strike=provider({"kind": "slow"})),
    Fault(
        name="provider answers 500",
        strike=provider({"kind": "500_before"}, {"kind": "500_before", "on": "read"}),
    ),
    Fault(name="provider answers 429", strike=provider({"kind": "429"})),
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
