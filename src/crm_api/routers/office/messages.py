"""HTTP route that lists and searches the messages of all conversations."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response

from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.fields import Line200
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.conversations import service as activity
from crm_api.domain.messaging.conversations.schemas import MessageRead
from crm_api.domain.messaging.media import service as media
from crm_api.domain.messaging.media.schemas import names_files
from crm_api.domain.messaging.models.timeline import Direction, MessageStatus
from crm_api.domain.office.message_search.listing import export_found_messages, list_messages
from crm_api.domain.office.message_search.selection import MessageFilter
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer
from crm_api.routers.http.deps import IN_STATUS, Caller, ListUow, Paging, State, require
from crm_api.routers.http.query_parameters import QueryTime, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.messaging.conversations import MESSAGES_AS_CSV

router = ResourceRouter(prefix="/v1", tags=["conversations"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]


async def read_filter(
    *,
    q: Annotated[
        Line200,
        Query(
            description="Words to find in received messages and in messages that the office wrote "
            "by hand. Messages of campaigns are not searched. Every word must occur in the "
            "message. If you have the scope contacts:read, a word may instead occur in the name or "
            "phone number of the person. A phrase in quotes must occur unchanged. Messages with "
            "all words come first. If they do not fill the page, messages with similar words "
            "follow: a word of four letters or more may have a typing error. Accents and capital "
            "letters make no difference. Words after the tenth are ignored.",
            examples=["chimney rossi"],
        ),
    ] = "",
    direction: Annotated[
        Direction | None, Query(description="Only messages with this direction.")
    ] = None,
    status: Annotated[MessageStatus | None, IN_STATUS] = None,
    campaign_id: Annotated[
        UUID | None,
        Query(description="Only messages of this campaign, and replies to its messages."),
    ] = None,
    contact_id: Annotated[
        UUID | None, Query(description="Only messages with this contact.")
    ] = None,
    line_id: Annotated[UUID | None, Query(description="Only messages of this phone line.")] = None,
    since: Annotated[
        QueryTime | None,
        Query(
            description="Only messages that were sent or received at this time or later. A date "
            "means midnight in `timezone`.",
            examples=["2026-11-01"],
        ),
    ] = None,
    until: Annotated[
        QueryTime | None,
        Query(
            description="Only messages that were sent or received before this time. A date means "
            "midnight in `timezone`.",
            examples=["2026-12-01"],
        ),
    ] = None,
    zone: QueryZone,
    reply_class: Annotated[
        ReplyClass | None, Query(description="Only replies of this class.")
    ] = None,
) -> MessageFilter:
    """Return the filter that the query parameters describe."""
    return MessageFilter(
        q=q,
        direction=direction,
        status=status,
        campaign_id=campaign_id,
        contact_id=contact_id,
        line_id=line_id,
        since=start_of(since, zone),
        until=start_of(until, zone),
        reply_class=reply_class,
    )


@router.get(
    "/messages",
    response_model=PageRead[MessageRead],
    responses=MESSAGES_AS_CSV,
    openapi_extra=fails_with("unsearchable"),
)
async def list_all_messages(
    uow: ListUow,
    state: State,
    page: Paging,
    wanted: Annotated[MessageFilter, Depends(read_filter)],
    caller: Reader,
    *,
    as_csv: WantsCsv,
) -> PageRead[MessageRead] | Response:
    """List or search the messages of all conversations, newest first.

    A JSON response is one page. Continue until `next_cursor` is null. Without `q`, a page may have
    fewer messages than `limit` although other messages follow. This happens if very few messages
    match the other filters. A CSV response contains all messages.
    """
    with_names = caller.may(Scope.CONTACTS_READ)
    if as_csv:
        rows = export_found_messages(state.new_list_uow, wanted, with_names=with_names)
        return csv_answer(rows, name="messages")
    async with uow:
        found = await list_messages(
            uow, wanted, with_names=with_names, cursor=page.cursor, limit=page.limit
        )
        named = [row.id for row in found.data if names_files(row.media, row.call)]
        files = await media.read_shown_fetches(uow, activity_ids=named)
        attempts = await activity.attempts_of(uow, found.data)
    return PageRead.of(
        found, lambda row: MessageRead.of(row, files.get(row.id, ()), attempts.get(row.id, ()))
    )
