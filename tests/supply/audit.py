"""`make audit`: find known vulnerabilities of the pinned packages, and forbidden licences.

It is not part of `make check`, because the result changes with the advisory database, not with the
project.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.supply.licences import ROOT, unfit

LISTS = ("requirements.txt", "requirements-up.txt", "requirements-dev.txt")
COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--strict", "--require-hashes", "--disable-pip"),
    *("--progress-spinner", "off", "--format", "json", "--requirement"),
)

Ask = Callable[[str], "subprocess.CompletedProcess[str]"]


def ask(name: str) -> "subprocess.CompletedProcess[str]":
    """Run pip-audit for one list of pinned packages."""
    return subprocess.run(  # noqa: S603 - our own command
        [*COMMAND, name], cwd=ROOT, capture_output=True, text=True, check=False
    )


def audit(names: Sequence[str] = LISTS, *, asked: Ask = ask) -> list[str]:
    """Return one sentence for each fault. A package that was not looked up is a fault too."""
    wrong: list[str] = []
    for name in names:
        done = asked(name)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            reasons = done.stderr.strip().splitlines() or ["it said nothing"]
            failure = "NOTHING was audited" if name == names[0] else f"{name} was NOT audited"
            return [*wrong, f"{failure}: the advisory database gave no answer ({reasons[-1]})"]
        wrong += _judge(name, done.returncode, answer)
    return wrong


def _judge(name: str, code: int, answer: dict[str, Any]) -> list[str]:
    found = [
        f"{name}: {package['name']} {package.get('version', '')} has {flaw['id']}"
        f", mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package in answer["dependencies"]
        for flaw in package.get("vulns", ())
    ]
    skipped = [
        f"{name}: {package['name']} was NOT audited: {package['skip_reason']}"
        for package in answer["dependencies"]
        if "skip_reason" in package
    ]
    if code and not found + skipped:
        return [f"{name} was NOT audited: pip-audit ended with {code}"]
    return found + skipped


def main() -> None:
    """Print the faults, and exit with 1 if there are any."""
    wrong = [*audit(), *unfit()]
    sys.stdout.write("".join(f"{sentence}\n" for sentence in wrong))
    if wrong:
        sys.exit(1)
    count = len({line for name in LISTS for line in _pinned(ROOT / name)})
    sys.stdout.write(f"{count} pinned versions: no known vulnerability, every licence fits.\n")


def _pinned(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text().splitlines() if "==" in line]


if __name__ == "__main__":
    main()
