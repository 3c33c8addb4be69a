"""Tests of the campaign routes: authorisation, input and responses."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import (
    ids,
    make_campaign,
    make_contact,
    make_line,
    make_list,
    make_member,
    number,
)
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

UNKNOWN_CAMPAIGN = "/v1/campaigns/00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def campaign_body(session: AsyncSession, **changes: Any) -> dict[str, Any]:
    line = await make_line(session)
    contact = await make_contact(session)
    homeowners = await make_list(session, contacts=[contact])
    await session.commit()
    return {
        "name": "Autumn check",
        "line_id": str(line.id),
        "audience": {"list_id": str(homeowners.id)},
        "variants": [{"name": "A", "body": "Hi {{ first_name }}", "weight": 100}],
        **changes,
    }


async def create_campaign(client: httpx.AsyncClient, session: AsyncSession, **changes: Any) -> Any:
    response = await client.post("/v1/campaigns", json=await campaign_body(session, **changes))
    assert response.status_code == 201, response.text
    return response.json()


ROUTES = [
    ("POST", "/v1/campaigns", Scope.CAMPAIGNS_WRITE),
    ("GET", "/v1/campaigns", Scope.CAMPAIGNS_READ),
    ("GET", UNKNOWN_CAMPAIGN, Scope.CAMPAIGNS_READ),
    ("PATCH", UNKNOWN_CAMPAIGN, Scope.CAMPAIGNS_WRITE),
    ("DELETE", UNKNOWN_CAMPAIGN, Scope.CAMPAIGNS_WRITE),
    ("POST", f"{UNKNOWN_CAMPAIGN}/start", Scope.CAMPAIGNS_SEND),
    ("POST", f"{UNKNOWN_CAMPAIGN}/pause", Scope.CAMPAIGNS_SEND),
    ("POST", f"{UNKNOWN_CAMPAIGN}/resume", Scope.CAMPAIGNS_SEND),
    ("POST", f"{UNKNOWN_CAMPAIGN}/cancel", Scope.CAMPAIGNS_SEND),
    ("GET", f"{UNKNOWN_CAMPAIGN}/stats", Scope.CAMPAIGNS_READ),
    ("GET", f"{UNKNOWN_CAMPAIGN}/recipients", Scope.CAMPAIGNS_READ),
    ("POST", f"{UNKNOWN_CAMPAIGN}/recipients/{UUID(int=1)}/settle", Scope.CAMPAIGNS_SEND),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_route_needs_a_key(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    response = await client.request(method, path, json={}, headers={"Authorization": ""})

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert scope in Scope


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_route_needs_its_scope(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    others = [other for other in Scope if other not in {scope, Scope.ADMIN}]

    refused = await client.request(method, path, headers=await key_with(*others))
    passed = await client.request(method, path, headers=await key_with(scope))

    assert refused.status_code == 403
    assert refused.json()["required_scope"] == scope
    assert passed.status_code not in {401, 403}


@pytest.mark.parametrize(("method", "path", "scope"), [r for r in ROUTES if "0000-7000" in r[1]])
async def test_unknown_campaign_is_not_found(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    body = {"outcome": "sent"} if scope == Scope.CAMPAIGNS_SEND and "settle" in path else {}

    response = await client.request(method, path, json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "campaign_not_found"


async def test_new_campaign_is_a_draft_with_the_documented_defaults(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_campaign(client, session)

    assert campaign["status"] == "draft"
    assert campaign["schedule"] == {
        "start_at": None,
        "end_at": None,
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "window": {"start": "09:00", "end": "18:00"},
        "timezone": "America/New_York",
        "start_grace_hours": 24,
    }
    assert campaign["pacing"] == {
        "daily_limit": 125,
        "mode": "even",
        "batch_size": None,
        "batch_interval_minutes": None,
    }
    assert campaign["rules"] == {
        "previously_contacted": "send",
        "skip_landlines": False,
        "min_days_between": None,
        "frequency_cap": None,
        "opt_out_footer": None,
        "max_attempts": 5,
        "max_opt_out_rate": "0.05",
        "max_failure_rate": "0.25",
    }
    assert campaign["ab_test"] is None
    assert campaign["follow_ups"] == []
    assert campaign["created_at"].endswith("Z")


async def test_campaign_is_returned_as_it_was_written(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    schedule = {
        "start_at": "2126-12-01T10:00:00+01:00",
        "end_at": "2126-12-20T00:00:00Z",
        "days": ["fri", "mon"],
        "window": {"start": "00:00", "end": "24:00"},
        "timezone": "recipient",
    }
    pacing = {"daily_limit": 50, "mode": "burst", "batch_size": 5, "batch_interval_minutes": 15}
    rules = {
        "previously_contacted": "review",
        "min_days_between": 30,
        "opt_out_footer": "Reply STOP to end",
        "frequency_cap": {"texts": 3, "days": 30},
        "skip_landlines": True,
        "max_attempts": 3,
        "max_opt_out_rate": "0.1",
        "max_failure_rate": None,
    }

    made = await create_campaign(client, session, schedule=schedule, pacing=pacing, rules=rules)
    read = (await client.get(f"/v1/campaigns/{made['id']}")).json()

    assert read == made
    assert read["pacing"] == pacing
    assert read["rules"] == rules
    assert read["schedule"] == {
        **schedule,
        "start_at": "2126-12-01T09:00:00.000Z",
        "end_at": "2126-12-20T00:00:00.000Z",
        "days": ["mon", "fri"],
        "start_grace_hours": 24,
    }


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"nam": "x"}, "/nam", "unknown_field"),
        ({"schedule": {"day": ["mon"]}}, "/schedule/day", "unknown_field"),
        ({"name": "  "}, "/name", "string_too_short"),
        ({"variants": []}, "/variants", "too_short"),
        (
            {"variants": [{"name": str(n), "body": "x", "weight": 20} for n in range(5)]},
            "/variants",
            "too_long",
        ),
        (
            {"variants": [{"name": "A", "body": "x" * 1601, "weight": 100}]},
            "/variants/0/body",
            "string_too_long",
        ),
        (
            {"variants": [{"name": "A", "body": " \n ", "weight": 100}]},
            "/variants/0/body",
            "string_too_short",
        ),
        ({"audience": {}}, "/audience", "one_audience"),
        (
            {"audience": {"list_id": str(UUID(int=1)), "contact_ids": [str(UUID(int=1))]}},
            "/audience",
            "one_audience",
        ),
        ({"audience": {"contact_ids": []}}, "/audience/contact_ids", "too_short"),
        ({"schedule": {"days": []}}, "/schedule/days", "too_short"),
        ({"schedule": {"days": ["mon", "mon"]}}, "/schedule/days", "duplicate_day"),
        ({"schedule": {"days": ["someday"]}}, "/schedule/days/0", "literal_error"),
        ({"schedule": {"window": {"start": "9 am"}}}, "/schedule/window/start", "clock_time"),
        ({"schedule": {"window": {"end": "25:00"}}}, "/schedule/window/end", "clock_time"),
        ({"schedule": {"timezone": "Mars/Base"}}, "/schedule/timezone", "unknown_timezone"),
        ({"schedule": {"start_at": "2026-12-01T10:00"}}, "/schedule/start_at", "timezone_aware"),
        ({"pacing": {"daily_limit": 0}}, "/pacing/daily_limit", "greater_than_equal"),
        ({"pacing": {"mode": "slow"}}, "/pacing/mode", "enum"),
        ({"rules": {"max_attempts": 0}}, "/rules/max_attempts", "greater_than_equal"),
        ({"line_id": str(UUID(int=1))}, "/line_id", "unknown_line"),
        ({"follow_ups": [{"after_hours": 1}]}, "/follow_ups/0", "one_text"),
        (
            {"variants": [{"name": "A", "body": "{{ nope }}", "weight": 100}]},
            "/variants/0/body",
            "unknown_variable",
        ),
    ],
)
async def test_invalid_field_is_reported(
    client: httpx.AsyncClient,
    session: AsyncSession,
    changes: dict[str, Any],
    pointer: str,
    code: str,
) -> None:
    response = await client.post("/v1/campaigns", json=await campaign_body(session, **changes))

    assert response.status_code == 422
    faults = [(fault["pointer"], fault["code"]) for fault in response.json()["errors"]]
    assert faults == [(pointer, code)]


async def test_control_characters_are_refused_at_save(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    variants = [{"name": "A\x00", "body": "Hi\x00 {{ first_name }}\r\n\x1bbye", "weight": 100}]

    body = await campaign_body(session, name="Autumn\x07", variants=variants)

    response = await client.post("/v1/campaigns", json=body)

    assert response.status_code == 422
    assert {fault["pointer"]: fault["code"] for fault in response.json()["errors"]} == {
        "/name": "control_character",
        "/variants/0/name": "nul_character",
        "/variants/0/body": "nul_character",
    }


async def test_invalid_unicode_is_reported(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    body = await campaign_body(session, name="Autumn")
    raw = json.dumps(body).replace("Autumn", "\\ud800")

    response = await client.post(
        "/v1/campaigns", content=raw, headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/name"


@pytest.mark.parametrize("field", ["name", "line_id", "audience", "variants", "schedule"])
async def test_null_is_refused_for_a_required_field(
    client: httpx.AsyncClient, session: AsyncSession, field: str
) -> None:
    campaign = await create_campaign(client, session)

    response = await client.patch(f"/v1/campaigns/{campaign['id']}", json={field: None})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == f"/{field}"


async def test_draft_can_be_changed_and_removed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_campaign(client, session)
    path = f"/v1/campaigns/{campaign['id']}"

    changed = await client.patch(path, json={"name": "Winter check"})
    removed = await client.delete(path)

    assert changed.status_code == 200
    assert changed.json() == {
        **campaign,
        "name": "Winter check",
        "updated_at": changed.json()["updated_at"],
    }
    assert removed.status_code == 204
    assert (await client.get(path)).status_code == 404


async def test_transitions_return_the_campaign_and_refusals_list_allowed_transitions(
    client: httpx.AsyncClient, session: AsyncSession, queue: RecordingQueue
) -> None:
    campaign = await create_campaign(client, session)
    path = f"/v1/campaigns/{campaign['id']}"

    statuses = [
        (await client.post(f"{path}/{move}")).json()["status"]
        for move in ("start", "pause", "resume", "cancel")
    ]
    refused = await client.post(f"{path}/start")

    assert statuses == ["scheduled", "paused", "scheduled", "cancelled"]
    assert JobName.PROCESS_CAMPAIGN_QUEUE in queue.names
    assert refused.status_code == 409
    assert refused.json()["code"] == "invalid_transition"
    assert refused.json()["allowed"] == []


async def test_started_campaign_cannot_be_changed_or_removed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_campaign(client, session)
    path = f"/v1/campaigns/{campaign['id']}"
    await client.post(f"{path}/start")

    changed = await client.patch(path, json={"pacing": {"daily_limit": 5}})
    removed = await client.delete(path)

    assert [changed.status_code, removed.status_code] == [409, 409]
    assert changed.json()["code"] == removed.json()["code"] == "campaign_not_editable"


async def test_start_of_an_old_version_is_refused(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = f"/v1/campaigns/{(await create_campaign(client, session))['id']}"
    seen = (await client.get(path)).headers["etag"]
    changed = await client.patch(path, json={"name": "Changed meanwhile"})
    start = {"Idempotency-Key": "start-1", "If-Match": seen}

    refused = await client.post(f"{path}/start", headers=start)
    status = (await client.get(path)).json()["status"]
    start["If-Match"] = changed.headers["etag"]
    started = await client.post(f"{path}/start", headers=start)
    repeated = await client.post(f"{path}/start", headers=start)

    assert (refused.status_code, refused.json()["code"]) == (412, "changed_since")
    assert status == "draft"
    assert (started.status_code, started.json()["status"]) == (200, "scheduled")
    # The repetition gets the stored response, although the start has changed the ETag.
    assert repeated.headers["idempotent-replayed"] == "true"
    assert repeated.json() == started.json()


async def test_change_and_start_of_the_same_version_exclude_each_other(
    committed_client: httpx.AsyncClient, committed_uow: UnitOfWorkFactory
) -> None:
    async with committed_uow() as uow:
        body = await campaign_body(uow.session)
    made = await committed_client.post("/v1/campaigns", json=body)
    path = f"/v1/campaigns/{made.json()['id']}"
    seen = await asyncio.gather(*(committed_client.get(path) for _ in range(2)))
    headers = {"If-Match": seen[0].headers["etag"]}

    changed, started = await asyncio.gather(
        committed_client.patch(path, json={"name": "Changed meanwhile"}, headers=headers),
        committed_client.post(f"{path}/start", headers=headers),
    )

    assert sorted([changed.status_code, started.status_code]) == [200, 412]


async def test_start_with_an_empty_audience_points_to_the_audience(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    empty = await make_list(session, name="Empty", contacts=[])
    campaign = await create_campaign(client, session, audience={"list_id": str(empty.id)})

    response = await client.post(f"/v1/campaigns/{campaign['id']}/start")

    assert response.status_code == 422
    assert response.json()["code"] == "empty_audience"
    assert response.json()["errors"][0]["pointer"] == "/audience"


async def test_list_is_paged_newest_first_and_filtered(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    rows = [await make_campaign(session, line=line, status="draft") for _ in range(3)]
    done = await make_campaign(session, line=line, status="completed")
    await session.commit()

    first = (await client.get("/v1/campaigns", params={"limit": 3})).json()
    rest = (
        await client.get("/v1/campaigns", params={"limit": 3, "cursor": first["next_cursor"]})
    ).json()
    only = (await client.get("/v1/campaigns", params={"status": "completed"})).json()

    newest = [str(row) for row in sorted([*ids(*rows), done.id], reverse=True)]
    assert [row["id"] for row in first["data"] + rest["data"]] == newest
    assert rest["next_cursor"] is None
    assert [row["id"] for row in only["data"]] == [str(done.id)]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("?cursor=nonsense", "/cursor"),
        ("?status=asleep", "/status"),
        ("?limit=0", "/limit"),
    ],
)
async def test_invalid_query_is_reported(
    client: httpx.AsyncClient, path: str, pointer: str
) -> None:
    response = await client.get(f"/v1/campaigns{path}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_recipients_are_paged_and_filtered(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, bodies=("A", "B"))
    members = [
        await make_member(
            session,
            campaign=campaign,
            contact=await make_contact(session, phone=number(n)),
            variant=n % 2,
        )
        for n in range(5)
    ]
    skipped = members[0].id
    values = {"status": "skipped", "skip_reason": "opted_out"}
    await session.execute(
        update(CampaignMembership).where(CampaignMembership.id == skipped).values(values)
    )
    await session.commit()
    path = f"/v1/campaigns/{campaign.id}/recipients"

    first = (await client.get(path, params={"limit": 3})).json()
    rest = (await client.get(path, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    left_out = (await client.get(path, params={"status": "skipped"})).json()
    second_variant = (await client.get(path, params={"variant": "V1"})).json()

    contact_ids = [row["contact_id"] for row in first["data"] + rest["data"]]
    assert contact_ids == sorted(str(member.contact_id) for member in members)
    assert rest["next_cursor"] is None
    assert left_out["data"] == [
        {
            "id": str(skipped),
            "contact_id": str(members[0].contact_id),
            "name": "Ada",
            "phone": number(0),
            "step": 0,
            "status": "skipped",
            "variant": "V0",
            "attempts": 0,
            "skip_reason": "opted_out",
            "error_code": None,
            "message_id": None,
            "body": None,
            "provider_message_id": None,
            "sent_at": None,
            "delivered_at": None,
            "replied_at": None,
            "opted_out_at": None,
        }
    ]
    assert {row["phone"] for row in second_variant["data"]} == {number(1), number(3)}


async def test_unknown_variant_is_reported(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    await session.commit()

    response = await client.get(f"/v1/campaigns/{campaign.id}/recipients?variant=Z")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/variant"


async def test_stats_have_the_documented_fields(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await create_campaign(client, session)

    response = await client.get(f"/v1/campaigns/{campaign['id']}/stats")

    assert response.status_code == 200
    statuses = (
        "pending review held sending unknown sent delivered failed skipped cancelled".split()  # noqa: SIM905
    )
    assert response.json() == {
        "recipients_total": 0,
        "by_status": dict.fromkeys(statuses, 0),
        "parked": 0,
        "replied": 0,
        "opted_out": 0,
        "response_rate": None,
        "variants": [
            {
                "name": "A",
                "recipients": 0,
                "sent": 0,
                "delivered": 0,
                "failed": 0,
                "replied": 0,
                "opted_out": 0,
                "response_rate": None,
                "response_interval": None,
                "opt_out_rate": None,
                "opt_out_interval": None,
                "delivery_rate": None,
                "delivery_interval": None,
                "stopped_at": None,
                "stopped_reason": None,
            }
        ],
        "ab_test": None,
        "sent_today": 0,
        "remaining_today": 125,
        "estimated_finish_at": None,
    }


async def test_settle_accepts_known_outcomes_of_parked_attempts_only(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    contact = await make_contact(session)
    await make_member(session, campaign=campaign, contact=contact)
    await session.commit()
    path = f"/v1/campaigns/{campaign.id}/recipients/{contact.id}/settle"

    unknown = await client.post(path, json={"outcome": "maybe"})
    not_parked = await client.post(path, json={"outcome": "sent"})

    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["pointer"] == "/outcome"
    assert not_parked.status_code == 409
