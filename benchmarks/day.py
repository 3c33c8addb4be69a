"""Measure a busy day (`benchmarks.load`): lag of events, latency of requests, and memory."""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.figures import Figure, medians, show
from benchmarks.load.__main__ import live
from benchmarks.load.company import MEGABYTE, Company, company
from benchmarks.load.day import Size
from benchmarks.load.timings import quantile

ROUNDS, SEED = 3, 1
LAG_SECONDS, REQUEST_MS, MOST_MB = 2.0, 250.0, 150.0
UNTIMED = {"set up", "import progress", "reconcile", "reconciliation", "metrics"}
"""Requests of the test itself and of programs. They are left out: no user waits for them."""


def main(
    campaigns: int = Size.campaigns,
    people: int = Size.people,
    screens: int = Size.screens,
    rounds: int = ROUNDS,
) -> Iterator[Figure]:
    """Run the day; yield p50 and p99 of the lag and of the requests, the speed, and the memory."""
    updates = min(Size.updates, campaigns // 2)
    size = Size(campaigns=campaigns, people=people, screens=screens, updates=updates)
    yield from medians(_round(size) for _ in range(rounds))


def _round(size: Size) -> Iterator[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as name,
        company(Path(name)) as here,
    ):
        with here.watched():
            course, outcome = uvloop.run(live(here, size, seed=SEED))
        peaks = _peaks(here)
    if outcome.wrong:
        raise SystemExit("; ".join(outcome.wrong))
    taken = [
        seconds * 1000
        for kind, some in course.timings.taken.items()
        if kind not in UNTIMED
        for seconds in some
    ]
    half, most, _ = outcome.lags
    sending = course.sent_until - course.first_start
    yield _lower("lag of events, p99", most, "s", LAG_SECONDS)
    yield _lower("lag of events, p50", half, "s")
    yield _lower("requests, p99", quantile(taken, 0.99), "ms", REQUEST_MS)
    yield _lower("requests, p50", quantile(taken, 0.5), "ms")
    yield Figure(
        name="campaign messages a second", value=size.campaigns * size.people / sending, unit="/s"
    )
    for process, megabytes in peaks.items():
        yield _lower(f"peak memory, {process}", megabytes, "MB", MOST_MB)


def _lower(name: str, value: float, unit: str, wanted: float | None = None) -> Figure:
    return Figure(name=name, value=value, unit=unit, wanted=wanted, is_lower_better=True)


def _peaks(here: Company) -> dict[str, float]:
    """Return the largest resident memory of the web process and the worker since their start."""
    peaks: dict[str, float] = {}
    for child in here.process.children(recursive=True):
        for name in ("serve", "worker"):
            if name in child.cmdline():
                status = Path(f"/proc/{child.pid}/status").read_text()
                [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", status)
                peaks[name] = int(kilobytes) * 1024 / MEGABYTE
    return peaks


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
