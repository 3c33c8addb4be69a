"""Each request that changes something writes an audit entry in the same transaction."""

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW

from crm_api.app import ROUTERS
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import audit_log
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http import deps
from crm_api.routers.http.exchange import CHANGING

KeyWith = Callable[..., Awaitable[dict[str, str]]]
PERSON = {"phone": "617-555-0142", "first_name": "Ada"}
ACCOUNTS = "/v1/auth/"
"""Path prefix of routes without an authenticated caller; services write their audit entries."""
SANDBOX = "/v1/sandbox/"
"""Path prefix of the sandbox routes, which do not exist with a real provider."""


async def entries(client: httpx.AsyncClient, **query: object) -> list[dict[str, Any]]:
    answer = await client.get("/v1/audit-log", params={k: str(v) for k, v in query.items()})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def _calls(dependant: Dependant) -> Iterable[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def test_every_changing_route_writes_its_entry_before_the_commit() -> None:
    """Prove that each route uses only the unit of work of its request.

    This unit of work writes the audit entry before it commits.
    """
    mistakes = []
    for route in (route for module in ROUTERS for route in module.router.routes):
        assert isinstance(route, APIRoute)
        if not CHANGING & (route.methods or set()) or route.path.startswith((ACCOUNTS, SANDBOX)):
            continue
        makes_its_own = "new_uow(" in inspect.getsource(route.endpoint)
        if deps.new_uow not in _calls(route.dependant) or makes_its_own:
            mistakes.append(route.name)

    assert mistakes == []


async def test_entry_has_actor_action_subject_and_address(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    key = await key_with(Scope.CONTACTS_WRITE)
    headers = {**key, "X-Request-ID": "mine-1"}
    made = (await client.post("/v1/contacts", json=PERSON, headers=headers)).json()
    me = (await client.get("/v1/auth/me", headers=key)).json()

    (entry,) = await entries(client, actor="scoped")

    assert {k: v for k, v in entry.items() if k not in {"id", "created_at"}} == {
        "actor": "scoped",
        "actor_id": me["id"],
        "action": "create_contact",
        "decision": None,
        "subject": made["id"],
        "detail": {"route": "POST /v1/contacts", "status": 201, "id": made["id"]},
        "request_id": "mine-1",
        "address": "127.0.0.1",
    }


async def test_entries_of_a_resource_are_found_by_its_id(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/contacts", json=PERSON)).json()
    path = f"/v1/contacts/{made['id']}"
    note = (await client.post(f"{path}/notes", json={"body": "called"})).json()
    await client.patch(path, json={"first_name": "Bea"})
    await client.post(f"{path}/opt-out", json={"reason": "asked"})
    await client.delete(path)

    found = await entries(client, subject=made["id"])

    assert [entry["action"] for entry in reversed(found)] == [
        "create_contact",
        "add_note",
        "update_contact",
        "opt_out",
        "delete_contact",
    ]
    noted = next(entry for entry in found if entry["action"] == "add_note")
    assert noted["detail"]["id"] == note["id"]


async def test_entry_contains_nothing_of_the_request_body(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = (await client.post("/v1/contacts", json=PERSON)).json()
    await client.patch(f"/v1/contacts/{made['id']}", json={"email": "ada@example.com"})

    rows = (await session.execute(text("SELECT to_jsonb(a)::text FROM audit_log a"))).scalars()
    kept = "".join(rows)

    assert kept
    # Search for longer values than "555", because ids and times contain "555" by chance.
    assert not any(one in kept for one in ("5550142", "Ada", "ada@"))


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
async def test_refused_request_writes_no_entry(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    await client.post("/v1/contacts", json=PERSON)
    before = await entries(client)

    refused = await client.post("/v1/contacts", json=PERSON, headers=headers)

    assert refused.status_code == 409
    assert await entries(client) == before


async def test_repeated_request_writes_no_second_entry(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(3):
        await client.post("/v1/contacts", json=PERSON, headers={"Idempotency-Key": "once"})

    assert len(await entries(client)) == 1


async def test_request_that_changes_nothing_writes_no_entry(
    committed_client: httpx.AsyncClient,
) -> None:
    body = {"filter": {"field": "state", "op": "eq", "value": "MA"}}
    answer = await committed_client.post("/v1/segments/preview", json=body)

    assert answer.status_code == 200, answer.text
    assert await entries(committed_client) == []


async def test_the_entry_of_a_decision_names_its_request(client: httpx.AsyncClient) -> None:
    """Prove that one entry has the operation, the request and the decision of a request."""
    made = await client.post("/v1/api-keys", json={"name": "till", "scopes": ["operations"]})
    user = {"email": "ada@firm.example.com", "name": "Ada", "role": "viewer"}
    invited = (await client.post("/v1/users", json=user)).json()
    await client.patch(f"/v1/users/{invited['id']}", json={"role": "agent"})

    changed, second, first = await entries(client)

    assert (first["action"], first["decision"]) == ("create_api_key", None)
    assert first["subject"] == made.json()["id"]
    assert first["detail"]["scopes"] == ["operations"]
    assert made.json()["key"] not in json.dumps(first)
    assert first["request_id"] == made.headers["X-Request-ID"]
    assert second["action"] == "invite_user"
    assert (changed["action"], changed["decision"]) == ("update_user", "change_user")
    assert changed["detail"] == {"role": "agent"}


async def test_the_entry_of_each_decision_about_an_api_key_names_the_key(
    client: httpx.AsyncClient,
) -> None:
    made = (await client.post("/v1/api-keys", json={"name": "till", "scopes": ["admin"]})).json()
    path = f"/v1/api-keys/{made['id']}"
    await client.patch(path, json={"name": "desk"})
    newer = (await client.post(f"{path}/rotate")).json()
    await client.delete(path)

    found = await entries(client)

    assert [(one["action"], one["subject"], one["detail"]["name"]) for one in reversed(found)] == [
        ("create_api_key", made["id"], "till"),
        ("update_api_key", made["id"], "desk"),
        ("rotate_api_key", newer["id"], "desk"),
        ("revoke_api_key", made["id"], "desk"),
    ]
    assert found[1]["detail"]["replaces_id"] == made["id"]


async def test_sign_ins_and_password_changes_have_entries(client: httpx.AsyncClient) -> None:
    user = {"email": "ada@firm.example.com", "name": "Ada", "role": "owner"}
    invited = (await client.post("/v1/users", json=user)).json()
    good = {"username": user["email"], "password": "a long enough phrase"}
    accepted = {"token": invited["invitation_token"], "password": good["password"]}
    await client.post("/v1/auth/invitations/accept", json=accepted)
    await client.post("/v1/auth/token", data={**good, "password": "a wrong one"})
    sign_in_response = await client.post("/v1/auth/token", data=good)
    key = {"Authorization": f"Bearer {sign_in_response.json()['access_token']}"}
    await client.post("/v1/auth/sign-out-everywhere", headers=key)

    found = await entries(client, subject=invited["id"])

    assert [(entry["action"], entry["decision"]) for entry in reversed(found)] == [
        ("invite_user", None),
        ("accept_invitation", "set_password"),
        ("sign_in", None),
        ("sign_out_everywhere", None),
    ]
    assert {entry["actor"] for entry in found[:3]} == {user["email"]}


async def test_entries_are_filtered_by_actor_action_and_time_in_pages(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    other = await key_with(Scope.CONTACTS_WRITE)
    for number in range(3):
        await client.post("/v1/contacts", json={"phone": f"617-555-014{number}"})
    await client.post("/v1/lists", json={"name": "Porch"}, headers=other)
    # The last entry is left out: it is about the API key, which the test itself created.
    expected = (await entries(client))[:-1]
    (other_entry,) = await entries(client, actor="scoped")

    first = (await client.get("/v1/audit-log", params={"limit": 3})).json()
    query = {"limit": 3, "cursor": first["next_cursor"]}
    rest = (await client.get("/v1/audit-log", params=query)).json()

    assert [entry["action"] for entry in expected] == ["create_list", *["create_contact"] * 3]
    assert [*first["data"], *rest["data"]][:-1] == expected
    assert rest["next_cursor"] is None
    assert await entries(client, actor_id=other_entry["actor_id"]) == [other_entry]
    assert await entries(client, action="create_contact") == expected[1:]
    assert await entries(client, created_after="2999-01-01T00:00:00Z") == []
    assert (await entries(client, created_before="2999-01-01T00:00:00Z"))[:-1] == expected
    foreign = await client.get("/v1/audit-log", params={**query, "action": "create_list"})
    assert foreign.json()["code"] == "invalid_cursor"


async def test_change_and_its_entry_are_one_transaction(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    async with committed_db.begin() as connection:
        await connection.execute(
            text("ALTER TABLE audit_log ADD CONSTRAINT none CHECK (action <> 'create_contact')")
        )
    try:
        refused = await committed_client.post("/v1/contacts", json=PERSON)
        kept = await committed_client.get("/v1/contacts")
    finally:
        async with committed_db.begin() as connection:
            await connection.execute(text("ALTER TABLE audit_log DROP CONSTRAINT none"))

    assert refused.status_code >= 500
    assert kept.json()["data"] == []


async def _add_entry(session: AsyncSession, *, age: timedelta, now: datetime = NOW) -> None:
    await session.execute(
        text(
            "INSERT INTO audit_log (actor, action, subject, created_at) VALUES ('a', 'b', '', :at)"
        ),
        {"at": now - age},
    )


@pytest.mark.parametrize(("kept", "left"), [(500, 2), (400, 1), (10, 1)])
async def test_old_entries_are_deleted_after_the_configured_time(
    session: AsyncSession, new_uow: Callable[[], UnitOfWork], kept: int, left: int
) -> None:
    for days in (1, 450, 800):
        await _add_entry(session, age=timedelta(days=days))

    async with new_uow() as uow:
        removed = await audit_log.clean_up(uow, kept_for=timedelta(days=kept), now=NOW)

    found = await session.scalar(text("SELECT count(*) FROM audit_log"))
    assert (removed, found) == (3 - left, left)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM audit_log", "UPDATE audit_log SET actor = 'nobody'"]
)
async def test_the_database_refuses_changes_to_the_last_year(
    session: AsyncSession, statement: str
) -> None:
    await _add_entry(session, age=timedelta(days=300), now=clock.now())

    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text(statement))


async def test_only_admins_read_the_audit_log(client: httpx.AsyncClient, key_with: KeyWith) -> None:
    answer = await client.get("/v1/audit-log", headers=await key_with(Scope.OPERATIONS))

    assert answer.status_code == 403
