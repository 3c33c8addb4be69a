"""SQL on custom fields, and on the attributes that they define."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, column, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.custom_fields import CustomField
from crm_api.platform.database import typed_rows

_IS_ACTIVE = CustomField.archived_at.is_(None)
_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """An active definition as it is stored."""

    name: str
    type: str
    choices: list[str]
    required: bool


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value of an attribute, the number of contacts that have it, and one of them."""

    value: Any
    contacts: int
    contact_id: str


@dataclass(frozen=True, slots=True)
class ContactValue:
    """The value of an attribute of one contact."""

    id: UUID
    has_value: bool
    value: Any


DEFINITIONS = select(
    CustomField.name, CustomField.type, CustomField.choices, CustomField.required
).where(_IS_ACTIVE)

_VALUES = text("""
    SELECT attributes -> :name AS value, count(*) AS contacts, min(CAST(id AS text)) AS contact_id
    FROM contact
    WHERE deleted_at IS NULL AND jsonb_exists(attributes, :name)
    GROUP BY 1
""").columns(column("value", JSONB), column("contacts"), column("contact_id", Text))

_CHUNK = text("""
    SELECT id, jsonb_exists(attributes, :name) AS has_value, attributes -> :name AS value
    FROM contact WHERE id > :after ORDER BY id LIMIT :limit
""").columns(column("id", Uuid), column("has_value"), column("value", JSONB))


async def fetch_definitions(session: AsyncSession) -> list[StoredDefinition]:
    """Fetch all active definitions."""
    return typed_rows(StoredDefinition, await session.execute(DEFINITIONS))


async def insert_field(session: AsyncSession, *, values: dict[str, Any]) -> CustomField | None:
    """Add a definition; None when the name is taken."""
    statement = (
        insert(CustomField)
        .values(values)
        .on_conflict_do_nothing(index_elements=["name"], index_where=_IS_ACTIVE)
    )
    return await session.scalar(statement.returning(CustomField))


async def count_fields(session: AsyncSession) -> int:
    """Count the active definitions."""
    statement = select(func.count()).select_from(CustomField).where(_IS_ACTIVE)
    return (await session.scalar(statement)) or 0


async def id_of_name(session: AsyncSession, *, name: str) -> UUID | None:
    """Return the id of the active definition with a name."""
    statement = select(CustomField.id).where(CustomField.name == name, _IS_ACTIVE)
    return await session.scalar(statement)


async def find_field(session: AsyncSession, *, field_id: UUID) -> CustomField | None:
    """Fetch a definition, also an archived one."""
    return await session.get(CustomField, field_id, populate_existing=True)


async def lock_field(session: AsyncSession, *, field_id: UUID) -> CustomField | None:
    """Fetch a definition and lock it against changes until the transaction ends."""
    statement = select(CustomField).where(CustomField.id == field_id).with_for_update()
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def list_fields(
    session: AsyncSession, *, archived: bool, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[CustomField]:
    """Fetch active or archived definitions, newest first."""
    statement = select(CustomField).where(~_IS_ACTIVE if archived else _IS_ACTIVE)
    if after is not None:
        statement = statement.where(tuple_(CustomField.created_at, CustomField.id) < after)
    ordered = statement.order_by(CustomField.created_at.desc(), CustomField.id.desc())
    return (await session.scalars(ordered.limit(limit))).all()


async def change_field(session: AsyncSession, *, field_id: UUID, values: dict[str, Any]) -> None:
    """Change a definition."""
    await session.execute(update(CustomField).where(CustomField.id == field_id).values(values))


async def lock_waiting_field(session: AsyncSession) -> CustomField | None:
    """Lock the definition that has waited longest to convert older values; None if none waits."""
    statement = (
        select(CustomField)
        .where(CustomField.applied_at.is_(None), _IS_ACTIVE)
        .order_by(CustomField.updated_at, CustomField.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def stream_values(session: AsyncSession, *, name: str) -> AsyncIterator[list[StoredValue]]:
    """Yield every value of an attribute and its number of contacts, 2,000 values at a time.

    Reads all contacts, because no index has the names of attributes.
    """
    options = {"yield_per": _ROWS_AT_ONCE}
    found = await session.stream(_VALUES, {"name": name}, execution_options=options)
    async for part in found.partitions(_ROWS_AT_ONCE):
        yield typed_rows(StoredValue, part)


async def fetch_value_page(
    session: AsyncSession, *, name: str, after: UUID, limit: int
) -> list[ContactValue]:
    """Fetch contacts after this id with their value of an attribute."""
    values = {"name": name, "after": after, "limit": limit}
    return typed_rows(ContactValue, await session.execute(_CHUNK, values))


_LOCK = text("""
    SELECT 1 FROM contact WHERE id = ANY(CAST(:contact_ids AS uuid[]))
    ORDER BY phone FOR NO KEY UPDATE
""")

# A value that changed since it was read was already checked by the new definition.
_REWRITE = text("""
    UPDATE contact c
    SET attributes = CASE WHEN r.normal IS NULL THEN c.attributes - CAST(:name AS text)
        ELSE jsonb_set(c.attributes, ARRAY[CAST(:name AS text)], r.normal) END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, old jsonb, normal jsonb)
    WHERE c.id = r.id AND c.attributes -> CAST(:name AS text) = coalesce(r.old, 'null')
""")


async def rewrite_values(session: AsyncSession, *, name: str, rows: list[dict[str, Any]]) -> None:
    """Replace values that are still the old ones; a normal value of None removes the attribute.

    Args:
        rows: ``id``, ``old`` and ``normal``.
    """
    await session.execute(_LOCK, {"contact_ids": [row["id"] for row in rows]})
    await session.execute(_REWRITE, {"name": name, "rows": json.dumps(rows, default=str)})
