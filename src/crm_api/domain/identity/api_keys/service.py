"""Create, list, change, rotate and revoke API keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.api_keys.authentication import SHOWN_CHARACTERS, generate_key
from crm_api.domain.identity.api_keys.errors import (
    ApiKeyNotFoundError,
    ApiKeyRotatedError,
    ExpiryInThePastError,
    ScopeNotHeldError,
    UnknownScopeError,
)
from crm_api.domain.identity.api_keys.models import ApiKey, KeyStatus, Scope
from crm_api.domain.identity.api_keys.schemas import ApiKeyUpdate
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.kit.schemas import format_instant
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.encryption import hash_token
from crm_api.platform.ids import new_id


@dataclass(frozen=True, kw_only=True)
class KeyMaker:
    """The caller who creates or changes an API key.

    Attributes:
        name: The name for the audit log.
        scopes: The scopes of the caller; only these can be given to a key.
    """

    name: str
    scopes: frozenset[str]


COMMAND_LINE = KeyMaker(name="command line", scopes=frozenset({Scope.ADMIN}))
"""The creator of API keys that are created by a ``crm-api`` command. It has every scope, because a
person who can run commands can also change the database."""


def parse_scopes(names: Iterable[str]) -> list[Scope]:
    """Convert names to scopes, in the given order; duplicates and blank names are left out.

    Raises:
        UnknownScopeError: A scope does not exist, or no scope is given.
    """
    wanted = [name.strip() for name in names if name.strip()]
    known = {scope.value: scope for scope in Scope}
    unknown = {position: name for position, name in enumerate(wanted) if name not in known}
    if unknown or not wanted:
        raise UnknownScopeError(unknown)
    return list(dict.fromkeys(known[name] for name in wanted))


async def create_api_key(
    uow: UnitOfWork,
    *,
    name: str,
    scopes: Iterable[str],
    maker: KeyMaker,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Create an API key, and record it in the audit log.

    Returns:
        The key and its secret text, which is not stored.

    Raises:
        UnknownScopeError: A scope does not exist, or no scope is given.
        ScopeNotHeldError: ``scopes`` contains a scope that the maker does not have.
        ExpiryInThePastError: ``expires_at`` is not in the future.
    """
    granted = parse_scopes(scopes)
    lacking = [scope for scope in granted if scope not in maker.scopes]
    if lacking and Scope.ADMIN not in maker.scopes:
        raise ScopeNotHeldError(
            f"You do not have the scope {lacking[0]}, so you cannot give it to a key. Leave "
            "the scope out, or ask a person who has this scope to create the key.",
            required_scope=lacking[0].value,
        )
    _refuse_past(expires_at, now)
    text = generate_key()
    values = {"expires_at": expires_at, "created_by": maker.name}
    key = await _store(uow, text, name=name, scopes=granted, now=now, **values)
    if key is None:  # pragma: no cover - 238 random bits do not repeat
        raise RuntimeError("A new API key has the same text as an existing key.")
    await _audit(uow, "create_api_key", key, maker=maker, now=now)
    return key, text


async def ensure_admin_key(uow: UnitOfWork, *, text: str, now: datetime) -> None:
    """Store an API key with this text and the scope ``admin``, unless a key with this text exists.

    Several processes may call this function at the same time, when they start.
    """
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
        "key_hash": hash_token(text),
        "prefix": text[:SHOWN_CHARACTERS],
        "scopes": [str(scope) for scope in scopes],
        "created_at": now,
    }
    statement = insert(ApiKey).values(values).on_conflict_do_nothing()
    return await uow.session.scalar(statement.returning(ApiKey))


async def read_api_key(uow: UnitOfWork, *, key_id: UUID) -> ApiKey:
    """Read an API key, even if it is revoked or expired.

    Raises:
        ApiKeyNotFoundError: There is no key with this id.
    """
    return await get_or_raise(uow.session, ApiKey, key_id, ApiKeyNotFoundError)


async def list_api_keys(
    uow: UnitOfWork, *, status: KeyStatus | None, cursor: str | None, limit: int, now: datetime
) -> Page[ApiKey]:
    """List API keys, newest first; without a status, all keys that are not revoked.

    Raises:
        InvalidCursorError: The cursor is from another list, or was made with another ``status``.
    """
    statement = select(ApiKey)
    if status is KeyStatus.REVOKED:
        statement = statement.where(ApiKey.revoked_at.is_not(None))
    else:
        statement = statement.where(ApiKey.revoked_at.is_(None))
    if status is KeyStatus.ACTIVE:
        statement = statement.where(func.coalesce(ApiKey.expires_at > now, True))
    elif status is KeyStatus.EXPIRED:
        statement = statement.where(ApiKey.expires_at <= now)
    cursors = Cursors("api_keys", status=status)
    return await read_newest(
        uow.session,
        statement,
        ApiKey.created_at,
        ApiKey.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def update_api_key(
    uow: UnitOfWork, changes: ApiKeyUpdate, *, key_id: UUID, maker: KeyMaker, now: datetime
) -> ApiKey:
    """Change the name or the expiry of an API key, and record the change in the audit log.

    Raises:
        ApiKeyNotFoundError: There is no key with this id, or it was revoked.
        ExpiryInThePastError: The new ``expires_at`` is not in the future.
    """
    values = changes.model_dump(exclude_unset=True)
    _refuse_past(changes.expires_at, now)
    if not values:
        return await read_api_key(uow, key_id=key_id)
    key = await _change_key(uow, key_id, values)
    await _audit(uow, "change_api_key", key, maker=maker, now=now)
    return key


async def rotate_api_key(
    uow: UnitOfWork, *, key_id: UUID, overlap: timedelta, maker: KeyMaker, now: datetime
) -> tuple[ApiKey, str]:
    """Replace an API key by a new key with the same name and scopes.

    The old key expires after ``overlap``, or at its own expiry if that is earlier. The new key gets
    the original lifetime of the old key, counted from now. If the old key had no expiry, the new
    key has none.

    Returns:
        The new key and its secret text.

    Raises:
        ApiKeyNotFoundError: There is no key with this id, or it was revoked.
        ApiKeyRotatedError: The key was already replaced. ``successor_id`` is the id of the key that
            replaced it.
    """
    before = _require(await uow.session.get(ApiKey, key_id))
    lasts = None if before.expires_at is None else before.expires_at - before.created_at
    ends_at = func.least(ApiKey.expires_at, now + overlap)
    old = await _change_key(uow, key_id, {"expires_at": ends_at})
    text = generate_key()
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
        successor = await uow.session.scalar(successor_statement(key_id))
        raise ApiKeyRotatedError(str(successor))
    await _audit(uow, "rotate_api_key", key, maker=maker, now=now)
    return key, text


def successor_statement(key_id: UUID) -> Select[UUID]:
    """Build the statement that reads the id of the key that replaced ``key_id``."""
    return select(ApiKey.id).where(ApiKey.replaces_id == key_id)


async def revoke_api_key(uow: UnitOfWork, *, key_id: UUID, maker: KeyMaker, now: datetime) -> None:
    """Revoke an API key immediately, and record this in the audit log.

    Raises:
        ApiKeyNotFoundError: There is no key with this id, or it is already revoked.
    """
    revoked = await _change_key(uow, key_id, {"revoked_at": now})
    await _audit(uow, "revoke_api_key", revoked, maker=maker, now=now)


async def _change_key(uow: UnitOfWork, key_id: UUID, values: dict[str, object]) -> ApiKey:
    """Set columns of a key that is not revoked, and return the changed key.

    Raises:
        ApiKeyNotFoundError: There is no key with this id, or it was revoked.
    """
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(values)
        .returning(ApiKey)
    )
    return _require(
        await uow.session.scalar(statement, execution_options={"populate_existing": True})
    )


def _require(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise ApiKeyNotFoundError(
            "There is no API key with this id, or it was revoked. GET /v1/api-keys lists the keys "
            "that can be changed."
        )
    return key


def _refuse_past(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise ExpiryInThePastError(
            "expires_at is not in the future. Give a later instant, or revoke the key."
        )


async def _audit(
    uow: UnitOfWork, action: str, key: ApiKey, *, maker: KeyMaker, now: datetime
) -> None:
    detail = {
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": None if key.expires_at is None else format_instant(key.expires_at),
        "replaces_id": None if key.replaces_id is None else str(key.replaces_id),
    }
    await note_decision(
        uow, actor=maker.name, action=action, subject=str(key.id), detail=detail, now=now
    )
