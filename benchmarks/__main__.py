"""`make bench`: run benchmarks, print their figures with the targets, and store them.

Examples: `make bench SCALE=full`, `make bench ONLY=intake,apply`, `make bench COMPARE=<commit>`.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import printed, record
from benchmarks.checkouts import (
    CACHE,
    BenchmarkFailedError,
    Checkout,
    checkout_of,
    this_checkout,
)
from benchmarks.figures import WIDTH, Figure, medians, short
from benchmarks.record import Earlier
from benchmarks.table import BENCHMARKS, Scale, chosen

TURNS = 2
"""How often each side of a comparison runs a benchmark. Each run has its own rounds."""


def main() -> int:
    """Run the chosen benchmarks; return 1 if a benchmark failed, otherwise 0."""
    reader = argparse.ArgumentParser(prog="make bench", description=__doc__)
    reader.add_argument("--scale", type=Scale, choices=list(Scale), default=Scale.SMALL)
    reader.add_argument("--only", default="", help="names, separated by commas")
    reader.add_argument("--compare", help="a commit that runs in turns with this code")
    reader.add_argument(
        "--turns", type=int, default=TURNS, help="runs of each side of a comparison"
    )
    reader.add_argument("--history", type=Path, default=CACHE / "history.jsonl")
    asked = reader.parse_args()
    names = chosen(asked.scale, [name for name in asked.only.split(",") if name])
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as folder:
        here = this_checkout(_made(Path(folder) / "here"))
        print(f"commit {here.commit}, scale {asked.scale.value}, {record.this_machine()}")
        if here.commit.endswith("+"):
            print("(+: with changes that are not committed)")
        if asked.compare:
            other = checkout_of(asked.compare, _made(Path(folder) / "other"))
            is_good = _compare(here, other, names, asked.scale, turns=asked.turns)
        else:
            is_good = _measure(here, names, asked.scale, asked.history)
    print(f"\n{(time.monotonic() - begun) / 60:.1f} minutes")
    return 0 if is_good else 1


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _measure(here: Checkout, names: list[str], scale: Scale, history: Path) -> bool:
    """Run each benchmark; print and store its figures. Return True if no benchmark failed."""
    last = record.last_figures(history, scale=scale)
    found: dict[str, list[Figure]] = {}
    for name in names:
        figures = _run(here, name, scale)
        if figures is None:
            continue
        for figure in figures:
            since = record.change(figure, last.get((name, figure.name)))
            print(f"  {figure.text()}{f'   {since}' if since else ''}", flush=True)
        found[name] = figures
    record.add_run(history, scale=scale, commit=here.commit, figures=found)
    wanted = [(name, one) for name, some in found.items() for one in some if one.wanted is not None]
    missed = [f"{name}: {one.name}" for name, one in wanted if not one.is_reached]
    print(
        f"\n{len(wanted) - len(missed)} of {len(wanted)} figures are as wanted; kept in {history}"
    )
    for line in missed:
        print(f"  MISSED {line}")
    return len(found) == len(names)


def _compare(
    here: Checkout, other: Checkout, names: list[str], scale: Scale, *, turns: int
) -> bool:
    """Run each benchmark in both checkouts in turns; print both medians and their ratio.

    Return True if no benchmark failed.
    """
    is_good = True
    for name in names:
        theirs: list[list[Figure]] = []
        ours: list[list[Figure]] = []
        old = next((one for one in (name, *printed.ELSEWHERE.get(name, ())) if other.has(one)), "")
        for _ in range(turns):
            for side, checkout, module in ((theirs, other, old), (ours, here, name)):
                figures = _run(checkout, module, scale, like=name) if module else []
                is_good = is_good and figures is not None
                side.append(figures or [])
        before = {one.name: one for one in medians(theirs)}
        for figure in medians(ours):
            print(f"  {_beside(before.get(figure.name), figure, other.commit)}", flush=True)
    return is_good


def _beside(before: Figure | None, now: Figure, commit: str) -> str:
    if before is None:
        return f"{now.text()}   nothing to compare in {commit}"
    ratio = f"{now.value / before.value:.2f}" if before.value else "-"
    cpu = (
        f"   cpu ms {before.cpu_ms:.3f} -> {now.cpu_ms:.3f}, {now.cpu_ms / before.cpu_ms:.2f}"
        if before.cpu_ms and now.cpu_ms
        else ""
    )
    note = record.change(now, Earlier(value=before.value, commit=commit))
    mark = "  WORSE" if note.endswith("WORSE") else ""
    return (
        f"{now.name:<{WIDTH}}{short(before.value):>9} -> {short(now.value):>9} {now.unit:<12}"
        f" {ratio}{mark}{cpu}"
    )


def _run(
    checkout: Checkout, name: str, scale: Scale, *, like: str | None = None
) -> list[Figure] | None:
    """Run a benchmark, print its name, and return its figures.

    If the benchmark fails, print the end of its output, and return None.
    """
    begun = time.monotonic()
    try:
        figures = checkout.run(name, BENCHMARKS[like or name].arguments(scale))
    except BenchmarkFailedError as error:
        print(f"{name} ({checkout.commit}): FAILED\n{error}", flush=True)
        return None
    print(f"{name} ({checkout.commit}, {time.monotonic() - begun:.0f} s)", flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
