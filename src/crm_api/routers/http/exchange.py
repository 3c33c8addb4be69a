"""Commit a request's change, its stored response and its audit entry in one transaction.

The response and its status exist only after the route's ``async with uow:`` block. Therefore the
module ``preconditions`` puts an ``Exchange`` (the state of one request) into the ASGI scope. The
route uses the unit of work of the ``Exchange``, which commits only when the response is complete.
"""

import hashlib
import json
from dataclasses import dataclass, field
from http import HTTPStatus

from sqlalchemy import text
from starlette.types import Message, Receive

from crm_api.domain.kit import audit_log, idempotency
from crm_api.domain.kit.idempotency import Keyed, StoredResponse
from crm_api.platform import clock
from crm_api.platform.database import HeldUnitOfWork, UnitOfWork, UnitOfWorkFactory

EXCHANGE = "crm.exchange"
"""Key in the ASGI scope under which the ``Exchange`` is stored."""
ORIGIN = "crm.origin"
"""Key in the ASGI scope under which the ``RequestOrigin`` of a request is stored.

Only the scope of a request that may change data has this key.
"""
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MAKING = frozenset({HTTPStatus.CREATED, HTTPStatus.ACCEPTED})

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:path, 2))")


class AnsweredBeforeError(Exception):
    """An earlier request had the same idempotency key; ``answer`` is its stored response."""

    def __init__(self, answer: StoredResponse) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(kw_only=True)
class Exchange:
    """The state of a request that changes data, from its arrival until its response.

    Attributes:
        path: Path of the resource to change, delete or start; None for any other POST.
        target: Method, path and query string of the request, as received.
        key: The ``Idempotency-Key`` of the request; None if the request has no key.
        secret: The ``Secret`` of the service; it encrypts the stored response.
        caller: The id of the caller; empty until the caller is authenticated.
    """

    new_uow: UnitOfWorkFactory
    path: str | None
    target: bytes
    key: str | None
    secret: bytes = field(repr=False)
    caller: str = ""
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _uow: HeldUnitOfWork | None = None

    def unit_of_work(self) -> HeldUnitOfWork:
        """Return the unit of work of this request, always the same object."""
        if self._uow is None:
            self._uow = self.new_uow().held(self._begin)
        return self._uow

    async def _begin(self, uow: UnitOfWork) -> None:
        """Lock the path of the resource to change; reserve the ``Idempotency-Key`` of a POST.

        Raises:
            AnsweredBeforeError: An earlier request with this key has a stored response.
            KeyReusedError: An earlier, different request had this key.
            KeyInUseError: The first request with this key is still being handled.
        """
        if self.path is not None:
            await uow.session.execute(_ONE_AT_A_TIME, {"path": self.path})
        if self.key is None:
            return
        answer = await idempotency.claim(uow, self._keyed(self.key), now=clock.wall_now())
        if answer is not None:
            raise AnsweredBeforeError(answer)

    def hashed(self, receive: Receive, *, boundary: bytes = b"") -> Receive:
        """Return a function that does the same as ``receive`` and also hashes the request body.

        The hash shows whether a later request with the same ``Idempotency-Key`` repeats this
        request.

        Args:
            boundary: The boundary of a multipart form, which differs in each repetition and is not
                hashed. Empty for other bodies.
        """
        rest = b""

        async def read() -> Message:
            nonlocal rest
            message = await receive()
            whole = (
                (rest + message.get("body", b"")).replace(boundary, b"")
                if boundary
                else (message.get("body", b""))
            )
            # The boundary of the form may be split across two messages of ASGI. So the end of this
            # message is processed together with the next message.
            held = len(boundary) - 1 if boundary and message.get("more_body", False) else 0
            rest = whole[len(whole) - held :] if held else b""
            self._digest.update(whole[: len(whole) - held] if held else whole)
            return message

        return read

    async def settle(self, answer: StoredResponse) -> None:
        """Finish the request: write the audit entry and commit.

        If the request has an idempotency key, also store the response in this transaction. If the
        response is an error, roll back instead; then nothing is stored.
        """
        if self._uow is None or not self._uow.is_open:
            # The route opened no transaction, or an exception has already rolled it back.
            return
        if answer.status >= 400:  # noqa: PLR2004 - the lowest status of an error
            await self._uow.abandon()
            return
        if self.key is not None:
            await idempotency.store_response(self._uow, self._keyed(self.key), answer)
        await audit_log.note_request(
            self._uow, status=answer.status, made_id=_made_id(answer), now=clock.now()
        )
        await self._uow.commit()

    async def abandon(self) -> None:
        """Roll back the transaction if it is still open."""
        if self._uow is not None:
            await self._uow.abandon()

    def _keyed(self, key: str) -> Keyed:
        digest = idempotency.fingerprint(self.target, self._digest.digest())
        return Keyed(caller=self.caller, key=key, fingerprint=digest, secret=self.secret)


def _made_id(answer: StoredResponse) -> str | None:
    """Return the ``id`` in the response if the request created something; else return None."""
    if answer.status not in _MAKING:
        return None
    try:
        body = json.loads(answer.body)
    except ValueError:
        return None
    made = body.get("id") if isinstance(body, dict) else None
    return made if isinstance(made, str) else None
