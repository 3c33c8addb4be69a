"""Run a benchmark in this checkout, or in a worktree of another commit with its own environment."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.printed import read_printed
from benchmarks.table import Arguments

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "bench"
PINNED = ("requirements-up.txt", "requirements-dev.txt")
_KNOWN = {field.name for field in fields(Figure)}

# The program below also runs benchmarks of older commits. They print their figures instead of
# returning them, and accept fewer arguments.
_RUN = """
import dataclasses, importlib, inspect, json, sys
_, name, given, path = sys.argv
main = importlib.import_module("benchmarks." + name).main
known = inspect.signature(main).parameters
found = main(**{key: value for key, value in json.loads(given).items() if key in known})
with open(path, "w") as file:
    for figure in found or ():
        print(json.dumps(dataclasses.asdict(figure)), file=file, flush=True)
"""


class BenchmarkFailedError(Exception):
    """A benchmark has ended with an error; the message has the end of its output."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A folder with the code of one commit, and the Python that runs the code.

    Attributes:
        commit: Short id of the commit, with "+" if there are uncommitted changes.
        folder: Where the benchmarks of one run store files that they share.
    """

    root: Path
    python: Path
    commit: str
    folder: Path

    def run(self, name: str, arguments: Arguments) -> list[Figure]:
        """Run a benchmark, and return its figures.

        If the benchmark returns no figures, they are read from its output.

        Raises:
            BenchmarkFailedError: The benchmark ended with an error.
        """
        with tempfile.NamedTemporaryFile("r") as figures:
            environment = {
                **os.environ,
                "PYTHONPATH": str(self.root / "src"),
                "BENCHMARKS_FOLDER": str(self.folder),
            }
            command = [str(self.python), "-c", _RUN, name, json.dumps(arguments), figures.name]
            done = subprocess.run(  # noqa: S603 - ours
                command,
                cwd=self.root,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchmarkFailedError(done.stdout[-3000:])
            found = [json.loads(line) for line in figures]
        if not found:
            return read_printed(name, done.stdout, arguments)
        return [
            Figure(**{key: value for key, value in one.items() if key in _KNOWN}) for one in found
        ]

    def has(self, name: str) -> bool:
        """Return whether the commit has a benchmark of this name."""
        return (self.root / "benchmarks" / f"{name}.py").exists()


def this_checkout(folder: Path) -> Checkout:
    """Return the checkout of this code."""
    commit = _git("rev-parse", "--short", "HEAD")
    mark = "+" if _git("status", "--porcelain") else ""
    return Checkout(root=ROOT, python=Path(sys.executable), commit=f"{commit}{mark}", folder=folder)


def checkout_of(commit: str, folder: Path) -> Checkout:
    """Create a worktree of a commit, and an environment if its pinned packages differ from ours.

    The worktree and the environment stay below ``.cache/bench`` for the next comparison.
    """
    full = _git("rev-parse", "--verify", f"{commit}^{{commit}}")
    root = CACHE / full[:12]
    if not (root / "pyproject.toml").exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--quiet", "--force", "--detach", str(root), full)
    python = Path(sys.executable)
    if any(_pinned(root / name) != _pinned(ROOT / name) for name in PINNED):
        subprocess.run(["make", "-C", str(root), ".venv/.develops"], check=True)  # noqa: S603, S607 - its own
        python = root / ".venv" / "bin" / "python"
    return Checkout(root=root, python=python, commit=full[:7], folder=folder)


def _pinned(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603, S607, PLW1510 - checked below
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.strip()
