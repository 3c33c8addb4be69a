"""Tests of `make mutants`: the changes that it makes, and the tests that it chooses.

No source file is changed.
"""

import ast
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.mutants.__main__ import Runner, choose, chosen_tests, outcome_of, pytest_command
from tests.mutants.operators import diff, mutants_of, mutated
from tests.mutants.plugin import ROOT

SOURCE = '''
LIMIT = 3
ROWS = """
    SELECT id FROM contact WHERE seen_at <= :now
      AND deleted_at IS NULL
"""

def is_due(at: int, flags: set[str]) -> bool:
    """Say whether it is 1 day late AND open."""
    if at < LIMIT and "held" not in flags:
        note(at + 1)
        raise LateError("It is late AND open.")
    return True
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "due.py"
    path.write_text(SOURCE)
    return path


def test_every_change_is_listed_once(file: Path) -> None:
    changes = [one.change for one in mutants_of(file.parent, file)]

    assert changes == [
        "3 becomes 4",
        "SQL, row 2: <= becomes <",
        "SQL, row 3: AND becomes OR",
        "SQL, row 3: IS NULL becomes IS NOT NULL",
        "the condition is negated",
        "And is swapped",
        "Lt becomes LtE",
        "NotIn becomes In",
        "the call is left out",
        "Add becomes Sub",
        "1 becomes 2",
        "nothing is raised",
        "returns None",
        "True becomes False",
    ]


def test_return_of_none_is_not_mutated(tmp_path: Path) -> None:
    path = tmp_path / "nothing.py"
    path.write_text("def find() -> None:\n    return None\n")

    assert mutants_of(tmp_path, path) == []


@pytest.mark.parametrize(
    "lock",
    [
        " FOR UPDATE",
        " FOR NO KEY UPDATE OF a",
        "\n    FOR NO KEY UPDATE OF a, m\n    SKIP LOCKED",
        " FOR NO KEY UPDATE\n    OF a SKIP LOCKED",
    ],
)
def test_lock_clause_is_removed_with_its_tables(tmp_path: Path, lock: str) -> None:
    path = tmp_path / "lock.py"
    path.write_text(f'LOCK = """SELECT id FROM a{lock}"""\n')
    [only] = mutants_of(tmp_path, path)

    assert ast.unparse(mutated(path.read_text(), only.number)) == "LOCK = 'SELECT id FROM a'"


def test_each_change_gives_a_different_program_that_compiles(file: Path) -> None:
    numbers = [one.number for one in mutants_of(file.parent, file)]

    trees = [mutated(SOURCE, number) for number in numbers]

    for tree in trees:
        compile(tree, "due.py", "exec")
    assert len({ast.unparse(tree) for tree in [*trees, ast.parse(SOURCE)]}) == len(trees) + 1
    assert file.read_text() == SOURCE


def test_diff_shows_only_the_changed_row_of_sql() -> None:
    shown = diff(SOURCE, 3).splitlines()

    assert "-      AND deleted_at IS NULL" in shown
    assert "+      AND deleted_at IS NOT NULL" in shown


def test_result_is_invalid_after_the_code_changed(file: Path) -> None:
    before = mutants_of(file.parent, file)[0].key
    file.write_text(SOURCE + "\n")

    assert mutants_of(file.parent, file)[0].key != before


def test_most_specific_tests_of_the_line_come_first(file: Path) -> None:
    mutant = next(one for one in mutants_of(file.parent, file) if one.line == 11)
    lines = {"due.py": {"10": ["broad"], "11": ["broad", "narrow"], "12": ["broad", "other"]}}

    assert chosen_tests(mutant, lines, most=9, root=file.parent) == ["narrow", "broad"]
    assert chosen_tests(mutant, lines, most=1, root=file.parent) == ["narrow"]


def test_one_case_of_each_test_comes_before_the_others(file: Path) -> None:
    mutant = next(one for one in mutants_of(file.parent, file) if one.line == 11)
    tests = ["test_a[1]", "test_a[2]", "test_b", "test_c[x]", "test_c[y]"]

    found = chosen_tests(mutant, {"due.py": {"11": tests}}, most=4, root=file.parent)

    assert found == ["test_a[1]", "test_b", "test_c[x]", "test_a[2]"]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, "survived"),
        (1, "killed"),
        (2, "killed"),
        (3, "crashed"),
        (-11, "crashed"),
        (64, "run by no test"),
        (124, "timed out"),
    ],
)
def test_exit_code_gives_the_outcome(code: int, outcome: str) -> None:
    assert outcome_of(code) == outcome


def test_end_of_the_process_is_a_crash_and_the_next_run_gets_a_new_process() -> None:
    with Runner([]) as runner:
        runner.run(["--version"], env={}, seconds=60)
        runner._process.kill()
        runner._process.wait()
        crashed = runner.run(["--version"], env={}, seconds=60)
        after = runner.run(["--version"], env={}, seconds=60)

    assert (outcome_of(crashed), after) == ("crashed", 0)


def test_tests_in_the_folder_of_the_file_come_first(file: Path) -> None:
    mutant = next(one for one in mutants_of(file.parent, file) if one.line == 11)
    mutant = replace(mutant, path="src/crm_api/domain/people/due.py")
    beside, elsewhere = "tests/domain/people/test_due.py::broad", "tests/workers/test_a.py::narrow"
    lines = {mutant.path: {"10": [beside], "11": [elsewhere, beside]}}

    assert chosen_tests(mutant, lines, most=9, root=file.parent) == [beside, elsewhere]


@pytest.mark.parametrize(
    ("line", "tests"),
    [(2, ["one"]), (3, ["one", "two"])],
    ids=["of the lines that name its constant", "of its file where none does"],
)
def test_line_that_runs_at_import_is_tested_by_the_tests(
    file: Path, line: int, tests: list[str]
) -> None:
    mutant = next(one for one in mutants_of(file.parent, file) if one.line == line)
    lines = {"due.py": {"10": ["one"], "11": ["two"]}}

    assert chosen_tests(mutant, lines, most=9, root=file.parent) == tests


def test_same_seed_draws_the_same_mutants() -> None:
    assert choose("domain/consent/", 5, seed=7) == choose("domain/consent/", 5, seed=7)
    assert choose("domain/consent/", 5, seed=7) != choose("domain/consent/", 5, seed=8)


def test_tests_run_with_the_change() -> None:
    path = ROOT / "src" / "crm_api" / "domain" / "consent" / "consent_state.py"
    found = next(one for one in mutants_of(ROOT, path) if one.change == "returns None")
    mutant = {"path": found.path, "number": found.number}

    done = subprocess.run(  # noqa: S603 - our own command
        [*pytest_command(), "-x", "tests/domain/messaging/consent_decisions/test_consent.py"],
        cwd=ROOT,
        env={**os.environ, "MUTANT": json.dumps(mutant)},
        capture_output=True,
        check=False,
    )

    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout.decode()[-1000:]
