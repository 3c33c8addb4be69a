"""Measure how long pages of a large database take, over HTTP, while a worker sends a campaign.

One client sends all requests to a real `crm-api serve`, one after the other. Meanwhile, `crm-api
worker` sends a campaign at the provider's rate. Rounds of all kinds of requests alternate. The
floor (least possible work) is a bare FastAPI route in its own process. It returns the same 50
contacts with the same index, without an API key, a data model or a check. The growth is the ratio
to the time in a database with 10,000 contacts. In the end, a file is imported, and the pages that
have the imported contacts are read immediately.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI
from sqlalchemy import make_url
from tests.free_ports import free_port

from benchmarks import import_people, questions, subject
from benchmarks.figures import Figure, medians, show
from benchmarks.million import PEOPLE, million
from benchmarks.questions import PLACES, Question
from benchmarks.serving import Server, client_of, environment_of_web, serve
from benchmarks.stage import Stage, say, stage
from benchmarks.web import Child, cpu_seconds, listening, running

FEW = 10_000
CALLS, ROUNDS = 100, 5
GROWTH, ROWS_A_SECOND, LONGEST_MS = 1.2, 50_000, 250.0
FLOOR_SQL = (
    "SELECT id, phone, first_name, last_name, email, company, city, state, tags, attributes, "
    "created_at FROM contact WHERE deleted_at IS NULL AND (created_at, id) < ($1, $2) "
    "ORDER BY created_at DESC, id DESC LIMIT 50"
)
COPY_FLOOR_SQL = "SELECT * FROM contact WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC"
MEGABYTE = 1024 * 1024
IMPORT_SECONDS = 1_800


def main(people: int = PEOPLE, rounds: int = ROUNDS, calls: int = CALLS) -> Iterator[Figure]:
    """Run the benchmark; yield the 95th percentile (p95) of each kind of request."""
    with ExitStack() as stack:
        on = stack.enter_context(stage(redis=True))
        few_people = min(FEW, people // 2)
        url, small_url = (stack.enter_context(million(count)) for count in (people, few_people))
        about = asyncio.run(subject.fill(url))
        small = serve(stack, on, small_url)
        big = serve(stack, on, url)
        environment = environment_of_web(on, url, free_port())
        worker = stack.enter_context(running(["-m", "crm_api.cli", "worker"], environment))
        floor = _serve_floor(stack, on, url)
        of_contacts = asyncio.run(questions.of_contacts(url))
        asked = [
            *of_contacts,
            *questions.of_campaigns(about),
            *questions.of_drafts(big.client, about),
        ]
        say("the servers run")
        yield from medians(_round(big, asked, calls) for _ in range(rounds))
        deep = next(one for one in of_contacts if "depth" in one.name)
        few = next(
            one for one in asyncio.run(questions.of_contacts(small_url)) if one.name == deep.name
        )
        yield from medians(
            _compared(floor, (small, few), (big, deep), calls) for _ in range(rounds)
        )
        yield from medians(_exported(big) for _ in range(rounds))
        list_id = _import(big, worker, on.folder, rows=people)
        say(f"{people:,} rows are imported")
        yield from _round(big, questions.after_import(list_id), calls, longest="after an import: ")


def _round(
    server: Server, asked: Sequence[Question], calls: int, *, longest: str = ""
) -> Iterator[Figure]:
    most = 0.0
    for question in asked:
        taken, cpu_ms, postgres_ms = server.time(question, calls)
        if question.wanted is not None and question.wanted < LONGEST_MS:
            most = max(most, *taken)
        yield Figure(
            name=f"{question.name}, p95",
            value=sorted(taken)[int(len(taken) * 0.95)],
            unit="ms",
            wanted=question.wanted,
            is_lower_better=True,
            cpu_ms=cpu_ms,
            postgres_ms=postgres_ms,
        )
    yield Figure(
        name=f"{longest}longest page",
        value=most,
        unit="ms",
        wanted=LONGEST_MS,
        is_lower_better=True,
    )


def _compared(
    floor: Server, small: tuple[Server, Question], big: tuple[Server, Question], calls: int
) -> Iterator[Figure]:
    """Compare a page of contacts with the floor, and with the same page of a small database."""
    middles = [
        statistics.median(server.time(question, calls)[0])
        for server, question in (
            (
                floor,
                Question(name="", ask=questions.get("/floor", [{"place": n} for n in range(50)])),
            ),
            small,
            big,
        )
    ]
    yield Figure(name="contacts of the floor", value=middles[0] / middles[2], unit="x")
    yield Figure(
        name="growth of a page of contacts",
        value=middles[2] / middles[1],
        unit="x",
        wanted=GROWTH,
        is_lower_better=True,
    )


def _exported(server: Server) -> Iterator[Figure]:
    """Export all contacts as CSV; yield the speed, and the additional memory of the web process."""
    begun, cpu, lines = time.perf_counter(), cpu_seconds(server.web), 0
    first = most = server.web.memory_info().rss
    with server.client.stream("GET", "/v1/contacts", headers={"Accept": "text/csv"}) as answer:
        for part in answer.iter_bytes():
            lines += part.count(b"\n")
            most = max(most, server.web.memory_info().rss)
    seconds = time.perf_counter() - begun
    copied = asyncio.run(_copy(server.database_url))
    yield Figure(
        name="export, rows a second",
        value=lines / seconds,
        unit="/s",
        wanted=ROWS_A_SECOND,
        cpu_ms=(cpu_seconds(server.web) - cpu) / lines * 1000,
    )
    yield Figure(name="export of one COPY of the bare table", value=copied / seconds, unit="x")
    yield Figure(
        name="export, more memory", value=(most - first) / MEGABYTE, unit="MB", is_lower_better=True
    )


def _import(server: Server, worker: Child, folder: Path, *, rows: int) -> str:
    """Import a file through the API into a new list; return the id of the list."""
    path = folder / "people.csv"
    import_people.write(path, rows)
    with path.open("rb") as file:
        made = server.client.post(
            "/v1/imports", files={"file": file}, data={"list_name": "Just imported"}
        )
    made.raise_for_status()
    deadline = time.monotonic() + IMPORT_SECONDS
    found = {"status": "pending", "error": "the worker has ended, or the time is over"}
    while worker.process.poll() is None and time.monotonic() < deadline:
        found = server.client.get(f"/v1/imports/{made.json()['id']}").json()
        if found["status"] == "completed":
            return str(found["list_id"])
        if found["status"] not in {"pending", "running"}:
            break
        time.sleep(0.25)
    raise SystemExit(f"the import is {found['status']}: {found['error']} {worker.end_of_log()}")


async def _copy(database_url: str) -> float:
    """Read all contacts with one COPY, in the order of the export; return the seconds."""
    connection = await _connect(database_url)

    async def drop(_: bytes) -> None:
        """Discard a part of the output."""

    begun = time.perf_counter()
    await connection.copy_from_query(COPY_FLOOR_SQL, output=drop, format="csv")
    seconds = time.perf_counter() - begun
    await connection.close()
    return seconds


async def _connect(database_url: str) -> asyncpg.Connection:
    url = make_url(database_url)
    host = str(url.query.get("host") or url.host)
    return await asyncpg.connect(user=url.username, database=url.database, host=host)


# The functions below run the process of the floor.


def _serve_floor(stack: ExitStack, on: Stage, database_url: str) -> Server:
    port = free_port()
    bare = ["-m", "benchmarks.pages", "floor", str(port), database_url]
    web = stack.enter_context(listening(bare, on.environment(), port=port))
    return Server(web=web, client=client_of(stack, port), database_url=database_url)


def floor(port: int, database_url: str) -> None:
    """Run the bare route, which is the floor, until SIGTERM."""
    app = FastAPI()
    state: dict[str, Any] = {}

    @app.get("/floor")
    async def page(place: int) -> list[dict[str, Any]]:
        if "connection" not in state:
            state["connection"] = await _connect(database_url)
            state["places"] = await state["connection"].fetch(str(PLACES))
        at = state["places"][place]
        rows = await state["connection"].fetch(FLOOR_SQL, at["created_at"], at["id"])
        return [dict(row) for row in rows]

    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="warning")


if __name__ == "__main__":
    if sys.argv[1:2] == ["floor"]:
        floor(int(sys.argv[2]), sys.argv[3])
    else:
        show(main(*map(int, sys.argv[1:])))
