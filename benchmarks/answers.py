"""Measure how long a user waits for stats, explanations, previews and forecasts of large campaigns.

Each request goes over HTTP to a separate web process. It is compared with the same request for a
campaign of 1,000 recipients, and with the floor: the request that shows one campaign, which is the
cheapest of its kind. The time in PostgreSQL is what `EXPLAIN ANALYZE` reports for each statement.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks import population
from benchmarks.sender import open_deps
from benchmarks.stage import Stage, stage
from benchmarks.subject import SMALL, Subject, fill
from benchmarks.web import free_port, listening
from crm_api.domain.campaigns.figures.campaign_stats import read_campaign_stats
from crm_api.domain.consent.legal_rules.loader import load_rules
from crm_api.platform import clock
from crm_api.platform.settings import Settings

LARGE, LIST = 1_000_000, 100_000
CALLS, SLOW_CALLS, REPEATS = 200, 3, 10
ADMIN_KEY = "crm_benchmark-admin-key-of-enough-characters"


def main(large: int = LARGE) -> None:
    """Run the benchmark and print the results."""
    with stage() as on:
        subject = asyncio.run(fill(on.database_url, large=large, listed=LIST))
        port = free_port()
        environment = on.environment() | {
            "CRM_PORT": str(port),
            "CRM_BOOTSTRAP_API_KEY": ADMIN_KEY,
            "CRM_COMPLIANCE_RULES": "us",
            "CRM_OPENPHONE_RATE_PER_SECOND": "8",
        }
        asyncio.run(_report_database(on, subject))
        with (
            listening(["-m", "crm_api.cli", "serve"], environment, port=port),
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {ADMIN_KEY}"},
                timeout=120,
            ) as client,
        ):
            _report_calls(client, subject)


# The work of PostgreSQL for the stats


async def _report_database(on: Stage, subject: Subject) -> None:
    async with AsyncExitStack() as stack:
        deps, engine = await open_deps(Settings.from_env(on.environment()), stack)

        async def ask(campaign_id: UUID) -> tuple[float, float]:
            with _recorded(engine) as statements:
                async with deps.new_uow() as uow:
                    await read_campaign_stats(
                        uow,
                        campaign_id=campaign_id,
                        rules=load_rules("us"),
                        times=deps.times,
                        texts_per_second=8,
                        now=clock.now(),
                    )
            return await _explained(engine, statements)

        found = []
        for campaign_id in (subject.large, subject.small):
            repeated = [await ask(campaign_id) for _ in range(REPEATS)]
            found.append([statistics.median(kind) for kind in zip(*repeated, strict=True)])
    (planned, large), (_, small) = found
    print(
        f"stats of {subject.people:,} in the database: {large:.2f} ms, and {planned:.2f} to plan"
        f" where no plan is kept (together at most 5); of {SMALL:,}: {small:.2f} ms,"
        f" ratio {large / small:.2f}"
    )


@contextmanager
def _recorded(engine: AsyncEngine) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def remember(*given: Any) -> None:  # noqa: ANN401 - the event's own signature
        seen.append((given[2], given[3]))

    event.listen(engine.sync_engine, "before_cursor_execute", remember)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", remember)


async def _explained(engine: AsyncEngine, statements: list[tuple[str, Any]]) -> tuple[float, float]:
    """Return the milliseconds that PostgreSQL takes to plan and to execute all the statements."""
    planning = execution = 0.0
    async with engine.connect() as connection:
        for statement, parameters in statements:
            answer = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
            )
            found = answer.scalar_one()
            [plan] = json.loads(found) if isinstance(found, str) else found
            planning += plan["Planning Time"]
            execution += plan["Execution Time"]
    return planning, execution


# The requests that a user waits for


@dataclass(frozen=True, kw_only=True)
class Question:
    """A kind of request to measure."""

    label: str
    ask: Callable[[int], httpx.Response]
    calls: int = CALLS
    target: str = ""


def _report_calls(client: httpx.Client, subject: Subject) -> None:
    shown = f"/v1/campaigns/{subject.large}"
    _, floor = _ask(Question(label="", ask=_get(client, shown)))
    print(f"{'floor: one campaign shown':<46}{floor:10.1f} ms")
    for question in (*_of_campaigns(client, subject), *_of_drafts(client, subject)):
        first, taken = _ask(question)
        target = f" (at most {question.target})" if question.target else ""
        print(
            f"{question.label:<46}{taken:10.1f} ms{target}, {taken / floor:.1f} times the floor;"
            f" the first call {first:.0f} ms",
            flush=True,
        )


def _of_campaigns(client: httpx.Client, subject: Subject) -> Iterator[Question]:
    people, large = subject.recipients, f"/v1/campaigns/{subject.large}"

    def explain(call: int) -> httpx.Response:
        return client.get(f"{large}/recipients/{people[call % len(people)]}/explain")

    for campaign_id, size in ((subject.large, subject.people), (subject.small, SMALL)):
        path = f"/v1/campaigns/{campaign_id}"
        yield Question(label=f"stats of {size:,}", ask=_get(client, f"{path}/stats"))
        yield Question(
            label=f"forecast of {size:,}",
            ask=_get(client, f"{path}/forecast"),
            calls=CALLS // 10,
            target="1 s",
        )
    yield Question(label="explain", ask=explain, target="10 ms")


def _of_drafts(client: httpx.Client, subject: Subject) -> Iterator[Question]:
    for rule in ("send", "skip"):
        path = _draft(client, subject, previously_contacted=rule)
        yield Question(
            label=f"preview of {LIST:,}, who was texted: {rule}",
            ask=_get(client, f"{path}/preview", method="POST"),
            calls=SLOW_CALLS,
            target="5 s",
        )
        yield Question(
            label=f"forecast of a draft to {LIST:,}: {rule}",
            ask=_get(client, f"{path}/forecast"),
            calls=SLOW_CALLS,
            target="1 s",
        )


def _get(
    client: httpx.Client, path: str, *, method: str = "GET"
) -> Callable[[int], httpx.Response]:
    def ask(_call: int) -> httpx.Response:
        return client.request(method, path)

    return ask


def _draft(client: httpx.Client, subject: Subject, *, previously_contacted: str) -> str:
    """Create a draft of a campaign to the list, and return its path in the API."""
    body = {
        "name": f"Preview {previously_contacted}",
        "line_id": str(subject.line_id),
        "audience": {"list_id": str(subject.list_id)},
        "variants": [
            {"name": "A", "body": population.BODY, "weight": 50},
            {"name": "B", "body": "Hello! 👋 " + population.BODY, "weight": 50},
        ],
        "rules": {"previously_contacted": previously_contacted},
    }
    answer = client.post("/v1/campaigns", json=body)
    answer.raise_for_status()
    return f"/v1/campaigns/{answer.json()['id']}"


def _ask(question: Question) -> tuple[float, float]:
    """Send a request repeatedly; return the milliseconds of the first, and the others' median.

    The first request is slower, because it also loads what the process has not used before.
    """
    taken = []
    for call in range(question.calls + 1):
        begun = time.perf_counter()
        answer = question.ask(call)
        taken.append((time.perf_counter() - begun) * 1000)
        answer.raise_for_status()
    return taken[0], statistics.median(taken[1:])


if __name__ == "__main__":
    main()
