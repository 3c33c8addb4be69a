"""Shared fixtures; the tests use a real PostgreSQL, whose migrations run once per test run."""

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from starlette.datastructures import State
from tests.conforming import conforms
from tests.fakes import RecordingQueue
from tests.prepared_cluster import FOLDER, copy_cluster

from crm_api.app import attach, build_app
from crm_api.dev.embedded_servers import ServerUrls, servers
from crm_api.dev.sandbox.app import Sandbox, create_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.all_tables import metadata
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.provider.openphone.client import OpenPhoneClient, open_provider
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, create_engine, session_factory
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.settings import Settings
from crm_api.routers.http.deps import AppState
from crm_api.routers.inbound.event_intake import EventIntake
from crm_api.routers.inbound.receiver_watch import RefusalAlerts

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
"""The present in most tests: a Wednesday, 10:00 in New York."""
UNKNOWN_ID = "01980000-0000-7000-8000-000000000000"
"""An id that no row has.

It is constant because test names contain it, and every pytest process must collect equal names.
"""
SECRET = "a test's secret key of 32 characters"  # noqa: S105 - made up
ADMIN_KEY = "crm_test-admin-key-of-enough-characters"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests so that tests with a long time limit run first.

    Long tests mostly wait for other processes. The first of three pytest workers runs the long
    tests, while the other two workers keep both CPU cores busy.
    """
    usual = float(items[0].config.getini("timeout")) if items else 0.0

    def is_short(item: pytest.Item) -> bool:
        marker = item.get_closest_marker("timeout")
        return marker is None or 0 < marker.args[0] <= usual

    items.sort(key=is_short)


def pytest_collection_finish() -> None:
    """Exclude the collected tests and modules from garbage collection, and collect less often.

    The tests and modules exist until the run ends. Repeated scans of these objects would take an
    eighth of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_configure(config: pytest.Config) -> None:
    """Create the folder of the prepared cluster, and store its path in an environment variable.

    The worker processes of pytest inherit the variable.
    """
    if not hasattr(config, "workerinput") and FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="crm-cluster-", dir="/tmp")
        config.add_cleanup(_remove_cluster)


def _remove_cluster() -> None:
    shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


@pytest.fixture(scope="session")
def urls() -> Iterator[ServerUrls]:
    """Yield the addresses of PostgreSQL and Redis for the test run.

    PostgreSQL runs without fsync: the data of the tests need not survive a power failure.
    """
    # `make mutants` starts the servers once for many test runs.
    if given := os.environ.get("TESTS_DATABASE_URL"):
        yield ServerUrls(given, os.environ["TESTS_REDIS_URL"])
        return
    with tempfile.TemporaryDirectory(prefix="crm-test-", ignore_cleanup_errors=True) as folder:
        copy_cluster(Path(folder))
        with servers(Path(folder), fsync=False) as started:
            yield started


@pytest_asyncio.fixture(scope="session")
async def database_url(urls: ServerUrls) -> str:
    assert urls.database_url is not None
    await upgrade(urls.database_url)
    return urls.database_url


@pytest_asyncio.fixture(scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, pool_size=10, application="crm-api tests")
    yield engine
    await engine.dispose()


@pytest.fixture
def settings(database_url: str, urls: ServerUrls, tmp_path: Path) -> Settings:
    return Settings.from_env(
        {
            "CRM_DATABASE_URL": database_url,
            "CRM_REDIS_URL": urls.redis_url or "",
            "CRM_DATA_DIR": str(tmp_path),
            "CRM_SECRET_KEY": SECRET,
            "CRM_BUSINESS_NAME": "Granite Foundations",
            "CRM_BUSINESS_CONTACT": "+16175550100",
        }
    )


@pytest.fixture
def _restore_clock() -> Iterator[None]:
    """Reset the clock of this process after a test that moves the clock."""
    yield
    clock.move(timedelta(0))


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


@pytest_asyncio.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction that is always rolled back, even after a commit."""
    async with engine.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await transaction.rollback()


@pytest.fixture
def sessions(connection: AsyncConnection) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(
        bind=connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
    )


@pytest_asyncio.fixture
async def session(sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


@pytest.fixture
def new_uow(
    sessions: async_sessionmaker[AsyncSession], queue: RecordingQueue
) -> Callable[[], UnitOfWork]:
    """Return a function that creates units of work inside the transaction of the test."""
    return lambda: UnitOfWork(sessions, queue)


ROWS_LEFT = text(
    " UNION ALL ".join(f"(SELECT '{table}' FROM \"{table}\" LIMIT 1)" for table in metadata.tables)
)


async def empty_tables(engine: AsyncEngine) -> list[str]:
    """Truncate the tables that have rows; return the names of these tables.

    It takes 100 ms to truncate all 80 tables, because each table and index gets a new file.
    """
    async with engine.begin() as connection:
        names = list((await connection.execute(ROWS_LEFT)).scalars())
        if names:
            quoted = ", ".join(f'"{name}"' for name in names)
            await connection.execute(text(f"TRUNCATE {quoted} RESTART IDENTITY CASCADE"))
    return names


@pytest.fixture(autouse=True)
def _used_engine(request: pytest.FixtureRequest) -> AsyncEngine | None:
    """Return the database engine if the test uses the database.

    An async fixture could not request the async fixture ``engine`` at run time.
    """
    if "database_url" not in request.fixturenames:
        return None
    engine: AsyncEngine = request.getfixturevalue("engine")
    return engine


@pytest_asyncio.fixture(autouse=True)
async def _no_rows_left(_used_engine: AsyncEngine | None) -> AsyncIterator[None]:
    """Fail a test that leaves committed rows: such rows would change the result of other tests."""
    yield
    if _used_engine is None:
        return
    if left := await empty_tables(_used_engine):
        pytest.fail(f"The test left rows in {', '.join(left)}. Use `committed_db`, or clean up.")


@pytest_asyncio.fixture
async def committed_db(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Yield the engine for tests that commit over several connections; then empty the tables."""
    yield engine
    await empty_tables(engine)


@pytest.fixture
def committed_uow(committed_db: AsyncEngine, queue: RecordingQueue) -> Callable[[], UnitOfWork]:
    """Return a function that creates units of work with real commits and own connections."""
    sessions = session_factory(committed_db)
    return lambda: UnitOfWork(sessions, queue)


@pytest_asyncio.fixture
async def provider(settings: Settings) -> AsyncIterator[OpenPhoneClient]:
    client = open_provider(settings)
    yield client
    await client.aclose()


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    """Return the settings of the sandbox: its people do not reply, and it has no rate limit.

    A test module may override this fixture.
    """
    return SandboxConfig(people="silent", rate_per_second=None)


@pytest_asyncio.fixture
async def sandbox(sandbox_config: SandboxConfig) -> AsyncIterator[Sandbox]:
    """Yield the sandbox (the simulated provider), which runs in this process."""
    sandbox = create_sandbox(sandbox_config)
    yield sandbox
    await sandbox.workspace.stop()


@pytest.fixture
def sandbox_transport(sandbox: Sandbox) -> httpx.AsyncBaseTransport:
    return httpx.ASGITransport(app=sandbox)


@pytest_asyncio.fixture
async def openphone(
    sandbox_transport: httpx.AsyncBaseTransport,
) -> AsyncIterator[OpenPhoneClient]:
    """Yield a client of the sandbox in this process; it does not wait before it repeats a read."""
    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=sandbox_transport, sleep=skip_wait
    ) as client:
        yield client


async def skip_wait(seconds: float) -> None:
    """Return at once; a replacement for ``asyncio.sleep``."""


_BUILT: dict[tuple[object, ...], FastAPI] = {}


@contextmanager
def _built(settings: Settings, *, use: str) -> Iterator[FastAPI]:
    """Yield an application that tests share, with its original routes and without test state.

    FastAPI resolves the dependencies of every route at the first request. This takes longer than
    most tests, so one application is built per configuration. Everything that differs between
    tests is in the state of the application.
    """
    key = (
        use,
        settings.public_base_url.startswith("https://"),
        settings.cors_origins,
        settings.trusted_proxies,
    )
    app = _BUILT.get(key) or _BUILT.setdefault(key, build_app(settings))
    routes, paths = list(app.router.routes), app.state.paths
    yield app
    app.router.routes[:] = routes
    app.state = State({"paths": paths})


async def _put_state(
    app: FastAPI,
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    state = AppState(
        settings=settings,
        new_uow=new_uow,
        secret=settings.require_secret_key(),
        provider=provider,
        rules=load_rules(settings.rules_name),
    )
    intake = EventIntake(settings.require_database_url(), queue=queue)
    refusals = RefusalAlerts(new_uow)
    attach(app, state, queue=queue, intake=intake, refusals=refusals)
    async with new_uow() as uow:
        await access.ensure_admin_key(uow, text=ADMIN_KEY, now=NOW)


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
        base_url="http://crm.test",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        event_hooks={"response": [conforms]},
    )


@pytest_asyncio.fixture
async def app(
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> AsyncIterator[FastAPI]:
    """Yield the application in the transaction of the test; its webhook intake is not started."""
    with _built(settings, use="app") as app:
        await _put_state(app, settings, new_uow, queue, provider)
        yield app


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client with the admin key; all requests run in the transaction of the test."""
    async with _client(app) as client:
        yield client


@pytest_asyncio.fixture
async def committed_app(
    settings: Settings,
    committed_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> AsyncIterator[FastAPI]:
    """Yield the application with real commits and a started webhook intake."""
    with _built(settings, use="committed_app") as app:
        await _put_state(app, settings, committed_uow, queue, provider)
        await app.state.intake.start()
        yield app
        await app.state.intake.close()


@pytest_asyncio.fixture
async def committed_client(committed_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client with the admin key; requests really commit and may run in parallel."""
    async with _client(committed_app) as client:
        yield client


@pytest.fixture
def key_with(
    new_uow: Callable[[], UnitOfWork],
) -> Callable[..., object]:
    """Return a function that creates an API key.

    The function takes the scopes of the key, and returns the ``Authorization`` header of the key.
    """

    async def make(*scopes: Scope) -> dict[str, str]:
        async with new_uow() as uow:
            _, key = await access.create_api_key(
                uow,
                name="scoped",
                scopes=[scope.value for scope in scopes],
                maker=access.COMMAND_LINE,
                now=NOW,
            )
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the environment variables of the service, so that they do not change a test."""
    for name in list(os.environ):
        if name.startswith("CRM_"):
            monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each skipped test with its reason, because a skipped test has proved nothing."""
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        reason = str(reason).removeprefix("Skipped: ")
        terminalreporter.write_line(f"NOT RUN {report.nodeid}: {reason}", yellow=True)
