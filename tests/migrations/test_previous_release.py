"""The code of the last release runs the whole demo on the new schema (docs/how-to/upgrades.md)."""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.dev.test_up import environment, wait_until
from tests.free_ports import free_port

from crm_api.dev.demo.sample_file import make_csv
from crm_api.dev.embedded_servers import servers
from crm_api.platform import migration_runner, schema_revisions

ROOT = Path(__file__).parents[2]
GIT = shutil.which("git")
KEY = "k" * 40


def last_release() -> schema_revisions.Release:
    """Return the release whose code may run on this schema; skip if the schema is unchanged."""
    since = schema_revisions.serves_since()
    if since == schema_revisions.head_revision():
        pytest.skip("the schema is the last release's")
    return next(one for one in schema_revisions.releases() if one.revision == since)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return a folder with the files of the earlier release, from the repository's history."""
    commit = last_release().commit
    archive = [GIT or "git", "-C", str(ROOT), "archive", commit, "src", "migrations"]
    packed = subprocess.run(archive, capture_output=True, check=False)  # noqa: S603
    if packed.returncode != 0:
        pytest.skip(f"NOT RUN: the history of this checkout does not have {commit}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(tmp_path / "code", filter="data")
    return tmp_path / "code"


@pytest_asyncio.fixture
async def variables(code: Path) -> AsyncIterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    port = free_port()
    with servers(folder / "servers", fsync=False) as started:
        assert started.database_url is not None
        await migration_runner.upgrade(started.database_url)
        yield environment(
            {
                "PYTHONPATH": str(code / "src"),
                "CRM_DATABASE_URL": started.database_url,
                "CRM_REDIS_URL": started.redis_url or "",
                "CRM_DATA_DIR": str(folder / "data"),
                "CRM_PORT": str(port),
                "CRM_OPENPHONE_BASE_URL": f"http://127.0.0.1:{port + 1}",
                "CRM_OPENPHONE_RATE_PER_SECOND": "8",  # below the sandbox's limit: no waits
                "CRM_SECRET_KEY": KEY,
                "CRM_BOOTSTRAP_API_KEY": KEY,
                "CRM_LOG_FORMAT": "json",
            }
        )
    shutil.rmtree(folder)


@contextmanager
def running(name: str, variables: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "crm_api.cli", name],
            env=variables,
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


def is_ready(variables: dict[str, str]) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{variables['CRM_PORT']}/readyz").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.timeout(240)
def test_code_of_the_last_release_runs_the_demo_on_the_new_schema(
    variables: dict[str, str], code: Path, tmp_path: Path
) -> None:
    people = tmp_path / "people.csv"
    people.write_bytes(make_csv(rows=40, seed=3))
    where = subprocess.run(
        [sys.executable, "-c", "import crm_api; print(crm_api.__file__)"],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )

    with ExitStack() as stack:
        for name in ("sandbox", "serve", "worker"):
            stack.enter_context(running(name, variables, tmp_path / f"{name}.log"))
        wait_until(lambda: is_ready(variables), 60)
        demo = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "crm_api.cli", "demo", "--csv", str(people)],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    assert Path(where.stdout.strip()).is_relative_to(code)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "NO" not in demo.stdout
    for name in ("serve", "worker"):
        assert '"level":"error"' not in (tmp_path / f"{name}.log").read_text()
