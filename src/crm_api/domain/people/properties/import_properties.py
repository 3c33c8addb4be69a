"""Store the properties (buildings) that an imported file lists, and undo such an import.

A file is stored in chunks of rows. It does no harm if a chunk is stored twice.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.properties import PropertyRole
from crm_api.domain.people.properties.address_key import address_key
from crm_api.domain.people.properties.imported_property import ImportedProperty
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

UNDONE_AT_ONCE = 5_000
"""The largest number of rows that one run of ``undo_some`` deletes."""


async def store_properties(
    uow: UnitOfWork, rows: Iterable[ImportedProperty], *, import_id: UUID, now: datetime
) -> None:
    """Store the properties in some rows of a file, and attach each row's people to its property.

    The people must already be contacts. Rows without a complete address are skipped. If a property
    is already stored, only a missing ``year_built`` or ``property_type`` is added to it. If a
    contact is already attached to a property, the contact keeps its role.
    """
    roles = set(PropertyRole)
    properties: dict[str, dict[str, Any]] = {}
    people: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = address_key(
            street=row.street, city=row.city, state=row.state, postal_code=row.postal_code
        )
        if key is None:
            continue
        given = {
            "street": row.street,
            "city": row.city,
            "state": row.state,
            "postal_code": row.postal_code,
            "year_built": row.year_built,
            "property_type": row.property_type,
        }
        # Several rows of a file may have the same address. For each column, the first value that is
        # not missing is stored.
        known = properties.setdefault(key, {"id": new_id(), "address_key": key})
        known |= {name: value for name, value in given.items() if known.get(name) is None}
        for phone, role in row.people:
            known_role = role if role in roles else PropertyRole.OTHER
            person = {"address_key": key, "phone": phone, "role": known_role}
            people.setdefault((key, phone), person)
    if properties:
        await write_properties(
            uow.session,
            rows=list(properties.values()),
            people=list(people.values()),
            import_id=import_id,
            now=now,
        )


# The rows are written in the order of their address keys, so that two imports cannot deadlock.
_STORE_PROPERTIES = text("""
    INSERT INTO property AS p (id, address_key, street, city, state, postal_code, year_built,
        property_type, source, import_id, created_at, updated_at)
    SELECT r.id, r.address_key, r.street, r.city, r.state, r.postal_code, r.year_built,
        r.property_type, 'import', :import_id, :now, :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, address_key text, street text,
        city text, state text, postal_code text, year_built smallint, property_type text)
    ORDER BY r.address_key COLLATE "C"
    ON CONFLICT (address_key) DO UPDATE
    SET year_built = coalesce(p.year_built, excluded.year_built),
        property_type = coalesce(p.property_type, excluded.property_type),
        updated_at = CASE WHEN p.import_id = :import_id AND p.updated_at = p.created_at
                          THEN p.updated_at ELSE :now END
    WHERE (p.year_built IS NULL AND excluded.year_built IS NOT NULL)
       OR (p.property_type IS NULL AND excluded.property_type IS NOT NULL)
""")

_ATTACH_PEOPLE = text("""
    WITH found AS MATERIALIZED (
        SELECT id, address_key FROM property WHERE address_key = ANY(CAST(:keys AS text[]))
    )
    INSERT INTO property_contact (property_id, contact_id, role, import_id, added_at)
    SELECT p.id, c.id, r.role, :import_id, :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(address_key text, phone text, role text)
        JOIN found p ON p.address_key = r.address_key
        JOIN contact a ON a.phone = r.phone
        JOIN contact c ON c.id = coalesce(a.merged_into, a.id) AND c.deleted_at IS NULL
    ORDER BY p.id, c.id
    ON CONFLICT DO NOTHING
""")


async def write_properties(
    session: AsyncSession,
    *,
    rows: list[dict[str, Any]],
    people: list[dict[str, Any]],
    import_id: UUID,
    now: datetime,
) -> None:
    """Insert new properties, fill missing years and types of stored ones; attach the contacts."""
    values = {"import_id": import_id, "now": now}
    await session.execute(_STORE_PROPERTIES, values | {"rows": json.dumps(rows, default=str)})
    keys = [row["address_key"] for row in rows]
    await session.execute(_ATTACH_PEOPLE, values | {"rows": json.dumps(people), "keys": keys})


async def undo_some(uow: UnitOfWork, *, import_id: UUID, limit: int = UNDONE_AT_ONCE) -> bool:
    """Undo a part of an import: detach the contacts that it attached, then delete properties.

    A property that the import created is deleted if it has not changed and has no contacts left.
    Properties that existed before the import keep the values that the import added.

    Returns:
        False if nothing is left to undo.
    """
    if await undo_people(uow.session, import_id=import_id, limit=limit):
        return True
    return await undo_properties(uow.session, import_id=import_id, limit=limit) > 0


_UNDO_PEOPLE = text("""
    WITH attached AS (
        SELECT property_id, contact_id FROM property_contact WHERE import_id = :import_id
        LIMIT :limit
    ), gone AS (
        DELETE FROM property_contact l USING attached a
        WHERE l.property_id = a.property_id AND l.contact_id = a.contact_id
        RETURNING l.property_id
    )
    SELECT count(*) FROM gone
""")


async def undo_people(session: AsyncSession, *, import_id: UUID, limit: int) -> int:
    """Detach up to ``limit`` contacts from the properties to which an import attached them.

    Returns:
        The number of detached contacts.
    """
    values = {"import_id": import_id, "limit": limit}
    removed: int = (await session.execute(_UNDO_PEOPLE, values)).scalar_one()
    return removed


_UNDO_PROPERTIES = text("""
    WITH unused AS (
        SELECT p.id FROM property p
        WHERE p.import_id = :import_id AND p.updated_at = p.created_at
          AND NOT EXISTS (SELECT 1 FROM property_contact l WHERE l.property_id = p.id)
        LIMIT :limit FOR UPDATE
    ), gone AS (
        DELETE FROM property p USING unused u WHERE p.id = u.id RETURNING p.id
    )
    SELECT count(*) FROM gone
""")


async def undo_properties(session: AsyncSession, *, import_id: UUID, limit: int) -> int:
    """Delete up to ``limit`` properties of an import that are unchanged and have no contacts.

    Returns:
        The number of deleted properties.
    """
    values = {"import_id": import_id, "limit": limit}
    removed: int = (await session.execute(_UNDO_PROPERTIES, values)).scalar_one()
    return removed
