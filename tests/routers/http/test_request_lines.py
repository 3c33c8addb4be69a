"""Each request writes one log line, with the route template and the ids of the request."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from tests.conftest import ADMIN_KEY, UNKNOWN_ID
from tests.routers.live import following, serving

from crm_api.platform import logs

Lines = list[MutableMapping[str, Any]]


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Yield a list of the captured log lines.

    Another test in this process may have redirected the log, so reset its target first.
    """
    monkeypatch.setattr(logs, "_direct", None)
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        yield lines


def request_lines(log_lines: Lines) -> Lines:
    return [line for line in log_lines if line["event"] == "request finished"]


async def test_request_is_one_line_with_route_template_and_ids(
    client: httpx.AsyncClient, log_lines: Lines
) -> None:
    path = f"/v1/campaigns/{UNKNOWN_ID}/stats"

    answer = await client.get(path, params={"step": "17"}, headers={"X-Request-ID": "r-1"})

    me = (await client.get("/v1/auth/me")).json()
    line = request_lines(log_lines)[0]
    assert line.pop("duration_ms") > 0
    assert line == {
        "event": "request finished",
        "log_level": "info",
        "request_id": "r-1",
        "method": "GET",
        "route": "/v1/campaigns/{campaign_id}/stats",
        "status": 404,
        "bytes": len(answer.content),
        "caller": me["id"],
    }


@pytest.mark.parametrize(
    ("asked", "route", "status"),
    [
        ("POST /v1/contacts", "/v1/contacts", 422),
        (f"PATCH /v1/contacts/{UNKNOWN_ID}", "/v1/contacts/{contact_id}", 404),
        (f"HEAD /v1/contacts/{UNKNOWN_ID}", "/v1/contacts/{contact_id}", 404),
        ("DELETE /v1/contacts", "/v1/contacts", 405),
        ("GET /v1/people/+16175550123", "unmatched", 404),
        ("POST /webhooks/openphone", "/webhooks/openphone", 401),
    ],
)
async def test_route_is_logged_for_every_kind_of_request(
    client: httpx.AsyncClient, log_lines: Lines, asked: str, route: str, status: int
) -> None:
    method, path = asked.split()

    await client.request(method, path, json={} if method in {"POST", "PATCH"} else None)

    line = request_lines(log_lines)[0]
    assert (line["method"], line["route"], line["status"]) == (method, route, status)


async def test_refused_stale_change_is_logged_with_its_route_template(
    client: httpx.AsyncClient, log_lines: Lines
) -> None:
    made = (await client.post("/v1/contacts", json={"phone": "617-555-0123"})).json()

    await client.patch(f"/v1/contacts/{made['id']}", json={}, headers={"If-Match": '"old"'})

    line = request_lines(log_lines)[-1]
    assert (line["route"], line["status"]) == ("/v1/contacts/{contact_id}", 412)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_poll_is_logged_at_debug(
    client: httpx.AsyncClient, log_lines: Lines, path: str
) -> None:
    await client.get(path)

    assert [line["log_level"] for line in request_lines(log_lines)] == ["debug"]


async def test_request_without_credentials_has_no_caller(
    client: httpx.AsyncClient, log_lines: Lines
) -> None:
    await client.get("/v1/contacts", headers={"Authorization": "Bearer crm_unknown"})

    assert request_lines(log_lines)[0]["caller"] is None


async def test_unhandled_error_is_logged_as_a_warning_and_a_traceback(
    app: FastAPI, client: httpx.AsyncClient, log_lines: Lines
) -> None:
    @app.get("/v1/broken/{phone}", include_in_schema=False)
    async def fail(phone: str) -> None:
        raise RuntimeError(phone)

    await client.get("/v1/broken/+16175550123")

    lines = {line["event"]: line for line in log_lines}
    assert lines["unhandled error"]["route"] == "/v1/broken/{phone}"
    assert (lines["request finished"]["status"], lines["request finished"]["log_level"]) == (
        500,
        "warning",
    )


async def test_event_stream_is_one_line_when_it_ends(app: FastAPI, log_lines: Lines) -> None:
    async with serving(app) as caller, following(caller):
        open_ones = request_lines(log_lines)

    assert open_ones == []
    line = request_lines(log_lines)[0]
    assert (line["route"], line["status"]) == ("/v1/events", 200)
    assert ADMIN_KEY not in str(log_lines)
