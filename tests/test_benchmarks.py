"""Every benchmark runs with little data and yields its figures; no test compares a duration."""

import json
import math
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from benchmarks.checkouts import BenchmarkFailedError, Checkout
from benchmarks.figures import Figure, medians
from benchmarks.million import FOLDER
from benchmarks.printed import read_printed
from benchmarks.record import Earlier, add_run, change, last_figures
from benchmarks.table import BENCHMARKS, Scale, chosen
from tests.long_tests import long_test

WANTED = {
    "intake": {"of the floor", "p99", "with 64 connections", "with 256 connections"},
    "apply": {"delivery reports", "answers", "call events", "six, three and one of ten"},
    "claim": {"growth with ten times as many"},
    "lag": {"a campaign leaves: lag p99"},
    "drain": {"one worker of the bare client"},
    "pages": {
        "one contact, p95",
        "contacts at any depth, three orders, p95",
        "a search of three characters or more, p95",
        "members of the longest list, p95",
        "a timeline, p95",
        "stats of all, p95",
        "forecast of all, p95",
        "recipients, p95",
        "longest page",
        "right after an import: search, p95",
        "right after an import: its list, p95",
    },
    "importing": {"rows a second", "peak memory of the worker"},
    "starting": {"no rule: recipients a second"},
    "processes": {
        "up is ready",
        "serve answers",
        "worker works",
        "memory at rest, up",
        "memory at rest, serve",
        "memory at rest, worker",
    },
    "day": {
        "lag of events, p99",
        "requests, p99",
        "peak memory, serve",
        "peak memory, worker",
    },
    "insight": {
        "peak memory of the credits",
        "reply_rate by campaign, p95",
        "interested_rate by week, p95",
        "revenue by list, p95",
        "return by line, p95",
        "today, p95",
    },
}
"""Figures that must have a target value, by the name of their daily benchmark."""
QUICK = {"planning", "opt_out", "consent_chain", "webhooks_out", "segments"}
"""Benchmarks that do not run daily, but take only a few seconds with little data."""


FIGURES_MODULE = """
import dataclasses

@dataclasses.dataclass
class Figure:
    name: str
    value: float
    unit: str
    newer: int = 1

def main(people):
    yield Figure("people", people, "")
"""


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Set a shared folder, so that the benchmarks of this process fill the large database once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(tmp_path_factory.mktemp("benchmarks")))
        yield


@pytest.mark.parametrize(
    "name",
    [
        name if one.is_daily or name in QUICK else pytest.param(name, marks=long_test)
        for name, one in BENCHMARKS.items()
    ],
)
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("shared_folder")
def test_benchmark_yields_its_figures(name: str) -> None:
    main = import_module(f"benchmarks.{name}").main

    figures: list[Figure] = list(main(**BENCHMARKS[name].arguments(Scale.TINY)))

    names = [one.name for one in figures]
    assert len(set(names)) == len(names)
    assert all(math.isfinite(one.value) for one in figures)
    assert WANTED.get(name, set()) <= {one.name for one in figures if one.wanted is not None}


def test_all_daily_figures_are_tested() -> None:
    assert chosen(Scale.SMALL, []) == list(WANTED)


def test_median_of_each_figure_is_taken() -> None:
    def figures(*values: float) -> list[Figure]:
        return [
            Figure(name=f"{number}", value=value, unit="s", cpu_ms=value * 10)
            for number, value in enumerate(values)
        ]

    found = list(medians([figures(1, 9), figures(5, 7), figures(2, 8)]))

    assert [(one.name, one.value, one.cpu_ms) for one in found] == [("0", 2, 20), ("1", 8, 80)]


@pytest.mark.parametrize(
    ("figure", "mark"),
    [
        (Figure(name="a", value=1.4, unit="x", wanted=1.5), "MISSED"),
        (Figure(name="a", value=1.5, unit="x", wanted=1.5), ""),
        (Figure(name="a", value=11, unit="ms", wanted=10, is_lower_better=True), "MISSED"),
        (Figure(name="a", value=9, unit="ms", wanted=10, is_lower_better=True), ""),
        (Figure(name="a", value=9, unit="ms"), ""),
    ],
)
def test_figure_beyond_its_target_is_marked(figure: Figure, mark: str) -> None:
    assert figure.is_reached is not bool(mark)
    assert ("MISSED" in figure.text()) is bool(mark)


def test_last_run_of_the_same_scale_and_machine_is_compared(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    for commit, scale, value in (("one", "small", 10.0), ("two", "small", 20.0), ("3", "full", 5)):
        figure = Figure(name="rate", value=value, unit="/s")
        add_run(history, scale=Scale(scale), commit=commit, figures={"intake": [figure]})
    elsewhere = json.loads(history.read_text().splitlines()[0]) | {"machine": "another"}
    history.write_text(history.read_text() + json.dumps(elsewhere) + "\n")

    last = last_figures(history, scale=Scale.SMALL)

    assert last == {("intake", "rate"): Earlier(value=20.0, commit="two")}


def test_change_for_the_worse_is_marked() -> None:
    earlier = Earlier(value=100, commit="abc")

    rate = Figure(name="rate", value=80, unit="/s")
    time = Figure(name="time", value=80, unit="ms", is_lower_better=True)

    assert change(rate, earlier) == "-20% since abc  WORSE"
    assert change(time, earlier) == "-20% since abc"
    assert change(time, None) == ""


@pytest.mark.parametrize(
    ("benchmark", "line", "expected"),
    [
        (
            "apply",
            "  answers                        1,386/s   worker 0.901 cpu ms an event, statements 2",
            Figure(name="answers", value=1386, unit="/s", cpu_ms=0.901),
        ),
        (
            "drain",
            (
                "one worker, 5,000                            1870/s   cpu ms a message: sender "
                "0.420  postgres 0.310  sandbox 0.200   busy cores 1.80"
            ),
            Figure(
                name="messages a second, one worker",
                value=1870,
                unit="/s",
                cpu_ms=0.42,
                postgres_ms=0.31,
            ),
        ),
        (
            "importing",
            (
                "  commit     3.5 s    8,571 rows/s   cpu s: worker 2.0  reader 1.0  postgres 1.2"
                "   peak MB: worker 180  reader 90   loop late by 5 ms at most"
            ),
            Figure(name="rows a second", value=8571, unit="/s", cpu_ms=0.1),
        ),
        (
            "starting",
            "start for 30,000: 1.5 s (target 30: met), with every rule 2.0 s",
            Figure(name="no rule: recipients a second", value=20_000, unit="/s"),
        ),
    ],
)
def test_printed_figures_of_an_older_commit_are_read(
    benchmark: str, line: str, expected: Figure
) -> None:
    found = read_printed(benchmark, f"other\n{line}\n", {"rows": 30_000, "people": 30_000})

    assert found[0] == expected


def test_unknown_lines_give_no_figures() -> None:
    assert read_printed("apply", "no figure at all\n", {}) == []


def checkout_with(folder: Path, apply: str) -> Checkout:
    package = folder / "benchmarks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "apply.py").write_text(apply)
    return Checkout(root=folder, python=Path(sys.executable), commit="abc", folder=folder)


def test_older_commit_that_prints_its_figures_is_run(tmp_path: Path) -> None:
    line = "  answers   {people:,}/s   worker 0.901 cpu ms an event"
    checkout = checkout_with(tmp_path, f"def main(people=5):\n    print(f'{line}')\n")

    found = checkout.run("apply", {"people": 3_000, "rounds": 3})

    assert found == [Figure(name="answers", value=3_000, unit="/s", cpu_ms=0.901)]


def test_figures_of_a_benchmark_are_returned(tmp_path: Path) -> None:
    (tmp_path / "benchmarks_figures.py").write_text(FIGURES_MODULE)
    checkout = checkout_with(tmp_path, "from benchmarks_figures import main\n")

    assert checkout.run("apply", {"people": 7}) == [Figure(name="people", value=7, unit="")]


def test_failed_benchmark_reports_the_reason(tmp_path: Path) -> None:
    checkout = checkout_with(tmp_path, "def main():\n    raise SystemExit('no events')\n")

    with pytest.raises(BenchmarkFailedError, match="no events"):
        checkout.run("apply", {})


def test_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit, match="unknown: intakes; there are intake, apply"):
        chosen(Scale.SMALL, ["intakes"])
