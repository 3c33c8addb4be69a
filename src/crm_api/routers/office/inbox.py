"""HTTP routes of the inbox: list, count, read and change conversations."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.fields import Line200, PhoneNumber
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox import changes, listing, presence, tallies
from crm_api.domain.office.inbox.rows import read_row
from crm_api.domain.office.inbox.schemas import (
    ConversationCounts,
    ConversationRead,
    ConversationUpdate,
    PresenceReport,
    ReadUntil,
)
from crm_api.domain.office.inbox.search import search_conversations
from crm_api.domain.office.inbox.selection import (
    NOBODY,
    InboxAssignee,
    InboxFilter,
    InboxSort,
    read_states,
)
from crm_api.domain.office.message_search.terms import parse_terms
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, ListUow, Uow, require
from crm_api.routers.http.list_responses import ReplicaListed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

LONGEST_STATES = 100


async def _states(
    state: Annotated[
        str | None,
        Query(
            max_length=LONGEST_STATES,
            description="Only conversations in this state: `waiting`, `open`, `snoozed` or `done`. "
            "Several states are separated by commas.",
            examples=["waiting,open"],
        ),
    ] = None,
) -> tuple[ConversationState, ...]:
    return read_states(state, pointer="/state")


States = Annotated[tuple[ConversationState, ...], Depends(_states)]


AssigneeParameter = Annotated[
    InboxAssignee | UUID | None,
    Query(
        description="Who is responsible for the conversations: `me` for you, `none` for nobody, or "
        "the id of a user. No conversations are assigned to an API key."
    ),
]


def assignee_of(value: InboxAssignee | UUID | None, caller: Caller) -> UUID | str | None:
    """Convert the filter ``assignee`` to the id of a caller, ``NOBODY``, or None (no filter).

    ``NOBODY`` selects the unassigned conversations. An API key is never an assignee, so the id of
    an API key selects no conversations.
    """
    if value == InboxAssignee.ME:
        return UUID(caller.id)
    return NOBODY if value == InboxAssignee.NONE else value


router = ResourceRouter(prefix="/v1/conversations", tags=["conversations"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]
Writer = Annotated[Caller, require(Scope.MESSAGES_SEND)]


@router.get(
    "",
    response_model=PageRead[ConversationRead],
    responses=csv_list_of(ConversationRead),
    openapi_extra=fails_with("invalid_states", "unsearchable"),
)
async def list_conversations(
    listed: ReplicaListed,
    caller: Reader,
    *,
    q: Annotated[
        Line200,
        Query(
            description="Words to find in messages that people wrote. If you have the scope "
            "contacts:read, the names and phone numbers of people are searched too. Every word "
            "must occur. A phrase in quotes must occur unchanged. If the conversations with all "
            "words do not fill the page, conversations with similar words follow. The search has "
            "limits. By name or phone number, it finds at most 200 conversations. Of the messages "
            "with all words, it uses only the 200 newest. Of the messages with similar words, it "
            "uses only the 100 newest.",
            examples=["chimney rossi"],
        ),
    ] = "",
    states: States,
    assignee: AssigneeParameter = None,
    unread: Annotated[
        bool | None,
        Query(
            description="True: only conversations with messages that you have not read; false: "
            "only conversations without such messages.",
            examples=[True],
        ),
    ] = None,
    line_id: Annotated[
        UUID | None, Query(description="Only conversations of this phone line.")
    ] = None,
    campaign_id: Annotated[
        UUID | None,
        Query(description="Only conversations whose last reply belongs to this campaign."),
    ] = None,
    contact_id: Annotated[
        UUID | None, Query(description="Only conversations with this contact.")
    ] = None,
    phone: Annotated[
        PhoneNumber | None,
        Query(
            description="Only conversations with this phone number, in E.164 or another usual "
            "format."
        ),
    ] = None,
    flag: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=100,
            description="Only conversations with phone numbers that have this flag.",
            examples=["opted_out"],
        ),
    ] = None,
    sort: Annotated[
        InboxSort, Query(description="The order of the conversations.")
    ] = InboxSort.NEWEST,
) -> PageRead[ConversationRead] | Response:
    """List the conversations that match all given filters, by default the latest activity first.

    If you give `unread=true` or `assignee`, and no `state`, only conversations in the states
    `waiting` and `open` are listed. With `sort=waiting_longest`, conversations in which nobody
    waits for an answer come last. A CSV response contains all conversations that match.
    """
    wanted = InboxFilter(
        states=states,
        assignee=assignee_of(assignee, caller),
        is_unread=unread,
        line_id=line_id,
        campaign_id=campaign_id,
        contact_id=contact_id,
        phone=phone,
        flag=flag,
    )
    terms = parse_terms(q)

    async def read_page(
        uow: UnitOfWork, cursor: str | None, limit: int
    ) -> PageRead[ConversationRead]:
        if terms:
            found = await search_conversations(
                uow,
                wanted,
                terms,
                with_names=caller.may(Scope.CONTACTS_READ),
                sort=sort,
                caller_id=UUID(caller.id),
                cursor=cursor,
                limit=limit,
                now=clock.now(),
            )
        else:
            found = await listing.list_conversations(
                uow,
                wanted,
                sort=sort,
                caller_id=UUID(caller.id),
                cursor=cursor,
                limit=limit,
                now=clock.now(),
            )
        return PageRead.of(found, ConversationRead.of)

    return await listed.respond(ConversationRead, read_page, name="conversations")


@router.get("/counts")
async def count_conversations(uow: ListUow, caller: Reader) -> ConversationCounts:
    """Count conversations: in each state, unread, assigned to you, and unassigned.

    `unread`, `mine` and `unassigned` count only conversations in the states `waiting` and `open`.
    Each count equals the number of conversations that `GET /v1/conversations` lists with the same
    filter.
    """
    async with uow:
        counts = await tallies.count_conversations(uow, caller_id=UUID(caller.id))
    return ConversationCounts.model_validate(counts)


@router.get("/{conversation_id}")
async def get_conversation(conversation_id: UUID, uow: Uow, caller: Reader) -> ConversationRead:
    """Return one conversation."""
    async with uow:
        row = await read_row(
            uow, conversation_id=conversation_id, caller_id=UUID(caller.id), now=clock.now()
        )
    return ConversationRead.of(row)


@router.patch(
    "/{conversation_id}",
    openapi_extra=fails_with("conversation_taken", "invalid_snooze", "unknown_assignee"),
)
async def update_conversation(
    conversation_id: UUID, body: ConversationUpdate, uow: Uow, caller: Writer
) -> ConversationRead:
    """Change the state of a conversation, snooze the conversation, or make a user responsible.

    A snoozed conversation comes back to the inbox at the chosen time. A message, missed call or
    voicemail of the person sets the state `waiting` again. If it arrives during your request, your
    change of the state is ignored.
    """
    async with uow:
        now = await uow.database_now()
        await changes.update_conversation(
            uow,
            body,
            conversation_id=conversation_id,
            user_id=None if caller.user is None else caller.user.id,
            now=now,
        )
        row = await read_row(
            uow, conversation_id=conversation_id, caller_id=UUID(caller.id), now=now
        )
    return ConversationRead.of(row)


@router.post(
    "/{conversation_id}/read",
    status_code=204,
    openapi_extra=fails_with("conversation_not_found", "message_not_found"),
)
async def mark_conversation_read(
    conversation_id: UUID, uow: Uow, caller: Reader, body: ReadUntil | None = None
) -> None:
    """Mark messages of a conversation as read by you: all messages, or those up to `message_id`."""
    async with uow:
        await changes.mark_read(
            uow,
            conversation_id=conversation_id,
            caller_id=UUID(caller.id),
            message_id=None if body is None else body.message_id,
        )


@router.post("/{conversation_id}/presence", status_code=204)
async def report_presence(
    conversation_id: UUID, body: PresenceReport, uow: Uow, caller: Reader
) -> None:
    """Report to other users that you view a conversation or write in it.

    The report is valid for 15 seconds. The event `conversation.presence` of `GET /v1/events` has
    your id and name, the activity, and the time until which the report is valid.
    """
    async with uow:
        await presence.report_presence(
            uow,
            conversation_id=conversation_id,
            caller_id=UUID(caller.id),
            activity=body.activity,
            now=clock.now(),
        )
