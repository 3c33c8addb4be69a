"""Real PostgreSQL, its schema built by the migrations once per run."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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

from crm_api.app import attach, build_app
from crm_api.db import UnitOfWork, create_engine, session_factory
from crm_api.domain.access import service as access
from crm_api.domain.access.models import Scope
from crm_api.domain.compliance.loader import load_rules
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.tables import metadata
from crm_api.domain.webhooks.intake import EventIntake
from crm_api.domain.webhooks.refusals import RefusalAlerts
from crm_api.embedded import ServerUrls, servers
from crm_api.migrate import upgrade
from crm_api.provider import open_provider
from crm_api.routers.deps import AppState
from crm_api.settings import Settings

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
"""A Wednesday, 10:00 in New York."""
UNKNOWN_ID = "01980000-0000-7000-8000-000000000000"
"""An id that nothing has; every process that collects the tests names them alike by it."""
SECRET = "a test's secret key of 32 characters"  # noqa: S105 - made up
ADMIN_KEY = "crm_test-admin-key-of-enough-characters"


@pytest.fixture(scope="session")
def urls() -> Iterator[ServerUrls]:
    """Servers for the run; fsync is off, since nothing here must survive a power cut."""
    with (
        tempfile.TemporaryDirectory(prefix="crm-test-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder), fsync=False) as started,
    ):
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
def queue() -> RecordingQueue:
    return RecordingQueue()


@pytest_asyncio.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One connection whose transaction is rolled back, whatever the code under test commits."""
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
    """Units of work that all join the test's one transaction."""
    return lambda: UnitOfWork(sessions, queue)


async def empty_tables(engine: AsyncEngine) -> None:
    names = ", ".join(f'"{table}"' for table in metadata.tables)
    async with engine.begin() as connection:
        await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


@pytest_asyncio.fixture
async def committed_db(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """For races: real commits over several connections; the tables are emptied afterwards."""
    yield engine
    await empty_tables(engine)


@pytest.fixture
def committed_uow(committed_db: AsyncEngine, queue: RecordingQueue) -> Callable[[], UnitOfWork]:
    """Units of work that commit for real, each on a connection of its own."""
    sessions = session_factory(committed_db)
    return lambda: UnitOfWork(sessions, queue)


@pytest_asyncio.fixture
async def provider(settings: Settings) -> AsyncIterator[OpenPhoneClient]:
    client = open_provider(settings)
    yield client
    await client.aclose()


_BUILT: dict[tuple[object, ...], FastAPI] = {}


@contextmanager
def _built(settings: Settings, *, use: str) -> Iterator[FastAPI]:
    """Lend an application without state and with the routes that it was built with.

    FastAPI resolves the dependencies of every route at the first request, which takes longer than
    most tests; what differs between tests is in the application's state.
    """
    key = (use, settings.public_base_url.startswith("https://"), settings.cors_origins)
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
    """The application in the test's transaction; its webhook intake is not started."""
    with _built(settings, use="app") as app:
        await _put_state(app, settings, new_uow, queue, provider)
        yield app


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with the admin key, in the test's transaction."""
    async with _client(app) as client:
        yield client


@pytest_asyncio.fixture
async def committed_app(
    settings: Settings,
    committed_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> AsyncIterator[FastAPI]:
    """The application with real commits and a started webhook intake."""
    with _built(settings, use="committed_app") as app:
        await _put_state(app, settings, committed_uow, queue, provider)
        await app.state.intake.start()
        yield app
        await app.state.intake.close()


@pytest_asyncio.fixture
async def committed_client(committed_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with the admin key; requests commit for real and may run at once."""
    async with _client(committed_app) as client:
        yield client


@pytest.fixture
def key_with(
    new_uow: Callable[[], UnitOfWork],
) -> Callable[..., object]:
    """Make an API key with just these scopes and return the header that carries it."""

    async def make(*scopes: Scope) -> dict[str, str]:
        async with new_uow() as uow:
            _, key = await access.create_key(
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
    """No setting of the developer's shell reaches a test."""
    for name in list(os.environ):
        if name.startswith("CRM_"):
            monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each test that did not run, and why: it has shown nothing."""
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        reason = str(reason).removeprefix("Skipped: ")
        terminalreporter.write_line(f"NOT RUN {report.nodeid}: {reason}", yellow=True)
