"""Store calls on the timeline from batches of the provider's events."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.conversations import call_state
from crm_api.domain.messaging.conversations.participants import (
    ConversationTouch,
    as_phone,
    find_or_add_contacts,
    touch_conversations,
)
from crm_api.domain.messaging.media import fetching
from crm_api.domain.messaging.media.fetching import FileAddress
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.media import MediaKind
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.messaging.waiting import WAITS_FOR, Asked, derive_waiting, note_asked
from crm_api.domain.provider.openphone.facts import CallFacts
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id


@dataclass(frozen=True, kw_only=True)
class CallEvent:
    """What one event of the provider reports about a call.

    Attributes:
        event_type: None if the call was read from a list of the provider.
        event_at: When the event happened, by the provider's clock; None if unknown.
        line: The phone line of the call; None if unknown.
    """

    facts: CallFacts
    event_type: str | None
    event_at: datetime | None
    line: Line | None


@dataclass(frozen=True, kw_only=True)
class RecordedCall:
    """A stored call, after its new events were merged into it.

    Attributes:
        phone: The person's number if the person called or answered; None for all other calls.
        began_at: When the call began. If this time is unknown: when the first event happened. If
            this time is unknown too: when the call was stored.
    """

    phone: str | None
    began_at: datetime


@dataclass(frozen=True, kw_only=True)
class KnownCall:
    """A call as stored in ``activity``; its row is locked until the transaction ends."""

    id: UUID
    openphone_id: str
    line_id: UUID | None
    contact_id: UUID | None
    rank: int
    status: str
    call: dict[str, Any]
    occurred_at: datetime
    direction: str | None
    user_id: str | None
    phone: str | None
    conversation_id: UUID | None
    asked_at: datetime | None


async def apply_call_events(
    uow: UnitOfWork, events: Sequence[CallEvent], *, now: datetime
) -> list[RecordedCall]:
    """Merge events into the one stored row of each call, and return the calls.

    Events may arrive in any order and more than once. Unknown callers become contacts, and the
    download of recordings is requested. After a missed call or a voicemail, the person waits for an
    answer. An answered call ends the waiting.
    """
    names = {one.facts.provider_call_id for one in events}
    before = await lock_calls(uow.session, provider_call_ids=names, now=now)
    known = dict(before)
    heard: dict[str, datetime] = {}
    for one in events:
        name = one.facts.provider_call_id
        until = call_state.heard_until(known[name].call, one.event_at)
        known[name] = _merged(known[name], one)
        if until is not None:
            heard[name] = max(heard.get(name, until), until)
    waiting = await _assign_people(uow, known, heard=heard, now=now)
    known = {name: _with_asked_at(call, now=now) for name, call in known.items()}
    await save_calls(uow.session, list(known.values()), now=now)
    await _note_waiting(uow, before, known, waiting=waiting, now=now)
    for one in events:
        call = known[one.facts.provider_call_id]
        await fetching.note_files(uow, activity_id=call.id, wanted=_sounds_of(one.facts), now=now)
    return [_recorded(call) for call in known.values()]


LOCK_CALLS = text("""
    SELECT a.id, a.openphone_id, line_id, contact_id, rank, status, call, occurred_at, direction,
           user_id, phone, conversation_id, asked_at
      FROM activity_key k JOIN activity a ON a.id = k.activity_id
     WHERE k.openphone_id = ANY(CAST(:openphone_ids AS text[]))
     ORDER BY k.openphone_id FOR UPDATE OF a
""")

ADD_CALLS = text("""
    WITH named AS (
        INSERT INTO activity_key (openphone_id, activity_id)
        SELECT openphone_id, id
          FROM unnest(CAST(:ids AS uuid[]), CAST(:openphone_ids AS text[]))
            AS new_call (id, openphone_id)
         ORDER BY openphone_id
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING openphone_id, activity_id
    )
    INSERT INTO activity (id, kind, origin, openphone_id, status, occurred_at, created_at,
        updated_at)
    SELECT activity_id, 'call', 'provider', openphone_id, 'unknown', :now, :now, :now FROM named
""")


async def lock_calls(
    session: AsyncSession, *, provider_call_ids: Collection[str], now: datetime
) -> dict[str, KnownCall]:
    """Add the missing rows of these calls, lock all rows, and return them by provider id."""
    wanted = sorted(provider_call_ids)
    known: dict[str, KnownCall] = {}
    while True:
        locked = await session.execute(LOCK_CALLS, {"openphone_ids": wanted})
        known |= {call.openphone_id: call for call in typed_rows(KnownCall, locked)}
        missing = [name for name in wanted if name not in known]
        if not missing:
            return known
        values = {"ids": [new_id() for _ in missing], "openphone_ids": missing, "now": now}
        await session.execute(ADD_CALLS, values)


def _merged(known: KnownCall, event: CallEvent) -> KnownCall:
    document = call_state.merge_call(known.call, event.facts, event_at=event.event_at)
    rank, status = max(
        (known.rank, known.status), call_state.rank_status(event.facts, event.event_type)
    )
    return replace(
        known,
        call=document,
        rank=rank,
        status=status,
        direction=document.get("direction"),
        user_id=document.get("user_id"),
        occurred_at=call_state.began_at(document) or known.occurred_at,
        line_id=event.line.id if event.line is not None else known.line_id,
    )


async def _assign_people(
    uow: UnitOfWork, known: dict[str, KnownCall], *, heard: dict[str, datetime], now: datetime
) -> set[UUID]:
    """Set number, contact and conversation of each call whose other party is known.

    An unknown caller becomes a contact.

    Args:
        heard: The time of each call's latest event.

    Returns:
        The ids of the conversations in which the person already waited for an answer before these
        events.
    """
    placed = {name: call for name, call in known.items() if call.call.get("external")}
    phones = {name: as_phone(call.call["external"][0]) for name, call in placed.items()}
    unassigned = [name for name, call in placed.items() if call.contact_id is None and phones[name]]
    callers = {phones[name] for name in unassigned if placed[name].direction == Direction.INCOMING}
    contacts = await find_or_add_contacts(
        uow,
        [phone for name in unassigned if (phone := phones[name])],
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
                ConversationTouch(
                    line_id=call.line_id,
                    phone=phone,
                    contact_id=contact_id,
                    openphone_id=call.call.get("conversation_id"),
                    at=heard.get(name) or call.occurred_at,
                    outgoing_at=call_state.placed_at(call.call),
                    answered_at=(call.occurred_at if call_state.was_answered(call.call) else None),
                )
            )
    conversations = await touch_conversations(uow, touches, now=now)
    for name in placed:
        call = known[name]
        if call.line_id is not None:
            conversation = conversations[call.line_id, call.phone or ""]
            known[name] = replace(call, conversation_id=conversation.id)
    return {one.id for one in conversations.values() if one.is_waiting}


def _with_asked_at(call: KnownCall, *, now: datetime) -> KnownCall:
    """Return the call with an updated field ``asked_at``.

    The field contains the time at which this service learned that the call needs an answer. It is
    None if the call needs no answer or has no conversation. If a call that needs an answer is older
    than ``WAITS_FOR``, the field does not change.
    """
    if call.conversation_id is None or not call_state.needs_answer(call.call):
        return replace(call, asked_at=None)
    if now - call.occurred_at > WAITS_FOR:
        return call
    return replace(call, asked_at=call.asked_at or now)


async def _note_waiting(
    uow: UnitOfWork,
    before: dict[str, KnownCall],
    known: dict[str, KnownCall],
    *,
    waiting: set[UUID],
    now: datetime,
) -> None:
    """Store that conversations with a missed call or a voicemail wait for an answer.

    After an answered call, the conversation no longer waits.
    """
    asked, changed = [], set()
    for name, call in known.items():
        if call.conversation_id is None:
            continue
        was, conversation_id = before[name], call.conversation_id
        if call.asked_at is not None and was.asked_at is None:
            asked.append(Asked(conversation_id=conversation_id, at=call.occurred_at))
        elif call.asked_at is None and was.asked_at is not None:
            changed.add(conversation_id)
        is_answered, was_answered = map(call_state.was_answered, (call.call, was.call))
        # A later event can correct the time at which the call began. The corrected time can change
        # whether the person waits for an answer.
        is_moved = call.occurred_at != was.occurred_at
        if is_moved and (was.asked_at is not None or was_answered):
            changed.add(conversation_id)
        if is_answered and conversation_id in waiting:
            changed.add(conversation_id)
        # A call that was stored as answered may turn out to be a voicemail. Then it was not an
        # answer to the person.
        if not is_answered and was_answered:
            changed.add(conversation_id)
    await note_asked(uow.session, asked, now=now)
    await derive_waiting(uow.session, changed, now=now)


# This statement writes a call only if the events changed the call.
SAVE_CALLS = text("""
    UPDATE activity a
       SET call = x.call, rank = x.rank, status = x.status, direction = x.direction,
           user_id = x.user_id, occurred_at = x.occurred_at, line_id = x.line_id,
           contact_id = x.contact_id, phone = x.phone, conversation_id = x.conversation_id,
           asked_at = x.asked_at, updated_at = :now
      FROM (SELECT id, call::jsonb AS call, rank, status, direction, user_id, occurred_at, line_id,
                   contact_id, phone, conversation_id, asked_at
              FROM unnest(CAST(:ids AS uuid[]), CAST(:calls AS text[]), CAST(:ranks AS smallint[]),
                          CAST(:statuses AS text[]), CAST(:directions AS text[]),
                          CAST(:user_ids AS text[]), CAST(:occurred AS timestamptz[]),
                          CAST(:line_ids AS uuid[]), CAST(:contact_ids AS uuid[]),
                          CAST(:phones AS text[]), CAST(:conversation_ids AS uuid[]),
                          CAST(:asked AS timestamptz[]))
                AS saved (id, call, rank, status, direction, user_id, occurred_at, line_id,
                          contact_id, phone, conversation_id, asked_at)) x
     WHERE a.id = x.id
       AND (a.call, a.rank, a.status, a.direction, a.user_id, a.occurred_at, a.line_id,
            a.contact_id, a.phone, a.conversation_id, a.asked_at) IS DISTINCT FROM
           (x.call, x.rank, x.status, x.direction, x.user_id, x.occurred_at, x.line_id,
            x.contact_id, x.phone, x.conversation_id, x.asked_at)
""")


async def save_calls(session: AsyncSession, calls: Sequence[KnownCall], *, now: datetime) -> None:
    """Write these calls to the database, except those that did not change."""
    values = {
        "ids": [call.id for call in calls],
        "calls": [json.dumps(call.call) for call in calls],
        "ranks": [call.rank for call in calls],
        "statuses": [call.status for call in calls],
        "directions": [call.direction for call in calls],
        "user_ids": [call.user_id for call in calls],
        "occurred": [call.occurred_at for call in calls],
        "line_ids": [call.line_id for call in calls],
        "contact_ids": [call.contact_id for call in calls],
        "phones": [call.phone for call in calls],
        "conversation_ids": [call.conversation_id for call in calls],
        "asked": [call.asked_at for call in calls],
        "now": now,
    }
    await session.execute(SAVE_CALLS, values)


def _recorded(call: KnownCall) -> RecordedCall:
    external = call.call.get("external")
    phone = as_phone(external[0]) if external else None
    is_contact = call_state.is_contact(call.call)
    return RecordedCall(phone=phone if is_contact else None, began_at=call.occurred_at)


def _sounds_of(facts: CallFacts) -> list[FileAddress]:
    found = [FileAddress(kind=MediaKind.RECORDING, url=one.url) for one in facts.recordings]
    if facts.voicemail is not None and facts.voicemail.url is not None:
        found.append(FileAddress(kind=MediaKind.VOICEMAIL, url=facts.voicemail.url))
    return found
