"""HTTP routes for conversations, messages and calls."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from crm_api.domain.campaigns.recipients.service import SettleRequest
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import CAMPAIGN, CONTACT, LINE, REPLY, example_id
from crm_api.domain.kit.fields import PhoneNumber
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.conversations import drafts, notes, user_messages
from crm_api.domain.messaging.conversations import service as activity
from crm_api.domain.messaging.conversations.exporting import export_messages
from crm_api.domain.messaging.conversations.schemas import (
    CallRead,
    ConversationNoteCreate,
    ConversationNoteRead,
    ConversationRead,
    DraftRead,
    DraftWrite,
    MessageRead,
    ReplyCreate,
)
from crm_api.domain.messaging.media import service as media
from crm_api.domain.messaging.media.schemas import names_files
from crm_api.domain.messaging.media.service import ShownFetch
from crm_api.domain.messaging.models.conversations import Activity
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_answers import WantsCsv, csv_answer, csv_list
from crm_api.routers.http.deps import Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.route_notes import fails_with, shows

router = APIRouter(prefix="/v1", tags=["conversations"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]
Sender = Annotated[Caller, require(Scope.MESSAGES_SEND)]


async def _files_of(uow: UnitOfWork, rows: Sequence[Activity]) -> dict[UUID, list[ShownFetch]]:
    named = [row.id for row in rows if names_files(row.media, row.call)]
    return await media.read_shown_fetches(uow, activity_ids=named)


MESSAGES_AS_CSV = csv_list(
    {
        "id": example_id("message"),
        "conversation_id": example_id("conversation"),
        "line_id": LINE,
        "contact_id": CONTACT,
        "campaign_id": CAMPAIGN,
        "direction": "incoming",
        "origin": "provider",
        "phone": "+16175550123",
        "body": REPLY,
        "status": "received",
        "error_code": "",
        "provider_message_id": "AC5c1d9be27f3a4086b1e7d2c9f0a8b364",
        "occurred_at": "2026-11-30T15:04:05.000Z",
        "created_at": "2026-11-30T15:04:06.000Z",
        "reply_class": "interested",
        "reply_class_by": "model",
    }
)


@router.get("/conversations")
async def list_conversations(
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    line_id: Annotated[UUID | None, Query(description="Only conversations of this line.")] = None,
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
) -> PageRead[ConversationRead]:
    """List the conversations that match all given filters, the most recently active first."""
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


@router.get("/conversations/{conversation_id}")
async def get_conversation(conversation_id: UUID, uow: Uow, _caller: Reader) -> ConversationRead:
    """Return one conversation."""
    async with uow:
        found = await activity.get_conversation(uow, conversation_id=conversation_id)
    return ConversationRead.model_validate(found)


@router.get("/conversations/{conversation_id}/draft")
async def get_draft(conversation_id: UUID, uow: Uow, caller: Reader) -> DraftRead:
    """Return your draft in a conversation; its `body` is null if you have none."""
    async with uow:
        draft = await drafts.read_draft(uow, conversation_id=conversation_id, caller_id=caller.id)
    if draft is None:
        return DraftRead(body=None, updated_at=None)
    return DraftRead(body=draft.body, updated_at=draft.updated_at)


@router.put("/conversations/{conversation_id}/draft")
async def write_draft(
    conversation_id: UUID, body: DraftWrite, uow: Uow, caller: Sender
) -> DraftRead:
    """Keep an unsent message of yours in a conversation, in place of an earlier one.

    It is deleted when you send a message to this number from this line.
    """
    async with uow:
        draft = await drafts.write_draft(
            uow,
            conversation_id=conversation_id,
            caller_id=caller.id,
            body=body.body,
            now=clock.now(),
        )
    return DraftRead(body=draft.body, updated_at=draft.updated_at)


@router.delete("/conversations/{conversation_id}/draft", status_code=204)
async def delete_draft(conversation_id: UUID, uow: Uow, caller: Sender) -> None:
    """Delete your draft in a conversation. Without a draft, nothing happens."""
    async with uow:
        await drafts.delete_draft(uow, conversation_id=conversation_id, caller_id=caller.id)


@router.post(
    "/conversations/{conversation_id}/notes",
    status_code=201,
    openapi_extra=fails_with("unknown_mention"),
)
async def add_conversation_note(
    conversation_id: UUID, body: ConversationNoteCreate, uow: Uow, caller: Sender
) -> ConversationNoteRead:
    """Add a note to a conversation, for colleagues alone. It is never sent."""
    async with uow:
        note = await notes.add_note(
            uow,
            conversation_id=conversation_id,
            body=body.body,
            mentions=body.mentions,
            author=caller.name,
            now=clock.now(),
        )
    return ConversationNoteRead.of(note)


@router.get("/conversations/{conversation_id}/notes")
async def list_conversation_notes(
    conversation_id: UUID, uow: Uow, page: Paging, _caller: Reader
) -> PageRead[ConversationNoteRead]:
    """List the notes of a conversation, newest first."""
    async with uow:
        found = await notes.list_notes(
            uow, conversation_id=conversation_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead(
        data=[ConversationNoteRead.of(one) for one in found.data], next_cursor=found.next_cursor
    )


@router.get(
    "/conversations/{conversation_id}/messages",
    response_model=PageRead[MessageRead],
    responses=MESSAGES_AS_CSV,
)
async def list_messages(
    conversation_id: UUID,
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    _caller: Reader,
) -> PageRead[MessageRead] | Response:
    """List the messages of a conversation, newest first.

    A JSON response is one page. A CSV response contains all messages.
    """
    if as_csv:
        rows = await export_messages(state.new_list_uow, conversation_id=conversation_id)
        return csv_answer(rows, name="messages")
    async with uow:
        found = await activity.list_messages(
            uow, conversation_id=conversation_id, cursor=page.cursor, limit=page.limit
        )
        files = await _files_of(uow, found.data)
        attempts = await activity.attempts_of(uow, found.data)
    return PageRead(
        data=[
            MessageRead.of(row, files.get(row.id, ()), attempts.get(row.id, ()))
            for row in found.data
        ],
        next_cursor=found.next_cursor,
    )


@router.post(
    "/messages",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=fails_with(
        "line_blocked",
        "outside_window",
        "recipient_do_not_contact",
        "recipient_opted_out",
        "unknown_line",
    )
    | shows(
        origin="manual",
        campaign_id=None,
        body="See you on Tuesday at four.",
        status="queued",
        provider_message_id=None,
        attempts=[],
    ),
)
async def send_message(body: ReplyCreate, uow: Uow, state: State, caller: Sender) -> MessageRead:
    """Send a single message to a phone number.

    The message is queued and usually sent within seconds. Read the message again to see from its
    `status` whether it was sent.
    """
    async with uow:
        message = await user_messages.queue_user_message(
            uow, body, rules=state.rules, now=await uow.database_now(), secret=state.secret
        )
        await drafts.delete_sent_draft(
            uow, line_id=body.line_id, phone=body.to, caller_id=caller.id
        )
    return MessageRead.of(message)


@router.get("/messages/{message_id}")
async def read_message(message_id: UUID, uow: Uow, _caller: Reader) -> MessageRead:
    """Return one message with its files and the attempts to send it."""
    async with uow:
        message = await activity.get_message(uow, message_id)
        files = await _files_of(uow, [message])
        attempts = await activity.attempts_of(uow, [message])
    return MessageRead.of(message, files.get(message.id, ()), attempts.get(message.id, ()))


@router.post("/messages/{message_id}/settle", openapi_extra=fails_with("not_parked"))
async def settle_message(
    message_id: UUID, body: SettleRequest, uow: Uow, caller: Sender
) -> MessageRead:
    """Decide whether a message was sent, if the service could not find out.

    An alert names the message. Check in OpenPhone whether the message was sent, then set `outcome`.
    `sent`: the message was sent. `failed`: the message was not sent and must not be sent again.
    `resend`: the message was not sent and must be sent again. The message may be a message of a
    campaign.
    """
    async with uow:
        message = await activity.settle_message(
            uow,
            message_id,
            outcome=body.outcome,
            actor=caller.name,
            now=await uow.database_now(),
        )
        files = await _files_of(uow, [message])
        attempts = await activity.attempts_of(uow, [message])
    return MessageRead.of(message, files.get(message.id, ()), attempts.get(message.id, ()))


@router.get("/calls")
async def list_calls(uow: ListUow, page: Paging, _caller: Reader) -> PageRead[CallRead]:
    """List the phone calls of all lines, newest first."""
    async with uow:
        found = await activity.list_calls(uow, cursor=page.cursor, limit=page.limit)
        files = await _files_of(uow, found.data)
    return PageRead(
        data=[CallRead.of(row, files.get(row.id, ())) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/calls/{call_id}")
async def read_call(call_id: UUID, uow: Uow, _caller: Reader) -> CallRead:
    """Return one phone call, with recording, voicemail, summary and transcript where available."""
    async with uow:
        call = await activity.get_call(uow, call_id)
        files = await _files_of(uow, [call])
    return CallRead.of(call, files.get(call.id, ()))
