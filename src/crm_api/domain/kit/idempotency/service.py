"""Reserve the idempotency key of a request, and store the response in the same transaction."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.idempotency.errors import (
    AnswerLostError,
    InvalidKeyError,
    KeyInUseError,
    KeyReusedError,
)
from crm_api.domain.kit.idempotency.models import IdempotencyKey
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import UnsealError, seal, unseal

_WAIT_BRIEFLY = text("SET LOCAL lock_timeout = '2s'")
_WAIT_AS_USUAL = text("SET LOCAL lock_timeout = DEFAULT")
KEPT_FOR = timedelta(hours=48)
"""How long a key is stored.

The API documentation promises 24 hours. With twice that time, no key is removed too early.
"""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LOCK_NOT_AVAILABLE = "55P03"
_ABOUT = "idempotency"


@dataclass(frozen=True, kw_only=True)
class Answer:
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
    """The key that encrypts the response: it may contain an API key that is shown only once."""


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


async def claim(uow: UnitOfWork, request: Keyed, *, now: datetime) -> Answer | None:
    """Reserve a request's key for this transaction.

    Returns:
        None if the request is new. Then the caller must carry out the request in this transaction.
        Otherwise the response to the first request with this key.

    Raises:
        KeyReusedError: The key was used for another request.
        KeyInUseError: The first request with this key is still being processed after two seconds.
        AnswerLostError: The stored response cannot be decrypted.
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
        # If another transaction is inserting the same key, this waits for its end.
        is_new = await uow.session.scalar(statement) is not None
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise KeyInUseError from error
        raise
    await uow.session.execute(_WAIT_AS_USUAL)
    return None if is_new else await _answer_of(uow, request)


async def _answer_of(uow: UnitOfWork, request: Keyed) -> Answer:
    row = await find_key(uow.session, caller=request.caller, key=request.key)
    if row is None or row.status is None:  # deleted between the two statements
        raise KeyInUseError
    if row.fingerprint != request.fingerprint:
        raise KeyReusedError
    try:
        body = unseal(row.body or b"", secret=request.secret, about=_ABOUT)
    except UnsealError as error:
        raise AnswerLostError from error
    return Answer(status=row.status, headers=row.headers or {}, body=body.encode("latin-1"))


async def find_key(session: AsyncSession, *, caller: str, key: str) -> IdempotencyKey | None:
    """Fetch the row of a key; None if there is none."""
    return await session.get(IdempotencyKey, (caller, key), populate_existing=True)


async def store_answer(uow: UnitOfWork, request: Keyed, answer: Answer) -> None:
    """Store the response to a request whose key this transaction has reserved."""
    statement = update(IdempotencyKey).where(
        IdempotencyKey.caller == request.caller, IdempotencyKey.key == request.key
    )
    body = seal(answer.body.decode("latin-1"), secret=request.secret, about=_ABOUT)
    await uow.session.execute(
        statement.values(status=answer.status, headers=answer.headers, body=body)
    )


async def clean_up(uow: UnitOfWork, *, now: datetime) -> int:
    """Delete keys older than ``KEPT_FOR``; return their number."""
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < now - KEPT_FOR)
    return cast("CursorResult[Any]", await uow.session.execute(statement)).rowcount
