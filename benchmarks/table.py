"""All benchmarks in the order in which they run, and the size of each at each scale."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Arguments = dict[str, Any]


class Scale(StrEnum):
    """The size of the benchmarks.

    Attributes:
        TINY: A few seconds in all; the figures mean nothing. The tests run this size.
        SMALL: The daily benchmarks; they take less than ten minutes on two cores.
        FULL: All benchmarks, with a million contacts and five million messages; they take hours.
    """

    TINY = "tiny"
    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A module of `benchmarks`, and the arguments of its ``main`` at each scale.

    Attributes:
        is_daily: True if it runs at the small scale even if it is not chosen by its name.
        full: The arguments that differ from the defaults.
    """

    tiny: Arguments
    small: Arguments
    full: Arguments = field(default_factory=dict)
    is_daily: bool = False

    def arguments(self, scale: Scale) -> Arguments:
        """Return the arguments of ``main`` at this scale."""
        arguments: Arguments = getattr(self, scale.value)
        return arguments


BENCHMARKS = {
    "intake": Benchmark(
        is_daily=True,
        tiny={"rounds": 1, "seconds": 0.2},
        small={"rounds": 3, "seconds": 2.0},
    ),
    "apply": Benchmark(
        is_daily=True,
        tiny={"people": 30, "rounds": 1},
        small={"people": 1_500, "rounds": 3},
    ),
    "claim": Benchmark(is_daily=True, tiny={"many": 1_000, "rounds": 1}, small={"rounds": 3}),
    "lag": Benchmark(
        is_daily=True,
        tiny={"per_second": 20, "seconds": 1, "rounds": 1, "alone": False},
        small={"per_second": 300, "seconds": 5, "rounds": 3, "alone": False},
    ),
    "drain": Benchmark(
        is_daily=True,
        tiny={"count": 200, "rounds": 1, "warm_up": 100},
        small={"count": 5_000, "rounds": 3},
    ),
    "pages": Benchmark(
        is_daily=True,
        tiny={"people": 2_000, "rounds": 1, "calls": 3},
        small={"people": 30_000, "rounds": 3, "calls": 40},
    ),
    "inbox": Benchmark(
        tiny={"people": 2_000, "rounds": 1, "calls": 3},
        small={"people": 30_000, "rounds": 3, "calls": 40},
    ),
    "importing": Benchmark(
        is_daily=True,
        tiny={"rows": 500, "rounds": 1},
        small={"rows": 30_000, "rounds": 3},
    ),
    "starting": Benchmark(
        is_daily=True,
        tiny={"people": 2_000, "rounds": 1},
        small={"people": 30_000, "rounds": 3},
    ),
    "processes": Benchmark(is_daily=True, tiny={"rounds": 1}, small={"rounds": 3}),
    "day": Benchmark(
        is_daily=True,
        tiny={"campaigns": 1, "people": 20, "screens": 1, "rounds": 1},
        small={"campaigns": 2, "people": 300, "screens": 8, "rounds": 3},
    ),
    "insight": Benchmark(
        is_daily=True,
        tiny={"messages": 2_000, "outcomes": 100, "rounds": 1, "calls": 2},
        small={"messages": 100_000, "outcomes": 4_000, "rounds": 2, "calls": 10},
    ),
    "reading": Benchmark(
        tiny={"rounds": 1, "requests": 20, "only_ends": True},
        small={"rounds": 3, "requests": 200},
    ),
    "reconciliation": Benchmark(
        tiny={"texts": 100, "rounds": 1}, small={"texts": 5_000, "rounds": 3}
    ),
    "planning": Benchmark(
        tiny={"campaigns": 20, "each": 20, "rounds": 1},
        small={"campaigns": 100, "each": 100, "rounds": 3},
    ),
    "cost": Benchmark(
        tiny={"large": 500, "small": 100, "rounds": 1},
        small={"large": 50_000, "small": 3_000, "rounds": 3},
    ),
    "opt_out": Benchmark(tiny={"rounds": 1, "texts": 200}, small={"rounds": 3}),
    "consent_chain": Benchmark(
        tiny={"entries": 200, "rounds": 1}, small={"entries": 20_000, "rounds": 3}
    ),
    "events": Benchmark(
        tiny={"count": 3, "events": 2, "rounds": 1},
        small={"count": 200, "events": 10, "rounds": 3},
    ),
    "webhooks_out": Benchmark(
        tiny={"events": 100, "rounds": 1}, small={"events": 2_000, "rounds": 3}
    ),
    "batch": Benchmark(tiny={"people": 2_500, "rounds": 1}, small={"people": 10_000, "rounds": 5}),
    "segments": Benchmark(
        tiny={"people_count": 2_000, "rounds": 1}, small={"people_count": 30_000, "rounds": 3}
    ),
}
"""The benchmarks by the names of their modules. The daily benchmarks come first."""


def chosen(scale: Scale, names: list[str]) -> list[str]:
    """Return the names of the benchmarks to run.

    If no names are given, these are all benchmarks of the scale.

    Raises:
        SystemExit: A name is unknown.
    """
    if unknown := set(names) - BENCHMARKS.keys():
        known = ", ".join(BENCHMARKS)
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {known}")
    daily = [name for name, one in BENCHMARKS.items() if one.is_daily]
    return names or (daily if scale is Scale.SMALL else list(BENCHMARKS))
