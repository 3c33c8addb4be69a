"""Tests of the user routes: who may manage users, and at least one owner always remains."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.routers.identity.test_auth import (
    EMAIL,
    OTHER,
    PASSWORD,
    bearer,
    create_active_user,
    invite_user,
    sign_in,
)

from crm_api.domain.alerts.outgoing_mail import OutgoingMail
from crm_api.domain.identity.api_keys.models import Scope

KeyWith = Callable[..., Awaitable[dict[str, str]]]
UNKNOWN_USER = "/v1/users/00000000-0000-7000-8000-000000000000"
ROUTES = [
    ("GET", "/v1/users"),
    ("POST", "/v1/users"),
    ("GET", UNKNOWN_USER),
    ("PATCH", UNKNOWN_USER),
    ("POST", f"{UNKNOWN_USER}/invite"),
    ("POST", f"{UNKNOWN_USER}/password-reset"),
    ("POST", f"{UNKNOWN_USER}/sign-out"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_admins_manage_users(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str
) -> None:
    others = await key_with(*(scope for scope in Scope if scope is not Scope.ADMIN))

    refused = await client.request(method, path, json={}, headers=others)
    del client.headers["Authorization"]
    unknown = await client.request(method, path, json={})

    assert (refused.status_code, unknown.status_code) == (403, 401)


@pytest.mark.parametrize(
    ("method", "path"), [route for route in ROUTES if UNKNOWN_USER in route[1]]
)
async def test_unknown_user_is_not_found(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, json={})

    assert answer.json()["code"] == "user_not_found"


async def test_invitation_of_a_disabled_user_is_refused_with_advice(
    client: httpx.AsyncClient,
) -> None:
    user = await invite_user(client)
    await client.patch(f"/v1/users/{user['id']}", json={"status": "disabled"})

    answer = await client.post(f"/v1/users/{user['id']}/invite")

    assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")
    assert "Enable a disabled user with PATCH /v1/users/{id}" in answer.json()["detail"]


async def test_an_address_belongs_to_one_user(client: httpx.AsyncClient) -> None:
    user = await invite_user(client)

    again = await client.post(
        "/v1/users", json={"email": EMAIL.upper(), "name": "Other", "role": "viewer"}
    )

    assert again.status_code == 409
    assert again.json()["code"] == "user_exists"
    assert again.json()["user_id"] == user["id"]


async def test_an_invited_user_is_listed_and_invited_again(client: httpx.AsyncClient) -> None:
    user = await invite_user(client)

    again = await client.post(f"/v1/users/{user['id']}/invite")
    void = await client.post(
        "/v1/auth/invitations/accept",
        json={"token": user["invitation_token"], "password": PASSWORD},
    )
    good = await client.post(
        "/v1/auth/invitations/accept",
        json={"token": again.json()["invitation_token"], "password": PASSWORD},
    )
    late = await client.post(f"/v1/users/{user['id']}/invite")

    assert (void.status_code, good.status_code, late.status_code) == (422, 200, 404)
    listed: Any = (await client.get("/v1/users")).json()["data"]
    assert [(one["email"], one["status"]) for one in listed] == [(EMAIL, "active")]


async def test_disabled_user_loses_access_at_once(client: httpx.AsyncClient) -> None:
    await create_active_user(client, email="boss@firm.example.com")
    user = await create_active_user(client)
    headers = bearer(await sign_in(client))

    await client.patch(f"/v1/users/{user['id']}", json={"status": "disabled"})

    assert (await client.get("/v1/auth/me", headers=headers)).status_code == 401
    assert (await sign_in(client)).status_code == 401
    back = await client.patch(f"/v1/users/{user['id']}", json={"status": "active"})
    assert back.json()["status"] == "active"
    assert (await sign_in(client)).status_code == 200


async def test_invitation_does_not_activate_a_disabled_user(
    client: httpx.AsyncClient,
) -> None:
    user = await invite_user(client)
    accept = {"token": user["invitation_token"], "password": PASSWORD}
    await client.patch(f"/v1/users/{user['id']}", json={"status": "disabled"})

    refused = await client.post("/v1/auth/invitations/accept", json=accept)
    back = await client.patch(f"/v1/users/{user['id']}", json={"status": "active"})
    accepted = await client.post("/v1/auth/invitations/accept", json=accept)

    assert refused.status_code == 422
    assert refused.json()["code"] == "ticket_over"
    assert (back.json()["status"], accepted.json()["status"]) == ("invited", "active")


async def test_agent_lists_the_colleagues_who_can_be_assigned(client: httpx.AsyncClient) -> None:
    agent = await create_active_user(client, role="agent")
    await invite_user(client, email="new@firm.example.com")
    gone = await create_active_user(client, email="gone@firm.example.com", role="agent")
    await client.patch(f"/v1/users/{gone['id']}", json={"status": "disabled"})
    headers = bearer(await sign_in(client))

    found = await client.get("/v1/colleagues", headers=headers)
    bad = await client.get("/v1/colleagues", headers=headers, params={"cursor": "x"})

    assert found.json()["data"] == [{"id": agent["id"], "email": EMAIL, "name": "Olga"}]
    assert (bad.status_code, bad.json()["code"]) == (422, "invalid_cursor")


async def test_new_role_applies_from_the_next_request(client: httpx.AsyncClient) -> None:
    await create_active_user(client, email="boss@firm.example.com")
    user = await create_active_user(client)
    headers = bearer(await sign_in(client))

    await client.patch(f"/v1/users/{user['id']}", json={"role": "viewer"})

    assert (await client.get("/v1/users", headers=headers)).status_code == 403


async def test_empty_change_returns_the_unchanged_user(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    (user,) = (await client.get("/v1/users")).json()["data"]

    answer = await client.patch(f"/v1/users/{user['id']}", json={})

    assert (answer.status_code, answer.json()) == (200, user)


@pytest.mark.parametrize("change", [{"role": "manager"}, {"status": "disabled"}])
async def test_last_owner_cannot_be_demoted_or_disabled(
    client: httpx.AsyncClient, change: dict[str, str]
) -> None:
    user = await create_active_user(client)
    # This owner has not accepted the invitation, so there is still only one active owner.
    await invite_user(client, email="other@firm.example.com")

    refused = await client.patch(f"/v1/users/{user['id']}", json=change)
    renamed = await client.patch(f"/v1/users/{user['id']}", json={"name": "Olga O."})

    assert refused.status_code == 409
    assert refused.json()["code"] == "last_owner"
    assert renamed.json()["name"] == "Olga O."


async def test_one_of_two_owners_demoted_at_once_stays_owner(
    committed_client: httpx.AsyncClient,
) -> None:
    users = [
        await create_active_user(committed_client, email=f"owner{number}@firm.example.com")
        for number in (1, 2)
    ]

    answers = await asyncio.gather(
        *(
            committed_client.patch(f"/v1/users/{user['id']}", json={"role": "agent"})
            for user in users
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_secrets_in_stored_idempotent_responses_are_encrypted(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    key = {"Idempotency-Key": "make-a-key"}
    body = {"name": "reports", "scopes": ["contacts:read"]}

    first = await client.post("/v1/api-keys", json=body, headers=key)
    again = await client.post("/v1/api-keys", json=body, headers=key)

    kept = await session.scalar(text("SELECT body FROM idempotency_key"))
    assert again.json()["key"] == first.json()["key"]
    assert first.json()["key"].encode() not in kept


async def test_owner_creates_a_reset_link_without_mail_set_up(
    client: httpx.AsyncClient,
) -> None:
    user = await create_active_user(client)
    headers = bearer(await sign_in(client))

    way = await client.get("/v1/auth/password-reset", headers={"Authorization": ""})
    made = await client.post(f"/v1/users/{user['id']}/password-reset")
    done = await client.post(
        "/v1/auth/password-reset/confirm",
        json={"token": made.json()["reset_token"], "password": OTHER},
    )

    assert way.json() == {"by_mail": False}
    assert (made.status_code, done.status_code) == (202, 200)
    assert (await client.get("/v1/auth/me", headers=headers)).status_code == 401
    assert (await sign_in(client, password=OTHER)).status_code == 200
    log = (await client.get("/v1/audit-log", params={"action": "make_reset_link"})).json()["data"]
    assert [one["subject"] for one in log] == [user["id"]]


async def test_invited_user_has_no_password_to_reset(client: httpx.AsyncClient) -> None:
    user = await invite_user(client)

    answer = await client.post(f"/v1/users/{user['id']}/password-reset")

    assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")
    assert "/invite" in answer.json()["detail"]


async def test_link_is_mailed_where_mail_is_set_up(
    client: httpx.AsyncClient, app: Any, session: AsyncSession
) -> None:
    user = await create_active_user(client)
    state = app.state.crm
    settings = state.settings.model_copy(update={"smtp_url": SecretStr("smtp://mail.example.com")})
    app.state.crm = replace(state, settings=settings)

    way = await client.get("/v1/auth/password-reset")
    made = await client.post(f"/v1/users/{user['id']}/password-reset")

    mails = list(await session.scalars(select(OutgoingMail.recipient)))
    assert (way.json(), made.json()) == ({"by_mail": True}, {"reset_token": None})
    assert mails == [EMAIL]
