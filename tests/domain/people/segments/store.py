"""Helpers that insert plain persons into the tables, and find the contacts of a filter."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.people.segments.plain import Person
from tests.domain.people.segments.strategies import CAMPAIGNS, LISTS
from tests.factories import make_campaign, make_line, number

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactList, ContactListMember
from crm_api.domain.people.segments.compiler import compile_filter
from crm_api.domain.people.segments.parser import read_filter
from crm_api.domain.sales.outcomes.models import Outcome, OutcomeSubject
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id

_SPACE = UUID(int=0)
Rows = dict[type[Base], list[dict[str, Any]]]


async def make_referenced_rows(session: AsyncSession) -> list[Line]:
    """Make the lists and campaigns that filters name, and the lines of conversations."""
    lines = [
        await make_line(
            session, phone_number_id=f"PN{position}", line_number=number(100 + position)
        )
        for position in range(2)
    ]
    for position, list_id in enumerate(LISTS):
        session.add(
            ContactList(id=UUID(list_id), name=f"List {position}", created_at=NOW, updated_at=NOW)
        )
    for campaign_id in CAMPAIGNS:
        await make_campaign(session, line=lines[0], id=UUID(campaign_id))
    await session.flush()
    return lines


async def insert_people(
    session: AsyncSession, people: Sequence[Person], lines: Sequence[Line]
) -> None:
    """Insert these people; the n-th person gets the n-th number."""
    rows: Rows = {
        model: []
        for model in (
            *(Conversation, Contact, ContactListMember, ContactFlag, CampaignMembership),
            *(Activity, Outcome, OutcomeSubject),
        )
    }
    for position, person in enumerate(people):
        _add(rows, position, person, lines)
    for model, values in rows.items():
        if values:
            await session.execute(insert(model), values)


def _add(rows: Rows, position: int, person: Person, lines: Sequence[Line]) -> None:
    contact_id, phone = make_id(position), number(position)
    rows[Contact].append(
        {
            "id": contact_id,
            "phone": phone,
            **dict.fromkeys(("first_name", "last_name", "email", "company", "street", "city")),
            **dict.fromkeys(("state", "postal_code", "country", "timezone")),
            **person.texts,
            "zone_key": "MA/America/New_York",
            "tags": person.tags,
            "attributes": person.attributes,
            "created_at": person.created_at,
            "updated_at": person.updated_at,
        }
    )
    rows[ContactListMember] += [
        {"list_id": UUID(one), "contact_id": contact_id, "added_at": NOW} for one in person.lists
    ]
    rows[ContactFlag] += [
        {"phone": phone, "flag_type": flag, "expires_at": end, "created_at": NOW}
        for flag, end in person.flags.items()
    ]
    rows[Conversation] += [
        {
            "line_id": line.id,
            "phone": phone,
            "contact_id": None if one.is_unassigned else contact_id,
            "last_activity_at": NOW,
            "last_outgoing_at": one.outgoing_at,
            "last_incoming_at": one.incoming_at,
            "created_at": NOW,
        }
        for one, line in zip(person.conversations, lines, strict=False)
    ]
    rows[CampaignMembership] += [
        {
            "campaign_id": UUID(recipient.campaign_id),
            "step": recipient.step,
            "contact_id": contact_id,
            "phone": phone,
            "zone_key": "MA/America/New_York",
            "status": recipient.status,
            "due_at": NOW,
            "replied_at": NOW if recipient.has_replied else None,
            "created_at": NOW,
            "updated_at": NOW,
        }
        for recipient in person.recipients
    ]
    _add_history(rows, person, contact_id=contact_id, phone=phone)


def _add_history(rows: Rows, person: Person, *, contact_id: UUID, phone: str) -> None:
    rows[Activity] += [
        {
            "kind": "call" if one.is_call else "message",
            "direction": "incoming",
            "origin": "provider",
            "contact_id": contact_id,
            "phone": phone,
            "status": "completed" if one.is_call else "received",
            "reply_class": one.reply_class,
            "occurred_at": one.at,
            "created_at": NOW,
            "updated_at": NOW,
        }
        for one in person.incoming
    ]
    for kind in person.outcomes:
        outcome_id = new_id()
        rows[Outcome].append(
            {
                "id": outcome_id,
                "kind": kind,
                "name": "Referred" if kind == "custom" else None,
                "currency": "USD",
                "occurred_at": NOW,
                "source": "api",
                "recorded_by": "key",
                "created_at": NOW,
            }
        )
        rows[OutcomeSubject].append({"outcome_id": outcome_id, "contact_id": contact_id})


def make_id(position: int) -> UUID:
    """Return the id of the n-th person."""
    return uuid5(_SPACE, str(position))


async def find_matches(
    session: AsyncSession,
    filter_: dict[str, Any],
    *,
    now: datetime = NOW,
    is_negated: bool = False,
    by_person: bool = False,
) -> set[UUID]:
    """Return the ids of the contacts that match the compiled filter."""
    condition = compile_filter(
        read_filter(filter_), now=now, is_negated=is_negated, by_person=by_person
    )
    found = await session.execute(
        text(f"SELECT c.id FROM contact c WHERE {condition.sql}"), condition.values
    )
    return set(found.scalars())


async def find_matches_of_each(
    session: AsyncSession, filters: Sequence[dict[str, Any]], *, by_person: bool
) -> list[set[UUID]]:
    """Evaluate many filters in one statement; return the matching ids of each filter."""
    conditions = [
        compile_filter(read_filter(one), now=NOW, prefix=f"of_{position}", by_person=by_person)
        for position, one in enumerate(filters)
    ]
    columns = ", ".join(f"({one.sql}) IS TRUE" for one in conditions)
    values = {name: value for one in conditions for name, value in one.values.items()}
    rows = (await session.execute(text(f"SELECT c.id, {columns} FROM contact c"), values)).all()
    return [{row[0] for row in rows if row[1 + position]} for position in range(len(filters))]
