"""`make chaos`: one part after the other fails while messages are sent; check the invariants."""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.chaos import page
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.machine import Need, find_clock_library, take_own_mounts
from tests.chaos.stage import make_template
from tests.chaos.trial import Trial, attempt


def main() -> int:
    asked = _asked()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(2**31)
    faults = [fault for fault in FAULTS if asked.only is None or asked.only in fault.name]
    if not faults:
        say(f"No fault has {asked.only!r} in its name; available:")
        say("\n".join(fault.name for fault in FAULTS))
        return 2
    say(f"SEED={seed}: {len(faults)} faults; load average {os.getloadavg()[0]:.1f}")
    lacks = _lacks()
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="crm-chaos-"))
    folder.chmod(0o711)
    trials = []
    asyncio.run(make_template(folder / "template"))
    for number, fault in enumerate(faults):
        if asked.seconds is not None and time.monotonic() - begun > asked.seconds:
            trials.append(Trial(fault=fault, not_run=f"not run: {asked.seconds} s were over"))
        else:
            trials.append(_try(fault, folder=folder, seed=seed + number, lacks=lacks))
        say(page.table(trials[-1:]).splitlines()[-1])
    words = page.account(trials, seed=seed, took=time.monotonic() - begun)
    say("\n" + words)
    if asked.page is not None:
        page.write(asked.page, words)
    return _end(trials, folder)


def _asked() -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    reader.add_argument("--seed", type=int, help="of what is drawn; drawn itself when missing")
    reader.add_argument("--only", help="the faults with this in their name")
    reader.add_argument("--seconds", type=float, help="begin no other fault after so long")
    reader.add_argument("--page", type=Path, help="put the table into this page of the docs")
    return reader.parse_args()


def _lacks() -> dict[Need, str]:
    """Return what this machine lacks, with the reason for rows that cannot run."""
    lacks = {}
    if (why := take_own_mounts()) is not None:
        lacks[Need.SMALL_DISK] = why
    if find_clock_library() is None:
        why = "not run: setting a process's clock takes libfaketime"
        lacks |= {Need.CLOCKS: why, Need.API_CLOCK: why}
    return lacks


def _try(fault: Fault, *, folder: Path, seed: int, lacks: dict[Need, str]) -> Trial:
    if fault.need in lacks:
        return Trial(fault=fault, not_run=lacks[fault.need])
    own = folder / "".join(char if char.isalnum() else "-" for char in fault.name)
    own.mkdir(mode=0o711)
    try:
        [trial] = asyncio.run(attempt([fault], folder=own, template=folder / "template", seed=seed))
    except Exception as error:  # noqa: BLE001 - the other faults are to be tried all the same
        trial = Trial(fault=fault, not_run=f"**{type(error).__name__}: see the log**")
        trial.wrong.append(repr(error))
        (own / "error.log").write_text("".join(traceback.format_exception(error)))
    for words in (*trial.wrong[:5], *(f"{name}: {seen[0]}" for name, seen in trial.broken.items())):
        say(f"  {words}")
    if trial.is_clean and trial.not_run is None:
        shutil.rmtree(own, ignore_errors=True)
    return trial


def _end(trials: list[Trial], folder: Path) -> int:
    is_clean = all(trial.is_clean for trial in trials)
    if is_clean:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    say(f"NOT CLEAN: logs, databases, evidence.json and wrong.json are kept in {folder}")
    return 1


def say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what the program is for


if __name__ == "__main__":
    sys.exit(main())
