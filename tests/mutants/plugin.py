"""A pytest plugin that records which tests run which lines, or runs tests with a mutant.

A mutant is a small change of the code. The environment variable `MUTANTS_MAP` is the path of the
file for the recorded lines. `MUTANT` is a JSON object with the path of a source file and the number
of a change. The source file itself is not changed.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import types
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.mutants.operators import mutated

AREAS = ("consent", "messaging/consent_decisions", "messaging/sends", "identity")
ROOT = Path(__file__).parents[2]
NOT_LOADED = 64
"""Exit code of a run of pytest that has not loaded the changed module."""


class _Mutating(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module after one change of its code."""

    def __init__(self, path: Path, number: int) -> None:
        self._path = path
        self._number = number
        self._is_loaded = False
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        self._name = ".".join(parts).removesuffix(".__init__")

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        self._is_loaded = True
        tree = mutated(self._path.read_text(), self._number)
        exec(compile(tree, str(self._path), "exec"), module.__dict__)  # noqa: S102 - the purpose

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self._is_loaded:
            session.exitstatus = NOT_LOADED


class _Mapping:
    """Records the lines that each test runs."""

    def __init__(self, target: Path) -> None:
        self._target = target
        # ``coverage`` and its types are installed only where mutants are run.
        coverage: Any = importlib.import_module("coverage")
        sources = [str(ROOT / "src" / "crm_api" / "domain" / area) for area in AREAS]
        self._coverage = coverage.Coverage(
            data_file=None, config_file=False, source=sources, concurrency=["greenlet", "thread"]
        )
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._coverage.switch_context(item.nodeid)
        done = yield
        self._coverage.switch_context("")
        return done

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            str(Path(path).relative_to(ROOT)): {
                line: sorted(context for context in contexts if context)
                for line, contexts in data.contexts_by_lineno(path).items()
            }
            for path in data.measured_files()
        }
        self._target.write_text(json.dumps(lines))


def _begin() -> list[object]:
    """Create the parts of the plugin that the environment variables ask for.

    The parts begin when the plugin is imported, because `conftest.py` loads the service before any
    hook is called.
    """
    parts: list[object] = []
    if given := os.environ.get("MUTANT"):
        mutant = json.loads(given)
        mutating = _Mutating(ROOT / mutant["path"], mutant["number"])
        sys.meta_path.insert(0, mutating)
        parts.append(mutating)
    if target := os.environ.get("MUTANTS_MAP"):
        parts.append(_Mapping(Path(target)))
    return parts


_PARTS = _begin()


def pytest_configure(config: pytest.Config) -> None:
    for part in _PARTS:
        config.pluginmanager.register(part)
