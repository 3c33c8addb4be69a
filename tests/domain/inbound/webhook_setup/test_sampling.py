"""A sample event goes from the provider through the webhook receiver into the database."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from tests.domain.inbound.webhook_setup.support import URL, RegistrarHarness, registrar_harness

from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.inbound.webhook_setup.keyring import GAP_SECONDS
from crm_api.domain.inbound.webhook_setup.provider_webhooks import (
    SampleNotReceivedError,
    WebhookMissingError,
)
from crm_api.domain.inbound.webhook_setup.sampling import receive_sample
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]


class Gateway:
    """Gateway that passes the webhooks of the sandbox to the application."""

    def __init__(self, app: FastAPI) -> None:
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://crm.test"
        )
        self.status: int | None = None
        self.is_down = False

    async def post(self, _url: str, body: bytes, headers: dict[str, str]) -> int:
        if self.is_down:
            raise ConnectionError
        if self.status is not None:
            return self.status
        answer = await self.http.post("/webhooks/openphone", content=body, headers=headers)
        return answer.status_code


@pytest_asyncio.fixture
async def gateway(committed_app: FastAPI) -> AsyncIterator[Gateway]:
    gateway = Gateway(committed_app)
    yield gateway
    await gateway.http.aclose()


@pytest_asyncio.fixture
async def harness(committed_uow: NewUow, gateway: Gateway) -> AsyncIterator[RegistrarHarness]:
    config = SandboxConfig(people="silent", post=gateway.post, time_scale=0.0)
    async with registrar_harness(committed_uow, config=config, now=clock.now) as harness:
        yield harness


async def _samples(new_uow: NewUow) -> list[tuple[str, datetime]]:
    async with new_uow() as uow:
        rows = await uow.session.execute(text("SELECT type, received_at FROM webhook_event"))
        return [(row.type, row.received_at) for row in rows]


async def test_sample_is_stored_and_reported(
    harness: RegistrarHarness, committed_uow: NewUow
) -> None:
    await harness.registrar.register()

    report = await receive_sample(harness.registrar, seconds=5)

    assert "delivered, verified and stored" in report
    assert [kind for kind, _ in await _samples(committed_uow)] == ["contact.updated"]


async def test_each_test_finds_its_own_sample(
    harness: RegistrarHarness, committed_uow: NewUow
) -> None:
    """Test that each new sample is found, although all samples have the same event id.

    An event id is stored only once, so the id of the earlier sample is changed first.
    """
    await harness.registrar.register()
    for _ in range(3):
        await receive_sample(harness.registrar, seconds=5)
    stored = len(await _samples(committed_uow))

    assert stored >= 3


async def test_old_sample_is_not_taken_for_a_new_one(
    harness: RegistrarHarness, gateway: Gateway
) -> None:
    await harness.registrar.register()
    await receive_sample(harness.registrar, seconds=5)
    gateway.is_down = True

    with pytest.raises(SampleNotReceivedError, match="got no response"):
        await receive_sample(harness.registrar, seconds=0.3)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "crm-api webhooks rotate"), (503, "with status 503")]
)
async def test_status_that_the_provider_gets_instead_is_reported(
    harness: RegistrarHarness, gateway: Gateway, status: int, words: str
) -> None:
    await harness.registrar.register()
    gateway.status = status

    with pytest.raises(SampleNotReceivedError, match=words):
        await receive_sample(harness.registrar, seconds=0.3)


async def test_unsaved_key_is_reported(harness: RegistrarHarness, committed_app: FastAPI) -> None:
    made = await harness.hooks.create_dated(url=URL, events=["contact.updated"], label="by hand")
    await harness.hooks.update_dated(made.webhook_id, status="enabled")

    with pytest.raises(SampleNotReceivedError, match="signature was refused"):
        await receive_sample(harness.registrar, seconds=0.3)

    await harness.registrar.rotate()
    # The provider retries after 5 s. By then, the service would load the saved keys again.
    committed_app.state.keys._loaded_at -= GAP_SECONDS
    await receive_sample(harness.registrar, seconds=5)


async def test_test_without_an_enabled_webhook_names_the_command(harness: RegistrarHarness) -> None:
    await harness.hooks.create_dated(url=URL, events=["contact.updated"], label="disabled")

    with pytest.raises(WebhookMissingError, match="crm-api webhooks register"):
        await receive_sample(harness.registrar, seconds=0.3)
