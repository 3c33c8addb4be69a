"""Attach contacts to properties, and fetch the contacts of properties."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.properties.schemas import Occupant

_PEOPLE = text("""
    SELECT l.property_id, l.contact_id, l.role, c.phone, c.first_name, c.last_name
    FROM property_contact l JOIN contact c ON c.id = l.contact_id
    WHERE l.property_id = ANY(CAST(:property_ids AS uuid[])) AND c.deleted_at IS NULL
    ORDER BY CASE l.role WHEN 'primary' THEN 0 WHEN 'secondary' THEN 1 ELSE 2 END,
        l.added_at, l.contact_id
""")


async def fetch_occupants(session: AsyncSession, *, property_ids: Sequence[UUID]) -> list[Occupant]:
    """Fetch the contacts of properties, ordered by role: ``primary``, ``secondary``, ``other``."""
    found = await session.execute(_PEOPLE, {"property_ids": list(property_ids)})
    return [Occupant(**row) for row in found.mappings()]


# Another transaction could delete a contact at the same time, and with it the contact's rows in
# ``property_contact``. The share lock on the contact prevents this. If a given contact was merged
# as a duplicate, the contact into which it was merged is used.
_ATTACH = text("""
    WITH known AS (
        SELECT a.id AS named_id, c.id, r.role
        FROM unnest(CAST(:contact_ids AS uuid[]), CAST(:roles AS text[])) AS r(id, role)
            JOIN contact a ON a.id = r.id
            JOIN contact c ON c.id = coalesce(a.merged_into, a.id)
        WHERE c.deleted_at IS NULL ORDER BY c.phone FOR SHARE OF c
    ), attached AS (
        INSERT INTO property_contact (property_id, contact_id, role, added_at)
        SELECT DISTINCT ON (id) :property_id, id, role, :now FROM known ORDER BY id
        ON CONFLICT (property_id, contact_id)
            DO UPDATE SET role = excluded.role, import_id = NULL
    )
    SELECT named_id FROM known
""")


async def attach_contacts(
    session: AsyncSession, *, property_id: UUID, people: Sequence[tuple[UUID, str]], now: datetime
) -> set[UUID]:
    """Attach contacts to a property; change the roles of contacts that are already attached.

    Args:
        people: Contact ids with their roles, each id once.

    Returns:
        The given ids that belong to a contact.
    """
    values = {
        "property_id": property_id,
        "contact_ids": [contact_id for contact_id, _ in people],
        "roles": [role for _, role in people],
        "now": now,
    }
    return set((await session.execute(_ATTACH, values)).scalars())
