"""Fixtures that start the service with `crm-api up`, as a reader of the pages does.

All pages that a test process runs use the same service.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.dev.test_up import up
from tests.docs.reading import Live
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    with _service() as live:
        yield live


@pytest.fixture
def own_live() -> Iterator[Live]:
    """Start a second service, only for the page that moves the clock of the sandbox; yield it.

    The other pages must not run with a moved clock.
    """
    with _service() as live:
        yield live


@contextmanager
def _service() -> Iterator[Live]:
    # The path must be short, because the length of a socket's path is limited.
    folder = Path(tempfile.mkdtemp(prefix="crm-docs-", dir="/tmp"))
    copy_cluster(folder / "data")
    # The sandbox of a reader accepts eight messages per second. The tests remove this limit, so
    # that they need not wait.
    with up(folder / "data", free_port(), CRM_OPENPHONE_RATE_PER_SECOND="25") as run:
        sandbox = f"http://127.0.0.1:{run.port + 1}/sandbox/config"
        httpx.patch(sandbox, json={"rate_per_second": None}).raise_for_status()
        yield Live(port=run.port, data=run.folder, admin_key=run.admin_key)
        run.process.terminate()
        run.process.wait(30)
    shutil.rmtree(folder)
