"""Routes that manage calendar feeds, and the route that calendar programs read.

A calendar feed is a secret address at which a calendar program reads appointments.
"""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Header, Path
from fastapi.responses import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.calendars import feeds
from crm_api.domain.sales.calendars.feeds import (
    CalendarFeedCreate,
    CalendarFeedCreated,
    CalendarFeedRead,
)
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, State, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.preconditions import etag, matches_etag
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.sales.appointments import CALENDAR, CALENDAR_FILE

router = ResourceRouter(tags=["calendars"])
Reader = Annotated[Caller, require(Scope.SALES_READ)]
Writer = Annotated[Caller, require(Scope.SALES_WRITE)]
MAX_AGE = "private, max-age=300"


@router.post(
    "/v1/calendar-feeds",
    status_code=201,
    openapi_extra=fails_with("too_many_calendar_feeds", "unknown_assignee"),
)
async def create_calendar_feed(
    body: CalendarFeedCreate, uow: Uow, state: State, caller: Writer
) -> CalendarFeedCreated:
    """Create a secret address at which calendar programs can read appointments."""
    async with uow:
        feed, token = await feeds.create_feed(
            uow, body, author=caller.name, now=await uow.database_now()
        )
        shown = CalendarFeedRead.model_validate(feed)
    url = f"{state.settings.public_base_url}/calendar/{token}.ics"
    return CalendarFeedCreated(**shown.model_dump(), url=url)


@router.get(
    "/v1/calendar-feeds",
    response_model=PageRead[CalendarFeedRead],
    responses=csv_list_of(CalendarFeedRead),
)
async def list_calendar_feeds(
    listed: Listed, _caller: Reader
) -> PageRead[CalendarFeedRead] | Response:
    """List calendar feeds without their addresses, the newest first.

    A calendar feed is a secret address at which a calendar program reads appointments. A CSV
    response contains all calendar feeds.
    """

    async def read_page(
        uow: UnitOfWork, cursor: str | None, limit: int
    ) -> PageRead[CalendarFeedRead]:
        found = await feeds.list_feeds(uow, cursor=cursor, limit=limit)
        return PageRead.of(found, CalendarFeedRead.model_validate)

    return await listed.respond(CalendarFeedRead, read_page, name="calendar-feeds")


@router.get("/v1/calendar-feeds/{feed_id}")
async def get_calendar_feed(feed_id: UUID, uow: Uow, _caller: Reader) -> CalendarFeedRead:
    """Return one calendar feed without its address.

    A calendar feed is a secret address at which a calendar program reads appointments.
    """
    async with uow:
        return CalendarFeedRead.model_validate(await feeds.read_feed(uow, feed_id=feed_id))


@router.delete("/v1/calendar-feeds/{feed_id}", status_code=204)
async def delete_calendar_feed(feed_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a calendar feed. From now on, its address responds with the status 410."""
    async with uow:
        await feeds.delete_feed(uow, feed_id=feed_id, now=await uow.database_now())


@router.get(
    "/calendar/{token}.ics",
    response_class=Response,
    responses={
        **CALENDAR_FILE,
        304: {"description": "The calendar has not changed since the version in `If-None-Match`."},
    },
    openapi_extra=fails_with("calendar_gone", "calendar_not_found"),
)
async def open_calendar(
    token: Annotated[
        str,
        Path(
            max_length=100,
            description="The secret token in the address of the feed.",
            examples=["Yk3vJ0m8q2h5s7d9f1g4k6l8"],
        ),
    ],
    uow: Uow,
    if_none_match: Annotated[
        str | None,
        Header(
            description="The ETag of the version that you have. If it is still current, the "
            "response is 304 without the calendar.",
            examples=['"4be81d7a2f0c95637fa0d5b64c1e2938"'],
        ),
    ] = None,
) -> Response:
    """Return the appointments of a calendar feed as iCalendar (RFC 5545), without signing in.

    The address of the feed contains a secret, so no other credentials are needed. The calendar has
    the appointments of the last 60 and the next 400 days.
    """
    async with uow:
        feed, entries = await feeds.read_entries(uow, token=token, now=await uow.database_now())
    body = feeds.write_feed(feed, entries)
    tag = etag(body)
    headers = {"etag": tag, "cache-control": MAX_AGE}
    if if_none_match is not None and matches_etag(if_none_match, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=f"{CALENDAR}; charset=utf-8", headers=headers)
