"""Puts what the provider tells on the timeline: received texts, and calls as they become known."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import calls, queries
from crm_api.domain.activity.models import Direction, Origin
from crm_api.domain.contacts import service as contacts
from crm_api.domain.lines import service as lines
from crm_api.domain.lines.models import Line
from crm_api.domain.media import service as media
from crm_api.domain.media.models import MediaKind
from crm_api.domain.media.queries import Wanted
from crm_api.domain.openphone.facts import CallFacts, MediaItem, MessageFacts
from crm_api.domain.phone import InvalidPhoneError, parse_phone


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
    contact_id = await contact_of(uow, phone, now=now)
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
        line_id=line.id,
        conversation_id=conversation_id,
        contact_id=contact_id,
        phone=phone or sender,
        openphone_id=facts.provider_message_id,
        user_id=facts.user_id,
        body=facts.text,
        media=[asdict(item) for item in facts.media],
        call=_group_of(facts, line=line),
        occurred_at=facts.created_at,
        now=now,
    )
    wanted = [_file_of(item) for item in facts.media]
    await media.note(uow, activity_id=activity_id, wanted=wanted, now=now)
    return Received(
        activity_id=activity_id,
        is_new=is_new,
        contact_id=contact_id,
        conversation_id=conversation_id,
        phone=phone,
    )


def _file_of(item: MediaItem) -> Wanted:
    is_picture = (item.type or "").lower().startswith("image/")
    return Wanted(kind=MediaKind.PICTURE if is_picture else MediaKind.OTHER, url=item.url)


def _group_of(facts: MessageFacts, *, line: Line) -> dict[str, Any]:
    """Return the outside parties of a group text; a text to us alone has no others."""
    others = [number for number in facts.to_numbers if number != line.number]
    if not others:
        return {}
    return {"participants": [facts.from_number, *others]}


@dataclass(frozen=True, kw_only=True)
class RecordedCall:
    """What is known of a call by now; ``phone`` only of a person who called or picked up."""

    phone: str | None
    began_at: datetime


async def record_call(
    uow: UnitOfWork,
    facts: CallFacts,
    *,
    event_type: str | None,
    event_at: datetime | None,
    line: Line | None,
    now: datetime,
) -> RecordedCall:
    """Add what an event tells of a call to its one row, whatever came before.

    Args:
        event_type: None for a call of a list.
        event_at: When it happened, by the provider's clock.
        line: None when the event does not say.
    """
    known = await queries.lock_call(uow.session, provider_call_id=facts.provider_call_id, now=now)
    told = calls.merge_call(known.call, facts, event_at=event_at)
    rank, status = max((known.rank, known.status), calls.rank_status(facts, event_type))
    began_at = calls.began_at(told) or known.occurred_at
    line_id = line.id if line is not None else known.line_id
    values = {
        "call": told,
        "rank": rank,
        "status": status,
        "direction": told.get("direction"),
        "user_id": told.get("user_id"),
        "occurred_at": began_at,
        "line_id": line_id,
        "contact_id": known.contact_id,
        "phone": None,
        "conversation_id": None,
    }
    if told.get("external"):
        values |= await _place_call(
            uow,
            told,
            line_id=line_id,
            known=known,
            at=calls.heard_until(known.call, event_at) or began_at,
            now=now,
        )
    await queries.save_call(uow.session, activity_id=known.id, values=values, now=now)
    await media.note(uow, activity_id=known.id, wanted=_sounds_of(facts), now=now)
    phone = as_phone(told["external"][0]) if told.get("external") else None
    is_contact = calls.is_contact(told)
    return RecordedCall(phone=phone if is_contact else None, began_at=began_at)


def _sounds_of(facts: CallFacts) -> list[Wanted]:
    found = [Wanted(kind=MediaKind.RECORDING, url=one.url) for one in facts.recordings]
    if facts.voicemail is not None and facts.voicemail.url is not None:
        found.append(Wanted(kind=MediaKind.VOICEMAIL, url=facts.voicemail.url))
    return found


async def _place_call(
    uow: UnitOfWork,
    told: calls.Document,
    *,
    line_id: UUID | None,
    known: queries.KnownCall,
    at: datetime,
    now: datetime,
) -> dict[str, Any]:
    """Find the outside party's contact, who is added when they called, and the conversation."""
    identifier: str = told["external"][0]
    phone = as_phone(identifier)
    contact_id = known.contact_id or await contact_of(
        uow, phone, now=now, may_add=told.get("direction") == Direction.INCOMING
    )
    placed: dict[str, Any] = {"phone": phone or identifier, "contact_id": contact_id}
    if line_id is not None:
        placed["conversation_id"] = await queries.touch_conversation(
            uow.session,
            line_id=line_id,
            phone=phone or identifier,
            contact_id=contact_id,
            openphone_id=told.get("conversation_id"),
            at=at,
            now=now,
        )
    return placed


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


async def contact_of(
    uow: UnitOfWork, phone: str | None, *, now: datetime, may_add: bool = True
) -> UUID | None:
    """Return the number's contact, added when it is unknown and may be; None for no number.

    An own line that texts another one is nobody's contact.
    """
    if phone is None:
        return None
    known = await queries.find_contact(uow.session, phone=phone)
    if known is not None or not may_add:
        return known
    if await lines.find_by_number(uow, numbers=[phone]) is not None:
        return None
    contact = await contacts.ensure_contact(uow, phone=phone, source="message", now=now)
    await queries.adopt(uow.session, phone=phone, contact_id=contact.id)
    return contact.id
