"""Tests of the line routes: authorisation, input and responses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import ADMIN_KEY, NOW
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.sends import provider_pauses
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.routers.http.deps import AppState

UNKNOWN_LINE = "/v1/lines/00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]

READ, WRITE = Scope.CAMPAIGNS_READ, Scope.CAMPAIGNS_WRITE
ROUTES = [
    ("POST", "/v1/lines", WRITE),
    ("GET", "/v1/lines", READ),
    ("POST", "/v1/lines/sync", WRITE),
    ("GET", UNKNOWN_LINE, READ),
    ("PATCH", UNKNOWN_LINE, WRITE),
    ("POST", f"{UNKNOWN_LINE}/unblock", WRITE),
]
NEW_LINE = {"phone_number_id": "PN1", "number": "617 555 0100"}


async def create_line(client: httpx.AsyncClient, **values: Any) -> Any:
    response = await client.post("/v1/lines", json=NEW_LINE | values)
    assert response.status_code == 201, response.text
    return response.json()


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {fault["pointer"]: fault["code"] for fault in response.json()["errors"]}


class ProviderResponses:
    """Simulated provider that only returns a list of phone numbers, or an error."""

    def __init__(self) -> None:
        self.status = 200
        self.data: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/phone-numbers"
        if self.status != 200:
            return httpx.Response(self.status, json={"message": "no", "code": "0400401"})
        return httpx.Response(200, json={"data": self.data})


@pytest.fixture
def workspace() -> ProviderResponses:
    return ProviderResponses()


@pytest_asyncio.fixture
async def synced_client(
    app: FastAPI,
    client: httpx.AsyncClient,
    workspace: ProviderResponses,
    new_uow: UnitOfWorkFactory,
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application whose provider is simulated by `workspace`."""

    async def no_wait(_seconds: float) -> None:
        """Return at once, so that the client does not wait before it repeats a request."""

    provider = OpenPhoneClient(
        base_url="http://provider.test",
        api_key="x",
        transport=httpx.MockTransport(workspace),
        sleep=no_wait,
    )
    state: AppState = app.state.crm
    app.state.crm = AppState(
        settings=state.settings,
        new_uow=new_uow,
        secret=state.secret,
        provider=provider,
        rules=state.rules,
    )
    async with provider:
        yield client


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_is_refused(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    del client.headers["Authorization"]

    assert (await client.request(method, path, json={})).status_code == 401, scope


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    other = READ if scope is WRITE else WRITE

    response = await client.request(method, path, json={}, headers=await key_with(other))

    assert response.status_code == 403
    assert response.json()["required_scope"] == scope


async def test_line_is_created_with_the_defaults(client: httpx.AsyncClient) -> None:
    made = await create_line(client)

    assert made == {
        "id": made["id"],
        "phone_number_id": "PN1",
        "number": "+16175550100",
        "name": "+16175550100",
        "daily_limit": 125,
        "ramp_plan": None,
        "ramp_started_on": None,
        "limit_today": 125,
        "timezone": "America/New_York",
        "status": "active",
        "blocked_reason": None,
        "is_probing": False,
        "probe_at": None,
        "resend_unclear": True,
        "sent_today": 0,
        "remaining_today": 125,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    assert (await client.get(f"/v1/lines/{made['id']}")).json() == made
    assert (await client.get("/v1/lines")).json() == {"data": [made], "next_cursor": None}


async def test_existing_provider_id_is_409_with_its_line(client: httpx.AsyncClient) -> None:
    made = await create_line(client)

    response = await client.post("/v1/lines", json=NEW_LINE)

    assert response.status_code == 409
    assert (response.json()["code"], response.json()["line_id"]) == ("line_exists", made["id"])


async def test_concurrent_creates_of_a_number_make_one_line(
    committed_client: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(
        *(committed_client.post("/v1/lines", json=NEW_LINE) for _ in range(4))
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"phone_number_id": ""}, {"/phone_number_id": "string_pattern_mismatch"}),
        ({"phone_number_id": "PN 1"}, {"/phone_number_id": "string_pattern_mismatch"}),
        ({"number": "12"}, {"/number": "invalid_phone"}),
        ({"daily_limit": -1}, {"/daily_limit": "greater_than_equal"}),
        ({"daily_limit": 2_000_000}, {"/daily_limit": "less_than_equal"}),
        ({"daily_limit": "many"}, {"/daily_limit": "int_type"}),
        ({"ramp_plan": []}, {"/ramp_plan": "too_short"}),
        ({"ramp_plan": [1] * 61}, {"/ramp_plan": "too_long"}),
        ({"ramp_plan": [20, 0]}, {"/ramp_plan/1": "greater_than_equal"}),
        ({"ramp_plan": [1_000_001]}, {"/ramp_plan/0": "less_than_equal"}),
        ({"ramp_plan": ["20", True]}, {"/ramp_plan/0": "int_type", "/ramp_plan/1": "int_type"}),
        ({"ramp_plan": 20}, {"/ramp_plan": "list_type"}),
        ({"timezone": "Mars/Base"}, {"/timezone": "unknown_timezone"}),
        ({"status": "active"}, {"/status": "unknown_field"}),
    ],
)
async def test_invalid_input_is_422_with_its_pointer(
    client: httpx.AsyncClient, values: dict[str, Any], expected: dict[str, str]
) -> None:
    assert faults(await client.post("/v1/lines", json=NEW_LINE | values)) == expected


async def test_line_is_changed(client: httpx.AsyncClient) -> None:
    path = f"/v1/lines/{(await create_line(client))['id']}"

    response = await client.patch(
        path,
        json={
            "name": "Main",
            "daily_limit": 300,
            "timezone": "America/Chicago",
            "resend_unclear": False,
        },
    )

    changed = response.json()
    assert response.status_code == 200
    assert (changed["name"], changed["daily_limit"]) == ("Main", 300)
    assert (changed["timezone"], changed["resend_unclear"]) == ("America/Chicago", False)
    assert changed["remaining_today"] == 300


async def test_ramp_plan_is_set_shown_and_removed(client: httpx.AsyncClient) -> None:
    made = await create_line(client, ramp_plan=[20, 40, 80, 125])
    path = f"/v1/lines/{made['id']}"

    changed = (await client.patch(path, json={"ramp_plan": [30, 60]})).json()
    ended = (await client.patch(path, json={"ramp_plan": None})).json()

    assert (made["ramp_plan"], made["ramp_started_on"]) == ([20, 40, 80, 125], None)
    assert (made["limit_today"], made["remaining_today"]) == (20, 20)
    assert (changed["ramp_plan"], changed["limit_today"]) == ([30, 60], 30)
    assert (ended["ramp_plan"], ended["limit_today"], ended["remaining_today"]) == (None, 125, 125)


async def test_line_shows_that_a_probe_is_running(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session, is_probing=True, probe_at=NOW, ramp_started_on=NOW.date())
    await session.commit()

    shown = (await client.get(f"/v1/lines/{line.id}")).json()

    assert (shown["is_probing"], shown["probe_at"]) == (True, "2026-11-25T15:00:00.000Z")
    assert shown["ramp_started_on"] == "2026-11-25"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": None}, {"/name": "string_type"}),
        ({"daily_limit": None}, {"/daily_limit": "int_type"}),
        ({"ramp_plan": [0]}, {"/ramp_plan/0": "greater_than_equal"}),
        ({"number": "6175550101"}, {"/number": "unknown_field"}),
    ],
)
async def test_change_with_invalid_input_is_422(
    client: httpx.AsyncClient, body: dict[str, Any], expected: dict[str, str]
) -> None:
    assert faults(await client.patch(UNKNOWN_LINE, json=body)) == expected


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", UNKNOWN_LINE, None),
        ("PATCH", UNKNOWN_LINE, {"name": "x"}),
        ("POST", f"{UNKNOWN_LINE}/unblock", None),
    ],
)
async def test_unknown_line_is_404(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None
) -> None:
    response = await client.request(method, path, json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "line_not_found"


async def test_blocked_line_is_unblocked(client: httpx.AsyncClient, session: AsyncSession) -> None:
    line = await make_line(session, status="blocked", blocked_reason="no credits", blocked_at=NOW)
    await session.commit()

    before = (await client.get(f"/v1/lines/{line.id}")).json()
    after = await client.post(f"/v1/lines/{line.id}/unblock")

    assert (before["status"], before["blocked_reason"]) == ("blocked", "no credits")
    assert after.status_code == 200
    assert (after.json()["status"], after.json()["blocked_reason"]) == ("active", None)


async def test_unblocking_a_line_ends_the_pause_of_the_provider(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    line = await make_line(session)
    contact = await make_contact(session)
    campaign = await make_campaign(session, line=line)
    await make_member(session, campaign=campaign, contact=contact)
    await session.commit()
    limiter, now = Limiter(rate_per_second=8), clock.now()
    async with new_uow() as uow:
        await provider_pauses.begin_provider_pause(
            uow, limiter, seconds=600, asked_seconds=31_536_000, now=now
        )
    explain = f"/v1/campaigns/{campaign.id}/recipients/{contact.id}/explain"

    held = (await client.get("/readyz")).json()["checks"]["provider"]
    stops = (await client.get(explain)).json()["stops"]
    unblocked = await client.post(f"/v1/lines/{line.id}/unblock")
    freed = (await client.get("/readyz")).json()["checks"]["provider"]
    stops_after = (await client.get(explain)).json()["stops"]

    assert held == "degraded"
    assert "provider_asked_to_wait" in {stop["rule"] for stop in stops}
    assert unblocked.status_code == 200
    assert freed == "ok"
    assert "provider_asked_to_wait" not in {stop["rule"] for stop in stops_after}
    async with new_uow() as uow:
        assert await limiter.reserve(uow, calls=1, now=now) < now + timedelta(seconds=5)
    alerts = (await client.get("/v1/alerts", params={"kind": "provider_asked_to_wait"})).json()
    assert [alert["status"] for alert in alerts["data"]] == ["resolved"]
    entries = (await client.get("/v1/audit-log", params={"action": "unblock_line"})).json()
    assert [entry["subject"] for entry in entries["data"]] == ["openphone"]


async def test_sync_reads_the_lines_of_the_workspace(
    synced_client: httpx.AsyncClient, workspace: ProviderResponses
) -> None:
    workspace.data = [
        {"id": "PNone", "number": "+16175550101", "name": "Main", "users": []},
        {"id": "PNtwo", "number": "+16175550102", "name": None, "users": []},
    ]

    first = await synced_client.post("/v1/lines/sync")
    again = await synced_client.post("/v1/lines/sync")

    assert first.status_code == 200
    assert {(one["phone_number_id"], one["name"]) for one in first.json()["data"]} == {
        ("PNone", "Main"),
        ("PNtwo", "+16175550102"),
    }
    assert {one["id"] for one in again.json()["data"]} == {
        one["id"] for one in first.json()["data"]
    }
    assert len((await synced_client.get("/v1/lines")).json()["data"]) == 2


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_failing_provider_is_503_with_a_detail(
    synced_client: httpx.AsyncClient, workspace: ProviderResponses, status: int
) -> None:
    workspace.status = status

    response = await synced_client.post("/v1/lines/sync")

    problem = response.json()
    assert response.status_code == 503
    assert problem["code"] == "lines_unreadable"
    assert problem["detail"].startswith("OpenPhone ")
    assert "Retry-After" in response.headers
    assert ADMIN_KEY not in response.text
