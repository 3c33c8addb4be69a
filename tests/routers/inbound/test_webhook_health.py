"""Tests of webhook health checks with a real receiver, worker and sandbox, in real time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_line
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps
from tests.workers.inbound.health_bench import FROM, ON, TO

from crm_api.dev.sandbox.app import Sandbox, create_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import JobName
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps
from crm_api.workers.inbound import check_webhook_health, process_webhook_backlog
from crm_api.workers.messaging import send_messages

PATH = "/v1/webhook-health-checks"
NewUow = Callable[[], UnitOfWork]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update=ON)


class Processes:
    """The API and the sandbox of a test, and the jobs of the worker."""

    def __init__(self, client: httpx.AsyncClient, deps: Deps, sandbox: Sandbox) -> None:
        self.client = client
        self.ctx: dict[str, Any] = {"deps": deps}
        self.sandbox = sandbox

    async def run_jobs(self) -> None:
        await send_messages(self.ctx)
        for _ in range(10_000):
            workspace = self.sandbox.workspace
            if not workspace.deliverer.is_busy and not len(workspace.timeline):
                break
            await asyncio.sleep(0.001)
        await process_webhook_backlog(self.ctx)
        await check_webhook_health(self.ctx)

    async def check(self, check_id: str) -> Any:
        return (await self.client.get(f"{PATH}/{check_id}")).json()


@pytest_asyncio.fixture
async def processes(
    settings: Settings,
    committed_app: FastAPI,
    committed_client: httpx.AsyncClient,
    committed_uow: NewUow,
    queue: RecordingQueue,
) -> AsyncIterator[Processes]:
    receiver = httpx.AsyncClient(transport=httpx.ASGITransport(committed_app))

    async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
        return (await receiver.post(url, content=body, headers=headers)).status_code

    async with committed_uow() as uow:
        await make_line(uow.session, phone_number_id="PNsandbox1", line_number=TO)
        await make_line(uow.session, phone_number_id="PNsandbox2", line_number=FROM)
    sandbox = create_sandbox(
        SandboxConfig(
            webhook_url=settings.provider_webhooks,
            signing_key=settings.sandbox_signing_key(),
            people="silent",
            time_scale=0.0,
            rate_per_second=None,
            post=post,
        )
    )
    async with (
        receiver,
        OpenPhoneClient(
            base_url="http://sandbox.test", api_key="k", transport=httpx.ASGITransport(sandbox)
        ) as provider,
    ):
        deps = make_deps(settings, committed_uow, queue, provider)
        yield Processes(committed_client, deps, sandbox)
    await sandbox.workspace.stop()


async def test_check_passes_through_all_processes(
    processes: Processes, queue: RecordingQueue
) -> None:
    requested = await processes.client.post(PATH)
    again = await processes.client.post(PATH)
    nudges = set(queue.names)
    await processes.run_jobs()
    check = await processes.check(requested.json()["id"])
    listed = (await processes.client.get(PATH)).json()
    ready = (await processes.client.get("/readyz")).json()

    assert requested.status_code == 202
    assert requested.json()["status"] == "waiting"
    assert again.json() == requested.json()
    assert {JobName.CHECK_WEBHOOK_HEALTH, JobName.SEND_MESSAGES} <= nudges
    assert check["status"] == "passed", check
    assert check["failure"] is None
    assert 0 <= check["latency_ms"] < 10_000
    assert check["sent_at"] <= check["concluded_at"]
    assert check["received_at"] <= check["concluded_at"]
    assert check in listed["data"]
    assert listed["health"]["status"] == "ok"
    assert {side["side"]: side["status"] for side in listed["health"]["sides"]} == {
        "test_text": "passed",
        "silence": "passed",
        "provider": "passed",
    }
    assert ready["checks"]["webhook_health"] == "ok"


async def test_failed_check_is_degraded_but_the_service_stays_ready(processes: Processes) -> None:
    processes.sandbox.workspace.deliverer.hooks["WHsandbox"].status = "disabled"
    await check_webhook_health(processes.ctx)
    listed = (await processes.client.get(PATH)).json()
    ready = await processes.client.get("/readyz")
    alerts = (await processes.client.get("/v1/alerts")).json()["data"]

    (provider,) = [side for side in listed["health"]["sides"] if side["side"] == "provider"]
    assert provider["status"] == "failed"
    assert "`crm-api webhooks register`" in provider["failure"]
    assert listed["health"]["status"] == "degraded"
    assert (ready.status_code, ready.json()["checks"]["webhook_health"]) == (200, "degraded")
    assert [(alert["kind"], alert["subject"]) for alert in alerts] == [
        ("webhook_health", "provider")
    ]


@pytest.mark.parametrize("side", ["silence", "provider"])
async def test_other_sides_are_checked_on_request(processes: Processes, side: str) -> None:
    requested = (await processes.client.post(PATH, json={"side": side})).json()
    await check_webhook_health(processes.ctx)

    assert requested["side"] == side
    assert (await processes.check(requested["id"]))["status"] == "passed"


async def test_schedule_includes_the_check(client: httpx.AsyncClient) -> None:
    jobs = (await client.get("/v1/scheduled-jobs")).json()["data"]

    assert "check_webhook_health" in {job["name"] for job in jobs}


class TestOff:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"health_check_to": None})

    async def test_the_check_shows_that_it_is_off(self, client: httpx.AsyncClient) -> None:
        refused = await client.post(PATH)
        listed = (await client.get(PATH)).json()
        ready = (await client.get("/readyz")).json()

        assert refused.status_code == 409
        assert refused.json()["code"] == "webhook_health_check_off"
        assert "CRM_HEALTH_CHECK_FROM" in refused.json()["detail"]
        (text,) = [side for side in listed["health"]["sides"] if side["side"] == "test_text"]
        assert (text["is_on"], text["status"]) == (False, None)
        assert "CRM_HEALTH_CHECK_TO" in text["off_because"]
        assert ready["checks"]["webhook_health"] == "ok"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_key_with_the_scope_is_needed(
    client: httpx.AsyncClient, key_with: Callable[..., Awaitable[dict[str, str]]], method: str
) -> None:
    nobody = await client.request(method, PATH, headers={"Authorization": ""})
    reader = await client.request(method, PATH, headers=await key_with(Scope.WEBHOOKS_READ))

    assert (nobody.status_code, reader.status_code) == (401, 403)


async def test_unknown_check_and_unknown_side_are_refused(client: httpx.AsyncClient) -> None:
    missing = await client.get(f"{PATH}/01a210ab-07f2-77d1-83aa-11a3393953fd")
    wrong = await client.post(PATH, json={"side": "moon"})

    assert (missing.status_code, missing.json()["code"]) == (404, "webhook_health_check_not_found")
    assert wrong.status_code == 422


async def test_schema_of_an_older_version_is_not_ready(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await session.execute(text("ALTER TABLE webhook_health_check RENAME TO of_a_later_version"))
    await session.commit()

    answer = await client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["migrations"] == "unknown"
