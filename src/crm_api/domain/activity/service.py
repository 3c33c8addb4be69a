"""Conversations, messages and calls: what was said on which line with whom."""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import queries
from crm_api.domain.activity.errors import (
    CallNotFoundError,
    ConversationNotFoundError,
    LineCannotSendError,
    MessageNotFoundError,
    OutsideWindowError,
    RecipientOptedOutError,
    UnknownLineError,
)
from crm_api.domain.activity.models import Activity, ActivityKind, Conversation
from crm_api.domain.activity.placing import as_phone, contact_of, contacts_of
from crm_api.domain.activity.recording import (
    ToldCall,
    record_calls,
    set_campaigns,
    was_sent_lately,
)
from crm_api.domain.activity.schemas import ReplyCreate
from crm_api.domain.activity.texts import Received, ToldText, record_texts
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.consent import service as consent
from crm_api.domain.consent.models import FlagType
from crm_api.domain.errors import FieldProblem
from crm_api.domain.lines.models import Line, LineStatus
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.schemas import format_instant
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.models import SendKind

__all__ = [
    "Received",
    "ToldCall",
    "ToldText",
    "as_phone",
    "contacts_of",
    "get_call",
    "get_message",
    "list_calls",
    "list_conversations",
    "list_messages",
    "record_calls",
    "record_texts",
    "send_reply",
    "set_campaigns",
    "was_sent_lately",
]

Row = TypeVar("Row")


async def send_reply(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, now: datetime, secret: bytes
) -> Activity:
    """Queue a text that a person wrote; it leaves at once, outside the daily limit.

    Legal hours hold for it, unless the recipient has texted this line: then it is an answer.

    Raises:
        UnknownLineError: There is no such line.
        LineCannotSendError: The line is blocked.
        RecipientOptedOutError: The recipient asked not to be texted, or was erased.
        OutsideWindowError: It is outside legal hours where the recipient plausibly is.
    """
    line = await uow.session.get(Line, reply.line_id)
    if line is None:
        detail = "There is no line with this id."
        problem = FieldProblem(pointer="/line_id", code=UnknownLineError.code, detail=detail)
        raise UnknownLineError(detail, errors=[problem])
    if line.status == LineStatus.BLOCKED:
        raise LineCannotSendError(
            "The line is blocked and sends nothing.", blocked_reason=line.blocked_reason
        )
    await consent.suppress_erased(uow, phones=[reply.to], now=now, secret=secret)
    flags = (FlagType.OPTED_OUT, FlagType.DO_NOT_CONTACT)
    if await queries.has_flag(uow.session, phone=reply.to, flags=flags, now=now):
        raise RecipientOptedOutError("This number asked not to be texted.")
    await _check_hours(uow, reply, rules=rules, now=now)
    return await sends.queue_text(
        uow,
        line_id=line.id,
        phone=reply.to,
        body=reply.body,
        kind=SendKind.MANUAL,
        contact_id=await contact_of(uow, reply.to, now=now),
        now=now,
    )


async def _check_hours(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, now: datetime
) -> None:
    hours = await sends.reply_hours(
        uow, line_id=reply.line_id, phone=reply.to, rules=rules, now=now
    )
    if not hours.is_open:
        raise OutsideWindowError(
            "At the recipient it is outside the hours in which the law lets a text leave, and "
            "they never texted this line.",
            next_allowed_at=None if hours.opens_at is None else format_instant(hours.opens_at),
        )


async def list_conversations(
    uow: UnitOfWork,
    *,
    line_id: UUID | None,
    contact_id: UUID | None,
    phone: str | None,
    cursor: str | None,
    limit: int,
) -> Page[Conversation]:
    """List conversations, the last active first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("conversations", line_id=line_id, contact_id=contact_id, phone=phone)
    rows = await queries.list_conversations(
        uow.session,
        line_id=line_id,
        contact_id=contact_id,
        phone=phone,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.last_activity_at, row.id))


async def list_messages(
    uow: UnitOfWork, *, conversation_id: UUID, cursor: str | None, limit: int
) -> Page[Activity]:
    """List a conversation's messages, newest first.

    Raises:
        ConversationNotFoundError: There is no such conversation.
        InvalidCursorError: The cursor is not one of this list's.
    """
    if await queries.get_conversation(uow.session, conversation_id) is None:
        raise ConversationNotFoundError("There is no conversation with this id.")
    cursors = Cursors("messages", conversation_id=conversation_id)
    rows = await queries.list_messages(
        uow.session,
        conversation_id=conversation_id,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.occurred_at, row.id))


async def list_calls(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Activity]:
    """List calls, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("calls")
    after = cursors.read(cursor)
    rows = await queries.list_calls(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.occurred_at, row.id))


async def get_message(uow: UnitOfWork, message_id: UUID) -> Activity:
    """Read one message.

    Raises:
        MessageNotFoundError: There is no such message.
    """
    found = await queries.get_activity(uow.session, message_id, kind=ActivityKind.MESSAGE)
    if found is None:
        raise MessageNotFoundError("There is no message with this id.")
    return found


async def get_call(uow: UnitOfWork, call_id: UUID) -> Activity:
    """Read one call.

    Raises:
        CallNotFoundError: There is no such call.
    """
    found = await queries.get_activity(uow.session, call_id, kind=ActivityKind.CALL)
    if found is None:
        raise CallNotFoundError("There is no call with this id.")
    return found
