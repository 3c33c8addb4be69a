"""Puts calls on the timeline as they become known, many events at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import calls, queries
from crm_api.domain.activity.models import Direction, Origin
from crm_api.domain.activity.placing import Touch, as_phone, contacts_of, touch_conversations
from crm_api.domain.activity.queries import KnownCall
from crm_api.domain.lines.models import Line
from crm_api.domain.media import service as media
from crm_api.domain.media.models import MediaKind
from crm_api.domain.media.queries import Wanted
from crm_api.domain.openphone.facts import CallFacts


@dataclass(frozen=True, kw_only=True)
class ToldCall:
    """What one event tells of a call.

    Attributes:
        event_type: None for a call of a list.
        event_at: When it happened, by the provider's clock.
        line: None when the event does not say.
    """

    facts: CallFacts
    event_type: str | None
    event_at: datetime | None
    line: Line | None


@dataclass(frozen=True, kw_only=True)
class RecordedCall:
    """What is known of a call by now; ``phone`` only of a person who called or picked up."""

    phone: str | None
    began_at: datetime


async def record_calls(
    uow: UnitOfWork, told: Sequence[ToldCall], *, now: datetime
) -> list[RecordedCall]:
    """Add what events tell of calls to each call's one row, whatever came before."""
    names = {one.facts.provider_call_id for one in told}
    known = await queries.lock_calls(uow.session, provider_call_ids=names, now=now)
    heard: dict[str, datetime] = {}
    for one in told:
        name = one.facts.provider_call_id
        until = calls.heard_until(known[name].call, one.event_at)
        known[name] = _merged(known[name], one)
        if until is not None:
            heard[name] = max(heard.get(name, until), until)
    await _place(uow, known, heard=heard, now=now)
    await queries.save_calls(uow.session, list(known.values()), now=now)
    for one in told:
        call = known[one.facts.provider_call_id]
        await media.note(uow, activity_id=call.id, wanted=_sounds_of(one.facts), now=now)
    return [_recorded(call) for call in known.values()]


def _merged(known: KnownCall, told: ToldCall) -> KnownCall:
    document = calls.merge_call(known.call, told.facts, event_at=told.event_at)
    rank, status = max((known.rank, known.status), calls.rank_status(told.facts, told.event_type))
    return replace(
        known,
        call=document,
        rank=rank,
        status=status,
        direction=document.get("direction"),
        user_id=document.get("user_id"),
        occurred_at=calls.began_at(document) or known.occurred_at,
        line_id=told.line.id if told.line is not None else known.line_id,
    )


async def _place(
    uow: UnitOfWork, known: dict[str, KnownCall], *, heard: dict[str, datetime], now: datetime
) -> None:
    """Find the outside parties' contacts, who are added when they called, and conversations."""
    placed = {name: call for name, call in known.items() if call.call.get("external")}
    phones = {name: as_phone(call.call["external"][0]) for name, call in placed.items()}
    nobodys = [name for name, call in placed.items() if call.contact_id is None and phones[name]]
    callers = {phones[name] for name in nobodys if placed[name].direction == Direction.INCOMING}
    contacts = await contacts_of(
        uow,
        [phone for name in nobodys if (phone := phones[name])],
        may_add=[phone for phone in callers if phone],
        now=now,
    )
    touches = []
    for name, call in placed.items():
        phone = phones[name] or call.call["external"][0]
        contact_id = call.contact_id or contacts.get(phone)
        known[name] = replace(call, phone=phone, contact_id=contact_id)
        if call.line_id is not None:
            touches.append(
                Touch(
                    line_id=call.line_id,
                    phone=phone,
                    contact_id=contact_id,
                    openphone_id=call.call.get("conversation_id"),
                    at=heard.get(name) or call.occurred_at,
                    outgoing_at=calls.placed_at(call.call),
                )
            )
    talks = await touch_conversations(uow, touches, now=now)
    for name in placed:
        call = known[name]
        if call.line_id is not None:
            talk = talks[call.line_id, call.phone or ""]
            known[name] = replace(call, conversation_id=talk)


def _recorded(call: KnownCall) -> RecordedCall:
    external = call.call.get("external")
    phone = as_phone(external[0]) if external else None
    is_contact = calls.is_contact(call.call)
    return RecordedCall(phone=phone if is_contact else None, began_at=call.occurred_at)


def _sounds_of(facts: CallFacts) -> list[Wanted]:
    found = [Wanted(kind=MediaKind.RECORDING, url=one.url) for one in facts.recordings]
    if facts.voicemail is not None and facts.voicemail.url is not None:
        found.append(Wanted(kind=MediaKind.VOICEMAIL, url=facts.voicemail.url))
    return found


async def set_campaigns(uow: UnitOfWork, campaigns: dict[UUID, UUID]) -> None:
    """Tie received texts to the campaigns that they answer, by the texts' ids."""
    if campaigns:
        await queries.set_campaigns(uow.session, campaigns)


async def was_sent_lately(
    uow: UnitOfWork, *, conversation_id: UUID, origin: Origin, within: timedelta, now: datetime
) -> bool:
    """Say whether a text of this origin was put on its way in the conversation lately."""
    return await queries.has_recent(
        uow.session, conversation_id=conversation_id, origin=origin, since=now - within
    )
