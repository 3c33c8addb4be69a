import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.domain.inbound.webhook_events.support import rows
from tests.domain.provider.openphone.samples import sample, sample_names
from tests.fakes import RecordingQueue
from tests.measuring import measured

from crm_api.domain.provider.openphone.errors import SignatureError
from crm_api.domain.provider.openphone.signature import sign_legacy, sign_standard
from crm_api.platform import clock
from crm_api.platform.database import session_factory
from crm_api.platform.settings import Settings
from crm_api.routers.inbound.event_intake import EventIntake
from crm_api.routers.inbound.receiver import LARGEST_BODY

URL = "/webhooks/openphone"
BODY = b'{"id": "EV1", "type": "message.received"}'
OTHER_KEY = "c29tZWJvZHkgZWxzZSdzIHNpZ25pbmcga2V5"


def signed(
    settings: Settings,
    body: bytes,
    *,
    scheme: str = "legacy",
    at: datetime | None = None,
    key: str | None = None,
) -> dict[str, str]:
    key = key or settings.webhook_secrets()[0]
    at = at or clock.now()
    if scheme == "legacy":
        return sign_legacy(key, body, at=at)
    return sign_standard(key, body, delivery_id="msg_1", at=at)


async def stored(engine: AsyncEngine) -> list[dict[str, Any]]:
    async with session_factory(engine)() as session:
        return await rows(session, "SELECT * FROM webhook_event ORDER BY received_at, id")


@pytest.mark.parametrize("scheme", ["legacy", "2026-03-30"])
async def test_signed_event_is_stored_before_it_is_acknowledged(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    settings: Settings,
    scheme: str,
) -> None:
    answer = await committed_client.post(
        URL, content=BODY, headers=signed(settings, BODY, scheme=scheme)
    )

    row = (await stored(committed_db))[0]
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert answer.headers["x-request-id"]
    assert (row["provider_event_id"], row["type"], row["status"], row["scheme"]) == (
        "EV1",
        "message.received",
        "pending",
        scheme,
    )
    assert row["payload"] == json.loads(BODY)


async def test_every_sample_is_accepted(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, settings: Settings
) -> None:
    names = sample_names()
    for name in names:
        body = json.dumps(sample(name), separators=(",", ":")).encode()
        scheme = "legacy" if name.startswith("legacy") else "2026-03-30"
        answer = await committed_client.post(
            URL, content=body, headers=signed(settings, body, scheme=scheme)
        )
        assert answer.status_code == 200, name

    ids = {row["provider_event_id"] for row in await stored(committed_db)}
    payloads = [sample(name) for name in names]
    assert ids == {(one if "type" in one else one["object"])["id"] for one in payloads}


def refused_headers(settings: Settings, scheme: str) -> dict[str, dict[str, str]]:
    good = signed(settings, BODY, scheme=scheme)
    old = clock.now() - (
        timedelta(days=3, minutes=1) if scheme == "legacy" else timedelta(minutes=6)
    )
    return {
        "missing": {},
        "of_another_body": signed(settings, BODY + b" ", scheme=scheme),
        "of_another_key": signed(settings, BODY, scheme=scheme, key=OTHER_KEY),
        "stale": signed(settings, BODY, scheme=scheme, at=old),
        "from_the_future": signed(
            settings, BODY, scheme=scheme, at=clock.now() + timedelta(minutes=6)
        ),
        "garbled": dict.fromkeys(good, "hmac;1;;"),
    }


def refused() -> float:
    codes = {one.code for one in SignatureError.__subclasses__()}
    return sum(measured("crm_webhooks_received_total", result=code) for code in codes)


@pytest.mark.parametrize("scheme", ["legacy", "2026-03-30"])
async def test_event_without_a_valid_signature_is_not_stored(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    settings: Settings,
    scheme: str,
) -> None:
    cases = refused_headers(settings, scheme)
    before = refused()
    for name, headers in cases.items():
        answer = await committed_client.post(URL, content=BODY, headers=headers)

        assert answer.status_code == 401, name
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"].startswith("signature_")

    assert await stored(committed_db) == []
    assert refused() - before == len(cases)


async def test_api_key_is_not_a_signature(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    answer = await committed_client.post(URL, content=BODY)

    assert answer.json()["code"] == "signature_missing"
    assert await stored(committed_db) == []


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[1]", b'"EV1"', b"null"])
async def test_signed_body_that_is_not_an_object_is_malformed(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    settings: Settings,
    body: bytes,
) -> None:
    answer = await committed_client.post(URL, content=body, headers=signed(settings, body))

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert await stored(committed_db) == []


@pytest.mark.parametrize("declared", [True, False])
async def test_body_over_one_mebibyte_is_refused_before_it_is_read(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    settings: Settings,
    *,
    declared: bool,
) -> None:
    large = b'{"id": "EV1", "text": "' + b"x" * LARGEST_BODY + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    content = large if declared else pieces()
    answer = await committed_client.post(URL, content=content, headers=signed(settings, large))

    assert (answer.status_code, answer.json()["code"]) == (413, "event_too_large")
    assert await stored(committed_db) == []


async def test_body_in_several_chunks_is_joined(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, settings: Settings
) -> None:
    async def pieces() -> Any:
        for position in range(len(BODY)):
            yield BODY[position : position + 1]

    answer = await committed_client.post(URL, content=pieces(), headers=signed(settings, BODY))

    assert answer.status_code == 200
    assert len(await stored(committed_db)) == 1


async def test_same_event_ten_times_at_once_is_one_row(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, settings: Settings
) -> None:
    answers = await asyncio.gather(
        *(
            committed_client.post(URL, content=BODY, headers=signed(settings, BODY))
            for _ in range(10)
        )
    )

    assert [answer.status_code for answer in answers] == [200] * 10
    assert len(await stored(committed_db)) == 1


async def test_provider_is_asked_to_retry_without_a_database(
    client: httpx.AsyncClient, app: FastAPI, settings: Settings
) -> None:
    intake = EventIntake("postgresql+asyncpg://postgres@/crm?host=/nowhere", queue=RecordingQueue())
    app.state.intake = intake
    await intake.start()

    answer = await client.post(URL, content=BODY, headers=signed(settings, BODY))
    await intake.close()

    assert (answer.status_code, answer.json()["code"]) == (503, "event_not_stored")
    assert answer.headers["retry-after"] == "5"


async def test_other_methods_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get(URL)).status_code == 405


async def test_intake_is_documented(app: FastAPI) -> None:
    described = app.openapi()["paths"][URL]["post"]

    assert described["tags"] == ["webhooks"]
    assert "signature" in described["description"]
