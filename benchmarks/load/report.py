"""Format the results of a run as Markdown tables."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.load.company import OTHERS, OURS, Company, Look
from benchmarks.load.day import Course, Size
from benchmarks.load.outcome import Outcome
from benchmarks.load.timings import quantile

QUARTERS = 4
MOST_GROWTH = 0.15
"""Largest accepted growth of memory from the second to the last quarter of the day. The first
quarter is a warm-up."""


def growth(looks: Sequence[Look]) -> dict[str, float]:
    """Return the growth of each process' memory from the second to the last quarter of the day."""
    return {
        name: quarters[-1] / quarters[1] - 1
        for name in OURS
        for quarters in [_quarters(looks, name)]
    }


def tables(company: Company, course: Course, size: Size, outcome: Outcome) -> str:
    """Return all tables of a run as Markdown."""
    looks = company.looks
    parts = (
        _throughput(course, size, outcome),
        _latencies(course),
        _memory(looks),
        _warnings(outcome),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _throughput(course: Course, size: Size, outcome: Outcome) -> Iterator[str]:
    whole = course.ended - course.began
    sending = course.sent_until - course.first_start
    people = size.campaigns * size.people
    half, most, longest = outcome.lags
    delays = course.listeners.delays
    yield "| what | figure |"
    yield "| --- | --- |"
    yield f"| the whole day | {whole:.0f} s, seen from the first import to the last comparison |"
    yield (
        f"| imports beside it | {course.rows:,} rows in {size.campaigns + size.updates} files, "
        f"{course.rows / course.import_seconds:,.0f} rows/s while one ran |"
    )
    yield (
        f"| campaign texts | {people:,} recipients of {size.campaigns} campaigns in {sending:.0f}"
        f" s, {people / sending:,.0f} texts/s |"
    )
    yield (
        f"| texts accepted in all | {outcome.accepted:,}, {course.replies_by_hand:,} of them"
        " written by hand |"
    )
    yield f"| answers that came | {outcome.replies:,}, {outcome.stops:,} of them STOP |"
    yield (
        f"| webhook events applied | {outcome.events:,}; {half:.2f} s after they came (p50), "
        f"{most:.2f} s (p99), {longest:.1f} s (longest) |"
    )
    yield (
        f"| the oldest event that waited | {statistics.median(course.event_ages):.1f} s as a "
        f"rule, {max(course.event_ages):.1f} s at most |"
    )
    yield (
        f"| live events at {size.listeners} listeners | {len(delays):,}; "
        f"{quantile(delays, 0.5):.2f} s (p50), {quantile(delays, 0.99):.2f} s (p99) |"
    )
    yield (
        f"| requests | {course.timings.count:,}, {course.timings.count / whole:.0f} a second; "
        f"{sum(course.timings.failed.values())} failed |"
    )
    yield (
        f"| comparisons with the provider | {len(course.runs)}, "
        f"{sum(run['items_seen'] for run in course.runs):,} texts looked at |"
    )
    yield f"| the database at the end | {outcome.database_mb:,.0f} MB |"


def _latencies(course: Course) -> Iterator[str]:
    yield "| request | count | p50 ms | p95 ms | p99 ms | longest ms | failed |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for kind in sorted(course.timings.taken):
        one = course.timings.of(kind)
        times = (one.p50, one.p95, one.p99, one.longest)
        cells = " | ".join(f"{seconds * 1000:,.0f}" for seconds in times)
        yield f"| {kind} | {one.count:,} | {cells} | {one.failed} |"


def _memory(looks: Sequence[Look]) -> Iterator[str]:
    yield "| process | CPU, cores | MB by quarter of the day | most MB | last over second quarter |"
    yield "| --- | ---: | --- | ---: | ---: |"
    whole = looks[-1].at - looks[0].at
    for name in (*OURS, *OTHERS):
        quarters = _quarters(looks, name)
        cores = (looks[-1].cpu.get(name, 0) - looks[0].cpu.get(name, 0)) / whole
        most = max(look.megabytes.get(name, 0) for look in looks)
        cells = ", ".join(f"{megabytes:.0f}" for megabytes in quarters)
        change = quarters[-1] / quarters[1] - 1 if quarters[1] else 0.0
        yield f"| {name} | {cores:.2f} | {cells} | {most:.0f} | {change:+.0%} |"


def _warnings(outcome: Outcome) -> Iterator[str]:
    yield "| in the log | lines |"
    yield "| --- | ---: |"
    for words, count in sorted(outcome.warnings.items()):
        yield f"| {words} | {count:,} |"


def _quarters(looks: Sequence[Look], name: str) -> list[float]:
    share = max(1, len(looks) // QUARTERS)
    parts = [looks[at * share : (at + 1) * share] or looks[-1:] for at in range(QUARTERS)]
    return [statistics.median(look.megabytes.get(name, 0.0) for look in part) for part in parts]
