from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.domain.inbound.webhook_events.support import rows
from tests.factories import make_campaign, make_line

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

NewUow = Callable[[], UnitOfWork]


async def raise_alert(
    new_uow: NewUow, subject: str, *, kind: str = "line_blocked", minutes: int = 0
) -> None:
    async with new_uow() as uow:
        await alerts.raise_alert(
            uow,
            kind=AlertKind(kind),
            subject=subject,
            detail="Put that right.",
            context={"code": "402"},
            now=NOW + timedelta(minutes=minutes),
        )


async def list_subjects(client: httpx.AsyncClient, **params: str) -> list[str]:
    page = (await client.get("/v1/alerts", params=params)).json()
    return [alert["subject"] for alert in page["data"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/alerts"),
        ("GET", f"/v1/alerts/{UNKNOWN_ID}"),
        ("POST", f"/v1/alerts/{UNKNOWN_ID}/acknowledge"),
    ],
)
async def test_key_and_scope_are_needed(
    client: httpx.AsyncClient, key_with: Callable[..., Any], method: str, path: str
) -> None:
    others = [one for one in Scope if one not in {Scope.OPERATIONS, Scope.ADMIN}]

    nobody = await client.request(method, path, headers={"Authorization": ""})
    wrong = await client.request(method, path, headers=await key_with(*others))
    right = await client.request(method, path, headers=await key_with(Scope.OPERATIONS))

    assert (nobody.status_code, wrong.status_code) == (401, 403)
    assert right.status_code in {200, 404}


async def test_alerts_are_listed_in_pages_last_seen_first(
    client: httpx.AsyncClient, new_uow: NewUow
) -> None:
    for position in range(5):
        await raise_alert(new_uow, f"L{position}", minutes=position // 2)

    found: list[str] = []
    cursor: str | None = None
    while cursor is not None or not found:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/alerts", params=params)).json()
        found += [alert["subject"] for alert in page["data"]]
        cursor = page["next_cursor"]

    assert found == ["L4", "L3", "L2", "L1", "L0"]


async def test_alerts_are_filtered_by_status_and_kind(
    client: httpx.AsyncClient, new_uow: NewUow
) -> None:
    for position, kind in enumerate(["line_blocked", "line_blocked", "send_parked", "clock_skew"]):
        await raise_alert(new_uow, f"L{position}", kind=kind, minutes=position)
    first = (await client.get("/v1/alerts", params={"kind": "send_parked"})).json()["data"][0]
    await client.post(f"/v1/alerts/{first['id']}/acknowledge")
    async with new_uow() as uow:
        await alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject="L1", now=NOW)

    assert await list_subjects(client) == ["L3", "L2", "L1", "L0"]
    assert await list_subjects(client, status="open") == ["L3", "L0"]
    assert await list_subjects(client, status="acknowledged") == ["L2"]
    assert await list_subjects(client, status="resolved") == ["L1"]
    assert await list_subjects(client, kind="line_blocked") == ["L1", "L0"]
    assert await list_subjects(client, kind="line_blocked", status="open") == ["L0"]
    assert (await client.get("/v1/alerts", params={"status": "gone"})).status_code == 422
    assert (await client.get("/v1/alerts", params={"kind": "a\0b"})).status_code == 422


async def test_alert_is_read_with_all_its_fields(
    client: httpx.AsyncClient, new_uow: NewUow
) -> None:
    await raise_alert(new_uow, "L1")
    await raise_alert(new_uow, "L1", minutes=5)
    (alert,) = (await client.get("/v1/alerts")).json()["data"]

    read = (await client.get(f"/v1/alerts/{alert['id']}")).json()

    assert (
        read
        == alert
        == {
            "id": alert["id"],
            "kind": "line_blocked",
            "subject": "L1",
            "detail": "Put that right.",
            "context": {"code": "402"},
            "status": "open",
            "count": 2,
            "first_seen_at": "2026-11-25T15:00:00.000Z",
            "last_seen_at": "2026-11-25T15:05:00.000Z",
            "opened_at": "2026-11-25T15:00:00.000Z",
            "acknowledged_at": None,
            "acknowledged_by": None,
            "resolved_at": None,
        }
    )


async def test_acknowledgement_is_stored_once_with_its_user(
    client: httpx.AsyncClient, new_uow: NewUow, session: AsyncSession
) -> None:
    await raise_alert(new_uow, "L1")
    (alert,) = (await client.get("/v1/alerts")).json()["data"]

    first = await client.post(f"/v1/alerts/{alert['id']}/acknowledge")
    again = await client.post(f"/v1/alerts/{alert['id']}/acknowledge")

    assert (first.status_code, first.json()["status"]) == (200, "acknowledged")
    assert first.json() == again.json()
    assert first.json()["acknowledged_by"]
    audit = await rows(session, "SELECT action, subject FROM audit_log WHERE detail = '{}'")
    assert audit == [{"action": "acknowledge_alert", "subject": alert["id"]}]


async def test_resolved_alert_is_not_acknowledged(
    client: httpx.AsyncClient, new_uow: NewUow
) -> None:
    await raise_alert(new_uow, "L1")
    (alert,) = (await client.get("/v1/alerts")).json()["data"]
    async with new_uow() as uow:
        await alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject="L1", now=NOW)

    answer = (await client.post(f"/v1/alerts/{alert['id']}/acknowledge")).json()

    assert (answer["status"], answer["acknowledged_at"]) == ("resolved", None)


async def test_reopened_alert_is_not_acknowledged(
    client: httpx.AsyncClient, new_uow: NewUow
) -> None:
    await raise_alert(new_uow, "L1")
    (alert,) = (await client.get("/v1/alerts")).json()["data"]
    await client.post(f"/v1/alerts/{alert['id']}/acknowledge")
    async with new_uow() as uow:
        await alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject="L1", now=NOW)
    await raise_alert(new_uow, "L1", minutes=9)

    (again,) = (await client.get("/v1/alerts")).json()["data"]

    assert (again["id"], again["status"], again["count"]) == (alert["id"], "open", 2)
    assert again["opened_at"] == "2026-11-25T15:09:00.000Z"
    assert again["first_seen_at"] == "2026-11-25T15:00:00.000Z"


async def test_unknown_alert_is_not_found(client: httpx.AsyncClient) -> None:
    read = await client.get(f"/v1/alerts/{new_id()}")
    noted = await client.post(f"/v1/alerts/{new_id()}/acknowledge")

    assert (read.status_code, noted.status_code) == (404, 404)
    assert read.json()["code"] == noted.json()["code"] == "alert_not_found"


@pytest.mark.parametrize("action", ["resume", "cancel"])
async def test_decision_about_a_blocked_campaign_resolves_its_alert(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, action: str
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status="blocked", blocked_reason="content")
    await session.commit()
    await raise_alert(new_uow, str(campaign.id), kind="campaign_blocked")

    moved = await client.post(f"/v1/campaigns/{campaign.id}/{action}")

    assert moved.status_code == 200
    assert await list_subjects(client, status="resolved") == [str(campaign.id)]
