"""`make crash-test`: kill processes hundreds of times; compare the data with the provider's log."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.crash_run import Size
from tests.crash.runner import run_crash_test
from tests.crash.table import tables


def main() -> int:
    reader = argparse.ArgumentParser(prog="make crash-test", description=__doc__)
    reader.add_argument("--kills", type=int, default=500, help="counted kills to reach")
    reader.add_argument(
        "--seed", type=int, help="repeats the plan of a run; drawn at random if left out"
    )
    arguments = reader.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**31)
    print_line(f"SEED={seed}: {arguments.kills} counted kills to reach")
    size = Size(counted_kills=arguments.kills, people=3_000, campaign_size=1_000, backlog=1_000)
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="crm-crash-"))
    is_clean = False
    try:
        outcome = asyncio.run(run_crash_test(folder, seed=seed, size=size, report=print_line))
        is_clean = outcome.verdict.is_clean
        print_line("\n" + tables(outcome.kills, outcome.verdict))
    finally:
        if is_clean:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print_line(f"The logs, the database and evidence.json are kept in {folder}")
    print_line(f"SEED={seed}, {time.monotonic() - begun:.0f} s")
    print_line("clean" if is_clean else "NOT CLEAN: see above")
    return 0 if is_clean else 1


def print_line(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - the output of the program


if __name__ == "__main__":
    sys.exit(main())
