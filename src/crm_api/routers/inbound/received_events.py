"""Routes that list the provider's events, and apply the events again.

This module also describes the route that receives the events, for the OpenAPI document. The code of
that route is in ``receiver.py``.
"""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, Query
from fastapi.routing import APIRoute

from crm_api.domain.identity.api_keys.models import Scope as AccessScope
from crm_api.domain.inbound.webhook_events import stored_events
from crm_api.domain.inbound.webhook_events.models import WebhookEventStatus
from crm_api.domain.inbound.webhook_events.schemas import (
    Received,
    ReplayRead,
    ReplayRequest,
    SelectionReplayRead,
    WebhookEventRead,
)
from crm_api.domain.inbound.webhook_events.stored_events import ErrorClassRead, EventSelection
from crm_api.domain.kit.dry_runs import make_call
from crm_api.domain.kit.examples import REPLY
from crm_api.domain.kit.fields import Line200
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.kit.schemas import PageRead
from crm_api.routers.http.deps import IN_STATUS, Caller, ListUow, Paging, Uow, require
from crm_api.routers.http.dry_run_calls import ThisCall
from crm_api.routers.http.query_parameters import After, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.inbound.receiver import RECEIVER_PATH, receive_event

router = ResourceRouter(prefix="/v1/webhook-events", tags=["webhooks"])
Reader = Annotated[Caller, require(AccessScope.WEBHOOKS_READ)]
Writer = Annotated[Caller, require(AccessScope.WEBHOOKS_WRITE)]


EXAMPLE = {
    "id": "EV78473da9296247d3d87a620dc9b58621",
    "object": "event",
    "apiVersion": "v3",
    "createdAt": "2026-11-30T15:04:05.120Z",
    "type": "message.received",
    "data": {
        "object": {
            "id": "AC5c1d9be27f3a4086b1e7d2c9f0a8b364",
            "object": "message",
            "from": "+16175550123",
            "to": "+16175550100",
            "direction": "incoming",
            "body": REPLY,
            "status": "received",
            "createdAt": "2026-11-30T15:04:04.900Z",
            "phoneNumberId": "PNq7x1Zk3v",
        }
    },
}


async def _documented(
    body: Annotated[dict[str, Any], Body(title="ProviderEvent")],
) -> Received:
    """Receive an event that OpenPhone has signed with one of its two signature schemes.

    The signature is the authentication. The response is 2xx only after the event is stored. Other
    statuses:

    - 400 if the body is not a JSON object
    - 401 if the signature is missing, wrong or too old
    - 413 if the body has more than 1 MiB
    - 503 if the event could not be stored
    """
    raise NotImplementedError(body)  # never called: FastAPI only documents its signature


receive_route = APIRoute(
    RECEIVER_PATH,
    _documented,
    methods=["POST"],
    name="receive_event",
    operation_id="receive_event",
    summary="Receive Event",
    tags=["webhooks"],
    responses={401: {}},
    openapi_extra=fails_with(
        "event_not_stored",
        "event_too_large",
        "malformed_json",
        "signature_malformed",
        "signature_mismatch",
        "signature_missing",
        "signature_stale",
    )
    | {"requestBody": {"content": {"application/json": {"example": EXAMPLE}}}},
)
"""The route of the receiver, for the OpenAPI document.

FastAPI does not run this route: ``receive_event`` serves the requests directly. The app compares
the path of a request with this route before all other routes.
"""
receive_route.app = receive_event


@router.get("")
async def list_events(
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    *,
    status: Annotated[WebhookEventStatus | None, IN_STATUS] = None,
    event_type: Annotated[
        Line200 | None,
        Query(alias="type", description="Only events of this type.", examples=["message.received"]),
    ] = None,
    error_code: Annotated[
        Line200 | None,
        Query(description="Only events whose last error has this code.", examples=["line_unknown"]),
    ] = None,
    received_after: After = None,
    zone: QueryZone,
) -> PageRead[WebhookEventRead]:
    """List received events, newest first."""
    async with uow:
        found = await stored_events.list_events(
            uow,
            EventSelection(
                status=status,
                type=event_type,
                error_code=error_code,
                received_after=start_of(received_after, zone),
            ),
            cursor=page.cursor,
            limit=page.limit,
        )
    return PageRead.of(found, WebhookEventRead.of)


@router.get("/errors")
async def list_errors(uow: ListUow, page: Paging, _caller: Reader) -> PageRead[ErrorClassRead]:
    """List the error codes of received events that this service could not apply yet.

    The list is ordered by the newest event of each error code, the most recently received first.
    """
    async with uow:
        found = await stored_events.list_errors(uow)
    part = Cursors("webhook_event_errors").part(
        found, cursor=page.cursor, limit=page.limit, name=lambda error: error.error_code
    )
    return PageRead(data=part.data, next_cursor=part.next_cursor)


@router.post("/replay", status_code=HTTPStatus.ACCEPTED, response_model_exclude_unset=True)
async def replay_events(
    body: ReplayRequest, uow: Uow, call: ThisCall, caller: Writer
) -> SelectionReplayRead:
    """Apply the selected events again. Effects that the events already had are not repeated.

    An event is selected if it matches all given fields; `"all": true` selects every event. A dry
    run only counts the selected events.
    """
    selection = body.selection()

    async def act() -> SelectionReplayRead:
        if body.dry_run:
            matched = await stored_events.count_events(uow, selection)
        else:
            matched = await stored_events.replay_events(
                uow, selection, actor=caller.name, now=await uow.database_now()
            )
        replayed = 0 if body.dry_run else matched
        return SelectionReplayRead(
            matched=matched,
            replayed=replayed,
            dry_run=body.dry_run,
            counts={"matched": matched},
        )

    async with uow:
        return await make_call(uow, call.by(caller), body, act)


@router.get("/{event_id}")
async def read_one_event(event_id: UUID, uow: Uow, _caller: Reader) -> WebhookEventRead:
    """Show one received event with its payload."""
    async with uow:
        event = await stored_events.get_event(uow, event_id)
    return WebhookEventRead.of(event)


@router.post("/{event_id}/replay", status_code=HTTPStatus.ACCEPTED)
async def replay_event(event_id: UUID, uow: Uow, _caller: Writer) -> ReplayRead:
    """Apply a received event again. Effects that it already had are not repeated."""
    async with uow:
        await stored_events.replay_event(uow, event_id=event_id, now=await uow.database_now())
    return ReplayRead(replayed=1)
