"""API keys: made, recognised, revoked."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.access import queries
from crm_api.domain.access.errors import (
    ApiKeyNotFoundError,
    InvalidCredentialsError,
)
from crm_api.domain.access.models import ApiKey, Scope
from crm_api.domain.errors import FieldProblem, InvalidError
from crm_api.domain.paging import Cursors, Page
from crm_api.ids import new_id

KEY_PREFIX = "crm_"
SHOWN_CHARACTERS = 8


class UnknownScopeError(InvalidError):
    """A scope that does not exist."""

    code = "unknown_scope"
    title = "Unknown scope"


def parse_scopes(names: Iterable[str]) -> list[Scope]:
    """Read scope names.

    Raises:
        UnknownScopeError: One of them does not exist, or there is none at all.
    """
    wanted = [name.strip() for name in names if name.strip()]
    known = {scope.value: scope for scope in Scope}
    problems = [
        FieldProblem(
            pointer=f"/scopes/{position}",
            code="unknown_scope",
            detail=f"{name[:40]!r} is no scope; there are: {', '.join(known)}.",
        )
        for position, name in enumerate(wanted)
        if name not in known
    ]
    if not wanted:
        problems = [FieldProblem(pointer="/scopes", code="empty", detail="Name a scope or more.")]
    if problems:
        raise UnknownScopeError(problems[0].detail, errors=problems)
    return list(dict.fromkeys(known[name] for name in wanted))


def hash_key(key: str) -> bytes:
    """Return what is stored of a key; a random key needs no slow hash."""
    return hashlib.sha256(key.encode()).digest()


async def create_key(
    uow: UnitOfWork, *, name: str, scopes: Iterable[str], now: datetime
) -> tuple[ApiKey, str]:
    """Make a key and return it with its text, which is shown only this once.

    Raises:
        UnknownScopeError: A scope that does not exist, or none.
    """
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    key = await _store(uow, name=name, scopes=parse_scopes(scopes), text=text, now=now)
    if key is None:  # pragma: no cover - 256 random bits met twice
        raise RuntimeError("A new key has the text of an old one.")
    return key, text


async def ensure_admin_key(uow: UnitOfWork, *, text: str, now: datetime) -> None:
    """Accept this text as an admin key; safe to repeat by any number of processes."""
    await _store(uow, name="bootstrap", scopes=[Scope.ADMIN], text=text, now=now)


async def _store(
    uow: UnitOfWork, *, name: str, scopes: list[Scope], text: str, now: datetime
) -> ApiKey | None:
    values: dict[str, object] = {
        "id": new_id(),
        "name": name,
        "key_hash": hash_key(text),
        "prefix": text[:SHOWN_CHARACTERS],
        "scopes": [scope.value for scope in scopes],
        "created_at": now,
    }
    return await queries.insert_key(uow.session, values=values)


async def authenticate(uow: UnitOfWork, *, text: str) -> ApiKey:
    """Find the key that was sent.

    Raises:
        InvalidCredentialsError: It is not known, or was revoked.
    """
    key = await queries.find_live_key(uow.session, key_hash=hash_key(text))
    if key is None:
        raise InvalidCredentialsError("This API key is not known or was revoked.")
    return key


async def list_keys(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[ApiKey]:
    """List live keys, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("api_keys")
    after = cursors.read(cursor)
    rows = await queries.list_keys(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def revoke_key(uow: UnitOfWork, *, key_id: UUID, now: datetime) -> None:
    """Revoke a key at once.

    Raises:
        ApiKeyNotFoundError: There is no live key with this id.
    """
    if not await queries.revoke_key(uow.session, key_id=key_id, now=now):
        raise ApiKeyNotFoundError("No live API key has this id.")
