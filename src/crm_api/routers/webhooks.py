"""Receive what the provider tells; list and replay what was received."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from crm_api import clock, instruments
from crm_api.domain.access.models import Scope as AccessScope
from crm_api.domain.fields import Line200, RequestInstant
from crm_api.domain.openphone.errors import SignatureError
from crm_api.domain.schemas import PageRead
from crm_api.domain.webhook_setup.keyring import KeyRing
from crm_api.domain.webhooks import service as webhooks
from crm_api.domain.webhooks.envelope import read_event
from crm_api.domain.webhooks.errors import EventTooLargeError
from crm_api.domain.webhooks.intake import EventIntake
from crm_api.domain.webhooks.models import WebhookEventStatus
from crm_api.domain.webhooks.schemas import (
    ErrorClassRead,
    Received,
    ReplayRead,
    ReplayRequest,
    SelectionReplayRead,
    WebhookEventRead,
)
from crm_api.routers.deps import Caller, ListUow, Paging, Uow, require

log = structlog.get_logger()

LARGEST_BODY = 1024 * 1024
"""Bytes; the provider's events are a few thousand."""
RECEIVED = b'{"received":true}'
RECEIVED_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(RECEIVED)).encode()),
]

router = APIRouter(prefix="/v1/webhook-events", tags=["webhooks"])
Reader = Annotated[Caller, require(AccessScope.WEBHOOKS_READ)]
Writer = Annotated[Caller, require(AccessScope.WEBHOOKS_WRITE)]


async def receive_event(scope: Scope, receive: Receive, send: Send) -> None:
    """Store a signed event and acknowledge it; what it means is found out by the worker.

    Plain ASGI: everything that a route usually does for its caller costs more here than the
    work itself.

    Raises:
        EventTooLargeError: Over 1 MiB.
        SignatureError: Not proved to be the provider's; nothing is stored.
        MalformedEventError: No JSON object.
        EventNotStoredError: The database is away; the provider delivers it again.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = await _read_body(receive, declared=headers.get("content-length", "0"))
    if body is None:
        return
    state = scope["app"].state
    intake: EventIntake = state.intake
    keys: KeyRing = state.keys
    now = clock.now()
    try:
        verified = await keys.verify(headers, body, now=now)
    except SignatureError as error:
        instruments.WEBHOOKS_RECEIVED.labels(error.code).inc()
        state.refusals.note(error.code)
        log.warning("webhook refused", reason=error.code, bytes=len(body))
        raise
    event = read_event(body, scheme=verified.scheme, delivery_id=verified.delivery_id, now=now)
    await intake.store(event)
    await send(
        {"type": "http.response.start", "status": HTTPStatus.OK, "headers": RECEIVED_HEADERS}
    )
    await send({"type": "http.response.body", "body": RECEIVED})


async def _read_body(receive: Receive, *, declared: str) -> bytes | None:
    """Read the body, but never more than is taken; None when the sender hung up."""
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
    return EventTooLargeError(f"A delivery may have {LARGEST_BODY} bytes at most.")


async def _documented(body: dict[str, Any]) -> Received:
    """Take an event from OpenPhone, in either of its signature schemes.

    Answers 2xx only after the event is stored. The signature is the authentication: 401 when it
    is missing, wrong or stale; 400 when the body is no JSON object; 413 over 1 MiB; 503 when the
    event cannot be stored.
    """
    raise NotImplementedError(body)  # only its signature is used, for the OpenAPI document


receive_route = APIRoute(
    "/webhooks/openphone",
    _documented,
    methods=["POST"],
    name="receive_event",
    operation_id="receive_event",
    summary="Receive Event",
    tags=["webhooks"],
    responses={401: {}},
)
"""Documented like every route, served by ``receive_event``; the application tries it first."""
receive_route.app = receive_event


@router.get("")
async def list_events(
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    *,
    status: WebhookEventStatus | None = None,
    event_type: Annotated[Line200 | None, Query(alias="type")] = None,
    error_code: Line200 | None = None,
    received_after: RequestInstant | None = None,
) -> PageRead[WebhookEventRead]:
    """List received events, newest first."""
    async with uow:
        found = await webhooks.list_events(
            uow,
            webhooks.Selection(
                status=status,
                type=event_type,
                error_code=error_code,
                received_after=received_after,
            ),
            cursor=page.cursor,
            limit=page.limit,
        )
    return PageRead(
        data=[WebhookEventRead.of(event) for event in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/errors")
async def list_errors(uow: ListUow, _caller: Reader) -> PageRead[ErrorClassRead]:
    """List what events failed of and are not applied yet, by error class, the latest first."""
    async with uow:
        found = await webhooks.list_errors(uow)
    return PageRead(data=[ErrorClassRead.model_validate(one) for one in found], next_cursor=None)


@router.post("/replay", status_code=HTTPStatus.ACCEPTED)
async def replay_events(body: ReplayRequest, uow: Uow, caller: Writer) -> SelectionReplayRead:
    """Apply a selection of events again; what they already did is not done twice.

    All that is given must hold; with nothing given it is every event. A dry run only counts.
    """
    selection = body.selection()
    async with uow:
        if body.dry_run:
            matched = await webhooks.count_selected(uow, selection)
        else:
            matched = await webhooks.replay_selected(
                uow, selection, actor=caller.name, now=clock.now()
            )
    replayed = 0 if body.dry_run else matched
    return SelectionReplayRead(matched=matched, replayed=replayed, dry_run=body.dry_run)


@router.get("/{event_id}")
async def read_one_event(event_id: UUID, uow: Uow, _caller: Reader) -> WebhookEventRead:
    """Read one received event with its payload."""
    async with uow:
        event = await webhooks.get_event(uow, event_id)
    return WebhookEventRead.of(event)


@router.post("/{event_id}/replay", status_code=HTTPStatus.ACCEPTED)
async def replay_event(event_id: UUID, uow: Uow, _caller: Writer) -> ReplayRead:
    """Apply a received event again; what it already did is not done twice."""
    async with uow:
        await webhooks.replay(uow, event_id=event_id, now=clock.now())
    return ReplayRead(replayed=1)
