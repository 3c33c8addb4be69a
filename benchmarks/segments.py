"""Measure segments over a million contacts: how long a count, a sample and a page take.

The floor (least possible work) is to count all contacts in the same database, in the same run. Each
measurement calls the code of the service as a request does, but without HTTP. The result is the
median of several rounds with the rows in memory. The rounds of all measurements alternate.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from sqlalchemy import text

from benchmarks.figures import Figure, show
from benchmarks.million import PEOPLE, million
from crm_api.domain.people.segments import people
from crm_api.domain.people.segments import service as segments
from crm_api.domain.people.segments.schemas import SegmentCreate
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.jobs import Job

ROUNDS = 5
MOST_MS = {"count": 1_000.0, "sample": 200.0}
CAMPAIGN = "SELECT id FROM campaign ORDER BY created_at DESC LIMIT 1"
FLOOR = "SELECT count(*) FROM contact WHERE deleted_at IS NULL"
Filter = dict[str, Any]
Work = Callable[[], Awaitable[Any]]


class NoQueue:
    """A queue that raises an error, because this benchmark requests no jobs."""

    async def push(self, job: Job) -> None:
        """Raise an error, because no job is expected."""
        raise NotImplementedError(job.name)

    async def ping(self) -> bool:
        """Return True."""
        return True


def main(people_count: int = PEOPLE, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the times of each filter."""
    with million(people_count) as url:
        yield from asyncio.run(_measure(url, rounds))


def filters(campaign_id: str) -> dict[str, Filter]:
    """Return filters by their description.

    Each has three conditions, one of them about activity.
    """
    state = {"field": "state", "op": "in", "value": ["MA", "TX", "FL", "CA"]}
    year = {"field": "attributes.year_built", "op": "lt", "value": 1970}
    tag = {"field": "tags", "op": "contains", "value": "hot"}
    lately = {"value": {"days": 90}}
    replied = {"campaign_id": campaign_id, "replied": True}
    return {
        "not contacted lately": {
            "all": [state, year, {"field": "last_contacted_at", "op": "not_within_last", **lately}]
        },
        "contacted lately": {
            "all": [state, tag, {"field": "last_contacted_at", "op": "within_last", **lately}]
        },
        "replied or not opted out": {
            "all": [
                state,
                {"field": "opted_out", "op": "eq", "value": False},
                {"any": [year, {"field": "last_replied_at", "op": "within_last", **lately}]},
            ]
        },
        "replied to a campaign": {
            "all": [year, tag, {"field": "campaigns", "op": "contains", "value": replied}]
        },
        "nobody at all": {
            "all": [
                {"field": "last_name", "op": "contains", "value": "zzzzzz"},
                {"not": tag},
                {"field": "last_contacted_at", "op": "is_not_empty"},
            ]
        },
    }


async def _measure(url: str, rounds: int) -> list[Figure]:
    async with open_engine(url) as engine:
        sessions = session_factory(engine)

        def new_uow() -> UnitOfWork:
            return UnitOfWork(sessions, NoQueue())

        async def floor() -> int:
            async with new_uow() as uow:
                return int(await uow.session.scalar(text(FLOOR)) or 0)

        async with new_uow() as uow:
            campaign_id = str(await uow.session.scalar(text(CAMPAIGN)))
        asked: dict[str, Work] = {"floor": floor}
        for name, filter_ in filters(campaign_id).items():
            asked |= await _works(new_uow, name, filter_)
        taken: dict[str, list[float]] = {name: [] for name in asked}
        # The first round is a warm-up and is not included.
        for _ in range(rounds + 1):
            for name, work in asked.items():
                begun = time.perf_counter()
                await work()
                taken[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(times[1:]) * 1000 for name, times in taken.items()}
    figures = [
        Figure(
            name=name,
            value=value,
            unit="ms",
            wanted=next((most for kind, most in MOST_MS.items() if name.endswith(kind)), None),
            is_lower_better=True,
        )
        for name, value in medians.items()
    ]
    slowest = max(value for name, value in medians.items() if name.endswith("count"))
    return [
        *figures,
        Figure(
            name="slowest count, times the floor",
            value=slowest / medians["floor"],
            unit="x",
            is_lower_better=True,
        ),
    ]


async def _works(new_uow: Callable[[], UnitOfWork], name: str, filter_: Filter) -> dict[str, Work]:
    """Return functions that get the count, the sample and the first page of one filter."""

    async def preview(*, limit: int, with_count: bool) -> None:
        async with new_uow() as uow:
            await people.preview_segment(
                uow, filter_, limit=limit, with_count=with_count, now=clock.now()
            )

    async with new_uow() as uow:
        body = SegmentCreate(name=f"{name} {clock.now()}", filter=filter_)
        segment_id = (await segments.create_segment(uow, body, now=clock.now())).id

    async def page() -> None:
        async with new_uow() as uow:
            await people.list_people(
                uow, segment_id=segment_id, cursor=None, limit=50, now=clock.now()
            )

    return {
        f"{name}: count": lambda: preview(limit=0, with_count=True),
        f"{name}: sample": lambda: preview(limit=10, with_count=False),
        f"{name}: first page": page,
    }


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
