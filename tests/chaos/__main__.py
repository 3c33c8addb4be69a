"""`make chaos`: break one part after another while messages are sent, and check the invariants."""

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
from tests.chaos.installation import make_template
from tests.chaos.machine import Need, find_clock_library, take_own_mounts
from tests.chaos.trial import Trial, run_faults


def main() -> int:
    arguments = _parse_arguments()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**31)
    faults = [fault for fault in FAULTS if arguments.only is None or arguments.only in fault.name]
    if not faults:
        print_line(f"No fault has {arguments.only!r} in its name; available:")
        print_line("\n".join(fault.name for fault in FAULTS))
        return 2
    print_line(f"SEED={seed}: {len(faults)} faults; load average {os.getloadavg()[0]:.1f}")
    unmet = _unmet_needs()
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="crm-chaos-"))
    folder.chmod(0o711)
    trials = []
    asyncio.run(make_template(folder / "template"))
    for number, fault in enumerate(faults):
        if arguments.seconds is not None and time.monotonic() - begun > arguments.seconds:
            trials.append(Trial(fault=fault, not_run=f"not run: {arguments.seconds} s were over"))
        else:
            trials.append(_run_fault(fault, folder=folder, seed=seed + number, unmet=unmet))
        print_line(page.table(trials[-1:]).splitlines()[-1])
    words = page.describe_run(trials, seed=seed, took=time.monotonic() - begun)
    print_line("\n" + words)
    if arguments.page is not None:
        page.write(arguments.page, words)
    return _finish(trials, folder)


def _parse_arguments() -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    reader.add_argument(
        "--seed", type=int, help="seed of the random choices; drawn at random if left out"
    )
    reader.add_argument("--only", help="run only the faults whose name contains this")
    reader.add_argument("--seconds", type=float, help="begin no other fault after this time")
    reader.add_argument("--page", type=Path, help="write the table into this page")
    arguments = reader.parse_args()
    if arguments.page is not None and not arguments.page.is_file():
        reader.error(f"the page {arguments.page} does not exist; name an existing page")
    return arguments


def _unmet_needs() -> dict[Need, str]:
    """Return what the faults need and this machine lacks, each with the reason for the table."""
    unmet = {}
    if (why := take_own_mounts()) is not None:
        unmet[Need.SMALL_DISK] = why
    if find_clock_library() is None:
        why = "not run: setting a process's clock takes libfaketime"
        unmet |= {Need.CLOCKS: why, Need.API_CLOCK: why}
    return unmet


def _run_fault(fault: Fault, *, folder: Path, seed: int, unmet: dict[Need, str]) -> Trial:
    if fault.need in unmet:
        return Trial(fault=fault, not_run=unmet[fault.need])
    fault_folder = folder / "".join(char if char.isalnum() else "-" for char in fault.name)
    fault_folder.mkdir(mode=0o711)
    try:
        [trial] = asyncio.run(
            run_faults([fault], folder=fault_folder, template=folder / "template", seed=seed)
        )
    except Exception as error:  # noqa: BLE001 - the other faults are run nevertheless
        trial = Trial(fault=fault, not_run=f"**{type(error).__name__}: see the log**")
        trial.wrong.append(repr(error))
        (fault_folder / "error.log").write_text("".join(traceback.format_exception(error)))
    for words in (*trial.wrong[:5], *(f"{name}: {seen[0]}" for name, seen in trial.broken.items())):
        print_line(f"  {words}")
    if trial.is_clean and trial.not_run is None:
        shutil.rmtree(fault_folder, ignore_errors=True)
    return trial


def _finish(trials: list[Trial], folder: Path) -> int:
    is_clean = all(trial.is_clean for trial in trials)
    if is_clean:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print_line(f"NOT CLEAN: logs, databases, evidence.json and wrong.json are kept in {folder}")
    return 1


def print_line(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - the output of the program


if __name__ == "__main__":
    sys.exit(main())
