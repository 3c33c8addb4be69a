"""A dry run changes nothing, and its token is valid only for the same call of the same caller."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import SECRET
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import dry_runs
from crm_api.domain.people.models.contacts import Contact

KeyWith = Callable[..., Awaitable[dict[str, str]]]
Case = tuple[str, dict[str, Any], dict[str, int]]
TABLES = (
    *("contact", "contact_flag", "consent_entry", "consent_wording", "contact_list_member"),
    *("campaign_membership", "contact_merge", "audit_log", "contact_import", "webhook_event"),
)


@pytest.fixture
async def people(session: AsyncSession) -> list[Contact]:
    found = [await make_contact(session, phone=f"+1617555010{at}") for at in range(3)]
    await session.commit()
    return found


async def rows(session: AsyncSession) -> dict[str, list[str]]:
    return {
        table: list(await session.scalars(text(f"SELECT t::text FROM {table} t ORDER BY 1")))
        for table in TABLES
    }


async def cases(session: AsyncSession, people: list[Contact]) -> list[Case]:
    ids = [str(one.id) for one in people]
    made = await make_list(session, contacts=people[:1])
    campaign = await make_campaign(session, line=await make_line(session))
    for one in people[:2]:
        await make_member(session, campaign=campaign, contact=one, status="review")
    await session.commit()
    return [
        (
            "/v1/contacts/merge",
            {"primary_id": ids[0], "duplicate_ids": [ids[1]]},
            {"merged": 1},
        ),
        (
            "/v1/contacts/batch",
            {
                "items": [
                    {"op": "create", "contact": {"phone": "6175550109"}},
                    {"op": "update", "id": ids[0], "contact": {"first_name": "Eva"}},
                    {"op": "delete", "id": ids[1]},
                    {"op": "create", "contact": {"phone": "no number"}},
                ]
            },
            {"created": 1, "updated": 1, "deleted": 1, "failed": 1},
        ),
        (
            "/v1/contacts/opt-out",
            {"contact_ids": ids[:2], "reason": "asked"},
            {"numbers": 2, "newly_opted_out": 2},
        ),
        (f"/v1/lists/{made.id}/contacts", {"contact_ids": ids}, {"added": 2, "already_members": 1}),
        (
            f"/v1/campaigns/{campaign.id}/recipients/review",
            {"decision": "approve", "all": True},
            {"approved": 2, "rejected": 0, "unchanged": 0, "left": 0},
        ),
        ("/v1/webhook-events/replay", {"all": True}, {"matched": 0}),
    ]


@pytest.mark.parametrize("position", range(6))
async def test_dry_run_only_counts_and_its_token_allows_the_call(
    client: httpx.AsyncClient,
    session: AsyncSession,
    people: list[Contact],
    queue: RecordingQueue,
    position: int,
) -> None:
    path, body, counts = (await cases(session, people))[position]
    before, jobs = await rows(session), list(queue.jobs)

    dry = await client.post(path, json=body | {"dry_run": True})
    untouched, no_nudge = await rows(session), list(queue.jobs)
    real = await client.post(path, json=body | {"token": dry.json()["token"]})

    assert dry.is_success, dry.text
    assert (dry.json()["dry_run"], dry.json()["counts"]) == (True, counts)
    assert (untouched, no_nudge) == (before, jobs)
    assert real.status_code == dry.status_code, real.text
    assert not {"token", "counts"} & real.json().keys()
    assert await rows(session) != before


async def test_undo_of_an_import_has_a_dry_run(
    client: httpx.AsyncClient, session: AsyncSession, people: list[Contact]
) -> None:
    import_id = await session.scalar(
        text(
            "INSERT INTO contact_import (id, status, byte_size, created_at, updated_at, "
            "finished_at) VALUES (uuid_v7(), 'completed', 1, now(), now(), now()) RETURNING id"
        )
    )
    await session.execute(
        text(
            "INSERT INTO contact_import_chunk (import_id, start, applied_at, created_ids, "
            "changed_ids, changes, outcomes) SELECT :id, 0, :at, :made, :changed, "
            "ARRAY['{}'::jsonb], '{}'"
        ),
        {
            "id": import_id,
            "at": people[0].updated_at,
            "made": [people[0].id, people[1].id],
            "changed": [people[2].id],
        },
    )
    await session.commit()
    path = f"/v1/imports/{import_id}/undo"

    dry = await client.post(path, json={"dry_run": True})
    still = (await client.get(f"/v1/imports/{import_id}")).json()
    await client.patch(f"/v1/contacts/{people[0].id}", json={"first_name": "Eva"})
    changed = await client.post(path, json={"token": dry.json()["token"]})
    real = await client.post(path)

    assert dry.status_code == 202, dry.text
    assert dry.json()["counts"] == {
        "removed": 2,
        "restored": 1,
        "memberships_removed": 0,
        "left_edited": 0,
        "left_in_use": 0,
    }
    assert still["undo"] is None
    assert (changed.status_code, changed.json()["code"]) == (409, "dry_run_changed")
    assert changed.json()["counts"]["left_edited"] == 1
    assert (real.status_code, real.json()["undo"]["status"]) == (202, "pending")


async def test_call_is_refused_when_its_counts_have_changed(
    client: httpx.AsyncClient, session: AsyncSession, people: list[Contact]
) -> None:
    body = {"contact_ids": [str(one.id) for one in people], "reason": "asked"}
    path = "/v1/contacts/opt-out"
    token = (await client.post(path, json=body | {"dry_run": True})).json()["token"]
    await client.post(path, json={"contact_ids": [str(people[0].id)], "reason": "asked"})
    before = await rows(session)

    answer = await client.post(path, json=body | {"token": token})

    assert (answer.status_code, answer.json()["code"]) == (409, "dry_run_changed")
    assert "Repeat the dry run" in answer.json()["detail"]
    assert await rows(session) == before


async def test_token_is_bound_to_caller_call_and_content(
    client: httpx.AsyncClient, people: list[Contact], key_with: KeyWith
) -> None:
    ids = [str(one.id) for one in people]
    path, body = "/v1/contacts/opt-out", {"contact_ids": ids, "reason": "asked"}
    token = (await client.post(path, json=body | {"dry_run": True})).json()["token"]
    merge = {"primary_id": ids[0], "duplicate_ids": ids[1:]}
    other = await key_with(Scope.CONTACTS_WRITE)

    answers = [
        await client.post(path, json=body | {"token": token, "contact_ids": ids[:2]}),
        await client.post(path, json=body | {"token": token}, headers=other),
        await client.post("/v1/contacts/merge", json=merge | {"token": token}),
        await client.post(path, json=body | {"token": token[:-8] + "AAAAAAA="}),
        await client.post(path, json=body | {"token": "ñ"}),
    ]

    assert [(one.status_code, one.json()["code"]) for one in answers] == [
        (409, "dry_run_token_unknown")
    ] * 5


async def test_token_expires(
    client: httpx.AsyncClient, people: list[Contact], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = "/v1/contacts/opt-out", {"contact_ids": [str(people[0].id)], "reason": "asked"}
    monkeypatch.setattr(dry_runs, "VALID_FOR", timedelta(seconds=-1))
    token = (await client.post(path, json=body | {"dry_run": True})).json()["token"]

    answer = await client.post(path, json=body | {"token": token})

    assert (answer.status_code, answer.json()["code"]) == (409, "dry_run_expired")


def test_token_contains_no_readable_data() -> None:
    call = dry_runs.Call(
        name="POST /v1/contacts/merge",
        caller_id="caller",
        secret=SECRET.encode(),
        now=datetime(2026, 11, 28, tzinfo=UTC),
    )
    first, second = (dry_runs.sign(call, bound="a", counted="b") for _ in range(2))

    assert first != second
    assert dry_runs.open_token(call, first, bound="a") == "b"
