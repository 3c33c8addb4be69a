"""Each request has an id and a size limit; errors are clear and show no internal details."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]
LARGE = b'{"phone": "' + b"1" * 1024 * 1024 + b'"}'


async def test_unhandled_error_returns_the_request_id_and_no_internals(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of the inside")

    answer = await client.get("/broken", headers={"X-Request-ID": "mine-1"})

    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] == "mine-1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/v1/contacts", "/nowhere", "/healthz"])
async def test_every_response_has_a_request_id(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.headers["X-Request-ID"]


async def test_harmful_request_id_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": "a b\tc"})

    assert answer.headers["X-Request-ID"] != "a b\tc"


async def test_large_body_is_413(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/contacts", content=LARGE, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("body", [b"{", b'{"phone": "\xff"}'])
async def test_malformed_json_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(
        "/v1/contacts", content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed_json"


async def test_json_nested_too_deeply_for_the_parser_is_422(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(
        "/v1/contacts", content=b"[" * 5000, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_failed"
    assert [fault["code"] for fault in answer.json()["errors"]] == ["too_deep"]


@pytest.mark.parametrize(
    "instant", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
async def test_start_outside_the_calendar_is_422(
    client: httpx.AsyncClient, session: AsyncSession, instant: str
) -> None:
    line = await make_line(session)
    await session.commit()
    body = {
        "name": "Far away",
        "line_id": str(line.id),
        "audience": {"contact_ids": []},
        "variants": [{"name": "A", "body": "Hi", "weight": 100}],
        "schedule": {"start_at": instant},
    }

    answer = await client.post("/v1/campaigns", json=body)

    assert answer.status_code == 422
    assert "/schedule/start_at" in [fault["pointer"] for fault in answer.json()["errors"]]


async def recipient_path(session: AsyncSession) -> str:
    contact = await make_contact(session)
    campaign = await make_campaign(session, line=await make_line(session), status="paused")
    await make_member(session, campaign=campaign, contact=contact)
    await session.commit()
    return f"/v1/campaigns/{campaign.id}/recipients/{contact.id}/explain"


async def test_explain_needs_a_key_and_a_scope(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    path = await recipient_path(session)

    without = await client.get(path, headers={"Authorization": ""})
    wrong = await client.get(path, headers=await key_with(Scope.CONTACTS_READ))

    assert (without.status_code, wrong.status_code) == (401, 403)


async def test_explain_names_the_rule_that_stops_the_message(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    answer = await client.get(await recipient_path(session))

    assert answer.status_code == 200
    body = answer.json()
    assert body["would_send_now"] is False
    assert body["rule"] == "campaign_paused"
    assert body["next_allowed_at"] is None


@pytest.mark.parametrize("count", ["0", "0.5", "1732549200", "-1", "1e9", "20261125"])
async def test_number_is_refused_as_an_instant(client: httpx.AsyncClient, count: str) -> None:
    for where in ("contacts?created_after", "webhook-events?received_after", "compliance-rules?on"):
        answer = await client.get(f"/v1/{where}={count}")
        assert (where, answer.status_code) == (where, 422)
        assert "ISO 8601" in answer.text


@pytest.mark.parametrize(
    "header", ["X-Request-ID", "Idempotency-Key", "If-None-Match", "Origin", "Accept"]
)
async def test_input_never_becomes_a_response_header(
    client: httpx.AsyncClient, header: str
) -> None:
    """Prove that the application itself sends no line ends in headers.

    The HTTP server would refuse such a header, but the application must not depend on it.
    """
    answer = await client.post(
        "/v1/lists", json={"name": "a\r\nX-Evil: 1"}, headers={header: "a\r\nX-Evil: 1"}
    )

    assert "x-evil" not in answer.headers
    assert not any("\r" in value or "\n" in value for value in answer.headers.values())
