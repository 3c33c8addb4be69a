"""Receive the provider's webhooks: verify the signature, store the event, acknowledge it.

``QuickReceiver`` answers a webhook that has a valid signature and can be stored. It runs before the
middlewares of the application. ``receive_event`` answers every other request to the same path. It
runs behind the middlewares.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from crm_api.domain.inbound.webhook_events.envelope import (
    EventTooLargeError,
    MalformedEventError,
    ReceivedEvent,
    read_event,
)
from crm_api.domain.inbound.webhook_setup.keyring import KeyRing
from crm_api.domain.provider.openphone.errors import SignatureError, StaleSignatureError
from crm_api.domain.provider.openphone.signature import Verified
from crm_api.platform import clock, instruments, request_context, tracing
from crm_api.routers.http.bodies import giving
from crm_api.routers.http.deps import AppState
from crm_api.routers.http.middleware import HEADER, request_id_of, security_headers
from crm_api.routers.http.request_outcome import OUTCOME, RequestOutcome
from crm_api.routers.inbound.event_intake import EventIntake

log = structlog.get_logger()

RECEIVER_PATH = "/webhooks/openphone"
LARGEST_BODY = 1024 * 1024
"""Maximum size of an event in bytes; the provider's events have a few thousand bytes."""
RECEIVED = b'{"received":true}'
RECEIVED_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(RECEIVED)).encode()),
]
FAILED = "crm.webhook_failed"
"""Key in the ASGI scope under which ``QuickReceiver`` stores the exception of a failed request."""


class QuickReceiver:
    """Answers ordinary webhooks itself; every other request goes through the middlewares.

    An ordinary webhook has a valid signature and can be stored. This class needs 33 microseconds of
    CPU time for it; the middlewares need 70 (measured on 2026-11-29, without sockets and database).
    While tracing is on, every request goes through the middlewares.
    """

    def __init__(self, app: ASGIApp, *, is_secure: bool) -> None:
        """Create the receiver.

        Args:
            app: The application with its middlewares.
            is_secure: Whether clients reach the service with TLS.
        """
        self._app = app
        self._headers = [*RECEIVED_HEADERS, *security_headers(is_secure=is_secure)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the event and acknowledge it, or pass the request on to the middlewares."""
        given = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        # Only the middlewares record a tracing span, add headers for browsers, and read repeated
        # headers. A request that needs one of these is passed on to the middlewares.
        if tracing.is_on() or "origin" in given or len(given) != len(scope["headers"]):
            await self._app(scope, receive, send)
            return
        outcome = scope[OUTCOME] = RequestOutcome(method=scope["method"], route=RECEIVER_PATH)
        request_id, shown_id = request_id_of(given.get("x-request-id", "").encode("latin-1"))
        state: State = scope["app"].state
        intake: EventIntake = state.intake
        body = event = None
        try:
            body = await _read_body(receive, declared=given.get("content-length", "0"))
            if body is not None:
                event = _read_verified(state.keys, given, body)
            if event is not None:
                await intake.store(event, cause={"request_id": request_id})
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised again behind the middlewares
            scope[FAILED], event = error, None
        if event is None:
            await self._app(scope, giving(body, receive), send)
            return
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*self._headers, (HEADER, request_id.encode())],
        }
        end = {"type": "http.response.body", "body": RECEIVED}
        try:
            outcome.note(start)
            await send(start)
            outcome.note(end)
            await send(end)
        except BaseException:
            outcome.is_broken = True
            raise
        finally:
            outcome.end(scope)
            outcome.write_line(shown_id)


def _read_verified(keys: KeyRing, headers: Mapping[str, str], body: bytes) -> ReceivedEvent | None:
    """Verify and read an event without the database.

    Return None if the middlewares must handle the request.
    """
    try:
        verified = keys.verify_at_once(headers, body, now=clock.now())
        if verified is None:
            return None
        return read_event(body, scheme=verified.scheme, delivery_id=verified.delivery_id)
    except (SignatureError, MalformedEventError):
        return None


async def receive_event(scope: Scope, receive: Receive, send: Send) -> None:
    """Store a signed event and acknowledge it; a worker processes it later.

    This is plain ASGI, because FastAPI's work for a route would cost more than storing the event.

    Raises:
        EventTooLargeError: The body has more than 1 MiB.
        SignatureError: The signature is missing, wrong or stale; nothing is stored.
        MalformedEventError: The body is not a JSON object.
        EventNotStoredError: The database is unavailable, or too many events wait. The provider
            delivers the event again.
    """
    failure: BaseException | None = scope.get(FAILED)
    if failure is not None:
        raise failure
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = await _read_body(receive, declared=headers.get("content-length", "0"))
    if body is None:
        return
    state: State = scope["app"].state
    intake: EventIntake = state.intake
    try:
        verified = await _verify(state, headers, body)
    except SignatureError as error:
        instruments.WEBHOOKS_RECEIVED.labels(error.code).inc()
        state.refusals.note(error.code)
        log.warning("webhook refused", reason=error.code, bytes=len(body))
        raise
    event = read_event(body, scheme=verified.scheme, delivery_id=verified.delivery_id)
    await intake.store(event, cause=request_context.current_cause())
    await send(
        {"type": "http.response.start", "status": HTTPStatus.OK, "headers": RECEIVED_HEADERS}
    )
    await send({"type": "http.response.body", "body": RECEIVED})


async def _verify(state: State, headers: Mapping[str, str], body: bytes) -> Verified:
    """Verify a signature.

    If the signature is stale by the clock of this host, the time in the signature is also compared
    with the clock of the database. Without this second check, a host with a wrong clock would
    refuse every delivery, including opt-outs.

    Raises:
        SignatureError: The signature is missing, wrong or stale.
    """
    keys: KeyRing = state.keys
    try:
        return await keys.verify(headers, body, now=clock.now())
    except StaleSignatureError:
        # The signature is valid except for its time. So only a sender that has a
        # signing key can cause this query.
        app_state: AppState = state.crm
        async with app_state.new_uow() as uow:
            now = await uow.database_now()
    return await keys.verify(headers, body, now=now)


async def _read_body(receive: Receive, *, declared: str) -> bytes | None:
    """Read the body; None if the sender disconnected.

    Raises:
        EventTooLargeError: The body has more than ``LARGEST_BODY`` bytes; the rest is not read.
    """
    if declared.isdecimal() and int(declared) > LARGEST_BODY:
        raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= LARGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        return None
    if len(body) > LARGEST_BODY:
        raise _too_large()
    return body


def _too_large() -> EventTooLargeError:
    return EventTooLargeError(
        f"The body has more than {LARGEST_BODY} bytes. Send one event per request."
    )
