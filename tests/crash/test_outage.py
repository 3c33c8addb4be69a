"""PostgreSQL or Redis goes away and comes back, with the real processes running."""

import json
from pathlib import Path

import httpx
import pytest
from tests.crash.harness import SECRET_KEY, Scene, scene

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
    async with scene(tmp_path, rate_per_second=50, seconds=SECONDS) as stage:
        stage.worker.start()
        async with stage.caller() as client:
            stage.redis.stop()

            contacts = await client.get("/v1/contacts")
            ready = await client.get("/readyz")
            webhook = await post_event(client)
            stage.redis.spawn()

            assert contacts.status_code == 200
            assert ready.status_code == 200
            assert ready.json()["checks"]["redis"] == "degraded"
            assert webhook.status_code == 200
            assert await stage.until(lambda: is_applied(client))


async def is_serving(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/contacts")).status_code == 200


async def test_without_postgresql_requests_get_503_and_work_continues_later(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, rate_per_second=50, seconds=SECONDS) as stage:
        await stage.start_campaign(300)
        stage.worker.start()
        async with stage.caller() as client:
            await stage.wait_for_work()
            stage.postgres.stop()

            contacts = await client.get("/v1/contacts")
            webhook = await post_event(client)
            alive = await client.get("/healthz")
            ready = await client.get("/readyz")
            await stage.pause(2)
            stage.postgres.spawn()
            stage.postgres.wait_ready()
            await stage.engine.dispose()

            assert contacts.status_code == 503
            assert contacts.json()["code"] == "database_unavailable"
            assert webhook.status_code == 503
            assert alive.status_code == 200
            assert ready.status_code == 503
            assert await stage.until(lambda: is_serving(client))
            await assert_every_recipient_once(stage)


async def assert_every_recipient_once(stage: Scene) -> None:
    statuses = await stage.wait_until_settled()
    texts = await stage.texts_by_recipient()
    assert statuses == {"sent": 300}
    assert len(texts) == 300
    assert set(texts.values()) == {1}
