"""Conversations, messages and calls."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.access.models import Scope
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.exporting import messages_csv
from crm_api.domain.activity.models import Activity
from crm_api.domain.activity.schemas import CallRead, ConversationRead, MessageRead, ReplyCreate
from crm_api.domain.fields import PhoneNumber
from crm_api.domain.media import service as media
from crm_api.domain.media.queries import ShownFetch
from crm_api.domain.media.schemas import names_files
from crm_api.domain.schemas import PageRead
from crm_api.routers.csv_answers import CSV_RESPONSE, WantsCsv, csv_answer
from crm_api.routers.deps import Caller, ListUow, Paging, State, Uow, require

router = APIRouter(prefix="/v1", tags=["conversations"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]
Sender = Annotated[Caller, require(Scope.MESSAGES_SEND)]


async def _files_of(uow: UnitOfWork, rows: Sequence[Activity]) -> dict[UUID, list[ShownFetch]]:
    named = [row.id for row in rows if names_files(row.media, row.call)]
    return await media.shown_of(uow, activity_ids=named)


@router.get("/conversations")
async def list_conversations(
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    line_id: UUID | None = None,
    contact_id: UUID | None = None,
    phone: PhoneNumber | None = None,
) -> PageRead[ConversationRead]:
    """List conversations, the last active first."""
    async with uow:
        found = await activity.list_conversations(
            uow,
            line_id=line_id,
            contact_id=contact_id,
            phone=phone,
            cursor=page.cursor,
            limit=page.limit,
        )
    return PageRead(
        data=[ConversationRead.model_validate(row) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.get(
    "/conversations/{conversation_id}/messages",
    response_model=PageRead[MessageRead],
    responses=CSV_RESPONSE,
)
async def list_messages(
    conversation_id: UUID,
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    _caller: Reader,
) -> PageRead[MessageRead] | Response:
    """List a conversation's messages, newest first; as CSV all of them."""
    if as_csv:
        rows = await messages_csv(state.new_list_uow, conversation_id=conversation_id)
        return csv_answer(rows, name="messages")
    async with uow:
        found = await activity.list_messages(
            uow, conversation_id=conversation_id, cursor=page.cursor, limit=page.limit
        )
        files = await _files_of(uow, found.data)
    return PageRead(
        data=[MessageRead.of(row, files.get(row.id, ())) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.post("/messages", status_code=HTTPStatus.ACCEPTED)
async def send_message(body: ReplyCreate, uow: Uow, state: State, _caller: Sender) -> MessageRead:
    """Send a text that a person wrote; it is queued, and its status tells when it left."""
    async with uow:
        message = await activity.send_reply(
            uow, body, rules=state.rules, now=clock.now(), secret=state.secret
        )
    return MessageRead.of(message)


@router.get("/messages/{message_id}")
async def read_message(message_id: UUID, uow: Uow, _caller: Reader) -> MessageRead:
    """Read one message."""
    async with uow:
        message = await activity.get_message(uow, message_id)
        files = await _files_of(uow, [message])
    return MessageRead.of(message, files.get(message.id, ()))


@router.get("/calls")
async def list_calls(uow: ListUow, page: Paging, _caller: Reader) -> PageRead[CallRead]:
    """List calls, newest first."""
    async with uow:
        found = await activity.list_calls(uow, cursor=page.cursor, limit=page.limit)
        files = await _files_of(uow, found.data)
    return PageRead(
        data=[CallRead.of(row, files.get(row.id, ())) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/calls/{call_id}")
async def read_call(call_id: UUID, uow: Uow, _caller: Reader) -> CallRead:
    """Read one call, with recording, voicemail, summary and transcript when they are known."""
    async with uow:
        call = await activity.get_call(uow, call_id)
        files = await _files_of(uow, [call])
    return CallRead.of(call, files.get(call.id, ()))
