"""Routes of live events, as server-sent events."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request, Response

from crm_api.domain.campaigns.campaign_detail import read_campaign
from crm_api.domain.identity.api_keys.errors import MissingScopeError
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events.event_filter import EventFilter
from crm_api.domain.outbound.live_events.event_log import EventRead, LogPosition, parse_position
from crm_api.domain.outbound.live_events.payloads import SCOPE_OF
from crm_api.routers.http.deps import Caller, Uow, authenticate, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.outbound.event_frames import MARKS, EventStreamResponse, stream_events
from crm_api.routers.outbound.event_hub import EventHub
from crm_api.routers.outbound.event_streams import OneStream, access_of

router = ResourceRouter(prefix="/v1", tags=["events"])

EXAMPLE = """: listening
id: 90144-3071
retry: 2000

event: message.received
data: {"type":"message.received","timestamp":"2026-11-26T15:04:05.120Z","subject_id":"01a210ab-07f2-77d1-83aa-11a3393953fd","campaign_id":null,"data":{"status":"received","contact_id":"01a210ab-07f2-77d1-83aa-11a3393953fe"}}
id: 90151-3072
"""  # noqa: E501 - an event's data is one line
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The stream. The `data` of each event is an EventRead as JSON.",
        "model": EventRead,
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
    }
}


async def _hub(request: Request) -> EventHub:
    hub: EventHub = request.app.state.events
    return hub


async def _after(
    header: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="The id of the last event that you received. The stream continues "
            "after this event.",
            examples=["90151-3072"],
        ),
    ] = None,
    query: Annotated[
        str | None,
        Query(
            alias="last_event_id",
            description="The same as the header `Last-Event-ID`, for clients that cannot set "
            "headers. If both are given, the header is used.",
            examples=["90151-3072"],
        ),
    ] = None,
) -> LogPosition | None:
    """Read the id of the last event that the caller has received; None for a new stream."""
    # The header has priority over the parameter of the URL. A browser's ``EventSource`` that
    # reconnects sends the header together with its original URL.
    if header:
        return parse_position(header, pointer="/Last-Event-ID")
    return parse_position(query, pointer="/last_event_id") if query else None


Hub = Annotated[EventHub, Depends(_hub)]
After = Annotated[LogPosition | None, Depends(_after)]
Types = Annotated[
    list[EventType],
    Query(
        alias="type",
        description="Only events of these types. The default is all types that your scopes allow.",
        examples=[["message.received"]],
    ),
]


@router.get(
    "/events",
    response_class=Response,
    responses=STREAM,
    openapi_extra=fails_with("invalid_event_id", "missing_scope", "too_many_event_streams"),
)
async def follow_events(
    request: Request,
    hub: Hub,
    after: After,
    _stream: OneStream,
    caller: Annotated[Caller, Depends(authenticate)],
    *,
    types: Types = [],  # noqa: B006 - FastAPI copies it
    campaign_id: Annotated[UUID | None, Query(description="Only events of this campaign.")] = None,
) -> EventStreamResponse:
    """Stream events; a new event arrives within a second.

    The stream begins after the event in the header `Last-Event-ID`, if given. Events are stored for
    seven days. After a `reset` event, some events are missing: reload all data.

    Scopes: `messages:read` for messages, `contacts:read` for imports and opt-outs, `operations` for
    alerts, `campaigns:read` for everything that belongs to a campaign.
    """
    event_filter = EventFilter.of(scopes=caller.scopes, types=types, campaign_id=campaign_id)
    if not event_filter.campaign_types:
        scopes = sorted({SCOPE_OF[one].value for one in types or EventType})
        raise MissingScopeError(
            f"This operation needs one of the scopes {', '.join(scopes)}. Use an API key or a user "
            "with one of these scopes.",
            required_scope=scopes[0],
        )
    chunks = stream_events(hub, event_filter=event_filter, after=after, marks=MARKS)
    return EventStreamResponse(chunks, access=access_of(request, caller))


@router.get(
    "/campaigns/{campaign_id}/events",
    response_class=Response,
    responses=STREAM,
    openapi_extra=fails_with("invalid_event_id", "too_many_event_streams"),
)
async def follow_campaign(
    request: Request,
    campaign_id: UUID,
    hub: Hub,
    after: After,
    *,
    uow: Uow,
    _stream: OneStream,
    caller: Annotated[Caller, require(Scope.CAMPAIGNS_READ)],
    types: Types = [],  # noqa: B006 - FastAPI copies it
) -> EventStreamResponse:
    """Stream the events of one campaign: its status, its messages and replies, its counters.

    The stream begins with `campaign.counters`. This event is sent again when the counters change,
    at most once a second.
    """
    async with uow:
        await read_campaign(uow, campaign_id=campaign_id)
    event_filter = EventFilter.of(scopes=caller.scopes, types=types, campaign_id=campaign_id)
    chunks = stream_events(hub, event_filter=event_filter, after=after, marks=MARKS)
    return EventStreamResponse(chunks, access=access_of(request, caller))
