"""SQL of batches: contacts read, locked and written as sets."""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.contacts.batch_world import Columns
from crm_api.domain.contacts.models import Contact

_ROW = tuple(column for column in Contact.__table__.c if column.name != "search_text")

_IS_WANTED = text(
    "contact.phone = ANY(CAST(:phones AS text[])) OR contact.id = ANY(CAST(:ids AS uuid[]))"
)
LOCK_CONTACTS = (
    select(*_ROW).where(_IS_WANTED).order_by(Contact.phone).with_for_update(key_share=True)
)

INSERT_CONTACTS = text("""
    INSERT INTO contact (id, phone, first_name, last_name, email, company, street, city, state,
        postal_code, country, timezone, zone_key, tags, attributes, source, created_at, updated_at,
        deleted_at)
    SELECT r.id, r.phone, r.first_name, r.last_name, r.email, r.company, r.street, r.city, r.state,
        r.postal_code, r.country, r.timezone, r.zone_key,
        ARRAY(SELECT jsonb_array_elements_text(r.tags)), r.attributes, r.source, r.created_at,
        r.updated_at, r.deleted_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, phone text, first_name text,
        last_name text, email text, company text, street text, city text, state text,
        postal_code text, country text, timezone text, zone_key text, tags jsonb, attributes jsonb,
        source text, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz)
    ORDER BY r.phone
    ON CONFLICT (phone) DO NOTHING RETURNING id
""")

UPDATE_CONTACTS = text("""
    UPDATE contact c
    SET first_name = r.first_name, last_name = r.last_name, email = r.email, company = r.company,
        street = r.street, city = r.city, state = r.state, postal_code = r.postal_code,
        country = r.country, timezone = r.timezone, zone_key = r.zone_key,
        tags = ARRAY(SELECT jsonb_array_elements_text(r.tags)), attributes = r.attributes,
        source = r.source, created_at = r.created_at, updated_at = r.updated_at,
        deleted_at = r.deleted_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, first_name text, last_name text,
        email text, company text, street text, city text, state text, postal_code text,
        country text, timezone text, zone_key text, tags jsonb, attributes jsonb, source text,
        created_at timestamptz, updated_at timestamptz, deleted_at timestamptz)
    WHERE c.id = r.id
""")

_PEOPLE_NAMED = text("""
    SELECT a.id AS told_id, a.phone AS told_phone, c.id AS contact_id, c.phone
    FROM contact a JOIN contact c ON c.id = coalesce(a.merged_into, a.id)
    WHERE (a.id = ANY(CAST(:ids AS uuid[])) OR a.phone = ANY(CAST(:phones AS text[])))
      AND c.deleted_at IS NULL
""")

_NUMBERS_OF = text("""
    SELECT phone FROM contact
    WHERE id = ANY(CAST(:ids AS uuid[])) OR merged_into = ANY(CAST(:ids AS uuid[]))
""")


class Named(NamedTuple):
    """A contact, by the id and the number under which it was named."""

    told_id: UUID
    told_phone: str
    contact_id: UUID
    phone: str


async def people_named(
    session: AsyncSession, *, contact_ids: Collection[UUID], phones: Collection[str]
) -> list[Named]:
    """Fetch the contacts with these ids and numbers, also those of merged duplicates."""
    values = {"ids": list(contact_ids), "phones": list(phones)}
    return [Named(*row) for row in await session.execute(_PEOPLE_NAMED, values)]


async def numbers_of(session: AsyncSession, *, contact_ids: Collection[UUID]) -> set[str]:
    """Fetch the numbers of contacts, and those of the duplicates that were merged into them."""
    return set(await session.scalars(_NUMBERS_OF, {"ids": list(contact_ids)}))


async def lock_contacts(
    session: AsyncSession, *, phones: Collection[str], contact_ids: Collection[UUID]
) -> list[Columns]:
    """Fetch the rows of these numbers and ids, also of deleted contacts, and lock them in order."""
    values = {"phones": list(phones), "ids": list(contact_ids)}
    found = await session.execute(LOCK_CONTACTS, values)
    return [dict(row) for row in found.mappings()]


async def insert_contacts(session: AsyncSession, *, rows: Sequence[Columns]) -> int:
    """Add contacts; how many, for a number that somebody has is passed over."""
    made = await session.execute(INSERT_CONTACTS, {"rows": _json(rows)})
    return len(made.all())


async def update_contacts(session: AsyncSession, *, rows: Sequence[Columns]) -> None:
    """Write all columns of contacts but their numbers."""
    await session.execute(UPDATE_CONTACTS, {"rows": _json(rows)})


def _json(rows: Sequence[Columns]) -> str:
    return json.dumps(rows, default=str)
