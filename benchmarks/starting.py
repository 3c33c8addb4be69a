"""Measure the start of a campaign to 1,000,000 people: writing its audience, and a cancellation.

The database has years of history (``benchmarks.million``). A separate worker process calls the
functions of two jobs. The first function stores the first chunk of recipients, as the job that
sends campaigns does. The job ``write_audiences`` stores the other chunks. The audience is written
once without rules, and once with all rules: contacts with an earlier message and landlines are
skipped, and a list and a campaign are excluded. The floor (least possible work) is one INSERT …
SELECT of the same rows into a table with the same indexes, measured in the same run.

``python -m benchmarks.starting write`` runs the worker.
"""

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import uvloop
from sqlalchemy import text

from benchmarks import population
from benchmarks.bulk import bare_tables
from benchmarks.figures import Figure, medians, show
from benchmarks.million import PEOPLE, million
from benchmarks.sender import open_deps
from benchmarks.stage import say
from benchmarks.web import environment_of
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.audience.storage import list_unstored_audiences
from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.platform import clock, failpoints, logs
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.audiences import store_first_chunks, write_audiences
from crm_api.workers.deps import Deps

ROUNDS = 3
TARGET_PER_SECOND = 100_000
"""With this speed, a campaign for a million people starts within ten seconds."""
MOST_MB = 150
FEW = 5
"""Number of chunks at the beginning and at the end whose median is printed."""

_EVERYBODY = text("""
    WITH made AS (
        INSERT INTO contact_list (id, name, created_at, updated_at)
        VALUES (uuid_v7(), 'Everybody', now(), now())
        ON CONFLICT (name) DO UPDATE SET updated_at = now() RETURNING id
    ), added AS (
        INSERT INTO contact_list_member (list_id, contact_id, added_at)
        SELECT m.id, c.id, now() FROM made m CROSS JOIN contact c
        WHERE c.deleted_at IS NULL
          AND NOT EXISTS (SELECT 1 FROM contact_list l WHERE l.name = 'Everybody')
    )
    SELECT id FROM made
""")
_LANDLINES = text("""
    INSERT INTO phone_lookup (phone, line_type, source, checked_at, expires_at)
    SELECT c.phone, CASE WHEN hashtext(c.phone) % 10 = 0 THEN 'landline' ELSE 'mobile' END,
           'lookup_service', now(), now() + interval '180 days'
    FROM contact c WHERE hashtext(c.phone) % 2 = 0
    ON CONFLICT DO NOTHING
""")
_CAMPAIGN = text("""
    WITH made AS (
        INSERT INTO campaign (id, name, line_id, status, audience, days, window_start, window_end,
            previously_contacted, skip_landlines, created_at, updated_at)
        SELECT uuid_v7(), 'Start', l.id, 'draft', CAST(:audience AS jsonb),
               '{mon,tue,wed,thu,fri,sat,sun}', '09:00', '18:00', :rule, :rule <> 'send', now(),
               now()
        FROM line l ORDER BY l.phone_number_id LIMIT 1
        RETURNING id
    ), worded AS (
        INSERT INTO campaign_variant (id, campaign_id, position, name, body, weight)
        SELECT uuid_v7(), m.id, v, chr(65 + v), :body, 50
        FROM made m CROSS JOIN generate_series(0, 1) v
    )
    SELECT id FROM made
""")
# These are excluded from the audience: a list with an eighth of all contacts, and a campaign whose
# recipients are stored.
_LEFT_OUT = text("""
    SELECT (SELECT id FROM contact_list WHERE name = 'List 3') AS list_id,
           (SELECT campaign_id FROM campaign_membership LIMIT 1) AS campaign_id
""")
_FLOOR = """
    CREATE TABLE floor (LIKE campaign_membership INCLUDING ALL);
    ALTER TABLE floor SET (autovacuum_enabled = off);
"""
_FILL_FLOOR = text("""
    INSERT INTO floor SELECT * FROM campaign_membership m WHERE m.campaign_id = :campaign_id
""")
_ANYBODY_WAITS = text("""
    SELECT EXISTS (
        SELECT 1 FROM campaign_membership m
        WHERE m.campaign_id = :campaign_id AND m.step = 0 AND m.status = 'pending')
""")
_HOW_MANY = text("SELECT count(*) FROM campaign_membership m WHERE m.campaign_id = :campaign_id")
_STATUSES = text("""
    SELECT coalesce(m.skip_reason, m.status) AS status, count(*) AS people
    FROM campaign_membership m WHERE m.campaign_id = :campaign_id GROUP BY 1 ORDER BY 2 DESC
""")


@dataclass(frozen=True, kw_only=True)
class Written:
    """The measurements of a worker that has written an audience."""

    wall: float
    cpu: float
    peak_mb: float
    chunks: list[float]


class Nudges:
    """A job queue that only stores the names of the requested jobs."""

    def __init__(self) -> None:
        self.names: set[JobName] = set()

    async def push(self, job: Job) -> None:
        """Store the name of the job."""
        self.names.add(job.name)

    async def ping(self) -> bool:
        """Return True."""
        return True


def main(people: int = PEOPLE, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the speed of the start, and the time of a cancellation."""
    with million(people) as url:
        list_id = asyncio.run(_prepare(url))
        say("everybody is on a list, half of the numbers were looked up")
        audiences = {
            "send": {"list_id": str(list_id)},
            "skip": asyncio.run(_strict(url, list_id)),
        }
        yield from medians(
            [
                *_start(url, audiences["send"], people, rule="send", name="no rule"),
                *_start(url, audiences["skip"], people, rule="skip", name="every rule"),
                asyncio.run(_cancel(url, audiences["send"])),
            ]
            for _ in range(rounds)
        )


async def _prepare(url: str) -> UUID:
    async with bare_tables(url, ["contact_list_member"]) as connection:
        list_id: UUID = (await connection.execute(_EVERYBODY)).scalar_one()
        await connection.execute(_LANDLINES)
    await population.settle(url)
    return list_id


async def _strict(url: str, list_id: UUID) -> dict[str, Any]:
    async with open_engine(url) as engine, engine.connect() as connection:
        row = (await connection.execute(_LEFT_OUT)).one()
    exclude = {"list_ids": [str(row.list_id)], "campaign_ids": [str(row.campaign_id)]}
    return {"list_id": str(list_id), "exclude": exclude}


def _start(
    url: str, audience: dict[str, Any], people: int, *, rule: str, name: str
) -> Iterator[Figure]:
    """Start a campaign and write its audience. Measure from the request to the last chunk."""
    campaign_id, requested = asyncio.run(_request(url, audience, rule=rule))
    written = _worker(url)
    seconds = requested + written.wall
    floor = asyncio.run(_floor(url, campaign_id))
    first, last = (statistics.median(some) for some in
                   (written.chunks[:FEW], written.chunks[-FEW - 1 : -1] or [0]))  # fmt: skip
    say(
        f"{name}: {len(written.chunks)} chunks, the first {FEW} took {first:.2f} s each, the last"
        f" {last:.2f} s; at most {written.peak_mb:.0f} MB"
    )
    yield Figure(
        name=f"{name}: recipients a second",
        value=people / seconds,
        unit="/s",
        wanted=TARGET_PER_SECOND,
        cpu_ms=written.cpu / people * 1000,
    )
    yield Figure(name=f"{name}: of the floor", value=floor / seconds, unit="x")
    yield Figure(name=f"{name}: request", value=requested * 1000, unit="ms", is_lower_better=True)
    yield Figure(
        name=f"{name}: memory of the worker",
        value=written.peak_mb,
        unit="MB",
        wanted=MOST_MB,
        is_lower_better=True,
    )


async def _request(url: str, audience: dict[str, Any], *, rule: str) -> tuple[UUID, float]:
    """Store a draft, and start it as the API does; return its id and the seconds of the start."""
    async with open_engine(url) as engine:
        async with engine.begin() as connection:
            values = {"audience": json.dumps(audience), "rule": rule, "body": population.BODY}
            campaign_id: UUID = (await connection.execute(_CAMPAIGN, values)).scalar_one()
        begun = time.perf_counter()
        async with UnitOfWork(session_factory(engine), Nudges()) as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign_id, now=clock.now())
        return campaign_id, time.perf_counter() - begun


def _worker(url: str) -> Written:
    """Start a separate worker process that writes the waiting audience; return its measurements."""
    command = [sys.executable, "-m", "benchmarks.starting", "write"]
    done = subprocess.run(command, env=_environment(url), stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own
    return Written(**json.loads(done.stdout))


def _environment(url: str) -> dict[str, str]:
    return environment_of(url, Path(tempfile.gettempdir()))


async def _floor(url: str, campaign_id: UUID) -> float:
    """Insert the recipients into a table like their own with one statement; return the seconds."""
    async with open_engine(url) as engine, engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in _FLOOR.split(";")[:-1]:
            await plain.exec_driver_sql(statement)
        await plain.exec_driver_sql("CHECKPOINT")
        begun = time.perf_counter()
        await plain.execute(_FILL_FLOOR, {"campaign_id": campaign_id})
        floor = time.perf_counter() - begun
        await plain.exec_driver_sql("DROP TABLE floor")
        rows = await plain.execute(_STATUSES, {"campaign_id": campaign_id})
        say("; ".join(f"{row.status} {row.people:,}" for row in rows))
        await plain.exec_driver_sql("CHECKPOINT")
    return floor


async def _cancel(url: str, audience: dict[str, Any]) -> Figure:
    """Cancel a campaign while a worker writes its audience; return the time of the response."""
    campaign_id, _ = await _request(url, audience, rule="send")
    chunks, is_time = 0, asyncio.Event()

    async def note(_name: str) -> None:
        nonlocal chunks
        chunks += 1
        if chunks == 1:
            is_time.set()

    async with AsyncExitStack() as stack:
        deps = await _deps(_environment(url), stack)
        failpoints.set_hook(note)
        writing = asyncio.create_task(_write_all(deps))
        await is_time.wait()
        begun = time.perf_counter()
        async with deps.new_uow() as uow:
            done = await campaigns.cancel_campaign(uow, campaign_id=campaign_id, now=clock.now())
        answered = time.perf_counter() - begun
        await writing
        runs = 1
        while await _waiting(deps, campaign_id):
            async with deps.new_uow() as uow:
                await complete_finished_campaigns(uow, now=clock.now())
            runs += 1
        ended = time.perf_counter() - begun
        assert done.campaign.recipients_total == await _count(deps, campaign_id)  # noqa: S101 - or it went on
    say(
        f"cancelled: nothing more was written; all {done.campaign.recipients_total:,} recipients"
        f" are cancelled after {ended:.1f} s, in {runs} transactions"
    )
    return Figure(
        name="cancelled while it is written: answered",
        value=answered * 1000,
        unit="ms",
        is_lower_better=True,
    )


async def _waiting(deps: Deps, campaign_id: UUID) -> bool:
    async with deps.new_uow() as uow:
        return bool(await uow.session.scalar(_ANYBODY_WAITS, {"campaign_id": campaign_id}))


async def _count(deps: Deps, campaign_id: UUID) -> int:
    async with deps.new_uow() as uow:
        return await uow.session.scalar(_HOW_MANY, {"campaign_id": campaign_id}) or 0


async def write() -> None:
    """Write the waiting audience as a worker does, and print the measurements."""
    chunks: list[float] = []

    async def note(_name: str) -> None:
        chunks.append(time.perf_counter())

    async with AsyncExitStack() as stack:
        deps = await _deps(os.environ, stack)
        # Connect to the database before the measurement, because a worker is already connected.
        async with deps.new_uow() as uow:
            await list_unstored_audiences(uow)
        failpoints.set_hook(note)
        chunks.append(time.perf_counter())
        cpu = time.process_time()
        await _write_all(deps)
        wall, spent = time.perf_counter() - chunks[0], time.process_time() - cpu
    figures = {
        "wall": wall,
        "cpu": spent,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "chunks": [after - before for before, after in pairwise(chunks)],
    }
    print(json.dumps(figures))


async def _deps(env: Mapping[str, str], stack: AsyncExitStack) -> Deps:
    deps, _ = await open_deps(Settings.from_env(env), stack)
    deps.queue = Nudges()
    return deps


async def _write_all(deps: Deps) -> None:
    """Run the two jobs, in the order in which nudges (requests to run a job) ask for them."""
    nudges = cast("Nudges", deps.queue)
    await store_first_chunks(deps)
    while JobName.WRITE_AUDIENCES in nudges.names:
        nudges.names.clear()
        await write_audiences({"deps": deps})


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        logs.configure(level="WARNING")
        uvloop.run(write())
    else:
        show(main(*map(int, sys.argv[1:])))
