"""`make mutants`: change the code in small ways, and report each change that no test detects.

A change (mutant) concerns one operator, constant or statement, or one word of SQL. The changed code
sends messages, or belongs to consent, legal rules or identity. Only tests that run the changed line
are run; the most specific tests are run first. Results are stored in a file, so the same command
continues after an interruption. If the code of a file has changed, the changes of this file are
tried again.
"""

import argparse
import ast
import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

import asyncpg
import pytest
from tests.mutants.operators import Mutant, diff, mutants_of
from tests.mutants.plugin import AREAS, NOT_LOADED, ROOT
from tests.mutants.zygote import OWN
from tests.mutants.zygote import TIMED_OUT as ENDED_LATE

from crm_api.dev.embedded_servers import ServerUrls, servers
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.postgres import driver_url

FOLDER = ROOT / ".cache" / "mutants"
TESTS = ("tests/domain", "tests/routers", "tests/workers")
KILLED, SURVIVED, TIMED_OUT, NOT_RUN = "killed", "survived", "timed out", "run by no test"
CRASHED = "crashed"
"""Pytest or its process ended with an internal error or by a signal. The tests gave no result."""
_OUTCOMES: dict[int, str] = {
    pytest.ExitCode.OK: SURVIVED,
    pytest.ExitCode.INTERNAL_ERROR: CRASHED,
    NOT_LOADED: NOT_RUN,
    ENDED_LATE: TIMED_OUT,
}
"""With every other exit code, the change is killed (detected). A change with which the tests cannot
be loaded is killed too."""
_TEMPLATE = "crm_mutants"
_MIGRATION = threading.Lock()
"""Only one migration may run at a time, because Alembic stores its state in global variables."""
PYTEST_OPTIONS = [
    *("-q", "-n", "0", "-p", "tests.mutants.plugin", "-p", "no:cacheprovider"),
    # The zygote (the process that forks the runs) has loaded the plugins before pytest could
    # rewrite their assertions.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
Lines = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Result:
    """The result of the tests with one change of the code (mutant)."""

    key: str
    path: str
    line: int
    number: int
    change: str
    outcome: str
    seconds: float
    tests: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument(
        "--sample", type=int, help="number of mutants, drawn at random; by default all"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the random choice")
    parser.add_argument("--only", default="", help="only files whose path contains this text")
    parser.add_argument("--tests", type=int, default=60, help="largest number of tests per mutant")
    parser.add_argument(
        "--seconds", type=float, default=180, help="time limit for the tests of a mutant"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="number of mutants tested at the same time"
    )
    parser.add_argument("--map-tests", nargs="*", default=TESTS, help="paths of the tests")
    parser.add_argument(
        "--map-again", action="store_true", help="record again which lines the tests run"
    )
    given = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = read_map(given.map_tests, again=given.map_again)
    chosen = choose(given.only, given.sample, given.seed)
    run(chosen, lines, most=given.tests, seconds=given.seconds, jobs=given.jobs)
    summarise(chosen)
    return 0


def choose(only: str, sample: int | None, seed: int) -> list[Mutant]:
    """Choose mutants (changes of the code) at random.

    The same seed chooses the same mutants from the same code.
    """
    folders = [ROOT / "src" / "crm_api" / "domain" / area for area in AREAS]
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    found = [one for path in files if only in str(path) for one in mutants_of(ROOT, path)]
    print_line(f"{len(found):,} mutants in {len(files)} files")
    if sample is None or sample >= len(found):
        return found
    drawn = random.Random(seed).sample(range(len(found)), sample)  # noqa: S311 - repeatable
    return [found[position] for position in drawn]


def read_map(tests: list[str], *, again: bool) -> Lines:
    """Return which tests run which lines of the code.

    If this is not known yet, run the tests first to record it.
    """
    target = FOLDER / "lines.json"
    if again or not target.exists():
        print_line(
            "Recording which tests run which lines; this takes longer than the tests themselves ..."
        )
        begun = time.monotonic()
        command = [*pytest_command(), *tests]
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=ROOT, env={**os.environ, "MUTANTS_MAP": str(target)}, check=False
        )
        print_line(
            f"It took {time.monotonic() - begun:.0f} s; pytest ended with {done.returncode}."
        )
    lines: Lines = json.loads(target.read_text())
    return lines


def pytest_command() -> list[str]:
    return [sys.executable, "-m", "pytest", *PYTEST_OPTIONS]


def chosen_tests(mutant: Mutant, lines: Lines, *, most: int, root: Path = ROOT) -> list[str]:
    """Return the tests that run the changed line, at most ``most`` of them.

    The tests in the folder that mirrors the file come first, then the tests that run the fewest
    lines. If a test has several cases, only one case has this position. The other cases come after
    all tests.

    If a line runs when its module is loaded, it belongs to no test. Such a line is often part of an
    SQL statement. Then the tests of the lines that use the statement's name are returned. If there
    are none, all tests of the file are returned.
    """
    by_line = lines.get(mutant.path, {})
    found = set(by_line.get(str(mutant.line), ()))
    if not found:
        users = lines_that_use(root / mutant.path, mutant.line)
        found = {test for line in users for test in by_line.get(str(line), ())}
    if not found:
        found = {test for tests in by_line.values() for test in tests}
    folder = mirror_of(mutant.path)
    # The functions of the file run only while modules are loaded.
    if not found:
        found = {test for tests in known_tests(lines) for test in tests if folder in test}
    breadth = Counter(test for tests in by_line.values() for test in tests)
    ordered = sorted(found, key=lambda test: (folder not in test, breadth[test], test))
    first_cases = {test.partition("[")[0]: test for test in reversed(ordered)}.values()
    return sorted(ordered, key=lambda test: test not in set(first_cases))[:most]


def mirror_of(path: str) -> str:
    """Return the folder with the tests of a source file, for example `tests/domain/people/`."""
    return str(Path(path.replace("src/crm_api/", "tests/", 1)).parent) + "/"


def known_tests(lines: Lines) -> Iterator[list[str]]:
    return (tests for by_line in lines.values() for tests in by_line.values())


@cache
def lines_that_use(path: Path, line: int) -> list[int]:
    """Return the lines of a file that use the constant that is defined at a line."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.lineno <= line <= (node.end_lineno or 0):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in names
    ]


def known_results() -> dict[str, Result]:
    path = FOLDER / "results.jsonl"
    if not path.exists():
        return {}
    # After an interruption, the last line may be incomplete.
    read = [line for line in path.read_text().splitlines() if line.endswith("}")]
    results = [Result(**json.loads(line)) for line in read]
    return {result.key: result for result in results}


def run(chosen: list[Mutant], lines: Lines, *, most: int, seconds: float, jobs: int) -> None:
    """Test the mutants without a result, ``jobs`` at a time, and store each result at once."""
    known = known_results()
    waiting = deque(mutant for mutant in chosen if mutant.key not in known)
    print_line(f"{len(chosen):,} chosen, {len(chosen) - len(waiting):,} known")
    if not waiting:
        return
    libraries = libraries_of_tests()
    total, done, lock = len(waiting), itertools.count(1), threading.Lock()

    def work() -> None:
        with running_servers() as urls, Runner(libraries) as runner:
            while waiting:
                with lock:
                    if not waiting:
                        return
                    mutant = waiting.popleft()
                tests = chosen_tests(mutant, lines, most=most)
                result = judge(mutant, tests, urls, runner, seconds=seconds)
                with lock:
                    keep(result)
                    print_line(
                        f"{next(done)}/{total} {result.outcome} after {result.seconds:.1f} s, "
                        f"{result.tests} tests: {mutant.path}:{mutant.line} {mutant.change}"
                    )

    with ThreadPoolExecutor(jobs) as pool:
        for job in [pool.submit(work) for _ in range(jobs)]:
            job.result()


def keep(result: Result) -> None:
    with (FOLDER / "results.jsonl").open("a") as kept:
        kept.write(json.dumps(asdict(result)) + "\n")


def libraries_of_tests() -> list[str]:
    """Return the modules of libraries that the service and its tests load."""
    code = "import sys, json, crm_api.app, tests.conftest; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
    )
    names: list[str] = json.loads(done.stdout)
    return [name for name in names if name.split(".")[0] not in OWN]


class Runner:
    """Runs pytest in child processes of one process. See the module ``zygote.py``."""

    def __init__(self, libraries: list[str]) -> None:
        self._libraries = libraries

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.zygote"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._send(self._libraries)

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):
            # ``communicate`` also closes the pipes.
            self._process.communicate()

    def run(self, arguments: list[str], *, env: dict[str, str], seconds: float) -> int:
        """Run pytest; return its exit code, ``TIMED_OUT``, or a negative number after a signal."""
        with suppress(BrokenPipeError):
            self._send({"arguments": arguments, "env": env, "seconds": seconds})
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        # The process that forks has ended. The next change gets a new process.
        if not answer:
            self._end()
            self._start()
            return pytest.ExitCode.INTERNAL_ERROR
        return int(answer)

    def _send(self, order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


def judge(
    mutant: Mutant, tests: list[str], urls: ServerUrls, runner: Runner, *, seconds: float
) -> Result:
    """Run the tests with one mutant (change of the code), in a database of its own."""
    begun = time.monotonic()
    outcome = NOT_RUN
    if tests:
        name = f"{_TEMPLATE}_{mutant.number}"
        asyncio.run(_make_database(urls, name, template=_TEMPLATE))
        environment = {
            "MUTANT": json.dumps({"path": mutant.path, "number": mutant.number}),
            "TESTS_DATABASE_URL": _url(urls, name),
            "TESTS_REDIS_URL": urls.redis_url or "",
        }
        arguments = [*PYTEST_OPTIONS, "-x", "--no-header", "--tb=no", *tests]
        code = runner.run(arguments, env=environment, seconds=seconds)
        outcome = outcome_of(code)
    return Result(
        key=mutant.key,
        path=mutant.path,
        line=mutant.line,
        number=mutant.number,
        change=mutant.change,
        outcome=outcome,
        seconds=round(time.monotonic() - begun, 1),
        tests=len(tests),
    )


def outcome_of(code: int) -> str:
    """Return the outcome for the exit code of a run. After a signal, the code is negative."""
    return _OUTCOMES.get(code, KILLED if code >= 0 else CRASHED)


@contextmanager
def running_servers() -> Iterator[ServerUrls]:
    """Run the servers for all mutants. Each mutant gets a copy of a migrated database."""
    with (
        tempfile.TemporaryDirectory(prefix="crm-mutants-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder), fsync=False) as urls,
    ):
        asyncio.run(_make_database(urls, _TEMPLATE, template="template1"))
        with _MIGRATION:
            asyncio.run(upgrade(_url(urls, _TEMPLATE)))
        yield urls


def _url(urls: ServerUrls, name: str) -> str:
    return (urls.database_url or "").replace("/crm?", f"/{name}?", 1)


async def _make_database(urls: ServerUrls, name: str, *, template: str) -> None:
    connection = await asyncpg.connect(driver_url(urls.database_url or ""))
    try:
        for old in await connection.fetch(
            "SELECT datname FROM pg_database WHERE datname LIKE $1", f"{_TEMPLATE}\\_%"
        ):
            await connection.execute(f'DROP DATABASE "{old["datname"]}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()


def summarise(chosen: list[Mutant]) -> None:
    """Print each mutant that was not killed, with its diff, and the number of each outcome."""
    known = known_results()
    results = [known[mutant.key] for mutant in chosen if mutant.key in known]
    for result in sorted(results, key=lambda one: (one.outcome, one.path, one.line)):
        if result.outcome == KILLED:
            continue
        print_line(f"\n{result.outcome}: {result.path}:{result.line}, {result.change}")
        print_line(diff((ROOT / result.path).read_text(), result.number))
    counted = Counter(result.outcome for result in results)
    seconds = sum(result.seconds for result in results) / max(1, len(results))
    outcomes = (KILLED, SURVIVED, TIMED_OUT, CRASHED, NOT_RUN)
    parts = ", ".join(f"{name} {counted[name]}" for name in outcomes)
    print_line(f"\n{len(results)} of {len(chosen)} mutants: {parts}; {seconds:.1f} s each")


def print_line(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what the program is for


if __name__ == "__main__":
    sys.exit(main())
