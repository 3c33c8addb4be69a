"""Conversations, messages and calls: what was said on which line with whom."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import calls, queries
from crm_api.domain.activity.errors import (
    CallNotFoundError,
    ConversationNotFoundError,
    LineCannotSendError,
    MessageNotFoundError,
    RecipientOptedOutError,
    UnknownLineError,
)
from crm_api.domain.activity.models import Activity, ActivityKind, Conversation, Direction, Origin
from crm_api.domain.activity.schemas import ReplyCreate
from crm_api.domain.consent.models import FlagType
from crm_api.domain.contacts import service as contacts
from crm_api.domain.errors import FieldProblem
from crm_api.domain.lines.models import Line, LineStatus
from crm_api.domain.openphone.facts import CallFacts, MessageFacts
from crm_api.domain.paging import Page, decode_cursor, encode_cursor
from crm_api.domain.phone import InvalidPhoneError, parse_phone
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.models import SendKind

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Received:
    """A received text as it is stored.

    Attributes:
        is_new: False when it was stored before; what follows from it has happened then.
        phone: The sender's number in E.164, or None for another kind of identifier.
    """

    activity_id: UUID
    is_new: bool
    contact_id: UUID | None
    conversation_id: UUID
    phone: str | None


async def record_incoming(
    uow: UnitOfWork, facts: MessageFacts, *, line: Line, now: datetime
) -> Received:
    """Store a received text, its sender as a contact and its place in the conversation."""
    sender = facts.from_number or ""
    phone = as_phone(sender)
    contact_id = await _contact_of(uow, phone, now=now)
    conversation_id = await queries.touch_conversation(
        uow.session,
        line_id=line.id,
        phone=phone or sender,
        contact_id=contact_id,
        openphone_id=facts.conversation_id,
        at=facts.created_at,
        now=now,
    )
    activity_id, is_new = await queries.add_incoming(
        uow.session,
        values={
            "line_id": line.id,
            "conversation_id": conversation_id,
            "contact_id": contact_id,
            "phone": phone or sender,
            "openphone_id": facts.provider_message_id,
            "user_id": facts.user_id,
            "body": facts.text,
            "media": [asdict(item) for item in facts.media],
            "status": "received",
            "call": _group_of(facts, line=line),
            "occurred_at": facts.created_at,
            "created_at": now,
            "updated_at": now,
        },
    )
    return Received(
        activity_id=activity_id,
        is_new=is_new,
        contact_id=contact_id,
        conversation_id=conversation_id,
        phone=phone,
    )


def _group_of(facts: MessageFacts, *, line: Line) -> dict[str, Any]:
    """Return the outside parties of a group text; a text to us alone has no others."""
    others = [number for number in facts.to_numbers if number != line.number]
    if not others:
        return {}
    return {"participants": [facts.from_number, *others]}


async def record_call(
    uow: UnitOfWork,
    facts: CallFacts,
    *,
    event_type: str | None,
    event_at: datetime | None,
    line: Line | None,
    now: datetime,
) -> UUID:
    """Add what an event tells of a call to its one row, whatever came before.

    Args:
        event_type: None for a call of a list.
        event_at: When it happened, by the provider's clock.
        line: None when the event does not say.
    """
    known = await queries.lock_call(uow.session, provider_call_id=facts.provider_call_id, now=now)
    told = calls.merge_call(known.call, facts, event_at=event_at)
    rank, status = max((known.rank, known.status), calls.rank_status(facts, event_type))
    line_id = line.id if line is not None else known.line_id
    external = told.get("external", [])
    phone = (as_phone(external[0]) or external[0]) if external else None
    contact_id = known.contact_id
    if contact_id is None and phone is not None:
        is_incoming = told.get("direction") == Direction.INCOMING
        contact_id = await _contact_of(uow, as_phone(phone), now=now, may_add=is_incoming)
    values = {
        "call": told,
        "rank": rank,
        "status": status,
        "line_id": line_id,
        "phone": phone,
        "contact_id": contact_id,
        "direction": told.get("direction"),
        "user_id": told.get("user_id"),
        "occurred_at": calls.began_at(told) or now,
    }
    if line_id is not None and phone is not None:
        values["conversation_id"] = await queries.touch_conversation(
            uow.session,
            line_id=line_id,
            phone=phone,
            contact_id=contact_id,
            openphone_id=told.get("conversation_id"),
            at=event_at or calls.began_at(told) or now,
            now=now,
        )
    await queries.save_call(uow.session, activity_id=known.id, values=values)
    return known.id


async def set_campaign(uow: UnitOfWork, *, activity_id: UUID, campaign_id: UUID) -> None:
    """Tie a received text to the campaign that it answers."""
    await queries.set_campaign(uow.session, activity_id=activity_id, campaign_id=campaign_id)


async def was_sent_lately(
    uow: UnitOfWork, *, conversation_id: UUID, origin: Origin, within: timedelta, now: datetime
) -> bool:
    """Say whether a text of this origin was put on its way in the conversation lately."""
    return await queries.has_recent(
        uow.session, conversation_id=conversation_id, origin=origin, since=now - within
    )


def as_phone(identifier: str) -> str | None:
    """Return the number in E.164; None for a short code, a name or anything else."""
    try:
        return parse_phone(identifier)
    except InvalidPhoneError:
        return None


async def find_contact(uow: UnitOfWork, *, identifier: str) -> UUID | None:
    """Return the contact with this number; None when it is unknown or no number."""
    phone = as_phone(identifier)
    return None if phone is None else await queries.find_contact(uow.session, phone=phone)


async def _contact_of(
    uow: UnitOfWork, phone: str | None, *, now: datetime, may_add: bool = True
) -> UUID | None:
    if phone is None:
        return None
    if not may_add:
        return await queries.find_contact(uow.session, phone=phone)
    contact = await contacts.ensure_contact(uow, phone=phone, source="message", now=now)
    return contact.id


async def send_reply(uow: UnitOfWork, reply: ReplyCreate, *, now: datetime) -> Activity:
    """Queue a text that a person wrote; it leaves at once, outside the daily limit.

    Raises:
        UnknownLineError: There is no such line.
        LineCannotSendError: The line is blocked.
        RecipientOptedOutError: The recipient asked not to be texted.
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
    flags = (FlagType.OPTED_OUT, FlagType.DO_NOT_CONTACT)
    if await queries.has_flag(uow.session, phone=reply.to, flags=flags, now=now):
        raise RecipientOptedOutError("This number asked not to be texted.")
    return await sends.queue_text(
        uow,
        line_id=line.id,
        phone=reply.to,
        body=reply.body,
        kind=SendKind.MANUAL,
        contact_id=await _contact_of(uow, reply.to, now=now),
        now=now,
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
    rows = await queries.list_conversations(
        uow.session,
        line_id=line_id,
        contact_id=contact_id,
        phone=phone,
        after=decode_cursor(cursor) if cursor else None,
        limit=limit + 1,
    )
    return _page(rows, limit, lambda row: (row.last_activity_at, row.id))


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
    rows = await queries.list_messages(
        uow.session,
        conversation_id=conversation_id,
        after=decode_cursor(cursor) if cursor else None,
        limit=limit + 1,
    )
    return _page(rows, limit, lambda row: (row.occurred_at, row.id))


async def list_calls(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Activity]:
    """List calls, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    after = decode_cursor(cursor) if cursor else None
    rows = await queries.list_calls(uow.session, after=after, limit=limit + 1)
    return _page(rows, limit, lambda row: (row.occurred_at, row.id))


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


def _page(
    rows: list[Row], limit: int, position: Callable[[Row], tuple[datetime, UUID]]
) -> Page[Row]:
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(shown, encode_cursor(*position(shown[-1])) if more else None)
