"""Measure the inbox over HTTP, with a million conversations and more than five million messages.

One user sends all requests to a real `crm-api serve`, one after the other: first alone, then while
`crm-api worker` sends a campaign. The 95th percentile (p95) is compared with what the API promises.
"""

import asyncio
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from tests.free_ports import free_port

from benchmarks import inbox_questions, inbox_rows, population
from benchmarks.figures import Figure, medians, show
from benchmarks.million import PEOPLE, million
from benchmarks.questions import Question
from benchmarks.serving import Server, environment_of_web, serve
from benchmarks.stage import say, stage
from benchmarks.web import running

CALLS, ROUNDS = 40, 3
SENT = 5_000
"""The number of people to whom the worker sends a message. It sends eight messages per second."""
BUSY = "while sending: "
"""The beginning of the names of figures that are measured while a worker sends."""


def main(people: int = PEOPLE, rounds: int = ROUNDS, calls: int = CALLS) -> Iterator[Figure]:
    """Run the benchmark; yield p50 and p95 of each kind of request."""
    with ExitStack() as stack:
        on = stack.enter_context(stage(redis=True))
        url = stack.enter_context(million(people, fill_more=inbox_rows.fill))
        asyncio.run(population.start_campaign(url, SENT))
        server = serve(stack, on, url)
        server.client.headers["Authorization"] = f"Bearer {inbox_rows.ACCESS}"
        asked = asyncio.run(inbox_questions.of_inbox(url))
        say("the servers run")
        yield from medians(_round(server, asked, calls) for _ in range(rounds))
        environment = environment_of_web(on, url, free_port())
        stack.enter_context(running(["-m", "crm_api.cli", "worker"], environment))
        say("the worker runs")
        found = medians(_round(server, asked, calls) for _ in range(rounds))
        # The processor time of the database is left out, because it includes the worker's
        # statements.
        yield from (replace(one, name=f"{BUSY}{one.name}", postgres_ms=None) for one in found)


def _round(server: Server, asked: Sequence[Question], calls: int) -> Iterator[Figure]:
    for question in asked:
        taken, cpu_ms, postgres_ms = server.time(question, calls)
        yield Figure(
            name=f"{question.name}, p50",
            value=statistics.median(taken),
            unit="ms",
            is_lower_better=True,
        )
        yield Figure(
            name=f"{question.name}, p95",
            value=sorted(taken)[int(len(taken) * 0.95)],
            unit="ms",
            wanted=question.wanted,
            is_lower_better=True,
            cpu_ms=cpu_ms,
            postgres_ms=postgres_ms,
        )


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
