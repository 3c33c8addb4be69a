"""Stores many texts of the past at once; each leaves the row that it would leave alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.activity import history_statements as sql
from crm_api.domain.activity.models import Direction
from crm_api.domain.openphone.facts import MessageFacts
from crm_api.domain.zones import zone_key
from crm_api.ids import new_id

RECEIVED = "received"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastText:
    """A text between a line and one person.

    Attributes:
        phone: The person's, in E.164.
        rank: How far one of ours has come; 0 for a received one.
    """

    facts: MessageFacts
    line_id: UUID
    phone: str
    rank: int

    @property
    def is_incoming(self) -> bool:
        """True when the person sent it."""
        return self.facts.direction == Direction.INCOMING


async def look(uow: UnitOfWork, *, phones: Sequence[str]) -> dict[str, Row[Any]]:
    """Fetch what is known of numbers: the contact, whether it was ever texted, whether it is ours.

    Returns:
        For each number ``id``, ``is_deleted``, ``was_texted`` and ``is_own``.
    """
    await uow.session.execute(sql.HOLD, {"phones": phones})
    found = await uow.session.execute(sql.LOOK, {"phones": phones})
    return {row.phone: row for row in found}


async def store(
    uow: UnitOfWork, texts: Sequence[PastText], *, known: dict[str, Row[Any]], now: datetime
) -> set[str]:
    """Store texts that nobody has yet, their senders as contacts, and their conversations.

    Args:
        known: What ``look`` found; no contact of these numbers may be a deleted one.

    Returns:
        The provider's ids of those that were stored; of another somebody told meanwhile.
    """
    contacts = {phone: row.id for phone, row in known.items() if row.id is not None}
    senders = {one.phone for one in texts if one.is_incoming}
    made = await _add_contacts(uow, sorted(senders - contacts.keys()), now=now)
    contacts |= made
    talks = await _touch_conversations(uow, texts, contacts=contacts, now=now)
    adopted = [
        (row.id, made[row.phone]) for row in talks.values() if not row.is_new and row.phone in made
    ]
    if adopted:
        await uow.session.execute(
            sql.ADOPT,
            {
                "conversation_ids": [talk for talk, _ in adopted],
                "contact_ids": [contact for _, contact in adopted],
            },
        )
    return await _add_texts(uow, texts, contacts=contacts, talks=talks, now=now)


async def _add_contacts(
    uow: UnitOfWork, phones: Sequence[str], *, now: datetime
) -> dict[str, UUID]:
    if not phones:
        return {}
    zones = [zone_key(timezone=None, state=None, postal_code=None, phone=phone) for phone in phones]
    values = {"ids": [new_id() for _ in phones], "phones": phones, "zone_keys": zones, "now": now}
    return {row.phone: row.id for row in await uow.session.execute(sql.ADD_CONTACTS, values)}


Talk = tuple[UUID, str]
"""A line and a number."""


async def _touch_conversations(
    uow: UnitOfWork, texts: Sequence[PastText], *, contacts: dict[str, UUID], now: datetime
) -> dict[Talk, Row[Any]]:
    last: dict[Talk, datetime] = {}
    sent: dict[Talk, datetime] = {}
    received: dict[Talk, datetime] = {}
    named: dict[Talk, str] = {}
    for one in texts:
        talk, at = (one.line_id, one.phone), one.facts.created_at
        last[talk] = max(last.get(talk, at), at)
        way = received if one.is_incoming else sent
        way[talk] = max(way.get(talk, at), at)
        if one.facts.conversation_id is not None:
            named[talk] = one.facts.conversation_id
    values = {
        "ids": [new_id() for _ in last],
        "line_ids": [line_id for line_id, _ in last],
        "phones": [phone for _, phone in last],
        "contact_ids": [contacts.get(phone) for _, phone in last],
        "openphone_ids": [named.get(talk) for talk in last],
        "ats": list(last.values()),
        "outgoing": [sent.get(talk) for talk in last],
        "incoming": [received.get(talk) for talk in last],
        "now": now,
    }
    found = await uow.session.execute(sql.TOUCH_CONVERSATIONS, values)
    return {(row.line_id, row.phone): row for row in found}


async def _add_texts(
    uow: UnitOfWork,
    texts: Sequence[PastText],
    *,
    contacts: dict[str, UUID],
    talks: dict[Talk, Row[Any]],
    now: datetime,
) -> set[str]:
    facts = [one.facts for one in texts]
    values = {
        "ids": [new_id() for _ in texts],
        "directions": [one.direction for one in facts],
        "line_ids": [one.line_id for one in texts],
        "conversation_ids": [talks[one.line_id, one.phone].id for one in texts],
        "contact_ids": [contacts.get(one.phone) for one in texts],
        "phones": [one.phone for one in texts],
        "openphone_ids": [one.provider_message_id for one in facts],
        "user_ids": [one.user_id for one in facts],
        "bodies": [one.text for one in facts],
        "statuses": [RECEIVED if one.is_incoming else one.facts.status for one in texts],
        "ranks": [one.rank for one in texts],
        "error_codes": [None if one.is_incoming else one.facts.error_code for one in texts],
        "occurred": [one.created_at for one in facts],
        "updated": [now if one.is_incoming else (one.facts.updated_at or now) for one in texts],
        "now": now,
    }
    return set((await uow.session.execute(sql.ADD_TEXTS, values)).scalars())
