"""Whose contact a number is, and which conversation it belongs to; many at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import history_statements as sql
from crm_api.domain.activity import queries
from crm_api.domain.contacts import service as contacts
from crm_api.domain.lines import service as lines
from crm_api.domain.phone import InvalidPhoneError, parse_phone
from crm_api.ids import new_id

Talk = tuple[UUID, str]
"""A line and the number, or other identifier, at the other end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Something that happened in a conversation.

    Attributes:
        outgoing_at: When this was a call to the person.
        incoming_at: When this was a text from the person.
    """

    line_id: UUID
    phone: str
    contact_id: UUID | None
    openphone_id: str | None
    at: datetime
    outgoing_at: datetime | None = None
    incoming_at: datetime | None = None


async def contacts_of(
    uow: UnitOfWork, phones: Collection[str], *, may_add: Collection[str], now: datetime
) -> dict[str, UUID]:
    """Return the contacts of numbers, by number; of those of ``may_add`` unknown ones are added."""
    wanted = sorted({*phones, *may_add})
    if not wanted:
        return {}
    found = await queries.find_contacts(uow.session, phones=wanted)
    for phone in sorted(set(may_add) - found.keys()):
        contact_id = await contact_of(uow, phone, now=now)
        if contact_id is not None:
            found[phone] = contact_id
    return found


async def touch_conversations(
    uow: UnitOfWork, touches: Sequence[Touch], *, now: datetime
) -> Mapping[Talk, UUID]:
    """Find or open conversations, by line and number; their times only move forward."""
    last: dict[Talk, Touch] = {}
    names: dict[Talk, str] = {}
    outgoing: dict[Talk, datetime] = {}
    incoming: dict[Talk, datetime] = {}
    for touch in touches:
        talk = (touch.line_id, touch.phone)
        if talk not in last or touch.at > last[talk].at:
            last[talk] = touch
        if touch.openphone_id is not None:
            names.setdefault(talk, touch.openphone_id)
        if touch.outgoing_at is not None:
            outgoing[talk] = max(outgoing.get(talk, touch.outgoing_at), touch.outgoing_at)
        if touch.incoming_at is not None:
            incoming[talk] = max(incoming.get(talk, touch.incoming_at), touch.incoming_at)
    if not last:
        return {}
    values = {
        "ids": [new_id() for _ in last],
        "line_ids": [line_id for line_id, _ in last],
        "phones": [phone for _, phone in last],
        "contact_ids": [touch.contact_id for touch in last.values()],
        "openphone_ids": [names.get(talk) for talk in last],
        "ats": [touch.at for touch in last.values()],
        "outgoing": [outgoing.get(talk) for talk in last],
        "incoming": [incoming.get(talk) for talk in last],
        "now": now,
    }
    found = await uow.session.execute(sql.TOUCH_CONVERSATIONS, values)
    return {(row.line_id, row.phone): row.id for row in found}


def as_phone(identifier: str) -> str | None:
    """Return the number in E.164; None for a short code, a name or anything else."""
    try:
        return parse_phone(identifier)
    except InvalidPhoneError:
        return None


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
