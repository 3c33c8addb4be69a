"""A job delivers events from the event log to the webhook endpoints of other servers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest_asyncio
from tests.domain.outbound.webhook_deliveries.receiver import Receiver, receiver
from tests.fakes import RecordingQueue

from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers import outbound
from crm_api.workers.outbound import deliver_webhooks

AGAIN = Job(name=JobName.DELIVER_WEBHOOKS, delay_seconds=outbound.NEXT_RUN_SECONDS)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as server:
        yield server


async def create_endpoint(client: httpx.AsyncClient, url: str, **values: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhook-endpoints", json={"url": url, **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_endpoint_receives_an_opt_out_from_the_api(
    committed_client: httpx.AsyncClient,
    ctx: dict[str, Any],
    queue: RecordingQueue,
    server: Receiver,
) -> None:
    made = await create_endpoint(
        committed_client, server.url(), event_types=["contact.created", "opt_out"]
    )
    contact = await committed_client.post("/v1/contacts", json={"phone": "617-555-0142"})
    contact_id = contact.json()["id"]
    await committed_client.post(f"/v1/contacts/{contact_id}/opt-out", json={"reason": "asked"})
    queue.jobs.clear()

    await deliver_webhooks(ctx, stays=False)
    once = len(server.received)
    await deliver_webhooks(ctx, stays=False)

    payloads = [one.verify(made["secret"]) for one in server.received]
    assert sorted(one["type"] for one in payloads) == ["contact.created", "opt_out"]
    assert [one["data"] for one in payloads] == [{"contact_id": contact_id}] * 2
    assert once == len(server.received)
    assert queue.jobs == [AGAIN, AGAIN]
    path = f"/v1/webhook-endpoints/{made['id']}/deliveries"
    listed = (await committed_client.get(path)).json()["data"]
    assert {one["id"] for one in listed} == {one.id for one in server.received}
    assert {one["status"] for one in listed} == {"delivered"}


async def test_run_delivers_events_that_are_recorded_meanwhile(
    committed_client: httpx.AsyncClient, ctx: dict[str, Any], server: Receiver
) -> None:
    await create_endpoint(committed_client, server.url())
    running = asyncio.create_task(deliver_webhooks(ctx))

    await committed_client.post("/v1/contacts", json={"phone": "617-555-0142"})
    await server.wait_for(1)
    ctx["deps"].stop()
    await running

    assert [one.payload["type"] for one in server.received] == ["contact.created"]


async def test_run_without_an_endpoint_requests_no_next_run(
    ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await deliver_webhooks(ctx)

    assert queue.jobs == []


async def test_no_event_is_delivered_to_loopback_with_the_real_provider(
    committed_client: httpx.AsyncClient,
    ctx: dict[str, Any],
    settings: Settings,
    server: Receiver,
) -> None:
    """Prove that an endpoint on loopback, which only the sandbox allows, gets no more events."""
    made = await create_endpoint(committed_client, server.url())
    await committed_client.post(f"/v1/webhook-endpoints/{made['id']}/test")
    real = Settings.model_validate(
        {
            **settings.model_dump(exclude_none=True),
            "openphone_api_key": "a key",
            "openphone_webhook_secrets": "c2FuZGJveC1rZXk=",
        }
    )

    await deliver_webhooks({"deps": replace(ctx["deps"], settings=real)}, stays=False)

    path = f"/v1/webhook-endpoints/{made['id']}/deliveries"
    (delivery,) = (await committed_client.get(path)).json()["data"]
    assert (delivery["status"], delivery["error_code"]) == ("pending", "forbidden_address")
    assert server.received == []
