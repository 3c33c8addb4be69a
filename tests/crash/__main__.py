"""`make crash-test`: kill everything hundreds of times, and compare with the provider's log."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.siege import Size
from tests.crash.stage import besiege
from tests.crash.table import tables


def main() -> int:
    reader = argparse.ArgumentParser(prog="make crash-test", description=__doc__)
    reader.add_argument("--kills", type=int, default=500, help="counted kills to reach")
    reader.add_argument("--seed", type=int, help="repeats the plan of a run; drawn when missing")
    asked = reader.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(2**31)
    say(f"SEED={seed}: {asked.kills} counted kills to reach")
    size = Size(kills=asked.kills, people=3_000, campaign_size=1_000, backlog=1_000)
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="crm-crash-"))
    is_clean = False
    try:
        outcome = asyncio.run(besiege(folder, seed=seed, size=size, say=say))
        is_clean = outcome.verdict.is_clean
        say("\n" + tables(outcome.strikes, outcome.verdict))
    finally:
        if is_clean:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"The logs, the database and evidence.json are kept in {folder}")
    say(f"SEED={seed}, {time.monotonic() - begun:.0f} s")
    say("clean" if is_clean else "NOT CLEAN: see above")
    return 0 if is_clean else 1


def say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what the program is for


if __name__ == "__main__":
    sys.exit(main())
