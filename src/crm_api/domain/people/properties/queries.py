"""SQL on properties and the contacts that belong to them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.properties import Property, PropertyContact
from crm_api.domain.people.properties.schemas import Occupant, Position

_PEOPLE = text("""
    SELECT l.property_id, l.contact_id, l.role, c.phone, c.first_name, c.last_name
    FROM property_contact l JOIN contact c ON c.id = l.contact_id
    WHERE l.property_id = ANY(CAST(:property_ids AS uuid[])) AND c.deleted_at IS NULL
    ORDER BY CASE l.role WHEN 'primary' THEN 0 WHEN 'secondary' THEN 1 ELSE 2 END,
        l.added_at, l.contact_id
""")

# The share lock prevents a concurrent deletion of a contact, which removes it from its properties.
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
        ON CONFLICT (property_id, contact_id) DO UPDATE SET role = excluded.role
    )
    SELECT named_id FROM known
""")

_IMPORT = text("""
    INSERT INTO property AS p (id, address_key, street, city, state, postal_code, year_built,
        property_type, source, import_id, created_at, updated_at)
    SELECT r.id, r.address_key, r.street, r.city, r.state, r.postal_code, r.year_built,
        r.property_type, 'import', :import_id, :now, :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, address_key text, street text,
        city text, state text, postal_code text, year_built smallint, property_type text)
    ORDER BY r.address_key COLLATE "C"
    ON CONFLICT (address_key) DO UPDATE
    SET year_built = coalesce(p.year_built, excluded.year_built),
        property_type = coalesce(p.property_type, excluded.property_type), updated_at = :now
    WHERE (p.year_built IS NULL AND excluded.year_built IS NOT NULL)
       OR (p.property_type IS NULL AND excluded.property_type IS NOT NULL)
""")

_IMPORT_PEOPLE = text("""
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
_UNDO = text("""
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


async def insert_property(session: AsyncSession, *, values: dict[str, Any]) -> Property | None:
    """Add a property; None if another property has its address."""
    statement = insert(Property).values(values)
    statement = statement.on_conflict_do_nothing(index_elements=["address_key"])
    return await session.scalar(statement.returning(Property))


async def id_of_key(session: AsyncSession, *, address_key: str) -> UUID | None:
    """Return the id of the property with an address."""
    statement = select(Property.id).where(Property.address_key == address_key)
    return await session.scalar(statement)


async def find_property(session: AsyncSession, *, property_id: UUID) -> Property | None:
    """Fetch a property."""
    return await session.get(Property, property_id, populate_existing=True)


async def lock_property(session: AsyncSession, *, property_id: UUID) -> Property | None:
    """Fetch a property and lock it against changes until the transaction ends."""
    statement = select(Property).where(Property.id == property_id)
    statement = statement.with_for_update(key_share=True)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def people(session: AsyncSession, *, property_ids: Sequence[UUID]) -> list[Occupant]:
    """Fetch the contacts of properties; for each property the primary contact comes first."""
    found = await session.execute(_PEOPLE, {"property_ids": list(property_ids)})
    return [Occupant(**row) for row in found.mappings()]


async def list_properties(
    session: AsyncSession, *, after: Position | None, limit: int
) -> Sequence[Property]:
    """Fetch properties, newest first."""
    statement = select(Property)
    if after is not None:
        statement = statement.where(tuple_(Property.created_at, Property.id) < after)
    ordered = statement.order_by(Property.created_at.desc(), Property.id.desc()).limit(limit)
    return (await session.scalars(ordered)).all()


async def list_by_address(
    session: AsyncSession, *, beginning: str, after: str | None, limit: int
) -> Sequence[Property]:
    """Fetch the properties whose key begins with ``beginning``, ordered by key."""
    is_wanted = and_(
        Property.address_key >= beginning, Property.address_key < beginning + "\U0010ffff"
    )
    statement = select(Property).where(is_wanted)
    if after is not None:
        statement = statement.where(Property.address_key > after)
    return (await session.scalars(statement.order_by(Property.address_key).limit(limit))).all()


async def list_of_contact(
    session: AsyncSession, *, contact_id: UUID, after: Position | None, limit: int
) -> list[tuple[Property, datetime]]:
    """Fetch (property, attached at) of a contact, the last attached first."""
    link = PropertyContact
    statement = (
        select(Property, link.added_at)
        .join(link, link.property_id == Property.id)
        .where(link.contact_id == contact_id)
    )
    if after is not None:
        statement = statement.where(tuple_(link.added_at, link.property_id) < after)
    ordered = statement.order_by(link.added_at.desc(), link.property_id.desc()).limit(limit)
    return [(found, at) for found, at in await session.execute(ordered)]


async def change_property(
    session: AsyncSession, *, property_id: UUID, values: dict[str, Any]
) -> None:
    """Change a property."""
    await session.execute(update(Property).where(Property.id == property_id).values(values))


async def delete_property(session: AsyncSession, *, property_id: UUID) -> bool:
    """Remove a property; False if there is no such property."""
    statement = delete(Property).where(Property.id == property_id)
    return await session.scalar(statement.returning(Property.id)) is not None


async def attach(
    session: AsyncSession, *, property_id: UUID, people: Sequence[tuple[UUID, str]], now: datetime
) -> set[UUID]:
    """Attach contacts to a property, or change the roles of attached ones.

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


async def count_people(session: AsyncSession, *, property_id: UUID) -> int:
    """Count the contacts of a property."""
    statement = (
        select(func.count())
        .select_from(PropertyContact)
        .where(PropertyContact.property_id == property_id)
    )
    return (await session.scalar(statement)) or 0


async def detach(session: AsyncSession, *, property_id: UUID, contact_id: UUID) -> bool:
    """Detach a contact from a property; False if it was not attached."""
    statement = delete(PropertyContact).where(
        PropertyContact.property_id == property_id, PropertyContact.contact_id == contact_id
    )
    return await session.scalar(statement.returning(PropertyContact.contact_id)) is not None


async def import_properties(
    session: AsyncSession,
    *,
    rows: list[dict[str, Any]],
    people: list[dict[str, Any]],
    import_id: UUID,
    now: datetime,
) -> None:
    """Add properties, fill empty values of known ones, and attach contacts by their numbers."""
    values = {"import_id": import_id, "now": now}
    await session.execute(_IMPORT, values | {"rows": json.dumps(rows, default=str)})
    keys = [row["address_key"] for row in rows]
    await session.execute(_IMPORT_PEOPLE, values | {"rows": json.dumps(people), "keys": keys})


async def undo_people(session: AsyncSession, *, import_id: UUID, limit: int) -> int:
    """Detach up to ``limit`` contacts that an import attached; return their number."""
    values = {"import_id": import_id, "limit": limit}
    removed: int = (await session.execute(_UNDO_PEOPLE, values)).scalar_one()
    return removed


async def undo_properties(session: AsyncSession, *, import_id: UUID, limit: int) -> int:
    """Remove up to ``limit`` unused properties that an import created; return their number."""
    values = {"import_id": import_id, "limit": limit}
    removed: int = (await session.execute(_UNDO, values)).scalar_one()
    return removed
