"""Measure segments over a million contacts: how long a count, a sample and a page take.

The floor is to count all contacts in the same database, in the same run. Each measurement calls the
service as a request does, but without HTTP. It is the median of several runs with the rows in
memory. ``python -m benchmarks.segments FOLDER`` uses a folder that ``benchmarks.million`` has
filled.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.million import PEOPLE, million
from crm_api.domain.people.segments import people
from crm_api.domain.people.segments import service as segments
from crm_api.domain.people.segments.schemas import SegmentCreate
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.jobs import Job

RUNS = 5
MOST_OF_A_COUNT = 1.0
MOST_OF_A_SAMPLE = 0.2
CAMPAIGN = "SELECT id FROM campaign ORDER BY created_at DESC LIMIT 1"
FLOOR = "SELECT count(*) FROM contact WHERE deleted_at IS NULL"
Filter = dict[str, Any]


class NoQueue:
    """Queue that refuses jobs, because this benchmark requests none."""

    async def push(self, job: Job) -> None:
        """Raise an error."""
        raise NotImplementedError(job.name)

    async def ping(self) -> bool:
        """Return True."""
        return True


def main(folder: Path | None = None, people_count: int = PEOPLE) -> None:
    """Run the benchmark and print the results."""
    with million(folder, people=people_count) as url:
        asyncio.run(_measure(url))


def filters(campaign_id: str) -> dict[str, Filter]:
    """Return filters of three conditions each, one of them on activity, by a description."""
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


async def _measure(url: str) -> None:
    async with open_engine(url) as engine:
        sessions = session_factory(engine)

        def new_uow() -> UnitOfWork:
            return UnitOfWork(sessions, NoQueue())

        async def floor() -> int:
            async with new_uow() as uow:
                return int(await uow.session.scalar(text(FLOOR)) or 0)

        seconds, everybody = await _time(floor)
        print(f"floor: count of all {everybody:,}  {seconds * 1000:7.0f} ms")
        async with new_uow() as uow:
            campaign_id = str(await uow.session.scalar(text(CAMPAIGN)))
        worst_count = worst_sample = 0.0
        for name, filter_ in filters(campaign_id).items():
            count, sample = await _ask(new_uow, name, filter_, floor=seconds)
            worst_count, worst_sample = max(worst_count, count), max(worst_sample, sample)
    print(f"slowest count   {worst_count:6.2f} s (at most {MOST_OF_A_COUNT})")
    print(f"slowest sample  {worst_sample:6.2f} s (at most {MOST_OF_A_SAMPLE})")


async def _ask(
    new_uow: Callable[[], UnitOfWork], name: str, filter_: Filter, *, floor: float
) -> tuple[float, float]:
    """Count, sample and list the contacts of one filter; return the seconds of count and sample."""

    async def preview(*, limit: int, with_count: bool) -> int | None:
        async with new_uow() as uow:
            found = await people.preview_segment(
                uow, filter_, limit=limit, with_count=with_count, now=clock.now()
            )
        return found.count

    async with new_uow() as uow:
        body = SegmentCreate(name=f"{name} {clock.now()}", filter=filter_)
        segment_id = (await segments.create_segment(uow, body, now=clock.now())).id

    async def page() -> None:
        async with new_uow() as uow:
            await people.list_people(
                uow, segment_id=segment_id, cursor=None, limit=50, now=clock.now()
            )

    counting, count = await _time(lambda: preview(limit=0, with_count=True))
    sampling, _ = await _time(lambda: preview(limit=10, with_count=False))
    paging, _ = await _time(page)
    print(
        f"{name:<26}{count:>9,} people   count {counting * 1000:6.0f} ms ({counting / floor:4.1f} x"
        f" floor)   sample {sampling * 1000:5.0f} ms   first page {paging * 1000:5.0f} ms",
        flush=True,
    )
    return counting, sampling


async def _time(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    found = await work()
    taken = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken), found


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else None,
        int(sys.argv[2]) if len(sys.argv) > 2 else PEOPLE,  # noqa: PLR2004
    )
