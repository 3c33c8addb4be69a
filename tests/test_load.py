"""A small load test (`make load`) of a day with two campaigns passes all checks of its counts."""

from pathlib import Path

import uvloop
from benchmarks.load.__main__ import live
from benchmarks.load.company import company
from benchmarks.load.day import Size
from benchmarks.load.report import tables

SIZE = Size(campaigns=2, people=40, screens=3, listeners=3, updates=1, time_scale=0.1)


def test_short_day_passes_every_check(tmp_path: Path) -> None:
    with company(tmp_path) as here:
        with here.watched():
            course, outcome = uvloop.run(live(here, SIZE, seed=1))
        report = tables(here, course, SIZE, outcome)

    assert outcome.wrong == []
    assert "| campaign texts | 80 recipients of 2 campaigns" in report
    assert course.timings.taken["metrics"]
    assert course.listeners.delays
