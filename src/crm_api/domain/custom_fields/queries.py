"""SQL on custom fields, and on the attributes that they define."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Text, Uuid, column, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.custom_fields.models import CustomField

_STANDING = CustomField.archived_at.is_(None)
_ROWS_AT_ONCE = 2_000

DEFINITIONS = select(
    CustomField.name, CustomField.type, CustomField.choices, CustomField.required
).where(_STANDING)

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

_LOCK = text("""
    SELECT 1 FROM contact WHERE id = ANY(CAST(:contact_ids AS uuid[]))
    ORDER BY phone FOR NO KEY UPDATE
""")

# A value that somebody has changed meanwhile is read under the definition already.
_REWRITE = text("""
    UPDATE contact c
    SET attributes = CASE WHEN r.normal IS NULL THEN c.attributes - CAST(:name AS text)
        ELSE jsonb_set(c.attributes, ARRAY[CAST(:name AS text)], r.normal) END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, old jsonb, normal jsonb)
    WHERE c.id = r.id AND c.attributes -> CAST(:name AS text) = coalesce(r.old, 'null')
""")


async def definitions(session: AsyncSession) -> Sequence[Row[str, str, list[str], bool]]:
    """Fetch all that stand, by what they check."""
    return (await session.execute(DEFINITIONS)).all()


async def insert_field(session: AsyncSession, *, values: dict[str, Any]) -> CustomField | None:
    """Add a definition; None when the name is taken."""
    statement = (
        insert(CustomField)
        .values(values)
        .on_conflict_do_nothing(index_elements=["name"], index_where=_STANDING)
    )
    return await session.scalar(statement.returning(CustomField))


async def count(session: AsyncSession) -> int:
    """Count those that stand."""
    statement = select(func.count()).select_from(CustomField).where(_STANDING)
    return (await session.scalar(statement)) or 0


async def id_of_name(session: AsyncSession, *, name: str) -> UUID | None:
    """Return the id of the definition of a name."""
    statement = select(CustomField.id).where(CustomField.name == name, _STANDING)
    return await session.scalar(statement)


async def find(session: AsyncSession, *, field_id: UUID) -> CustomField | None:
    """Fetch a definition, also an archived one."""
    return await session.get(CustomField, field_id, populate_existing=True)


async def lock(session: AsyncSession, *, field_id: UUID) -> CustomField | None:
    """Fetch a definition, and let nobody else change it."""
    statement = select(CustomField).where(CustomField.id == field_id).with_for_update()
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def list_fields(
    session: AsyncSession, *, archived: bool, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[CustomField]:
    """Fetch definitions, newest first."""
    statement = select(CustomField).where(~_STANDING if archived else _STANDING)
    if after is not None:
        statement = statement.where(tuple_(CustomField.created_at, CustomField.id) < after)
    ordered = statement.order_by(CustomField.created_at.desc(), CustomField.id.desc())
    return (await session.scalars(ordered.limit(limit))).all()


async def change(session: AsyncSession, *, field_id: UUID, values: dict[str, Any]) -> None:
    """Change a definition."""
    await session.execute(update(CustomField).where(CustomField.id == field_id).values(values))


async def waiting(session: AsyncSession) -> CustomField | None:
    """Take the definition that has waited longest for older values; None when none waits."""
    statement = (
        select(CustomField)
        .where(CustomField.applied_at.is_(None), _STANDING)
        .order_by(CustomField.updated_at, CustomField.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def stored_values(session: AsyncSession, *, name: str) -> AsyncIterator[Sequence[Row[Any]]]:
    """Read every value of an attribute with how many contacts have it, some at a time.

    Reads all contacts: no index knows what attributes are called.
    """
    options = {"yield_per": _ROWS_AT_ONCE}
    found = await session.stream(_VALUES, {"name": name}, execution_options=options)
    async for part in found.partitions(_ROWS_AT_ONCE):
        yield part


async def chunk(
    session: AsyncSession, *, name: str, after: UUID, limit: int
) -> Sequence[Row[UUID, bool, Any]]:
    """Fetch contacts behind this id with their value of an attribute."""
    values = {"name": name, "after": after, "limit": limit}
    return (await session.execute(_CHUNK, values)).all()


async def rewrite(session: AsyncSession, *, name: str, rows: list[dict[str, Any]]) -> None:
    """Write values anew where they are still the old ones; None removes.

    Args:
        rows: ``id``, ``old`` and ``normal``.
    """
    await session.execute(_LOCK, {"contact_ids": [row["id"] for row in rows]})
    await session.execute(_REWRITE, {"name": name, "rows": json.dumps(rows, default=str)})
