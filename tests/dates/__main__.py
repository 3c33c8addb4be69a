"""`make test-dates`: run the tests whose result could depend on the date, at several dates.

For each date, the tests run once. The library libfaketime adds a fixed duration to the clock of
pytest and of all programs that pytest starts, such as servers.

Some tests are left out, because they read the clock only to measure durations:

- tests of processes under load or faults (crash, chaos, rolling, load);
- tests of programs that run on other machines;
- tests of the project's files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.dates.days import Moment, moments
from tests.dates.library import find_library, write_copy

ROOT = Path(__file__).parents[2]
LOGS = ROOT / ".cache" / "dates"
PATHS = (
    *("tests/dates", "tests/domain", "tests/routers", "tests/workers", "tests/dev/sandbox"),
    *(
        "tests/properties",
        "tests/migrations",
        "tests/dev/test_sandbox_time.py",
        "tests/platform/test_hot_reads.py",
    ),
    *(
        "tests/cli/test_consent_check.py",
        "tests/platform/test_logs.py",
        "tests/cli/test_key_commands.py",
    ),
)
MISSING = (
    "libfaketime is not installed, so NO DATE WAS TRIED. On Debian: apt-get install libfaketime"
)
NOTHING_FAILED = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-dates", description=__doc__)
    parser.add_argument("--at", nargs="*", type=_instant, help="instants, in place of the usual")
    parser.add_argument("--tests", nargs="*", default=PATHS, help="paths, in place of the usual")
    given = parser.parse_args()
    library = find_library()
    if library is None:
        print_line(MISSING)
        return 1
    at = [Moment(f"{instant:%Y-%m-%d}", instant) for instant in given.at or ()]
    LOGS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="crm-dates-") as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder) / "libfaketime.so"
        write_copy(library, copy)
        codes = [run(one, copy, given.tests) for one in at or moments(datetime.now(UTC))]
    return int(any(codes))


def run(moment: Moment, library: Path, paths: list[str]) -> int:
    """Run the tests with a clock that starts at one instant; return pytest's exit status."""
    log = LOGS / f"{moment.at:%Y-%m-%dT%H%MZ}.log"
    ahead = round(moment.at.timestamp() - time.time())
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{ahead:+d}",
        # Servers with another account cannot open the shared memory of libfaketime.
        "FAKETIME_DISABLE_SHM": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(ROOT / "tests" / "dates" / "moved"),
        "TESTS_BEGIN_AT": moment.at.isoformat(),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *paths]
    with log.open("wb") as output:
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False
        )
    lines = log.read_text(errors="replace").splitlines()
    print_line(
        f"{moment.at:%Y-%m-%d %H:%M} UTC, {moment.name}: {lines[-1] if lines else 'no output'}"
    )
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            print_line(f"  {line}")
    if done.returncode != NOTHING_FAILED:
        print_line(f"  all of it: {log.relative_to(ROOT)}")
    return done.returncode


def _instant(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def print_line(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what the program is for


if __name__ == "__main__":
    sys.exit(main())
