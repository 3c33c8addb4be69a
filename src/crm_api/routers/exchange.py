"""One request that changes something, and the transaction that its answer is part of.

Routes commit at the end of their block, before the answer is made. But the answer may have to be
kept with the effect, the effect may depend on what a caller has seen, and the audit log tells of
both. So ``preconditions`` puts an exchange into the request's scope: the route's unit of work then
is the exchange's, and its commit waits until the answer is there.
"""

import hashlib
import json
from dataclasses import dataclass, field
from http import HTTPStatus

from sqlalchemy import text
from starlette.types import Message, Receive

from crm_api import clock
from crm_api.db import HeldUnitOfWork, UnitOfWork, UnitOfWorkFactory
from crm_api.domain.idempotency import service as idempotency
from crm_api.domain.idempotency.service import Answer, Keyed
from crm_api.domain.operations import audit_log

EXCHANGE = "crm.exchange"
"""The name in the request's scope."""
ORIGIN = "crm.origin"
"""The name in the scope of a request that changes something."""
CHANGING = frozenset({"POST", "PATCH", "DELETE"})
_MAKING = frozenset({HTTPStatus.CREATED, HTTPStatus.ACCEPTED})

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:path, 2))")


class AnsweredBeforeError(Exception):
    """The request came before; ``answer`` is what the first one got."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(kw_only=True)
class Exchange:
    """A request under way.

    Attributes:
        path: Which resource it changes; None for a POST.
        target: Method, path and query, as they came.
        key: Its ``Idempotency-Key``; None when it has none.
        caller: Who sent it; known once the caller is authenticated.
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
        """Return the request's one unit of work."""
        if self._uow is None:
            self._uow = self.new_uow().held(self._begin)
        return self._uow

    async def _begin(self, uow: UnitOfWork) -> None:
        """Take the key, or, of a request that changes one resource, the resource.

        Raises:
            AnsweredBeforeError: The key was answered.
            KeyReusedError: The key stood for another request.
            KeyInUseError: The first request with this key is under way.
        """
        if self.path is not None:
            await uow.session.execute(_ONE_AT_A_TIME, {"path": self.path})
        if self.key is None:
            return
        answer = await idempotency.claim(uow, self._keyed(self.key), now=clock.wall_now())
        if answer is not None:
            raise AnsweredBeforeError(answer)

    def hashed(self, receive: Receive, *, boundary: bytes = b"") -> Receive:
        """Return a reader of the body that also tells this body from another.

        Args:
            receive: What the body comes from.
            boundary: Of a multipart form: clients choose another one each time, so it is not
                counted.
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
            # A boundary may lie across two messages.
            held = len(boundary) - 1 if boundary and message.get("more_body", False) else 0
            rest = whole[len(whole) - held :] if held else b""
            self._digest.update(whole[: len(whole) - held] if held else whole)
            return message

        return read

    async def settle(self, answer: Answer) -> None:
        """Commit what the answer tells of, and keep the answer with it; or undo what fails."""
        if self._uow is None or not self._uow.is_open:
            return  # nothing was begun, or it was undone with the failure that is answered
        if answer.status >= 400:  # noqa: PLR2004 - the first status of a failure
            await self._uow.abandon()
            return
        if self.key is not None:
            await idempotency.keep(self._uow, self._keyed(self.key), answer)
        await audit_log.note_request(
            self._uow, status=answer.status, made_id=_made_id(answer), now=clock.now()
        )
        await self._uow.commit()

    async def abandon(self) -> None:
        """Undo everything."""
        if self._uow is not None:
            await self._uow.abandon()

    def _keyed(self, key: str) -> Keyed:
        digest = idempotency.fingerprint(self.target, self._digest.digest())
        return Keyed(caller=self.caller, key=key, fingerprint=digest, secret=self.secret)


def _made_id(answer: Answer) -> str | None:
    """Return the id of what a request has made."""
    if answer.status not in _MAKING:
        return None
    try:
        body = json.loads(answer.body)
    except ValueError:
        return None
    made = body.get("id") if isinstance(body, dict) else None
    return made if isinstance(made, str) else None
