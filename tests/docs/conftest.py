"""One service for all pages of a test process: `crm-api up`, as a reader starts it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.dev.test_up import free_port, up
from tests.docs.reading import Live
from tests.prepared_cluster import copy_cluster


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    with _service() as live:
        yield live


@pytest.fixture
def own_live() -> Iterator[Live]:
    """A service of its own for the page that moves the clock."""
    with _service() as live:
        yield live


@contextmanager
def _service() -> Iterator[Live]:
    # The path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="crm-docs-", dir="/tmp"))
    copy_cluster(folder / "data")
    # A reader's sandbox accepts eight messages per second; the tests do not wait for that.
    with up(folder / "data", free_port(), CRM_OPENPHONE_RATE_PER_SECOND="25") as run:
        sandbox = f"http://127.0.0.1:{run.port + 1}/sandbox/config"
        httpx.patch(sandbox, json={"rate_per_second": None}).raise_for_status()
        yield Live(port=run.port, data=run.folder, admin_key=run.admin_key)
        run.process.terminate()
        run.process.wait(30)
    shutil.rmtree(folder)
