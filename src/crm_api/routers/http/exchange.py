"""A request that changes something, and the one transaction for its change and its answer.

A route commits at the end of its block, before the answer is made. Three things need the answer in
the same transaction: an ``Idempotency-Key`` stores it, ``If-Match`` depends on the version that the
caller has seen, and the audit log records both. So ``preconditions`` puts an exchange into the
request's scope. The route then uses the unit of work of the exchange, which commits after the
answer is complete.
"""

import hashlib
import json
from dataclasses import dataclass, field
from http import HTTPStatus

from sqlalchemy import text
from starlette.types import Message, Receive

from crm_api.domain.kit.audit_log import recording
from crm_api.domain.kit.idempotency import service as idempotency
from crm_api.domain.kit.idempotency.service import Answer, Keyed
from crm_api.platform import clock
from crm_api.platform.database import HeldUnitOfWork, UnitOfWork, UnitOfWorkFactory

EXCHANGE = "crm.exchange"
"""The key in the ASGI scope."""
ORIGIN = "crm.origin"
"""The key in the ASGI scope of a request that changes something."""
CHANGING = frozenset({"POST", "PATCH", "DELETE"})
_MAKING = frozenset({HTTPStatus.CREATED, HTTPStatus.ACCEPTED})

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:path, 2))")


class AnsweredBeforeError(Exception):
    """The request was answered before; ``answer`` is the stored answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(kw_only=True)
class Exchange:
    """A request in progress.

    Attributes:
        path: The resource that it changes; None for a POST.
        target: Method, path and query, as received.
        key: Its ``Idempotency-Key``; None if it has none.
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
        """Return the unit of work of this request; always the same one."""
        if self._uow is None:
            self._uow = self.new_uow().held(self._begin)
        return self._uow

    async def _begin(self, uow: UnitOfWork) -> None:
        """Claim the idempotency key of a POST, or lock the resource of a PATCH or DELETE.

        Raises:
            AnsweredBeforeError: A request with this key was answered before.
            KeyReusedError: The key was sent with a different request.
            KeyInUseError: The first request with this key is still in progress.
        """
        if self.path is not None:
            await uow.session.execute(_ONE_AT_A_TIME, {"path": self.path})
        if self.key is None:
            return
        answer = await idempotency.claim(uow, self._keyed(self.key), now=clock.wall_now())
        if answer is not None:
            raise AnsweredBeforeError(answer)

    def hashed(self, receive: Receive, *, boundary: bytes = b"") -> Receive:
        """Return a ``receive`` that also adds the body to the fingerprint of the request.

        Args:
            receive: The source of the body.
            boundary: The boundary of a multipart form; empty for other bodies. Clients choose a
                new one for each request, so it is not part of the fingerprint.
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
            # A boundary may be split across two messages.
            held = len(boundary) - 1 if boundary and message.get("more_body", False) else 0
            rest = whole[len(whole) - held :] if held else b""
            self._digest.update(whole[: len(whole) - held] if held else whole)
            return message

        return read

    async def settle(self, answer: Answer) -> None:
        """Commit the change together with its answer; roll back if the answer is a failure."""
        if self._uow is None or not self._uow.is_open:
            return  # no transaction was opened, or a failure has already rolled it back
        if answer.status >= 400:  # noqa: PLR2004 - the first status of a failure
            await self._uow.abandon()
            return
        if self.key is not None:
            await idempotency.store_answer(self._uow, self._keyed(self.key), answer)
        await recording.note_request(
            self._uow, status=answer.status, made_id=_made_id(answer), now=clock.now()
        )
        await self._uow.commit()

    async def abandon(self) -> None:
        """Roll back everything that is not committed."""
        if self._uow is not None:
            await self._uow.abandon()

    def _keyed(self, key: str) -> Keyed:
        digest = idempotency.fingerprint(self.target, self._digest.digest())
        return Keyed(caller=self.caller, key=key, fingerprint=digest, secret=self.secret)


def _made_id(answer: Answer) -> str | None:
    """Return the id of the thing that a request created; None if it created nothing."""
    if answer.status not in _MAKING:
        return None
    try:
        body = json.loads(answer.body)
    except ValueError:
        return None
    made = body.get("id") if isinstance(body, dict) else None
    return made if isinstance(made, str) else None
