"""The faults of the chaos test.

Each coroutine begins one fault, and returns when the fault is over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.decisions import Deciders
from tests.chaos.installation import Installation
from tests.chaos.machine import Clock, Need
from tests.chaos.pauses import End, end_by_time, end_by_unblocking, pause_for_a_year
from tests.chaos.proxy import Proxy, State

FAULT_SECONDS = 8.0
DOWN_SECONDS = 3.0
RESTART_AFTER_SECONDS = 0.5
"""Seconds after which `crm-api up` restarts a program that has ended."""
DURING_START_SECONDS = 1.5
"""Seconds from the start of `crm-api up` to a moment at which it is not ready yet."""
HOUR = 3_600.0
DAY = 24 * HOUR
REFUSALS = 1_000_000
"""How many requests the provider may refuse in one fault: more than the service will send. The
number of refusals that are left shows how often the provider refused."""

RunFault = Callable[[Installation], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault; it is one row of the table that a chaos run prints."""

    name: str
    run: RunFault
    need: Need | None = None


async def no_fault(installation: Installation) -> None:  # noqa: ARG001
    """Cause no fault, so that the table also shows a row in which nothing fails."""
    await asyncio.sleep(DOWN_SECONDS)


async def postgres_killed(installation: Installation) -> None:
    parts = installation.parts
    with parts.down("postgres"):
        parts.kill_postgres()
        await asyncio.sleep(DOWN_SECONDS)
        parts.postgres.stop()
        parts.postgres.spawn()
    await asyncio.to_thread(parts.postgres.wait_ready)


async def redis_killed(installation: Installation) -> None:
    parts = installation.parts
    with parts.down("redis"):
        parts.kill_redis()
        await asyncio.sleep(DOWN_SECONDS)
        parts.redis.stop()
        parts.redis.spawn()
    await asyncio.to_thread(parts.redis.wait_ready)


async def redis_emptied(installation: Installation) -> None:
    for _ in range(3):
        await installation.empty_redis()
        await asyncio.sleep(1)


async def worker_killed(installation: Installation) -> None:
    parts = installation.parts
    with parts.down("worker"):
        for _ in range(3):
            parts.worker.kill()
            await asyncio.sleep(RESTART_AFTER_SECONDS)
            parts.worker.start()
            # On most machines, the worker sends messages again within three seconds.
            await asyncio.sleep(3)


async def api_killed(installation: Installation) -> None:
    parts = installation.parts
    with parts.down("API"):
        parts.api.kill()
        await asyncio.sleep(RESTART_AFTER_SECONDS)
        parts.api.start()


async def everything_killed_once(installation: Installation) -> None:
    """Kill `crm-api up` and all its processes, start it again, and wait until it is ready."""
    installation.up.kill_and_start()
    await installation.wait_until_ready()


async def everything_killed(installation: Installation) -> None:
    """Kill `crm-api up` and all its processes three times, the third time during a start."""
    await everything_killed_once(installation)
    # Usually, the worker sends messages again within three seconds.
    await asyncio.sleep(3)
    installation.up.kill_and_start()
    await asyncio.sleep(DURING_START_SECONDS)
    await everything_killed_once(installation)


def provider(*provider_faults: Mapping[str, Any]) -> RunFault:
    """Return a fault in which the provider fails in all the given ways at the same time."""

    async def run(installation: Installation) -> None:
        for fault in provider_faults:
            await installation.add_provider_fault(**fault)
        await asyncio.sleep(FAULT_SECONDS)
        await installation.clear_provider_faults()

    return run


async def account_refused(installation: Installation) -> None:
    """Make the provider refuse the account (status 402), and later unblock the lines.

    In practice, a user pays the provider and then unblocks the lines.
    """
    body = {"kind": "402", "count": REFUSALS}
    (await installation.provider.post("/sandbox/faults", json=body)).raise_for_status()
    await asyncio.sleep(FAULT_SECONDS)
    provider_faults = (await installation.provider.get("/sandbox/faults")).json()["data"]
    installation.refused_calls = REFUSALS - sum(fault["count"] for fault in provider_faults)
    await installation.clear_provider_faults()
    for line in (*installation.crowd.lines, installation.capped_line):
        await installation.crowd.ask("POST", f"/v1/lines/{line}/unblock")


def provider_asks_for_pause(end: End) -> RunFault:
    """Return a fault in which the provider asks for a pause of a year.

    The function ``end`` ends the pause.
    """

    async def run(installation: Installation) -> None:
        await pause_for_a_year(installation, seconds=FAULT_SECONDS, end=end)

    return run


async def disk_full(installation: Installation) -> None:
    disk = installation.parts.disk
    if disk is None:
        raise RuntimeError("this installation has no small disk")
    disk.fill()
    await asyncio.sleep(FAULT_SECONDS)
    disk.empty()


def network_fault(
    of: Callable[[Installation], Proxy], state: State, *, delay_seconds: float = 0.0
) -> RunFault:
    async def run(installation: Installation) -> None:
        of(installation).set_state(state, delay_seconds=delay_seconds)
        await asyncio.sleep(FAULT_SECONDS)
        of(installation).set_state(State.WORKING)

    return run


def wrong_clock(of: Callable[[Installation], Clock | None], seconds: float) -> RunFault:
    """Return a fault in which the clock of one program is wrong.

    In addition, the provider responds with 500 to one in five messages that it has accepted.
    """

    async def run(installation: Installation) -> None:
        found = of(installation)
        if found is None:
            raise RuntimeError("this installation has no clock to set")
        await installation.add_provider_fault("500_after", probability=0.2)
        await asyncio.sleep(2)
        found.step(seconds)
        await asyncio.sleep(FAULT_SECONDS)
        found.step(0)
        await installation.clear_provider_faults()

    return run


def decisions_under_wrong_api_clock(seconds: float) -> RunFault:
    """Return a fault in which people opt out and in while the clock of the API process is wrong.

    The people decide by a message or through the API. A campaign to these people runs at the same
    time. Another campaign to these people starts after all decisions.
    """

    async def run(installation: Installation) -> None:
        found = installation.parts.api_clock
        if found is None:
            raise RuntimeError("this installation has no clock to set")
        deciders = Deciders(
            engine=installation.engine,
            provider=installation.provider,
            crowd=installation.crowd,
            chance=installation.traffic.chance,
        )
        people = await deciders.create_people()
        found.step(seconds)
        await deciders.start_campaign(people)
        installation.decided = await deciders.decide(people)
        found.step(0)

    return run


def _worker_proxy(installation: Installation) -> Proxy:
    return installation.parts.worker_proxy


def _api_proxy(installation: Installation) -> Proxy:
    return installation.parts.api_proxy


def _worker_clock(installation: Installation) -> Clock | None:
    return installation.parts.worker_clock


def _api_clock(installation: Installation) -> Clock | None:
    return installation.parts.api_clock


worker_reset = network_fault(_worker_proxy, State.RESETTING)

FAULTS: tuple[Fault, ...] = (
    Fault(name="nothing fails", run=no_fault),
    Fault(name="PostgreSQL killed", run=postgres_killed),
    Fault(name="Redis killed", run=redis_killed),
    Fault(name="Redis emptied, three times", run=redis_emptied),
    Fault(name="worker killed, three times", run=worker_killed),
    Fault(name="API killed", run=api_killed),
    Fault(name="everything killed, three times", run=everything_killed, need=Need.UP),
    Fault(name="provider slow", run=provider({"kind": "slow"})),
    Fault(
        name="provider answers 500",
        run=provider({"kind": "500_before"}, {"kind": "500_before", "on": "read"}),
    ),
    Fault(name="provider answers 429", run=provider({"kind": "429"})),
    Fault(
        name="provider asks for a pause of a year; a person ends it",
        run=provider_asks_for_pause(end_by_unblocking),
    ),
    Fault(
        name="provider asks for a pause of a year; its ten minutes end",
        run=provider_asks_for_pause(end_by_time),
    ),
    Fault(name="provider refuses the account (402)", run=account_refused),
    Fault(
        name="provider resets connections",
        run=provider(
            {"kind": "reset_before", "probability": 0.5},
            {"kind": "reset_after"},
            {"kind": "reset_before", "on": "read"},
        ),
    ),
    Fault(
        name="half of the provider's answers lost",
        run=provider(
            {"kind": "hang_after", "probability": 0.25},
            {"kind": "reset_after", "probability": 0.33},
        ),
    ),
    Fault(name="disk full", run=disk_full, need=Need.SMALL_DISK),
    Fault(
        name="worker's clock an hour ahead",
        run=wrong_clock(_worker_clock, HOUR),
        need=Need.CLOCKS,
    ),
    Fault(
        name="worker's clock an hour behind",
        run=wrong_clock(_worker_clock, -HOUR),
        need=Need.CLOCKS,
    ),
    Fault(name="API's clock an hour ahead", run=wrong_clock(_api_clock, HOUR), need=Need.CLOCKS),
    Fault(name="API's clock an hour behind", run=wrong_clock(_api_clock, -HOUR), need=Need.CLOCKS),
    Fault(
        name="API's clock a day ahead, people opt out and in",
        run=decisions_under_wrong_api_clock(DAY),
        need=Need.API_CLOCK,
    ),
    Fault(
        name="API's clock a day behind, people opt out and in",
        run=decisions_under_wrong_api_clock(-DAY),
        need=Need.API_CLOCK,
    ),
    Fault(name="worker cut from the database", run=network_fault(_worker_proxy, State.SILENT)),
    Fault(name="worker cut, old connections dead", run=network_fault(_worker_proxy, State.STALE)),
    Fault(name="worker's connections reset", run=worker_reset),
    Fault(
        name="worker's way to the database 200 ms longer",
        run=network_fault(_worker_proxy, State.SLOW, delay_seconds=0.1),
    ),
    Fault(name="API cut from the database", run=network_fault(_api_proxy, State.SILENT)),
    Fault(name="API cut, old connections dead", run=network_fault(_api_proxy, State.STALE)),
    Fault(name="API's connections reset", run=network_fault(_api_proxy, State.RESETTING)),
)
