"""Puts received texts on the timeline: with their senders and conversations, many at once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import queries
from crm_api.domain.activity.placing import Touch, as_phone, contacts_of, touch_conversations
from crm_api.domain.lines.models import Line
from crm_api.domain.media import service as media
from crm_api.domain.media.models import MediaKind
from crm_api.domain.media.queries import Wanted
from crm_api.domain.openphone.facts import MediaItem, MessageFacts


@dataclass(frozen=True, kw_only=True)
class ToldText:
    """A received text and the line that it came in on."""

    facts: MessageFacts
    line: Line


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


async def record_texts(
    uow: UnitOfWork, told: Sequence[ToldText], *, now: datetime
) -> list[Received]:
    """Store received texts, their senders as contacts and their places in conversations.

    One that is told twice is new at most once.
    """
    phones = [as_phone(one.facts.from_number or "") for one in told]
    contacts = await contacts_of(uow, (), may_add=[phone for phone in phones if phone], now=now)
    senders = [
        phone or one.facts.from_number or "" for phone, one in zip(phones, told, strict=True)
    ]
    talks = await touch_conversations(
        uow,
        [
            Touch(
                line_id=one.line.id,
                phone=sender,
                contact_id=contacts.get(sender),
                openphone_id=one.facts.conversation_id,
                at=one.facts.created_at,
                incoming_at=one.facts.created_at,
            )
            for one, sender in zip(told, senders, strict=True)
        ],
        now=now,
    )
    rows = [
        _row(
            one, sender, contact_id=contacts.get(sender), conversation_id=talks[one.line.id, sender]
        )
        for one, sender in zip(told, senders, strict=True)
    ]
    stored = await _store(uow, rows, now=now)
    for one, (activity_id, _) in zip(told, stored, strict=True):
        wanted = [_file_of(item) for item in one.facts.media]
        await media.note(uow, activity_id=activity_id, wanted=wanted, now=now)
    return [
        Received(
            activity_id=activity_id,
            is_new=is_new,
            contact_id=row["contact_id"],
            conversation_id=row["conversation_id"],
            phone=phone,
        )
        for row, phone, (activity_id, is_new) in zip(rows, phones, stored, strict=True)
    ]


def _row(
    told: ToldText, sender: str, *, contact_id: UUID | None, conversation_id: UUID
) -> dict[str, Any]:
    facts = told.facts
    return {
        "line_id": told.line.id,
        "conversation_id": conversation_id,
        "contact_id": contact_id,
        "phone": sender,
        "openphone_id": facts.provider_message_id,
        "user_id": facts.user_id,
        "body": facts.text,
        "media": [asdict(item) for item in facts.media],
        "call": _group_of(facts, line=told.line),
        "occurred_at": facts.created_at,
    }


async def _store(
    uow: UnitOfWork, rows: Sequence[dict[str, Any]], *, now: datetime
) -> list[tuple[UUID, bool]]:
    """Store rows; the id of each, and whether it is new.

    A statement takes a text once: what is told of it again comes in another one.
    """
    stored: dict[int, tuple[UUID, bool]] = {}
    left = dict(enumerate(rows))
    while left:
        first: dict[str, int] = {}
        for place, row in left.items():
            first.setdefault(row["openphone_id"], place)
        found = await queries.add_incoming(
            uow.session, [left[place] for place in first.values()], now=now
        )
        for name, place in first.items():
            stored[place] = found[name]
            del left[place]
    return [stored[place] for place in range(len(rows))]


def _file_of(item: MediaItem) -> Wanted:
    is_picture = (item.type or "").startswith("image/")
    return Wanted(kind=MediaKind.PICTURE if is_picture else MediaKind.OTHER, url=item.url)


def _group_of(facts: MessageFacts, *, line: Line) -> dict[str, Any]:
    """Return the outside parties of a group text; a text to us alone has no others."""
    others = [number for number in facts.to_numbers if number != line.number]
    if not others:
        return {}
    return {"participants": [facts.from_number, *others]}
