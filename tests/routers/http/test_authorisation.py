"""Each operation accepts only callers with the right scope or role, and no other callers."""

from collections.abc import Callable
from uuid import UUID

import httpx
from fastapi import FastAPI
from tests.conftest import NOW
from tests.routers.scopes import AUTHENTICATED, OPEN, REQUIRED_SCOPES, USERS

from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.users import sessions
from crm_api.domain.identity.users.models import MASKED, SCOPES_OF, User, UserRole, UserStatus
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

STREAMS = {"GET /v1/events", "GET /v1/campaigns/{campaign_id}/events"}
"""Operations that are event streams. They do not end, so only refused requests are tested."""
SIGNED_LINKS = {"GET /v1/media/{media_id}"}
"""Operations that also accept a signed link instead of credentials.

The tests try these operations only without credentials and without a signed link.
"""
FORMS = {"POST /v1/do-not-contact-uploads", "POST /v1/media"}
"""Operations that expect a form. They refuse a JSON body before they check the credentials."""
SOME_ID = str(UUID(int=7))
REFUSED = {401, 403}


def operations(app: FastAPI) -> set[str]:
    paths = app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, known in paths.items() for method in known}


def test_every_operation_has_an_entry(app: FastAPI) -> None:
    assert operations(app) == set(REQUIRED_SCOPES)


def test_openapi_document_has_the_same_scopes(app: FastAPI) -> None:
    documented = {
        f"{method.upper()} {path}": [
            one["bearer"] for one in operation["security"][:1] if "bearer" in one
        ]
        for path, known in app.openapi()["paths"].items()
        for method, operation in known.items()
    }

    assert documented == {
        name: [] if required == OPEN else [[required.value] if isinstance(required, Scope) else []]
        for name, required in REQUIRED_SCOPES.items()
    }


def method_and_path(name: str) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    for part in path.split("/"):
        if part.startswith("{"):
            path = path.replace(part, "+16175550142" if "phone" in part else SOME_ID)
    return method, path


async def _credentials(
    new_uow: Callable[[], UnitOfWork],
) -> dict[str, tuple[str, frozenset[Scope], bool]]:
    """Return, for each caller, its token, its scopes, and whether the token belongs to a user."""
    found: dict[str, tuple[str, frozenset[Scope], bool]] = {}
    async with new_uow() as uow:
        for scope in Scope:
            _, key = await access.create_api_key(
                uow, name=scope, scopes=[scope], maker=access.COMMAND_LINE, now=NOW
            )
            found[scope] = (key, frozenset({scope}), False)
        for role in UserRole:
            user = User(
                email=f"{role}@firm.example.com",
                name=role,
                role=role,
                status=UserStatus.ACTIVE,
                password_hash="none",  # noqa: S106 - no password has this hash
                created_at=NOW,
                updated_at=NOW,
            )
            uow.session.add(user)
            await uow.session.flush()
            tokens = await sessions.begin_session(
                uow,
                user_id=user.id,
                password_hash="none",  # noqa: S106 - no password has this hash
                now=clock.now(),
            )
            found[role] = (tokens.access, frozenset(SCOPES_OF[role]), True)
    return found


def _is_allowed(required: Scope | str, scopes: frozenset[Scope], *, is_user: bool) -> bool:
    if required == USERS:
        return is_user
    if required in {OPEN, AUTHENTICATED}:
        return True
    return required in scopes or Scope.ADMIN in scopes


async def test_each_operation_accepts_exactly_the_allowed_callers(
    client: httpx.AsyncClient, new_uow: Callable[[], UnitOfWork]
) -> None:
    del client.headers["Authorization"]
    credentials = await _credentials(new_uow)
    mistakes: list[str] = []
    for name, required in REQUIRED_SCOPES.items():
        method, path = method_and_path(name)
        takes_json = method in {"POST", "PATCH"} and name not in FORMS
        body: dict[str, str] | None = {} if takes_json else None
        if required != OPEN:
            without = await client.request(method, path, json=body)
            if without.status_code != 401:
                mistakes.append(f"{name} without credentials: {without.status_code}")
        if required == OPEN or name in SIGNED_LINKS | {"POST /v1/auth/sign-out-everywhere"}:
            continue
        for who, (token, scopes, is_user) in credentials.items():
            allowed = _is_allowed(required, scopes, is_user=is_user)
            allowed = allowed or (who == UserRole.MARKETER and name in MASKED)
            if allowed and name in STREAMS:
                continue
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.request(method, path, json=body, headers=headers)
            if (answer.status_code not in REFUSED) != allowed:
                mistakes.append(f"{name} as {who}: {answer.status_code}")

    assert mistakes == []
