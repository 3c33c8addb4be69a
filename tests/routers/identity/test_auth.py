"""Tests of sign-in, token refresh, sign-out, and passwords."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.alerts.models import Alert
from crm_api.domain.alerts.outgoing_mail import OutgoingMail
from crm_api.domain.identity.users.credentials import PasswordHasher
from crm_api.domain.identity.users.models import RefreshToken, UserSession
from crm_api.platform import clock
from crm_api.routers.http.deps import AppState

EMAIL, PASSWORD = "olga@firm.example.com", "correct horse battery"
GUESS, OTHER = "a guess", "another good one"
PERSON = {"email": EMAIL, "name": "Olga", "role": "owner"}


async def invite_user(client: httpx.AsyncClient, **changes: str) -> Any:
    made = await client.post("/v1/users", json=PERSON | changes)
    assert made.status_code == 201, made.text
    return made.json()


async def create_active_user(client: httpx.AsyncClient, **changes: str) -> Any:
    """Invite a user and accept the invitation with a password; return the user."""
    user = await invite_user(client, **changes)
    accepted = await client.post(
        "/v1/auth/invitations/accept",
        json={"token": user["invitation_token"], "password": PASSWORD},
    )
    assert accepted.status_code == 200, accepted.text
    return accepted.json()


async def sign_in(client: httpx.AsyncClient, **form: str) -> httpx.Response:
    return await client.post(
        "/v1/auth/token", data={"username": EMAIL, "password": PASSWORD} | form
    )


def bearer(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_user_signs_in_and_reads_the_own_account(client: httpx.AsyncClient) -> None:
    user = await create_active_user(client, role="agent")

    answer = await sign_in(client)
    me = await client.get("/v1/auth/me", headers=bearer(answer))

    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["token_type"] == "bearer"  # noqa: S105 - the type of the token
    assert answer.json()["expires_in"] == 900
    assert me.json() == {
        "kind": "user",
        "id": user["id"],
        "name": EMAIL,
        "email": EMAIL,
        "role": "agent",
        "scopes": sorted(answer.json()["scope"].split()),
    }


async def test_api_key_reads_its_own_account(client: httpx.AsyncClient) -> None:
    me = await client.get("/v1/auth/me")

    assert me.json()["kind"] == "api_key"
    assert me.json()["scopes"] == ["admin"]


async def test_role_limits_the_operations_of_a_user(client: httpx.AsyncClient) -> None:
    await create_active_user(client, role="viewer")
    headers = bearer(await sign_in(client))

    seen = await client.get("/v1/contacts", headers=headers)
    made = await client.post("/v1/contacts", json={"phone": "617-555-0142"}, headers=headers)
    users = await client.get("/v1/users", headers=headers)

    assert (seen.status_code, made.status_code, users.status_code) == (200, 403, 403)


@pytest.mark.parametrize(
    "form",
    [
        {"password": "wrong"},
        {"username": "nobody@firm.example.com"},
        {"username": ""},
        {"password": ""},
        {"password": PASSWORD + "x" * 300},
    ],
)
async def test_all_wrong_credentials_get_the_same_refusal(
    client: httpx.AsyncClient, form: dict[str, str]
) -> None:
    await create_active_user(client)

    refused = await sign_in(client, **form)

    assert refused.status_code == 401
    assert refused.json()["code"] == "wrong_credentials"


async def test_email_address_is_accepted_in_any_case(client: httpx.AsyncClient) -> None:
    await create_active_user(client)

    assert (await sign_in(client, username=EMAIL.upper())).status_code == 200


async def test_unsupported_grant_type_is_refused(client: httpx.AsyncClient) -> None:
    refused = await sign_in(client, grant_type="client_credentials")

    assert refused.json()["code"] == "unsupported_grant_type"


async def test_sign_in_is_blocked_after_repeated_failures(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    for _ in range(6):
        assert (await sign_in(client, password=GUESS)).status_code == 401

    right = await sign_in(client)

    assert right.status_code == 429
    assert right.json()["code"] == "too_many_sign_ins"
    assert 0 < int(right.headers["retry-after"]) <= 31


async def test_successful_sign_in_clears_the_failures(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    for _ in range(4):
        await sign_in(client, password=GUESS)
    assert (await sign_in(client)).status_code == 200

    for _ in range(5):
        assert (await sign_in(client, password=GUESS)).status_code == 401


async def test_blocked_sign_in_works_again_after_the_wait(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_active_user(client)
    for _ in range(6):
        await sign_in(client, password=GUESS)
    await session.execute(
        text("UPDATE sign_in_throttle SET blocked_until = blocked_until - interval '31 s'")
    )
    await session.commit()

    assert (await sign_in(client)).status_code == 200


async def test_refresh_token_can_be_used_once(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_active_user(client)
    first = await sign_in(client)
    old = {"refresh_token": first.json()["refresh_token"]}

    renewed = await client.post("/v1/auth/refresh", json=old)
    assert (await client.get("/v1/auth/me", headers=bearer(renewed))).status_code == 200
    assert (await client.get("/v1/auth/me", headers=bearer(first))).status_code == 401

    await session.execute(update(RefreshToken).values(used_at=clock.now() - timedelta(seconds=11)))
    await session.commit()
    stolen = await client.post("/v1/auth/refresh", json=old)

    assert stolen.status_code == 401
    assert stolen.json()["code"] == "session_over"
    assert (await client.get("/v1/auth/me", headers=bearer(renewed))).status_code == 401
    assert await session.scalar(select(Alert.kind)) == "refresh_token_reused"


async def test_two_tabs_can_refresh_at_the_same_time(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    old = {"refresh_token": (await sign_in(client)).json()["refresh_token"]}

    answers = [await client.post("/v1/auth/refresh", json=old) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_tokens_expire(client: httpx.AsyncClient, session: AsyncSession) -> None:
    await create_active_user(client)
    answer = await sign_in(client)
    await session.execute(update(UserSession).values(access_expires_at=clock.now()))
    await session.commit()
    assert (await client.get("/v1/auth/me", headers=bearer(answer))).status_code == 401

    await session.execute(update(UserSession).values(expires_at=clock.now()))
    await session.commit()
    renewed = await client.post(
        "/v1/auth/refresh", json={"refresh_token": answer.json()["refresh_token"]}
    )

    assert renewed.status_code == 401


async def test_refresh_by_cookie_needs_the_csrf_token(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    answer = await client.post(
        "/v1/auth/token?cookie=true", data={"username": EMAIL, "password": PASSWORD}
    )
    cookies = answer.headers.get_list("set-cookie")
    assert answer.json()["refresh_token"] is None
    assert "HttpOnly" in cookies[0]
    assert "SameSite=strict" in cookies[0]
    assert "Path=/v1/auth" in cookies[0]
    csrf = client.cookies["crm_csrf"]

    foreign = await client.post("/v1/auth/refresh")
    own = await client.post("/v1/auth/refresh", headers={"X-CSRF-Token": csrf})

    assert foreign.json()["code"] == "csrf_token_missing"
    assert own.status_code == 200
    assert own.json()["refresh_token"] is None
    out = await client.post(
        "/v1/auth/sign-out", headers={"X-CSRF-Token": client.cookies["crm_csrf"]}
    )
    assert out.status_code == 204
    assert (await client.get("/v1/auth/me", headers=bearer(own))).status_code == 401


async def test_empty_csrf_cookie_is_refused(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    await client.post("/v1/auth/token?cookie=true", data={"username": EMAIL, "password": PASSWORD})
    del client.cookies["crm_csrf"]

    refused = await client.post("/v1/auth/refresh", headers={"X-CSRF-Token": ""})

    assert refused.status_code == 403


async def test_sign_out_everywhere_ends_all_sessions(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    phone, desk = await sign_in(client), await sign_in(client)

    done = await client.post("/v1/auth/sign-out-everywhere", headers=bearer(phone))

    assert done.status_code == 204
    for answer in (phone, desk):
        assert (await client.get("/v1/auth/me", headers=bearer(answer))).status_code == 401


async def test_sign_out_with_an_api_key_is_refused(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/auth/sign-out-everywhere")

    assert refused.status_code == 403
    assert refused.json()["code"] == "user_needed"


async def test_changing_a_password_needs_the_current_one(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    headers = bearer(await sign_in(client))
    change = {"current_password": "wrong", "password": OTHER}

    refused = await client.post("/v1/auth/password", json=change, headers=headers)
    done = await client.post(
        "/v1/auth/password", json=change | {"current_password": PASSWORD}, headers=headers
    )

    assert (refused.status_code, done.status_code) == (401, 204)
    assert (await client.get("/v1/auth/me", headers=headers)).status_code == 401
    assert (await sign_in(client)).status_code == 401
    assert (await sign_in(client, password=OTHER)).status_code == 200


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", "x" * 257])
async def test_weak_password_is_refused_and_the_invitation_stays_valid(
    client: httpx.AsyncClient, password: str
) -> None:
    token = (await invite_user(client))["invitation_token"]

    weak = await client.post(
        "/v1/auth/invitations/accept", json={"token": token, "password": password}
    )
    good = await client.post(
        "/v1/auth/invitations/accept", json={"token": token, "password": PASSWORD}
    )

    assert weak.json()["code"] == "weak_password"
    assert good.status_code == 200


async def test_invitation_is_valid_once_and_for_a_week(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_active_user(client)
    late = await invite_user(client, email="late@firm.example.com")
    await session.execute(text("UPDATE user_ticket SET expires_at = now()"))
    await session.commit()

    refused = await client.post(
        "/v1/auth/invitations/accept",
        json={"token": late["invitation_token"], "password": PASSWORD},
    )

    assert refused.status_code == 422
    assert refused.json()["code"] == "ticket_over"


async def _mails(app_state: AppState, session: AsyncSession) -> list[str]:
    found = await session.scalars(select(OutgoingMail))
    return [mailbox.read_body(mail, secret=app_state.secret) for mail in found]


async def test_forgotten_password_is_reset_by_mail(
    client: httpx.AsyncClient, app: Any, session: AsyncSession
) -> None:
    await create_active_user(client)
    headers = bearer(await sign_in(client))

    asked = await client.post("/v1/auth/password-reset", json={"email": EMAIL})
    nobody = await client.post("/v1/auth/password-reset", json={"email": "nobody@firm.example.com"})
    again = await client.post("/v1/auth/password-reset", json={"email": EMAIL})
    mails = await _mails(app.state.crm, session)
    token = mails[0].partition('"token": "')[2].partition('"')[0]
    done = await client.post(
        "/v1/auth/password-reset/confirm", json={"token": token, "password": OTHER}
    )

    assert (asked.status_code, nobody.status_code, again.status_code) == (202, 202, 202)
    assert asked.content == nobody.content
    assert len(mails) == 1
    assert done.status_code == 200
    assert (await client.get("/v1/auth/me", headers=headers)).status_code == 401
    assert (await sign_in(client, password=OTHER)).status_code == 200


async def test_the_database_contains_no_token(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_active_user(client)
    answer = (await sign_in(client)).json()
    await client.post("/v1/auth/password-reset", json={"email": EMAIL})

    rows = await session.scalars(
        text(
            "SELECT row_to_json(s)::text FROM user_session s UNION ALL "
            "SELECT row_to_json(r)::text FROM refresh_token r UNION ALL "
            "SELECT row_to_json(t)::text FROM user_ticket t UNION ALL "
            "SELECT row_to_json(m)::text FROM outgoing_mail m UNION ALL "
            "SELECT row_to_json(u)::text FROM app_user u"
        )
    )

    all_rows = "\n".join(rows)
    hexed = (answer["access_token"].encode().hex(), answer["refresh_token"].encode().hex())
    for secret in (answer["access_token"], answer["refresh_token"], PASSWORD, *hexed, "crmt_"):
        assert secret not in all_rows


class CountingHasher(PasswordHasher):
    """Password hasher that counts the passwords that it hashes."""

    def __init__(self) -> None:
        super().__init__()
        self.hashed = 0

    async def hash_password(self, password: str) -> str:
        self.hashed += 1
        return await super().hash_password(password)


@pytest.mark.parametrize("path", ["password-reset/confirm", "invitations/accept"])
async def test_invalid_link_causes_no_password_hashing(
    client: httpx.AsyncClient, app: FastAPI, path: str
) -> None:
    hasher = CountingHasher()
    app.state.crm = replace(app.state.crm, passwords=hasher)
    del client.headers["Authorization"]

    refused = await client.post(
        f"/v1/auth/{path}", json={"token": "crmt_" + "A" * 43, "password": PASSWORD}
    )

    assert refused.json()["code"] == "ticket_over"
    assert hasher.hashed == 0


async def test_too_many_concurrent_password_checks_get_503(
    committed_client: httpx.AsyncClient, committed_app: FastAPI
) -> None:
    committed_app.state.crm = replace(
        committed_app.state.crm, passwords=PasswordHasher(at_once=1, wait_seconds=0.001)
    )

    answers = await asyncio.gather(
        *(sign_in(committed_client, username=f"{number}@firm.example.com") for number in range(3))
    )

    assert sorted(answer.status_code for answer in answers) == [401, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.json()["code"] == "passwords_busy"
    assert refused.headers["retry-after"] == "5"


async def test_token_requests_are_accepted_as_json_and_as_a_form(client: httpx.AsyncClient) -> None:
    await create_active_user(client)
    password = {"username": EMAIL, "password": PASSWORD}

    answers = [
        first := await client.post("/v1/auth/token", json=password),
        second := await client.post(
            "/v1/auth/token",
            json={
                "grant_type": "refresh_token",
                "refresh_token": first.json()["refresh_token"],
                "client_id": "ignored",
            },
        ),
        third := await client.post(
            "/v1/auth/refresh", data={"refresh_token": second.json()["refresh_token"]}
        ),
        fourth := await client.post(
            "/v1/auth/refresh", json={"refresh_token": third.json()["refresh_token"]}
        ),
        await client.post(
            "/v1/auth/sign-out", data={"refresh_token": fourth.json()["refresh_token"]}
        ),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 204]
    assert (await client.get("/v1/auth/me", headers=bearer(fourth))).status_code == 401


@pytest.mark.parametrize(
    "body",
    [b"username=%FF", b"&".join(b"a%d=1" % number for number in range(50)), b"username"],
)
async def test_malformed_form_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = await client.post("/v1/auth/token", content=body, headers=headers)

    assert answer.status_code in {401, 422}


async def test_unknown_field_of_a_refresh_is_refused(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/auth/refresh", data={"token": "x"})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/token"
