"""Measure the claim of waiting webhook events on a partition that has no statistics.

The events are stored right before the claim, as in the first minutes of a new month, and the table
is not analyzed. The claim must read the events in the order of its index, so that its time does not
grow with the number of waiting events. The measured CPU time is the CPU time of PostgreSQL.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from benchmarks import apply, population
from benchmarks.figures import Figure, medians, show
from benchmarks.stage import Stage, stage
from crm_api.domain.inbound.webhook_events.service import CLAIM_EVENTS, READ_INDEX_IN_ORDER
from crm_api.platform.database import open_engine

MANY, FEW, LIMIT, ROUNDS = 13_000, 1_300, 100, 3
REPEATS = 20
GROWTH = 1.5


def main(many: int = MANY, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield a claim's time, and its growth with ten times as many events."""
    with stage(sandboxes=0) as on:
        for statement in ("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"):
            asyncio.run(population.execute(on.database_url, statement, {}, alone=True))
        asyncio.run(population.add_line(on.database_url))
        yield from medians(_round(on, many) for _ in range(rounds))


def _round(on: Stage, many: int) -> Iterator[Figure]:
    few_ms, _ = asyncio.run(_claim(on, many // (MANY // FEW)))
    many_ms, cpu_ms = asyncio.run(_claim(on, many))
    yield Figure(
        name=f"claim of {LIMIT} of {many:,}",
        value=many_ms,
        unit="ms",
        is_lower_better=True,
        postgres_ms=cpu_ms,
    )
    yield Figure(
        name="growth with ten times as many",
        value=many_ms / few_ms,
        unit="x",
        wanted=GROWTH,
        is_lower_better=True,
    )


async def _claim(on: Stage, waiting: int) -> tuple[float, float]:
    """Store events and claim some repeatedly; return the milliseconds of one claim.

    The result has the elapsed milliseconds and the CPU milliseconds of PostgreSQL.
    """
    url = on.database_url
    await population.execute(url, "TRUNCATE webhook_event, webhook_event_key", {})
    scene = apply.Scene(campaign="", now=datetime.now(UTC))
    await apply.store(url, list(apply.texts(scene, waiting)))
    values = {"now": datetime.now(UTC), "limit": LIMIT}
    taken: list[float] = []
    async with open_engine(url) as engine, engine.connect() as connection:
        postgres = on.postgres_cpu()
        for _ in range(REPEATS):
            await connection.execute(READ_INDEX_IN_ORDER)
            begun = time.perf_counter()
            rows = (await connection.execute(CLAIM_EVENTS, values)).all()
            taken.append((time.perf_counter() - begun) * 1000)
            await connection.rollback()
        postgres = on.postgres_cpu() - postgres
    if len(rows) != LIMIT:
        raise SystemExit(f"{len(rows)} events were claimed")
    return statistics.median(taken), postgres / REPEATS * 1000


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
