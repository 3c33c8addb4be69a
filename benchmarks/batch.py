"""Measure a batch of 500 upserts over HTTP: its duration and its SQL statements.

The floor (least possible work) is one INSERT … ON CONFLICT DO UPDATE of 500 rows that are already
parsed, sent directly by the database driver. Batches and floors alternate, each with its own phone
numbers, and their medians are compared. For comparison, the benchmark also measures 500 single
requests.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import httpx
import psutil
from tests.free_ports import free_port

from benchmarks import population
from benchmarks.figures import Figure, show
from benchmarks.stage import Stage, say, stage
from benchmarks.statements import StatementCounter
from benchmarks.web import ADMIN_KEY, cpu_seconds, listening
from crm_api.app import create_app
from crm_api.platform.settings import Settings

PEOPLE, ITEMS, ROUNDS = 100_000, 500, 21
HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
PATH = "/v1/contacts/batch"

_FLOOR = """
    INSERT INTO contact (id, phone, first_name, last_name, email, city, state, postal_code,
        zone_key, tags, attributes, source, created_at, updated_at)
    SELECT uuid_v7(), r.phone, r.first_name, r.last_name, r.email, r.city, r.state, r.postal_code,
        'MA/America/New_York', ARRAY(SELECT jsonb_array_elements_text(r.tags)), r.attributes,
        'api', now(), now()
    FROM jsonb_to_recordset($1::jsonb) AS r(phone text, first_name text, last_name text,
        email text, city text, state text, postal_code text, tags jsonb, attributes jsonb)
    ORDER BY r.phone
    ON CONFLICT (phone) DO UPDATE SET first_name = excluded.first_name,
        last_name = excluded.last_name, email = excluded.email, city = excluded.city,
        state = excluded.state, postal_code = excluded.postal_code, tags = excluded.tags,
        attributes = excluded.attributes, updated_at = excluded.updated_at
"""


def main(people: int = PEOPLE, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield a batch's duration, its ratio to the floor, and its statements."""
    with stage(sandboxes=0) as on:
        asyncio.run(population.add_contacts(on.database_url, first=0, count=people))
        say(f"{people:,} contacts are there")
        port = free_port()
        environment = on.environment() | {"CRM_PORT": str(port)}
        yield from asyncio.run(_count(environment, people))
        with listening(["-m", "crm_api.cli", "serve"], environment, port=port) as web:
            yield from asyncio.run(_measure(on, web, port, people, rounds))


def _people(first: int, *, name: str) -> list[dict[str, Any]]:
    return [
        {
            "phone": population.phone(position),
            "first_name": f"{name}{position}",
            "last_name": "Rossi",
            "email": f"ada{position}@example.com",
            "tags": ["spring"],
            "attributes": {"roof": "slate", "year_built": 1987},
        }
        for position in range(first, first + ITEMS)
    ]


def _place(position: int) -> dict[str, str]:
    return {"city": "Quincy", "state": "MA", "postal_code": f"{2101 + position % 90:05d}"}


def _body(first: int, *, name: str) -> bytes:
    people = enumerate(_people(first, name=name))
    items = [
        {"op": "upsert", "contact": {**person, "address": _place(position)}}
        for position, person in people
    ]
    return json.dumps({"items": items}).encode()


def _rows(first: int, *, name: str) -> str:
    people = enumerate(_people(first, name=name))
    return json.dumps([{**person, **_place(position)} for position, person in people])


async def _count(environment: dict[str, str], people: int) -> list[Figure]:
    """Run a batch of new and a batch of existing numbers; count their SQL statements."""
    app = create_app(Settings.load(environment))
    figures = []
    async with app.router.lifespan_context(app):
        async with app.state.crm.new_uow() as uow:
            engine = uow.session.bind
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://crm.test", headers=HEADERS
        ) as client:
            for kind, name in (("new", "A"), ("known", "B")):
                body = _body(people, name=name)
                counter = StatementCounter(engine)
                (await client.post(PATH, content=body)).raise_for_status()
                counter.close()
                figures.append(
                    Figure(
                        name=f"statements, {kind} numbers",
                        value=counter.counts.total(),
                        unit="",
                        is_lower_better=True,
                    )
                )
    return figures


async def _measure(
    on: Stage, web: psutil.Process, port: int, people: int, rounds: int
) -> list[Figure]:
    figures: list[Figure] = []
    driver = await asyncpg.connect(on.database_url.replace("+asyncpg", ""))
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=60
    ) as client:

        async def batch(first: int, name: str) -> None:
            answer = await client.post(PATH, content=_body(first, name=name))
            answer.raise_for_status()
            assert answer.json()["failed"] == 0, answer.text  # noqa: S101 - a benchmark checks itself

        async def floor(first: int, name: str) -> None:
            await driver.execute(_FLOOR, _rows(first, name=name))

        new, known = iter(range(people + ITEMS, 9_000_000, ITEMS)), iter(range(0, people, ITEMS))
        for kind, firsts in (("new", new), ("known", known)):
            taken: dict[str, list[float]] = {"batch": [], "floor": []}
            cpu = cpu_seconds(web)
            for turn in range(rounds + 1):
                for which, act in (("batch", batch), ("floor", floor)):
                    taken[which].append(await _timed(act, next(firsts), f"{kind}{turn}"))
            cpu = cpu_seconds(web) - cpu
            # The first batch is left out. It is slower, because it also loads what the process has
            # not used before.
            whole, bare = (statistics.median(taken[which][1:]) for which in ("batch", "floor"))
            figures += [
                Figure(
                    name=f"{kind} numbers: {ITEMS} upserts",
                    value=whole,
                    unit="ms",
                    is_lower_better=True,
                    cpu_ms=cpu / (rounds + 1) / ITEMS * 1000,
                ),
                Figure(
                    name=f"{kind} numbers: times the floor",
                    value=whole / bare,
                    unit="x",
                    is_lower_better=True,
                ),
            ]
        begun = time.perf_counter()
        for person in _people(next(new), name="Single"):
            (await client.post("/v1/contacts", json=person)).raise_for_status()
        figures.append(
            Figure(
                name=f"{ITEMS} single POSTs", value=_since(begun), unit="ms", is_lower_better=True
            )
        )
    await driver.close()
    return figures


async def _timed(act: Callable[[int, str], Any], first: int, name: str) -> float:
    begun = time.perf_counter()
    await act(first, name)
    return _since(begun)


def _since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
