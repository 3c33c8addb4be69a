"""`make load`: simulate a busy day; print its measurements, and exit with 1 after an error."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.load.company import Company, company
from benchmarks.load.day import Course, Day, Size
from benchmarks.load.outcome import Outcome, check_counts
from benchmarks.load.report import MOST_GROWTH, growth, tables

BEGIN, END = "<!-- the run -->\n", "<!-- end of the run -->\n"


def main() -> int:
    """Run one simulated day, print its tables, and return the exit status."""
    reader = argparse.ArgumentParser(prog="make load", description=__doc__)
    reader.add_argument(
        "--people", type=int, default=Size.people, help="recipients of each campaign"
    )
    reader.add_argument("--campaigns", type=int, default=Size.campaigns)
    reader.add_argument("--seed", type=int, help="seed of the random actions of the users")
    reader.add_argument(
        "--page", type=Path, help="a page in which the tables of this run replace the earlier ones"
    )
    asked = reader.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(2**31)
    size = Size(people=asked.people, campaigns=asked.campaigns)
    print(f"SEED={seed}: {size}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crm-load-", ignore_cleanup_errors=True) as name:
        with company(Path(name)) as here:
            print(f"{time.monotonic() - begun:.0f} s: the service is ready", flush=True)
            with here.watched():
                course, outcome = uvloop.run(live(here, size, seed=seed))
        results = tables(here, course, size, outcome)
        wrong = [*outcome.wrong, *_grown(here)]
    print(f"\n{results}\n")
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print("all checks passed" if not wrong else "checks FAILED")
    if asked.page is not None and not wrong:
        _write(asked.page, results)
    return bool(wrong)


async def live(here: Company, size: Size, *, seed: int) -> tuple[Course, Outcome]:
    """Run one simulated day and print its progress; return its measurements and final counts."""
    day = Day(here, size, seed=seed)
    reporting = asyncio.create_task(_report_progress(day))
    try:
        course = await day.run()
    finally:
        reporting.cancel()
    return course, await check_counts(here, course, size, await day.texts())


async def _report_progress(day: Day) -> None:
    begun = time.monotonic()
    while True:
        await asyncio.sleep(10)
        print(f"{time.monotonic() - begun:6.0f} s  {day.progress()}", flush=True)


def _grown(here: Company) -> list[str]:
    return [
        f"{name} grew by {share:.0%} from the second to the last quarter ({MOST_GROWTH:.0%} may be)"
        for name, share in growth(here.looks).items()
        if share > MOST_GROWTH
    ]


def _write(page: Path, results: str) -> None:
    text = page.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{results}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
