"""The file with the history of runs, which shows regressions. Each run is one line of JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.table import Scale

WORSE = 0.1
"""A figure is marked if it is worse by more than this share. Small differences between runs are
normal."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A figure of an earlier run."""

    value: float
    commit: str


def this_machine() -> str:
    """Return a text that identifies this machine: its name, number of cores, and processor."""
    lines = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (lines.read_text().splitlines() if lines.exists() else [])
        if line.startswith("model name")
    ]
    model = models[0] if models else platform.processor()
    return f"{platform.node()}, {os.cpu_count()} cores, {model}"


def add_run(
    path: Path, *, scale: Scale, commit: str, figures: Mapping[str, Sequence[Figure]]
) -> None:
    """Add a run to the history. ``figures`` has the figures by the name of the benchmark."""
    row = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "scale": scale.value,
        "machine": this_machine(),
        "figures": {name: [vars(one) for one in some] for name, some in figures.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        print(json.dumps(row), file=file)


def last_figures(path: Path, *, scale: Scale) -> dict[tuple[str, str], Earlier]:
    """Return the last value of each figure at this scale on this machine.

    Returns:
        The values; a key has the name of the benchmark and the name of the figure.
    """
    found: dict[tuple[str, str], Earlier] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if (row["scale"], row["machine"]) != (scale.value, this_machine()):
            continue
        for name, some in row["figures"].items():
            for one in some:
                earlier = Earlier(value=one["value"], commit=row["commit"])
                found[name, one["name"]] = earlier
    return found


def change(figure: Figure, earlier: Earlier | None) -> str:
    """Return the change since an earlier run in percent, marked if the figure is worse."""
    if earlier is None or not earlier.value:
        return ""
    share = figure.value / earlier.value - 1
    is_worse = (share if figure.is_lower_better else -share) > WORSE
    return f"{share:+.0%} since {earlier.commit}{'  WORSE' if is_worse else ''}"
