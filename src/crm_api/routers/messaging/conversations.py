"""HTTP routes for conversations, messages and phone calls."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Response

from crm_api.domain.campaigns.recipients.review import SettleRequest
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import CAMPAIGN, CONTACT, LINE, REPLY, example_id
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.conversations import drafts, notes
from crm_api.domain.messaging.conversations import service as activity
from crm_api.domain.messaging.conversations.export import export_messages
from crm_api.domain.messaging.conversations.schemas import (
    CallRead,
    ConversationNoteCreate,
    ConversationNoteRead,
    DraftRead,
    DraftWrite,
    MessageRead,
)
from crm_api.domain.messaging.media import service as media
from crm_api.domain.messaging.media.schemas import names_files
from crm_api.domain.messaging.media.service import ShownFetch
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer, csv_list, csv_list_of
from crm_api.routers.http.deps import Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["conversations"])
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


@router.get("/conversations/{conversation_id}/draft")
async def get_draft(conversation_id: UUID, uow: Uow, caller: Reader) -> DraftRead:
    """Return your draft in a conversation. If you have no draft, `body` is null."""
    async with uow:
        draft = await drafts.read_draft(uow, conversation_id=conversation_id, caller_id=caller.id)
    if draft is None:
        return DraftRead(body=None, updated_at=None)
    return DraftRead(body=draft.body, updated_at=draft.updated_at)


@router.put("/conversations/{conversation_id}/draft")
async def write_draft(
    conversation_id: UUID, body: DraftWrite, uow: Uow, caller: Sender
) -> DraftRead:
    """Store your draft (an unsent message) in a conversation. It replaces your earlier draft.

    The draft is deleted when you send a message in this conversation.
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
    """Delete your draft in a conversation. If you have no draft, nothing happens."""
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
    """Add a note to a conversation. Only users see the note; it is never sent."""
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


@router.get(
    "/conversations/{conversation_id}/notes",
    response_model=PageRead[ConversationNoteRead],
    responses=csv_list_of(ConversationNoteRead),
)
async def list_conversation_notes(
    conversation_id: UUID, listed: Listed, _caller: Reader
) -> PageRead[ConversationNoteRead] | Response:
    """List the notes of a conversation, newest first. A CSV response contains all notes."""

    async def read_page(
        uow: UnitOfWork, cursor: str | None, limit: int
    ) -> PageRead[ConversationNoteRead]:
        found = await notes.list_notes(
            uow, conversation_id=conversation_id, cursor=cursor, limit=limit
        )
        return PageRead.of(found, ConversationNoteRead.of)

    return await listed.respond(ConversationNoteRead, read_page, name="notes")


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
    return PageRead.of(
        found, lambda row: MessageRead.of(row, files.get(row.id, ()), attempts.get(row.id, ()))
    )


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
    """Record whether a message was sent, if the service could not find out.

    An alert of the kind `send_parked` shows the id of the message. For a campaign, the alert
    shows only one of its unclear messages. Check in OpenPhone whether the message was sent, then
    set `outcome`:

    - `sent`: the message was sent.
    - `failed`: it was not sent, and must not be sent again.
    - `resend`: it was not sent, and must be sent again.
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
    return PageRead.of(found, lambda row: CallRead.of(row, files.get(row.id, ())))


@router.get("/calls/{call_id}")
async def read_call(call_id: UUID, uow: Uow, _caller: Reader) -> CallRead:
    """Return one phone call, with recording, voicemail, summary and transcript where available."""
    async with uow:
        call = await activity.get_call(uow, call_id)
        files = await _files_of(uow, [call])
    return CallRead.of(call, files.get(call.id, ()))
