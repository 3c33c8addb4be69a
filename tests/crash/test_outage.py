"""Prove that the service continues after PostgreSQL or Redis was stopped and started again."""

import json
from pathlib import Path

import httpx
import pytest
from tests.crash.harness import SECRET_KEY, Installation, open_installation

from crm_api.domain.provider.openphone.signature import sign_standard
from crm_api.platform import clock
from crm_api.platform.settings import Settings

SECONDS = 120.0
pytestmark = pytest.mark.timeout(SECONDS + 30)

EVENT = {
    "id": "EVoutage1",
    "apiVersion": "2026-03-30",
    "createdAt": "2026-11-20T15:04:05.187Z",
    "type": "message.received",
    "data": {
        "resource": {
            "id": "ACoutage1",
            "direction": "incoming",
            "text": "Is anybody there?",
            "media": [],
            "status": "received",
            "createdAt": "2026-11-20T15:04:05.187Z",
        },
        "context": {
            "phoneNumberId": "PNsandbox1",
            "senderIdentifier": "+16175550123",
            "recipientIdentifiers": ["+16175550100"],
        },
        "links": {"quo": None},
    },
}


async def post_event(client: httpx.AsyncClient) -> httpx.Response:
    body = json.dumps(EVENT).encode()
    key = Settings.from_env({"CRM_SECRET_KEY": SECRET_KEY}).sandbox_signing_key()
    headers = sign_standard(key, body, delivery_id="msg_outage1", at=clock.now())
    return await client.post("/webhooks/openphone", content=body, headers=headers)


async def is_applied(client: httpx.AsyncClient) -> bool:
    answer = await client.get("/v1/webhook-events")
    return answer.is_success and [row["status"] for row in answer.json()["data"]] == ["processed"]


async def test_without_redis_requests_and_webhooks_are_served(tmp_path: Path) -> None:
    async with open_installation(tmp_path, rate_per_second=50, seconds=SECONDS) as installation:
        installation.worker.start()
        async with installation.open_client() as client:
            installation.redis.stop()

            contacts = await client.get("/v1/contacts")
            ready = await client.get("/readyz")
            webhook = await post_event(client)
            installation.redis.spawn()

            assert contacts.status_code == 200
            assert ready.status_code == 200
            assert ready.json()["checks"]["redis"] == "degraded"
            assert webhook.status_code == 200
            assert await installation.wait_until_true(lambda: is_applied(client))


async def is_serving(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/contacts")).status_code == 200


async def test_without_postgresql_requests_get_503_and_work_continues_later(
    tmp_path: Path,
) -> None:
    async with open_installation(tmp_path, rate_per_second=50, seconds=SECONDS) as installation:
        await installation.start_campaign(300)
        installation.worker.start()
        async with installation.open_client() as client:
            await installation.wait_for_work()
            installation.postgres.stop()

            contacts = await client.get("/v1/contacts")
            webhook = await post_event(client)
            alive = await client.get("/healthz")
            ready = await client.get("/readyz")
            await installation.pause(2)
            installation.postgres.spawn()
            installation.postgres.wait_ready()
            await installation.engine.dispose()

            assert contacts.status_code == 503
            assert contacts.json()["code"] == "database_unavailable"
            assert webhook.status_code == 503
            assert alive.status_code == 200
            assert ready.status_code == 503
            assert await installation.wait_until_true(lambda: is_serving(client))
            await assert_every_recipient_once(installation)


async def assert_every_recipient_once(installation: Installation) -> None:
    statuses = await installation.wait_until_settled()
    messages = await installation.messages_by_recipient()
    assert statuses == {"sent": 300}
    assert len(messages) == 300
    assert set(messages.values()) == {1}
