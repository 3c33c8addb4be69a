"""Idempotency keys: a request that is repeated with the same key gets the first response again.

The key is reserved, and the response is stored, in the transaction of the request.
"""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    delete,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.errors import ConflictError, InvalidError
from crm_api.platform.database import Base, UnitOfWork, affected
from crm_api.platform.encryption import UnsealError, seal, unseal


class IdempotencyKey(Base):
    """An idempotency key of a caller, with its request and the response to the request.

    In one transaction, the row is inserted, the request is carried out, and the response is stored
    in the row. So a committed row always has its response, and a second request with the same key
    waits for this transaction.
    """

    __tablename__ = "idempotency_key"
    __table_args__ = (
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
        Index("idx_idempotency_key_created", "created_at"),
    )

    caller: Mapped[str] = mapped_column(primary_key=True)
    """The caller who sent the idempotency key. Another caller may use the same key."""
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """The SHA-256 of the request: its method, its path with query, and its body."""
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The encrypted body of the response. It may contain an API key that is shown only once."""
    created_at: Mapped[datetime]


class KeyReusedError(ConflictError):
    """The idempotency key was used for another request."""

    code = "idempotency_key_reused"
    title = "Idempotency key already used"
    detail = (
        "This Idempotency-Key was already used with another method, path or body. Use a new "
        "key for each new request, and repeat a key only with the same request."
    )


class KeyInUseError(ConflictError):
    """The first request with this idempotency key is still being processed."""

    code = "idempotency_key_in_use"
    title = "Request is still being processed"
    detail = (
        "A request with this Idempotency-Key is still being processed. Send it again in a few "
        "seconds to get its response."
    )


class ResponseLostError(ConflictError):
    """The response to the first request cannot be decrypted: ``CRM_SECRET_KEY`` has changed."""

    code = "idempotent_answer_lost"
    title = "Stored response cannot be read"
    detail = (
        "This request already got a response. CRM_SECRET_KEY has changed since then, so the "
        "stored response cannot be read. Check what the first request did. To send the request "
        "again, use a new Idempotency-Key."
    )


class InvalidKeyError(InvalidError):
    """The Idempotency-Key header is not a valid key."""

    code = "invalid_idempotency_key"
    title = "Invalid idempotency key"
    pointer = "/Idempotency-Key"

    def __init__(self) -> None:
        detail = "An Idempotency-Key has 1 to 255 printable ASCII characters, such as a UUID."
        super().__init__(detail)


_WAIT_BRIEFLY = text("SET LOCAL lock_timeout = '2s'")
_WAIT_AS_USUAL = text("SET LOCAL lock_timeout = DEFAULT")
KEPT_FOR = timedelta(hours=48)
"""How long an idempotency key is stored.

The API documentation promises 24 hours. The key is stored twice as long, so that it is never
deleted too early.
"""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LOCK_NOT_AVAILABLE = "55P03"
_ABOUT = "idempotency"


@dataclass(frozen=True, kw_only=True)
class StoredResponse:
    """The stored response to a request, exactly as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """A request that the caller sent with an idempotency key, so that it can be repeated safely."""

    caller: str
    key: str
    fingerprint: bytes
    secret: bytes = field(repr=False)
    """The key that encrypts the response. The response may contain an API key that is shown only
    once."""


def read_key(text: str) -> str:
    """Return the key in an Idempotency-Key header, with or without quotes around it.

    Raises:
        InvalidKeyError: The key is empty, too long, or not printable ASCII.
    """
    key = text.strip().strip('"')
    if not _KEY.fullmatch(key):
        raise InvalidKeyError
    return key


def fingerprint(*parts: bytes) -> bytes:
    """Return the SHA-256 of the parts of a request. Different requests have different results."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()


async def claim(uow: UnitOfWork, request: Keyed, *, now: datetime) -> StoredResponse | None:
    """Reserve the idempotency key of a request for this transaction.

    Returns:
        The response to the first request with this key. None if this request is the first; then the
        caller must carry it out in this transaction.

    Raises:
        KeyReusedError: The key was used for another request.
        KeyInUseError: The first request is not finished after two seconds.
        ResponseLostError: The stored response cannot be decrypted.
    """
    statement = (
        insert(IdempotencyKey)
        .values(
            caller=request.caller,
            key=request.key,
            fingerprint=request.fingerprint,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    )
    await uow.session.execute(_WAIT_BRIEFLY)
    try:
        # If another transaction is inserting the same key, the statement waits for the end of that
        # transaction.
        is_new = await uow.session.scalar(statement) is not None
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise KeyInUseError from error
        raise
    await uow.session.execute(_WAIT_AS_USUAL)
    return None if is_new else await _answer_of(uow, request)


async def _answer_of(uow: UnitOfWork, request: Keyed) -> StoredResponse:
    row = await find_key(uow.session, caller=request.caller, key=request.key)
    # The row may have been deleted after the INSERT statement, which found it.
    if row is None or row.status is None:
        raise KeyInUseError
    if row.fingerprint != request.fingerprint:
        raise KeyReusedError
    try:
        body = unseal(row.body or b"", secret=request.secret, about=_ABOUT)
    except UnsealError as error:
        raise ResponseLostError from error
    return StoredResponse(status=row.status, headers=row.headers or {}, body=body.encode("latin-1"))


async def find_key(session: AsyncSession, *, caller: str, key: str) -> IdempotencyKey | None:
    """Fetch the row of an idempotency key; None if the caller has not used this key."""
    return await session.get(IdempotencyKey, (caller, key), populate_existing=True)


async def store_response(uow: UnitOfWork, request: Keyed, answer: StoredResponse) -> None:
    """Store the response to a request whose idempotency key this transaction has reserved."""
    statement = update(IdempotencyKey).where(
        IdempotencyKey.caller == request.caller, IdempotencyKey.key == request.key
    )
    body = seal(answer.body.decode("latin-1"), secret=request.secret, about=_ABOUT)
    await uow.session.execute(
        statement.values(status=answer.status, headers=answer.headers, body=body)
    )


async def clean_up(uow: UnitOfWork, *, now: datetime) -> int:
    """Delete idempotency keys older than ``KEPT_FOR``; return the number of deleted keys."""
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < now - KEPT_FOR)
    return affected(await uow.session.execute(statement))
