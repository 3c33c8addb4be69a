"""Tests of the exit status and the last responses of a process that gets SIGTERM."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import asyncpg
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from tests.conftest import ADMIN_KEY, NOW
from tests.dev.test_up import environment
from tests.free_ports import free_port

from crm_api.cli import serve
from crm_api.domain.identity.api_keys import service as api_keys
from crm_api.platform.database import UnitOfWork
from crm_api.platform.postgres import driver_url
from crm_api.platform.settings import Settings

WITHIN_SECONDS = 90
"""Time limit: more than any start or stop takes on a busy machine. No test here measures speed."""
_BEATS = "SELECT count(*) FROM worker_heartbeat"


@asynccontextmanager
async def running(
    command: str, settings: Settings, port: int, **values: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    given = {
        "CRM_DATABASE_URL": settings.require_database_url(),
        "CRM_REDIS_URL": settings.require_redis_url(),
        "CRM_SECRET_KEY": settings.require_secret_key().decode(),
        "CRM_DATA_DIR": str(settings.data_dir),
        "CRM_PORT": str(port),
        "CRM_OPENPHONE_BASE_URL": "http://127.0.0.1:9",
        **values,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crm_api.cli", command),
        env=environment(given),
        cwd=settings.data_dir,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(driver_url(settings.require_database_url()))
    try:
        yield connection
    finally:
        await connection.close()


async def wait_until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not await holds():  # noqa: ASYNC110 - another process makes it hold
            await asyncio.sleep(0.05)


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(WITHIN_SECONDS):
        return await process.wait()


@pytest.mark.usefixtures("committed_db")
@pytest.mark.parametrize("command", ["serve", "sandbox"])
@pytest.mark.parametrize("drain_seconds", ["0", "0.3"])
async def test_server_exits_with_status_0_after_sigterm(
    settings: Settings, command: str, drain_seconds: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port + (command == 'sandbox')}"

    async with (
        running(command, settings, port, CRM_DRAIN_SECONDS=drain_seconds) as process,
        httpx.AsyncClient(base_url=url) as client,
    ):
        await wait_until(lambda: _answers(client))
        process.send_signal(signal.SIGTERM)

        assert await ended(process) == 0


async def test_request_that_does_not_end_before_the_stop_gets_503(
    settings: Settings, committed_uow: Callable[[], UnitOfWork]
) -> None:
    async with committed_uow() as uow:
        await api_keys.ensure_admin_key(uow, text=ADMIN_KEY, now=NOW)
    port = free_port()
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}

    async def waits() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with (
        connected(settings) as connection,
        running("serve", settings, port) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN_SECONDS) as client,
    ):
        await wait_until(lambda: _answers(client))
        async with connection.transaction():
            await connection.execute("LOCK TABLE contact")
            request = asyncio.create_task(client.get("/v1/contacts", headers=headers))
            await wait_until(waits)
            process.send_signal(signal.SIGTERM)
            answer = await request

        assert (answer.status_code, answer.json()["code"]) == (503, "service_stopping"), answer.text
        assert await ended(process) == 0


async def test_application_closes_after_the_requests_that_a_stop_cancels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "GRACE_SECONDS", 0)
    began, ends = asyncio.Event(), list[str]()

    @asynccontextmanager
    async def lifespan(_application: FastAPI) -> AsyncIterator[None]:
        yield
        ends.append("application")

    application = FastAPI(lifespan=lifespan)
    application.state.events = SimpleNamespace(stop=lambda: None)

    @application.get("/")
    async def roll_back_slowly() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(100):
                await asyncio.sleep(0)
            ends.append("request")

    config = uvicorn.Config(application, port=free_port(), log_config=None)
    config.timeout_graceful_shutdown = WITHIN_SECONDS
    server = serve.ApiServer(config, application, drain_seconds=0)
    async with (
        asyncio.timeout(WITHIN_SECONDS),
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{config.port}", timeout=WITHIN_SECONDS
        ) as client,
    ):
        serving = tasks.create_task(server.serve())
        await wait_until(lambda: _accepts(server))
        tasks.create_task(client.get("/"))
        await began.wait()
        server.should_exit = True
        await serving

    assert ends == ["request", "application"]


async def _accepts(server: uvicorn.Server) -> bool:
    return server.started


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code < 500
    except httpx.TransportError:
        return False


@pytest.mark.usefixtures("committed_db")
async def test_worker_exits_with_status_0_after_sigterm(settings: Settings) -> None:
    async with connected(settings) as connection:
        before = await connection.fetchval(_BEATS)

        async def works() -> bool:
            return bool(await connection.fetchval(_BEATS) > before)

        async with running("worker", settings, free_port()) as process:
            await wait_until(works)
            process.send_signal(signal.SIGTERM)

            assert await ended(process) == 0
