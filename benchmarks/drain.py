"""Measure how fast a campaign is sent (claim, gate, call, record), compared with a bare client.

The bare client is the floor (least possible work): httpx over aiohttp with 64 connections posts the
same bodies to the same sandbox, without a database. The measured work is the worker's job without a
rate limit. Both run in turns, so that both have the same load of the machine. Two workers have a
sandbox each, because the sandbox is not measured. Two workers are also compared with two bare
clients, whose speed is the upper limit.
"""

import asyncio
import sys
from collections.abc import Iterator

from benchmarks import population
from benchmarks.figures import Figure, medians, show
from benchmarks.stage import Figures, Stage, say, stage

COUNT, ROUNDS = 20_000, 3
WARM_UP = 2_000
"""Number of messages for each worker that are sent before the measurement. They need two claims per
worker, so that each worker gets at least one claim."""
TARGET_RATIO = 0.85


def main(count: int = COUNT, rounds: int = ROUNDS, warm_up: int = WARM_UP) -> Iterator[Figure]:
    """Run the benchmark; yield messages per second, their ratio to the floor, and the CPU time."""
    with stage(sandboxes=2) as on:
        yield from medians(_round(on, count, warm_up) for _ in range(rounds))


def _round(on: Stage, count: int, warm_up: int) -> Iterator[Figure]:
    """Send messages with one bare client, one worker, two workers, and two bare clients."""
    below = floor(on, count, clients=1)
    one = drain(on, count, workers=1, warm_up=warm_up)
    two = drain(on, count, workers=2, warm_up=warm_up)
    two_below = floor(on, count, clients=2)
    yield Figure(
        name="one worker of the bare client",
        value=one.per_second / below.per_second,
        unit="x",
        wanted=TARGET_RATIO,
        cpu_ms=one.ms(one.sender_cpu),
        postgres_ms=one.ms(one.postgres_cpu),
    )
    yield Figure(name="messages a second, one worker", value=one.per_second, unit="/s")
    yield Figure(
        name="messages a second, two workers",
        value=two.per_second,
        unit="/s",
        cpu_ms=two.ms(two.sender_cpu),
        postgres_ms=two.ms(two.postgres_cpu),
    )
    yield Figure(name="two workers of one", value=two.per_second / one.per_second, unit="x")
    yield Figure(
        name="floor: one bare client",
        value=below.per_second,
        unit="/s",
        cpu_ms=below.ms(below.sender_cpu),
    )
    yield Figure(name="floor: two bare clients", value=two_below.per_second, unit="/s")
    yield Figure(name="statements a message", value=one.per_thousand() / 1000, unit="")
    yield Figure(name="memory of the worker", value=one.rss_mb, unit="MB")


def floor(on: Stage, count: int, *, clients: int) -> Figures:
    """Make bare clients post ``count`` messages together, and return the measurements."""
    share = count // clients
    with on.senders("floor", str(share), count=clients) as children:
        found = on.measure(children, messages=share * clients)
    say(f"{clients} bare: {found.per_second:.0f}/s")
    return found


def drain(on: Stage, count: int, *, workers: int, warm_up: int) -> Figures:
    """Make workers send a campaign of ``count`` messages in empty tables; return the figures."""
    url = on.database_url
    asyncio.run(population.start_campaign(url, warm_up * workers, first=count))
    line_id = asyncio.run(population.add_line(url))
    asyncio.run(population.add_contacts(url, first=0, count=count))
    campaign_id = asyncio.run(population.add_campaign(url, line_id=line_id, first=0, count=count))
    asyncio.run(population.settle(url))
    with on.senders("worker", count=workers) as children:
        asyncio.run(population.set_status(url, campaign_id, "running"))
        found = on.measure(children)
    if found.messages != count:
        raise SystemExit(f"{found.messages} of {count} were sent.")
    asyncio.run(population.clear(url))
    say(f"{workers} draining: {found.per_second:.0f}/s")
    return found


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
