"""Conversations, messages and calls."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.schemas import CallRead, ConversationRead, MessageRead, ReplyCreate
from crm_api.domain.fields import PhoneNumber
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, State, Uow, require

router = APIRouter(prefix="/v1", tags=["conversations"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]
Sender = Annotated[Caller, require(Scope.MESSAGES_SEND)]


@router.get("/conversations")
async def list_conversations(
    uow: Uow,
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


@router.get("/conversations/{conversation_id}/messages")
async def list_messages(
    conversation_id: UUID, uow: Uow, page: Paging, _caller: Reader
) -> PageRead[MessageRead]:
    """List a conversation's messages, newest first."""
    async with uow:
        found = await activity.list_messages(
            uow, conversation_id=conversation_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead(data=[MessageRead.of(row) for row in found.data], next_cursor=found.next_cursor)


@router.post("/messages", status_code=HTTPStatus.ACCEPTED)
async def send_message(body: ReplyCreate, uow: Uow, state: State, _caller: Sender) -> MessageRead:
    """Send a text that a person wrote; it is queued, and its status tells when it left."""
    async with uow:
        message = await activity.send_reply(uow, body, rules=state.rules, now=clock.now())
    return MessageRead.of(message)


@router.get("/messages/{message_id}")
async def read_message(message_id: UUID, uow: Uow, _caller: Reader) -> MessageRead:
    """Read one message."""
    async with uow:
        message = await activity.get_message(uow, message_id)
    return MessageRead.of(message)


@router.get("/calls")
async def list_calls(uow: Uow, page: Paging, _caller: Reader) -> PageRead[CallRead]:
    """List calls, newest first."""
    async with uow:
        found = await activity.list_calls(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(data=[CallRead.of(row) for row in found.data], next_cursor=found.next_cursor)


@router.get("/calls/{call_id}")
async def read_call(call_id: UUID, uow: Uow, _caller: Reader) -> CallRead:
    """Read one call, with recording, voicemail, summary and transcript when they are known."""
    async with uow:
        call = await activity.get_call(uow, call_id)
    return CallRead.of(call)
