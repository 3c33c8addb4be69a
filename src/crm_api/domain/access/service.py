"""API keys: made, recognised, changed, rotated, revoked."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.access import queries
from crm_api.domain.access.errors import (
    ApiKeyExpiredError,
    ApiKeyNotFoundError,
    ApiKeyRevokedError,
    ApiKeyRotatedError,
    ExpiryInThePastError,
    InvalidCredentialsError,
    ScopeNotHeldError,
    UnknownScopeError,
)
from crm_api.domain.access.key_text import SHOWN_CHARACTERS, hash_key, is_miscopied, new_key
from crm_api.domain.access.models import ApiKey, KeyStatus, Scope
from crm_api.domain.access.schemas import ApiKeyUpdate
from crm_api.domain.errors import FieldProblem
from crm_api.domain.operations import service as operations
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.schemas import format_instant
from crm_api.hot_reads import HotReads
from crm_api.ids import new_id


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Who makes a key: their name, and the scopes that they may give away."""

    name: str
    scopes: frozenset[str]


COMMAND_LINE = Maker(name="command line", scopes=frozenset({Scope.ADMIN}))
"""Whoever runs commands has the database anyway."""


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    """A key that was recognised."""

    id: UUID
    name: str
    scopes: frozenset[str]


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


async def create_key(
    uow: UnitOfWork,
    *,
    name: str,
    scopes: Iterable[str],
    maker: Maker,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its text, which is shown only this once.

    Raises:
        UnknownScopeError: A scope that does not exist, or none.
        ScopeNotHeldError: A scope that its maker lacks.
        ExpiryInThePastError: It would be over already.
    """
    granted = parse_scopes(scopes)
    lacking = [scope for scope in granted if scope not in maker.scopes]
    if lacking and Scope.ADMIN not in maker.scopes:
        raise ScopeNotHeldError(
            f"You lack the scope {lacking[0]}, so you cannot grant it. Leave it out, or ask "
            "somebody who has it.",
            required_scope=lacking[0].value,
        )
    _refuse_past(expires_at, now)
    text = new_key()
    values = {"expires_at": expires_at, "created_by": maker.name}
    key = await _store(uow, text, name=name, scopes=granted, now=now, **values)
    if key is None:  # pragma: no cover - 238 random bits met twice
        raise RuntimeError("A new key has the text of an old one.")
    await _audit(uow, "create_api_key", key, maker=maker, now=now)
    return key, text


async def ensure_admin_key(uow: UnitOfWork, *, text: str, now: datetime) -> None:
    """Accept this text as an admin key; safe to repeat by any number of processes."""
    await _store(uow, text, name="bootstrap", scopes=[Scope.ADMIN], now=now)


async def _store(
    uow: UnitOfWork,
    text: str,
    *,
    name: str,
    scopes: Iterable[str],
    now: datetime,
    **values: object,
) -> ApiKey | None:
    values |= {
        "id": new_id(),
        "name": name,
        "key_hash": hash_key(text),
        "prefix": text[:SHOWN_CHARACTERS],
        "scopes": [str(scope) for scope in scopes],
        "created_at": now,
    }
    return await queries.insert_key(uow.session, values=values)


async def authenticate(reads: HotReads, *, text: str, now: datetime) -> KnownKey:
    """Find the key that was sent.

    Raises:
        InvalidCredentialsError: It is not known.
        ApiKeyRevokedError: It was revoked.
        ApiKeyExpiredError: Its time is over.
    """
    found = await reads.one(queries.FIND, hash_key(text))
    if found is None:
        raise InvalidCredentialsError(
            "This API key is not known here, and looks miscopied: its checksum does not fit. Copy "
            "it again as a whole."
            if is_miscopied(text)
            else "This API key is not known here. Check that it belongs to this service, or make "
            "one: POST /v1/api-keys, or `crm-api keys create`."
        )
    key_id, name, scopes, expires_at, revoked_at = found
    if revoked_at is not None:
        raise ApiKeyRevokedError(
            f"This API key was revoked at {format_instant(revoked_at)}. Use another one, or make "
            "one: POST /v1/api-keys, or `crm-api keys create`."
        )
    if expires_at is not None and expires_at <= now:
        raise ApiKeyExpiredError(
            f"This API key expired at {format_instant(expires_at)}. Use the one that replaced it, "
            "or make one: POST /v1/api-keys, or `crm-api keys create`."
        )
    return KnownKey(id=key_id, name=name, scopes=frozenset(scopes))


async def get_key(uow: UnitOfWork, *, key_id: UUID) -> ApiKey:
    """Fetch a key, also one that is over.

    Raises:
        ApiKeyNotFoundError: There is none with this id.
    """
    key = await queries.find(uow.session, key_id=key_id)
    if key is None:
        raise ApiKeyNotFoundError("No API key has this id.")
    return key


async def list_keys(
    uow: UnitOfWork, *, status: KeyStatus | None, cursor: str | None, limit: int, now: datetime
) -> Page[ApiKey]:
    """List keys, newest first; without a status those that were not revoked.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("api_keys", status=status)
    rows = await queries.list_keys(
        uow.session, status=status, after=cursors.read(cursor), limit=limit + 1, now=now
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update_key(
    uow: UnitOfWork, changes: ApiKeyUpdate, *, key_id: UUID, maker: Maker, now: datetime
) -> ApiKey:
    """Change a key's name or expiry.

    Raises:
        ApiKeyNotFoundError: There is no key with this id, or it was revoked.
        ExpiryInThePastError: It would be over already; revoke it instead.
    """
    values = changes.model_dump(exclude_unset=True)
    _refuse_past(changes.expires_at, now)
    if not values:
        return await get_key(uow, key_id=key_id)
    key = _found(await queries.update_key(uow.session, key_id=key_id, values=values))
    await _audit(uow, "change_api_key", key, maker=maker, now=now)
    return key


async def rotate_key(
    uow: UnitOfWork, *, key_id: UUID, overlap: timedelta, maker: Maker, now: datetime
) -> tuple[ApiKey, str]:
    """Make a key like this one, which stays good for the overlap, and return it with its text.

    The new key is good for as long as the old one was made for.

    Raises:
        ApiKeyNotFoundError: There is no key with this id, or it was revoked.
        ApiKeyRotatedError: It has a successor already; ``successor_id`` says which.
    """
    before = _found(await queries.find(uow.session, key_id=key_id))
    lasts = None if before.expires_at is None else before.expires_at - before.created_at
    old = _found(await queries.end_by(uow.session, key_id=key_id, at=now + overlap))
    text = new_key()
    key = await _store(
        uow,
        text,
        name=old.name,
        scopes=old.scopes,
        now=now,
        expires_at=None if lasts is None else now + lasts,
        replaces_id=old.id,
        created_by=maker.name,
    )
    if key is None:
        successor = await queries.find_successor(uow.session, key_id=key_id)
        raise ApiKeyRotatedError(
            "This key was rotated before; rotate its successor.", successor_id=str(successor)
        )
    await _audit(uow, "rotate_api_key", key, maker=maker, now=now)
    return key, text


async def revoke_key(uow: UnitOfWork, *, key_id: UUID, maker: Maker, now: datetime) -> None:
    """Revoke a key at once.

    Raises:
        ApiKeyNotFoundError: There is no key with this id, or it was revoked.
    """
    revoked = await queries.update_key(uow.session, key_id=key_id, values={"revoked_at": now})
    await _audit(uow, "revoke_api_key", _found(revoked), maker=maker, now=now)


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise ApiKeyNotFoundError("No API key has this id, or it was revoked.")
    return key


def _refuse_past(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        detail = "This is over already; give a later instant, or revoke the key."
        fault = FieldProblem(pointer="/expires_at", code="expiry_in_the_past", detail=detail)
        raise ExpiryInThePastError(detail, errors=[fault])


async def _audit(uow: UnitOfWork, action: str, key: ApiKey, *, maker: Maker, now: datetime) -> None:
    detail = {
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": None if key.expires_at is None else format_instant(key.expires_at),
        "replaces_id": None if key.replaces_id is None else str(key.replaces_id),
    }
    await operations.audit(
        uow, actor=maker.name, action=action, subject=str(key.id), detail=detail, now=now
    )
