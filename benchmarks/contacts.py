"""Measure a million contacts: pages at any depth, searches, a long timeline, and the export.

One client sends all requests over HTTP to a real `serve`, one after the other. The floor is a bare
FastAPI route in its own process. It returns the same 50 contacts by the same index, without an API
key, a model or a check. The growth is the ratio to a database with 10,000 contacts.

`python -m benchmarks.contacts [FOLDER [PEOPLE]]` uses a folder that `benchmarks.million` has
filled, or fills a folder of its own.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import uvicorn
from fastapi import FastAPI
from sqlalchemy import make_url, text

from benchmarks.million import PEOPLE, SECRET, busiest_contact, million
from benchmarks.web import free_port, listening
from crm_api.dev.embedded_servers import servers
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.people.contacts.schemas import ContactFilter, ContactSort
from crm_api.platform.database import open_engine

FEW = 10_000
ROUNDS = 20
KEY = "a benchmark's admin key of 32 characters"
PAGE_MS, SEARCH_MS, TIMELINE_MS = 10.0, 25.0, 10.0
GROWTH, ROWS_A_SECOND = 1.2, 50_000
SEARCHES = (
    *("smith", "johnson", "ashfield", "josé", "thornway ada", "smith ada", "zzzz", "elfwick"),
    *("617555", "5550101", "(617) 555-0101", "example.com", "builders", "ada@nowhere"),
)
SHORT = ("jo", "x", "xq", "a", "61")
FILTERS: tuple[dict[str, str], ...] = (
    {"tag": "basement"},
    {"tag": "nobody"},
    {"state": "CA"},
    {"state": "Guam"},
    {"opted_out": "true"},
    {"has_email": "false"},
)
PLACES = text("SELECT created_at, id, sort_name FROM contact ORDER BY md5(id::text) LIMIT 50")
FLOOR_SQL = (
    "SELECT id, phone, first_name, last_name, email, company, city, state, tags, attributes, "
    "created_at FROM contact WHERE deleted_at IS NULL AND (created_at, id) < ($1, $2) "
    "ORDER BY created_at DESC, id DESC LIMIT 50"
)
COPY_FLOOR_SQL = "SELECT * FROM contact WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC"
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Times:
    """The durations of some requests in milliseconds."""

    ms: Sequence[float]

    @property
    def p95(self) -> float:
        """Return the 95th percentile."""
        return sorted(self.ms)[int(len(self.ms) * 0.95)]

    @property
    def middle(self) -> float:
        """Return the median."""
        return statistics.median(self.ms)


class Client:
    """An HTTP client with an API key."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
        )

    def time(self, requests: Sequence[tuple[str, dict[str, Any]]], *, rounds: int = 1) -> Times:
        """Send the requests one after the other; the first response of each is not counted."""
        taken: list[float] = []
        for number in range(rounds + 1):
            for path, query in requests:
                begun = time.perf_counter()
                answer = self._http.get(path, params=query)
                ms = (time.perf_counter() - begun) * 1000
                if answer.status_code != httpx.codes.OK:
                    raise SystemExit(f"{answer.url} answered {answer.status_code}: {answer.text}")
                taken += [ms] if number else []
        return Times(taken)

    def export(self, look: Callable[[], float]) -> tuple[int, float, float, float]:
        """Export all contacts as CSV.

        Returns:
            The number of lines, the seconds, and the megabytes that ``look`` returns before and at
            most.
        """
        begun, lines, first = time.perf_counter(), 0, look()
        most = first
        with self._http.stream("GET", "/v1/contacts", headers={"Accept": "text/csv"}) as answer:
            for part in answer.iter_bytes():
                lines += part.count(b"\n")
                most = max(most, look())
        return lines - 1, time.perf_counter() - begun, first, most


def main(folder: Path | None = None, people: int = PEOPLE) -> None:
    """Run the benchmark and print the results."""
    with (
        million(None, people=FEW) as small_url,
        serving(small_url) as (small, _, _),
        million(folder, people=people) as url,
        serving(url) as (client, floor, meter),
    ):
        pages, few_pages = asyncio.run(pages_of(url)), asyncio.run(pages_of(small_url))
        bare = floor.time([("/floor", {"place": n}) for n in range(50)], rounds=4)
        few, deep = _by_turns((small, few_pages), (client, pages))
        found = client.time([("/v1/contacts", {"q": q}) for q in SEARCHES], rounds=ROUNDS)
        short = client.time([("/v1/contacts", {"q": q}) for q in SHORT], rounds=ROUNDS)
        filtered = client.time([("/v1/contacts", dict(one)) for one in FILTERS], rounds=ROUNDS)
        timeline = f"/v1/contacts/{asyncio.run(busiest_contact(url))}/timeline"
        busiest = client.time([(timeline, {})], rounds=100)
        _tell("a page at any depth, three orders", deep, bare, at_most=PAGE_MS)
        _tell("a search of three characters or more", found, bare, at_most=SEARCH_MS)
        _tell("a search of one or two", short, bare, at_most=SEARCH_MS)
        _tell("a page under a filter", filtered, bare)
        _tell("the first page of 5,000 in a timeline", busiest, bare, at_most=TIMELINE_MS)
        print(
            f"growth from {FEW:,} to {people:,} people: {deep.middle / few.middle:.2f} of a"
            f" page's median (at most {GROWTH})"
        )
        rows, seconds, first, most = client.export(lambda: meter.memory_info().rss / MEGABYTE)
        copied = asyncio.run(_copy(url))
        print(
            f"export: {rows:,} people in {seconds:.1f} s, {rows / seconds:,.0f}/s (at least"
            f" {ROWS_A_SECOND:,}); one COPY of the bare table {rows / copied:,.0f}/s; memory of the"
            f" process {first:.0f} MB before, {most:.0f} at most"
        )


def _by_turns(*callers: tuple[Client, Sequence[tuple[str, dict[str, Any]]]]) -> list[Times]:
    """Send the requests of several clients in turn, so that they meet the same machine load."""
    taken: list[list[float]] = [[] for _ in callers]
    for _ in range(4):
        for ms, (client, requests) in zip(taken, callers, strict=True):
            ms.extend(client.time(requests).ms)
    return [Times(ms) for ms in taken]


async def _copy(database_url: str) -> float:
    """Read the table by one COPY in the same order; return the seconds."""
    connection = await _connect(database_url)

    async def drop(_: bytes) -> None:
        """Discard a piece of the output."""

    begun = time.perf_counter()
    await connection.copy_from_query(COPY_FLOOR_SQL, output=drop, format="csv")
    seconds = time.perf_counter() - begun
    await connection.close()
    return seconds


async def _connect(database_url: str) -> Any:  # noqa: ANN401 - asyncpg's connection
    url = make_url(database_url)
    host = str(url.query.get("host") or url.host)
    return await asyncpg.connect(user=url.username, database=url.database, host=host)


def _tell(label: str, times: Times, floor: Times, *, at_most: float | None = None) -> None:
    target = "" if at_most is None else f" (at most {at_most:g})"
    print(
        f"{label:<40} p95 {times.p95:6.1f} ms{target}, median {times.middle:5.1f};"
        f" floor {floor.middle:.1f}: {times.middle / floor.middle:.1f} times that",
        flush=True,
    )


@contextmanager
def serving(database_url: str) -> Iterator[tuple[Client, Client, psutil.Process]]:
    """Run the API and the floor; yield a client of each, and the process of the API."""
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True)
        redis = servers(Path(stack.enter_context(folder)), postgres=False)
        redis_url = str(stack.enter_context(redis).redis_url)
        yield from _serving(database_url, redis_url)


def _serving(database_url: str, redis_url: str) -> Iterator[tuple[Client, Client, psutil.Process]]:
    port, floor_port = free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
        "CRM_DATABASE_URL": database_url,
        "CRM_REDIS_URL": redis_url,
        "CRM_OPENPHONE_BASE_URL": "http://127.0.0.1:1",
        "CRM_SECRET_KEY": SECRET,
        "CRM_BOOTSTRAP_API_KEY": KEY,
        "CRM_PORT": str(port),
        "CRM_RATE_LIMIT_PER_SECOND": "100000",
    }
    bare = ["-m", "benchmarks.contacts", "floor", str(floor_port), database_url]
    with (
        listening(["-m", "crm_api.cli", "serve"], environment, port=port),
        listening(bare, environment, port=floor_port),
    ):
        started = [
            child
            for child in psutil.Process().children()
            if child.cmdline()[1:] == ["-m", "crm_api.cli", "serve"]
        ]
        process = max(started, key=psutil.Process.create_time)
        yield Client(port), Client(floor_port), process


async def pages_of(database_url: str) -> list[tuple[str, dict[str, Any]]]:
    """Return requests for pages that begin at random places, in three sort orders."""
    async with open_engine(database_url) as engine, engine.connect() as connection:
        places = (await connection.execute(PLACES)).all()
    pages: list[tuple[str, dict[str, Any]]] = []
    for number, place in enumerate(places):
        sort = (ContactSort.NEWEST, ContactSort.CREATED, ContactSort.NAME)[number % 3]
        key = place.sort_name if sort is ContactSort.NAME else place.created_at
        cursor = Cursors("contacts", wanted=ContactFilter(), sort=sort).write(key, place.id)
        pages.append(("/v1/contacts", {"sort": sort.value, "cursor": cursor}))
    return pages


def floor(port: int, database_url: str) -> None:
    """Run the bare route until SIGTERM."""
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
        main(
            Path(sys.argv[1]) if len(sys.argv) > 1 else None,
            int(sys.argv[2]) if len(sys.argv) > 2 else PEOPLE,  # noqa: PLR2004
        )
