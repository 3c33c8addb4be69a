"""Measure a worker's memory and cost while it sends 500,000 messages, for each tenth of them.

The worker sends one campaign to its end in empty tables, without a rate limit. It takes long, so it
is not part of `make bench`.
"""

import asyncio
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

import psutil

from benchmarks import population
from benchmarks.drain import WARM_UP
from benchmarks.stage import Child, Stage, say, stage

COUNT = 500_000
SECTIONS = 10
LOOK_SECONDS = 2.0
TARGET = 0.1


@dataclass(frozen=True, kw_only=True)
class Look:
    """One sample: messages accepted so far, CPU seconds of the processes, the worker's memory."""

    sent: int
    worker_cpu: float
    postgres_cpu: float
    rss_mb: float


def main(count: int = COUNT) -> None:
    """Run the benchmark and print the results."""
    with stage() as on:
        url = on.database_url
        line_id = asyncio.run(population.add_line(url))
        asyncio.run(population.add_contacts(url, first=0, count=count))
        campaign_id = asyncio.run(
            population.add_campaign(url, line_id=line_id, first=0, count=count)
        )
        asyncio.run(population.start_campaign(url, WARM_UP, first=count))
        say(f"a campaign of {count:,} waits")
        with on.senders("worker") as [worker]:
            asyncio.run(population.set_status(url, campaign_id, "running"))
            with _looks(on, worker) as looks:
                figures = on.measure([worker])
        figures.show(f"{figures.messages:,} to the end")
    _report(_sections(looks, count))


@contextmanager
def _looks(on: Stage, worker: Child) -> Iterator[list[Look]]:
    """Take a sample every two seconds, from a thread, until the block ends."""
    looks: list[Look] = []
    is_over = threading.Event()

    def look() -> None:
        # The thread ends when the worker has ended.
        with suppress(psutil.Error):
            while not is_over.is_set():
                looks.append(_look(on, worker))
                is_over.wait(LOOK_SECONDS)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        is_over.set()
        thread.join()


def _look(on: Stage, worker: Child) -> Look:
    times = worker.meter.cpu_times()
    return Look(
        sent=population.count_accepted(on.database_url),
        worker_cpu=times.user + times.system,
        postgres_cpu=on.postgres_cpu(),
        rss_mb=worker.meter.memory_info().rss / 1e6,
    )


def _sections(looks: Sequence[Look], count: int) -> list[tuple[Look, Look]]:
    """Divide the run into tenths; return the samples nearest to the begin and end of each."""
    first = looks[0].sent
    marks = [first + count * section // SECTIONS for section in range(SECTIONS + 1)]
    cuts = [
        min((abs(look.sent - mark), place) for place, look in enumerate(looks)) for mark in marks
    ]
    nearest = [looks[place] for _, place in cuts]
    return [(begin, end) for begin, end in pairwise(nearest) if end.sent > begin.sent]


def _report(sections: Sequence[tuple[Look, Look]]) -> None:
    for begin, end in sections:
        sent = end.sent - begin.sent
        print(
            f"until {end.sent:>9,}   rss {end.rss_mb:6.1f} MB   cpu ms a message: worker"
            f" {(end.worker_cpu - begin.worker_cpu) / sent * 1000:.3f}"
            f"  postgres {(end.postgres_cpu - begin.postgres_cpu) / sent * 1000:.3f}"
        )
    memory = [end.rss_mb for _, end in sections]
    middle = statistics.median(memory)
    farthest = max(memory, key=lambda rss: abs(rss - middle))
    print(
        f"memory: middle {middle:.1f} MB, farthest from it {farthest:.1f} MB,"
        f" {farthest / middle - 1:+.1%} (at most {TARGET:.0%} either way);"
        f" the last tenth against the first {memory[-1] / memory[0] - 1:+.1%}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
