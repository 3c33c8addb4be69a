"""Compare the CPU time of a message in a large database with its CPU time in a small one.

The small database has 5,000 recipients and no other rows. The large database has 500,000 people who
each got ten messages before, so it has 5,000,000 finished recipients. The large database is
measured twice, the second time with a line that has sent 500,000 messages today. A large campaign
is measured for one run of the worker's job, which is half a minute.
"""

import asyncio
import statistics
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

from benchmarks import history, population
from benchmarks.drain import WARM_UP
from benchmarks.figures import Figure, show
from benchmarks.history import Past
from benchmarks.stage import Figures, Stage, say, stage

SMALL, LARGE, ROUNDS = 5_000, 500_000, 5
PAST_CAMPAIGNS = 10
TARGET = 1.15
TODAY = timedelta(hours=5)
"""The messages of today were sent within this time. It is shorter than the time since the line's
day began."""


def main(large: int = LARGE, small: int = SMALL, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the ratio of a message's CPU time in large and in small tables."""
    with stage() as on:
        few = [_small(on, small) for _ in range(rounds)]
        url = on.database_url
        line_ids = [asyncio.run(population.add_line(url, name)) for name in population.LINES]
        campaign_ids = _load(url, line_ids, people=large)
        fresh, busy = (_slice(on, campaign_id, large) for campaign_id in campaign_ids)
    base = statistics.median(one.cpu for one in few)
    for name, found in (("large tables", fresh), ("later that day", busy)):
        yield Figure(
            name=f"cpu of a message, {name} to small",
            value=found.cpu / base,
            unit="x",
            wanted=TARGET,
            is_lower_better=True,
            cpu_ms=found.ms(found.sender_cpu),
            postgres_ms=found.ms(found.postgres_cpu),
        )


def _small(on: Stage, small: int) -> Figures:
    url = on.database_url
    line_id = asyncio.run(population.add_line(url))
    asyncio.run(population.add_contacts(url, first=0, count=small))
    campaign_id = asyncio.run(population.add_campaign(url, line_id=line_id, first=0, count=small))
    found = _drain(on, campaign_id, warm_up_at=small)
    asyncio.run(population.clear(url))
    return found


def _load(url: str, line_ids: Sequence[UUID], *, people: int) -> list[UUID]:
    """Fill the tables, and return the ids of two waiting campaigns.

    The line of the second campaign has already sent many messages today.
    """
    asyncio.run(population.add_contacts(url, first=0, count=people))
    say(f"{people:,} contacts are there")
    first, second = line_ids
    past = [
        Past(line_id=first, ago=timedelta(days=9 * age), spread=timedelta(days=1))
        for age in range(1, PAST_CAMPAIGNS)
    ]
    today = Past(line_id=second, ago=timedelta(minutes=5), spread=TODAY)
    asyncio.run(history.load(url, [*past, today], people=people))
    say(f"{people * PAST_CAMPAIGNS:,} finished memberships are there")
    campaign_ids = [
        asyncio.run(population.add_campaign(url, line_id=line_id, first=0, count=people))
        for line_id in line_ids
    ]
    say(f"two campaigns of {people:,} wait")
    return campaign_ids


def _slice(on: Stage, campaign_id: UUID, large: int) -> Figures:
    found = _drain(on, campaign_id, "1", warm_up_at=large)
    asyncio.run(population.set_status(on.database_url, campaign_id, "paused"))
    say(f"{found.messages:,} sent in one run")
    return found


def _drain(on: Stage, campaign_id: UUID, *runs: str, warm_up_at: int) -> Figures:
    url = on.database_url
    asyncio.run(population.start_campaign(url, WARM_UP, first=warm_up_at))
    with on.senders("worker", *runs) as children:
        asyncio.run(population.set_status(url, campaign_id, "running"))
        return on.measure(children)


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
