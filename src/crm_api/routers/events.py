"""What happens, as it happens: server-sent events."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from crm_api.domain.access.errors import MissingScopeError
from crm_api.domain.access.models import Scope
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.events.following import follow
from crm_api.domain.events.hub import EventHub
from crm_api.domain.events.interest import SCOPE_OF, Interest
from crm_api.domain.events.positions import Position, read_position
from crm_api.domain.events.schemas import EventRead, EventType
from crm_api.routers.deps import Caller, Uow, authenticate, require
from crm_api.routers.event_frames import MARKS, EventStreamResponse

router = APIRouter(prefix="/v1", tags=["events"])

EXAMPLE = """: listening
id: 90144-3071
retry: 2000

event: message.received
data: {"type":"message.received","timestamp":"2026-11-26T15:04:05.120Z","subject_id":"01a210ab-07f2-77d1-83aa-11a3393953fd","campaign_id":null,"data":{"status":"received","contact_id":"01a210ab-07f2-77d1-83aa-11a3393953fe"}}
id: 90151-3072
"""  # noqa: E501 - an event's data is one line
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The stream; `data` of each event is an EventRead.",
        "model": EventRead,
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
    }
}


async def _hub(request: Request) -> EventHub:
    hub: EventHub = request.app.state.events
    return hub


async def _after(
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    query: Annotated[
        str | None,
        Query(
            alias="last_event_id",
            description="As the header `Last-Event-ID`, which wins: an `EventSource` that comes "
            "back sends it beside the address that it was made with.",
        ),
    ] = None,
) -> Position | None:
    """Read the id of the last event that the caller has seen."""
    if header:
        return read_position(header, pointer="/Last-Event-ID")
    return read_position(query, pointer="/last_event_id") if query else None


Hub = Annotated[EventHub, Depends(_hub)]
After = Annotated[Position | None, Depends(_after)]
Types = Annotated[
    list[EventType], Query(alias="type", description="Only these; all that you may see if none.")
]


@router.get("/events", response_class=Response, responses=STREAM)
async def follow_events(
    hub: Hub,
    after: After,
    caller: Annotated[Caller, Depends(authenticate)],
    *,
    types: Types = [],  # noqa: B006 - FastAPI copies it
    campaign_id: UUID | None = None,
) -> EventStreamResponse:
    """Follow what happens, within a second, from now or from `Last-Event-ID` on.

    Each event needs the scope of what it is about: `messages:read` for messages, `contacts:read`
    for imports and opt-outs, `operations` for alerts, `campaigns:read` for campaigns and all that
    belongs to one. Others are left out. A `reset` event says that events since the last one are
    no longer kept (seven days).
    """
    interest = Interest.of(scopes=caller.scopes, types=types, campaign_id=campaign_id)
    if not interest.campaign_types:
        scopes = sorted({SCOPE_OF[one].value for one in types or EventType})
        raise MissingScopeError(
            f"This needs one of the scopes {', '.join(scopes)}.", required_scope=scopes[0]
        )
    return EventStreamResponse(follow(hub, interest=interest, after=after, marks=MARKS))


@router.get("/campaigns/{campaign_id}/events", response_class=Response, responses=STREAM)
async def follow_campaign(
    campaign_id: UUID,
    hub: Hub,
    after: After,
    uow: Uow,
    caller: Annotated[Caller, require(Scope.CAMPAIGNS_READ)],
    *,
    types: Types = [],  # noqa: B006 - FastAPI copies it
) -> EventStreamResponse:
    """Follow one campaign: its status, its texts and their answers, and its counts.

    It begins with `campaign.counters`, which come again when they change, once a second at most.
    """
    async with uow:
        await campaigns.read(uow, campaign_id=campaign_id)
    interest = Interest.of(scopes=caller.scopes, types=types, campaign_id=campaign_id)
    return EventStreamResponse(follow(hub, interest=interest, after=after, marks=MARKS))
