"""Keys that make a request repeatable: claimed before the effect, answered in its transaction."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError

from crm_api.db import UnitOfWork
from crm_api.domain.idempotency import queries
from crm_api.domain.idempotency.errors import (
    AnswerLostError,
    InvalidKeyError,
    KeyInUseError,
    KeyReusedError,
)
from crm_api.domain.sealing import UnsealError, seal, unseal

KEPT_FOR = timedelta(hours=48)
"""Twice what the contract promises, so that a night's clean-up never comes too early."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LOCK_NOT_AVAILABLE = "55P03"
_ABOUT = "idempotency"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """A request that may come again: whose, under which key, and what it says."""

    caller: str
    key: str
    fingerprint: bytes
    secret: bytes = field(repr=False)
    """Seals the answer, which may hold a key or a token that is shown only once."""


def read_key(text: str) -> str:
    """Read the header; the quotes of a structured field may be there or not.

    Raises:
        InvalidKeyError: Empty, too long, or with other than printable ASCII characters.
    """
    key = text.strip().strip('"')
    if not _KEY.fullmatch(key):
        raise InvalidKeyError
    return key


def fingerprint(*parts: bytes) -> bytes:
    """Return what tells a request from another: SHA-256 over its parts and their lengths."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()


async def claim(uow: UnitOfWork, request: Keyed, *, now: datetime) -> Answer | None:
    """Take a request's key for this transaction.

    Returns:
        None when the request is new and this transaction has to answer it; else the answer that
        the first one got.

    Raises:
        KeyReusedError: The key stood for another request.
        KeyInUseError: The first request with this key is still under way.
        AnswerLostError: The first answer cannot be read any more.
    """
    await queries.wait_briefly(uow.session)
    try:
        is_new = await queries.claim(
            uow.session,
            caller=request.caller,
            key=request.key,
            fingerprint=request.fingerprint,
            now=now,
        )
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise KeyInUseError from error
        raise
    await queries.wait_as_usual(uow.session)
    return None if is_new else await _answer_of(uow, request)


async def _answer_of(uow: UnitOfWork, request: Keyed) -> Answer:
    kept = await queries.find(uow.session, caller=request.caller, key=request.key)
    if kept is None or kept.status is None:  # removed between the two statements
        raise KeyInUseError
    if kept.fingerprint != request.fingerprint:
        raise KeyReusedError
    try:
        body = unseal(kept.body or b"", secret=request.secret, about=_ABOUT)
    except UnsealError as error:
        raise AnswerLostError from error
    return Answer(status=kept.status, headers=kept.headers or {}, body=body.encode("latin-1"))


async def keep(uow: UnitOfWork, request: Keyed, answer: Answer) -> None:
    """Keep the answer of a request whose key this transaction took."""
    await queries.keep(
        uow.session,
        caller=request.caller,
        key=request.key,
        values={
            "status": answer.status,
            "headers": answer.headers,
            "body": seal(answer.body.decode("latin-1"), secret=request.secret, about=_ABOUT),
        },
    )


async def clean_up(uow: UnitOfWork, *, now: datetime) -> int:
    """Forget keys that nobody may repeat any more; how many there were."""
    return await queries.remove(uow.session, before=now - KEPT_FOR)
