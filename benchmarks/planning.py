"""Measure one run of the planning job with 1,000 campaigns, and one with ten campaigns.

The 1,000 campaigns have 1,000,000 recipients. A run of the worker's whole job is called a tick: it
stores audiences, starts and watches campaigns, plans messages, and finishes campaigns. A tick is
measured while no message may be sent, for three reasons in turn: no recipient is due, the lines
have used up their daily limit, or each campaign waits for its pace. The planning alone is measured
at a time at which all campaigns may send, once without prepared statements and once with them.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks import population
from benchmarks.bulk import bare_tables
from benchmarks.figures import Figure, show
from benchmarks.sender import open_deps
from benchmarks.stage import Stage, say, stage
from benchmarks.statements import StatementCounter
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.platform.database import open_engine
from crm_api.platform.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue
from crm_api.workers.deps import Deps

CAMPAIGNS, EACH, FEW, LINES, ROUNDS = 1_000, 1_000, 10, 10, 5
GROUPS = 100
"""Number of groups of people. The campaigns to the same group have the same recipients."""
TARGET_SECONDS, TARGET_STATEMENTS = 1.0, 20
OPEN_EVERYWHERE = datetime(2027, 1, 13, 18, 0, tzinfo=UTC)
"""A time on a Wednesday at which messages are allowed in every state."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The measurements of ticks: median of the elapsed seconds, mean of the CPU seconds."""

    seconds: float
    cpu: float
    statements: int


_LINES = text("""
    INSERT INTO line (id, phone_number_id, number, name, daily_limit, timezone, created_at,
        updated_at)
    SELECT uuid_v7(), 'PN' || n, '+161755501' || lpad(n::text, 2, '0'), 'Line ' || n, 1000,
           :timezone, now(), now()
    FROM generate_series(1, CAST(:lines AS integer)) n
""")
_CAMPAIGNS = text("""
    WITH numbered AS (
        SELECT l.id, row_number() OVER (ORDER BY l.id) AS place FROM line l
    ), made AS (
        INSERT INTO campaign (id, name, line_id, status, audience, days, window_start, window_end,
            timezone, daily_limit, pacing_mode, batch_size, batch_interval_minutes, zone_keys,
            recipients_total, started_at, created_at, updated_at)
        SELECT uuid_v7(), 'Campaign ' || n, l.id, 'paused', '{}', '{mon,tue,wed,thu,fri,sat,sun}',
               '00:00', '23:59', CASE WHEN n % 2 = 0 THEN 'recipient' END, 125,
               CASE WHEN n % 3 = 0 THEN 'burst' ELSE 'even' END, 10, 30, :zone_keys, :each, now(),
               now() - n * interval '1 minute', now()
        FROM generate_series(1, CAST(:campaigns AS integer)) n
        JOIN numbered l ON l.place = 1 + n % CAST(:lines AS integer)
        RETURNING id, name
    )
    INSERT INTO campaign_variant (id, campaign_id, position, name, body, weight)
    SELECT uuid_v7(), m.id, v, chr(65 + v), m.name || chr(65 + v) || ': ' || CAST(:body AS text), 50
    FROM made m CROSS JOIN generate_series(0, 1) v
""")
_MEMBERS = text("""
    INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, variant, status,
        due_at, created_at, updated_at)
    SELECT uuid_v7(), c.id, p.id, p.phone, p.zone_key, p.n % 2, 'pending',
           now() + interval '1 day', now(), now()
    FROM (SELECT k.id, row_number() OVER (ORDER BY k.id) - 1 AS n FROM campaign k) c
    JOIN (SELECT o.*, row_number() OVER (ORDER BY o.phone) - 1 AS n FROM contact o) p
      ON p.n / CAST(:each AS bigint) = c.n % (CAST(:people AS bigint) / CAST(:each AS bigint))
""")
_RUN = text("""
    UPDATE campaign c
    SET status = CASE WHEN r.place <= CAST(:count AS bigint) THEN 'running' ELSE 'paused' END
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM campaign) r WHERE r.id = c.id
""")
WAITS = {
    "nobody is due": "SELECT",
    "the lines' day is used up": "UPDATE line SET daily_limit = 0",
    "all wait for their pace": """
        INSERT INTO campaign_pace (campaign_id, next_at, batch_left)
        SELECT c.id, now() + interval '1 day', 0 FROM campaign c
    """,
}
"""Reasons why no message may be sent, each with the SQL statement that causes it. They are tested
one after the other."""


def main(campaigns: int = CAMPAIGNS, each: int = EACH, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the duration and the number of statements of a tick."""
    with stage() as on:
        asyncio.run(_fill(on.database_url, campaigns, each))
        say(f"{campaigns:,} campaigns of {each:,} are there")
        yield from asyncio.run(_measure(on, campaigns, rounds))


async def _fill(url: str, campaigns: int, each: int) -> None:
    people = each * min(GROUPS, campaigns)
    await population.add_contacts(url, first=0, count=people)
    async with open_engine(url) as engine, engine.begin() as connection:
        await connection.execute(_LINES, {"lines": LINES, "timezone": population.timezone()})
        await connection.execute(
            _CAMPAIGNS,
            {
                "lines": LINES,
                "campaigns": campaigns,
                "each": each,
                "zone_keys": list(population.ZONE_KEYS),
                "body": population.BODY,
            },
        )
    async with bare_tables(url, ["campaign_membership"]) as connection:
        await connection.execute(_MEMBERS, {"each": each, "people": people})
    await population.settle(url)


async def _measure(on: Stage, campaigns: int, rounds: int) -> list[Figure]:
    async with AsyncExitStack() as stack:
        settings = Settings.from_env(on.environment())
        deps, engine = await open_deps(settings, stack)
        counter = StatementCounter(engine)
        await _run(engine, FEW)
        few = await _ticks(on, deps, engine, counter, rounds)
        await _run(engine, campaigns)
        many = await _ticks(on, deps, engine, counter, rounds)
        await _run(engine, campaigns)
        planned = await _plan_alone(deps)
    figures = [planned]
    for reason, tick in many.items():
        figures += [
            Figure(
                name=f"tick, {reason}",
                value=tick.seconds,
                unit="s",
                wanted=TARGET_SECONDS,
                is_lower_better=True,
                cpu_ms=tick.cpu * 1000,
            ),
            Figure(
                name=f"tick, {reason}: statements",
                value=tick.statements,
                unit=f"({few[reason].statements} with {FEW} campaigns)",
                wanted=TARGET_STATEMENTS,
                is_lower_better=True,
            ),
        ]
    return figures


async def _run(engine: AsyncEngine, count: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(_RUN, {"count": count})
        await connection.execute(text("DELETE FROM campaign_pace"))
        await connection.execute(text("UPDATE line SET daily_limit = 1000"))


async def _ticks(
    on: Stage, deps: Deps, engine: AsyncEngine, counter: StatementCounter, rounds: int
) -> dict[str, Tick]:
    """Measure a few ticks for each reason in ``WAITS``."""
    found: dict[str, Tick] = {}
    for reason, statement in WAITS.items():
        async with engine.begin() as connection:
            await connection.execute(text(statement))
        seconds = []
        cpu = time.process_time() + on.postgres_cpu()
        for _ in range(rounds):
            counter.clear()
            begun = time.perf_counter()
            await process_campaign_queue({"deps": deps})
            seconds.append(time.perf_counter() - begun)
        found[reason] = Tick(
            seconds=statistics.median(seconds),
            cpu=(time.process_time() + on.postgres_cpu() - cpu) / rounds,
            statements=counter.counts.total(),
        )
        say(f"ticks while {reason}: {', '.join(f'{one:.3f}' for one in seconds)} s")
        common = ", ".join(f"{count} {name}" for name, count in counter.counts.most_common(4))
        say(f"    its statements: {common}")
    return found


async def _plan_alone(deps: Deps) -> Figure:
    """Plan all open campaigns twice; return the duration of the second plan.

    The second plan uses the statements that the first plan has prepared.
    """
    rules = load_rules("us")
    seconds = spent = 0.0
    for _ in range(2):
        begun, cpu = time.perf_counter(), time.process_time()
        async with deps.new_uow() as uow:
            plan = await planning.plan_sends(
                uow, rules=rules, business=await deps.business(uow), now=OPEN_EVERYWHERE
            )
        seconds, spent = time.perf_counter() - begun, time.process_time() - cpu
        say(f"plan of {len(plan.orders):,} open campaigns: {seconds:.3f} s")
    return Figure(
        name="plan of all open campaigns",
        value=seconds,
        unit="s",
        is_lower_better=True,
        cpu_ms=spent * 1000,
    )


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
