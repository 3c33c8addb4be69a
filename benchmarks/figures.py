"""A figure of a benchmark: its name, value, unit, target and CPU time."""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

WIDTH = 46


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement.

    Attributes:
        name: Unique in its benchmark; the history and comparisons find the figure by it.
        unit: What follows the value, for example "/s", "ms" or "of the floor".
        wanted: The target: the smallest good value, or the largest good value if lower is better.
            None means that there is no target.
        cpu_ms: CPU milliseconds of the measured process for each webhook, message, row or request.
        postgres_ms: CPU milliseconds of all processes of PostgreSQL, for each of the same things.
    """

    name: str
    value: float
    unit: str
    wanted: float | None = None
    is_lower_better: bool = False
    cpu_ms: float | None = None
    postgres_ms: float | None = None

    @property
    def is_reached(self) -> bool:
        """True if the value reaches the target, or if there is no target."""
        if self.wanted is None:
            return True
        return self.value <= self.wanted if self.is_lower_better else self.value >= self.wanted

    def text(self) -> str:
        """Return the figure as one line: the value, its target, and the CPU time of one unit."""
        sign = "≤" if self.is_lower_better else "≥"
        wanted = "" if self.wanted is None else f"{sign} {short(self.wanted)}"
        verdict = "" if self.wanted is None or self.is_reached else "MISSED"
        cpu = [
            f"{name} {ms:.3f}"
            for name, ms in (("cpu ms", self.cpu_ms), ("postgres", self.postgres_ms))
            if ms is not None
        ]
        value = f"{short(self.value):>9} {self.unit}"
        return f"{self.name:<{WIDTH}}{value:<24}{wanted:<10}{verdict:<8}{'  '.join(cpu)}".rstrip()


def short(value: float) -> str:
    """Format a number with at least three significant digits."""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4}f}"  # noqa: PLR2004 - the digits


def medians(rounds: Iterable[Iterable[Figure]]) -> Iterator[Figure]:
    """Yield each figure once, with the medians of its value and CPU times over all rounds."""
    taken: dict[str, list[Figure]] = {}
    for figures in rounds:
        for figure in figures:
            taken.setdefault(figure.name, []).append(figure)
    for some in taken.values():
        yield replace(
            some[0],
            value=statistics.median(one.value for one in some),
            cpu_ms=_median([one.cpu_ms for one in some]),
            postgres_ms=_median([one.postgres_ms for one in some]),
        )


def _median(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def show(figures: Iterable[Figure]) -> None:
    """Print each figure in a line as soon as it is measured."""
    for figure in figures:
        print(figure.text(), flush=True)
