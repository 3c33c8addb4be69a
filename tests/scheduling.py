"""The order of the tests, and the pytest worker that runs each of them.

All tests of a file run in one pytest worker, so the file's fixtures are set up once. Some folders
share an expensive fixture (a running service, an installed client). All tests of such a folder run
in one pytest worker.

The tests that take long come first. Most of them start many processes. The last pytest worker takes
files from the end of the list, so that not all pytest workers run such tests at the same time.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

TOGETHER = ("tests/console/", "tests/docs/", "tests/clients/", "tests/roles/")
"""Folders whose tests share an expensive fixture of the whole run."""
FIRST = ("tests/console/", "tests/test_benchmarks.py", "tests/contract/", "tests/docs/")
"""The tests that need the most time in one pytest worker. They start first, so that the other
workers are not idle at the end of the run."""


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no type hints
    """Gives a free pytest worker the next file, or the next folder of ``TOGETHER``."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        if len(self.nodes) > 1 and node is self.nodes[-1]:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """Return the name of the group of tests that run in one pytest worker."""
    folders = [folder for folder in TOGETHER if nodeid.startswith(folder)]
    return folders[0] if folders else nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests first that may take long; most of the time they wait for processes."""
    usual = float(items[0].config.getini("timeout")) if items else 0.0

    def place(item: pytest.Item) -> tuple[int, bool]:
        first = [at for at, start in enumerate(FIRST) if item.nodeid.startswith(start)]
        marker = item.get_closest_marker("timeout")
        is_short = marker is None or 0 < marker.args[0] <= usual
        return (first or [len(FIRST)])[0], is_short

    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    """Return the scheduler of ``pytest -n``."""
    return FileScheduling(config, log)
