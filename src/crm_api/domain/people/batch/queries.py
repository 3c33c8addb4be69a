"""SQL of batches: read, lock and write sets of contacts."""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.people.batch.world import Columns
from crm_api.domain.people.models.contacts import Contact

_ROW = tuple(column for column in Contact.__table__.c if column.name != "search_text")

_IS_WANTED = text(
    "contact.phone = ANY(CAST(:phones AS text[])) OR contact.id = ANY(CAST(:ids AS uuid[]))"
)
LOCK_CONTACTS = (
    select(*_ROW).where(_IS_WANTED).order_by(Contact.phone).with_for_update(key_share=True)
)

_TEXTS = ", ".join(TEXT_COLUMNS)
_RECORD = f"""
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, phone text,
        {", ".join(f"{name} text" for name in TEXT_COLUMNS)}, zone_key text, tags jsonb,
        attributes jsonb, source text, created_at timestamptz, updated_at timestamptz,
        deleted_at timestamptz)
"""

INSERT_CONTACTS = text(f"""
    INSERT INTO contact (id, phone, {_TEXTS}, zone_key, tags, attributes, source, created_at,
        updated_at, deleted_at)
    SELECT id, phone, {_TEXTS}, zone_key, ARRAY(SELECT jsonb_array_elements_text(r.tags)),
        attributes, source, created_at, updated_at, deleted_at
    FROM {_RECORD}
    ORDER BY phone
    ON CONFLICT (phone) DO NOTHING RETURNING id
""")

UPDATE_CONTACTS = text(f"""
    UPDATE contact c
    SET {", ".join(f"{name} = r.{name}" for name in TEXT_COLUMNS)}, zone_key = r.zone_key,
        tags = ARRAY(SELECT jsonb_array_elements_text(r.tags)), attributes = r.attributes,
        source = r.source, created_at = r.created_at, updated_at = r.updated_at,
        deleted_at = r.deleted_at
    FROM {_RECORD}
    WHERE c.id = r.id
""")

_PEOPLE_NAMED = text("""
    SELECT a.id AS named_id, a.phone AS named_phone, c.id AS contact_id, c.phone
    FROM contact a JOIN contact c ON c.id = coalesce(a.merged_into, a.id)
    WHERE (a.id = ANY(CAST(:ids AS uuid[])) OR a.phone = ANY(CAST(:phones AS text[])))
      AND c.deleted_at IS NULL
""")

_NUMBERS_OF = text("""
    SELECT phone FROM contact
    WHERE id = ANY(CAST(:ids AS uuid[])) OR merged_into = ANY(CAST(:ids AS uuid[]))
""")


class Named(NamedTuple):
    """A contact, and the id and number of the row by which it was found.

    That row is the contact itself, or a duplicate that was merged into it.
    """

    named_id: UUID
    named_phone: str
    contact_id: UUID
    phone: str


async def people_named(
    session: AsyncSession, *, contact_ids: Collection[UUID], phones: Collection[str]
) -> list[Named]:
    """Fetch the contacts that have these ids or numbers, or a merged duplicate that has them."""
    values = {"ids": list(contact_ids), "phones": list(phones)}
    return [Named(*row) for row in await session.execute(_PEOPLE_NAMED, values)]


async def numbers_of(session: AsyncSession, *, contact_ids: Collection[UUID]) -> set[str]:
    """Return the numbers of contacts and of the duplicates that were merged into them."""
    return set(await session.scalars(_NUMBERS_OF, {"ids": list(contact_ids)}))


async def lock_contacts(
    session: AsyncSession, *, phones: Collection[str], contact_ids: Collection[UUID]
) -> list[Columns]:
    """Lock the contacts with these numbers or ids in the order of numbers, and return their rows.

    Deleted contacts and merged duplicates are included.
    """
    values = {"phones": list(phones), "ids": list(contact_ids)}
    found = await session.execute(LOCK_CONTACTS, values)
    return [dict(row) for row in found.mappings()]


async def insert_contacts(session: AsyncSession, *, rows: Sequence[Columns]) -> int:
    """Insert contacts; return how many were inserted. A number that exists already is skipped."""
    made = await session.execute(INSERT_CONTACTS, {"rows": _json(rows)})
    return len(made.all())


async def update_contacts(session: AsyncSession, *, rows: Sequence[Columns]) -> None:
    """Write all columns of these contacts except their numbers."""
    await session.execute(UPDATE_CONTACTS, {"rows": _json(rows)})


def _json(rows: Sequence[Columns]) -> str:
    return json.dumps(rows, default=str)
