"""Check which stored values fit the type of a custom field, and convert them to the type."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, column, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.custom_fields.errors import ValuesDoNotFitError
from crm_api.domain.people.custom_fields.schemas import CustomFieldFitRead, CustomFieldMisfitRead
from crm_api.domain.people.custom_fields.value_types import MisfitError, is_same_json, normalise
from crm_api.domain.people.models.contacts import CustomField, FieldType
from crm_api.platform.database import UnitOfWork, typed_rows

CHUNK_CONTACTS = 5_000
"""The number of contacts whose values one transaction converts."""
_FIRST = UUID(int=0)
_MOST_EXAMPLES = 10
_ROWS_AT_ONCE = 2_000


async def refuse_misfits(
    uow: UnitOfWork, *, name: str, kind: FieldType, choices: Sequence[str]
) -> None:
    """Check that the stored values of an attribute fit the type of a custom field.

    Raises:
        ValuesDoNotFitError: Some contacts have a value that does not fit the type.
    """
    fit = await count_fit(uow, name=name, kind=kind, choices=choices)
    if fit.misfits:
        raise ValuesDoNotFitError(
            f"The value of `{name}` does not fit the type `{kind}` for {fit.misfits:,} contacts. "
            "Correct these values first; the same request with `?dry_run=true` shows some of them.",
            misfits=fit.misfits,
        )


async def count_fit(
    uow: UnitOfWork, *, name: str, kind: FieldType, choices: Sequence[str]
) -> CustomFieldFitRead:
    """Count the contacts that have an attribute, by how well their value fits a type.

    The result has three counts:

    - ``fitting``: the value fits as it is stored.
    - ``rewritten``: the value fits after a conversion.
    - ``misfits``: the value does not fit.
    """
    fit = CustomFieldFitRead(fitting=0, rewritten=0, misfits=0, examples=[])
    async for rows in _stream_values(uow.session, name=name):
        for row in rows:
            try:
                normal = normalise(row.value, kind, choices)
            except MisfitError as error:
                fit.misfits += row.contacts
                if len(fit.examples) < _MOST_EXAMPLES:
                    misfit = CustomFieldMisfitRead(
                        contact_id=UUID(row.contact_id), value=row.value, detail=str(error)
                    )
                    fit.examples.append(misfit)
            else:
                if is_same_json(normal, row.value):
                    fit.fitting += row.contacts
                else:
                    fit.rewritten += row.contacts
    return fit


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value of an attribute, the number of contacts that have the value, and one such contact."""

    value: Any
    contacts: int
    contact_id: str


_VALUES = text("""
    SELECT attributes -> :name AS value, count(*) AS contacts, min(CAST(id AS text)) AS contact_id
    FROM contact
    WHERE deleted_at IS NULL AND jsonb_exists(attributes, :name)
    GROUP BY 1
""").columns(column("value", JSONB), column("contacts"), column("contact_id", Text))


async def _stream_values(session: AsyncSession, *, name: str) -> AsyncIterator[list[StoredValue]]:
    """Yield each value of an attribute and how many contacts have it, 2,000 values at a time.

    This reads all contacts, because attributes have no index by name.
    """
    options = {"yield_per": _ROWS_AT_ONCE}
    found = await session.stream(_VALUES, {"name": name}, execution_options=options)
    async for part in found.partitions(_ROWS_AT_ONCE):
        yield typed_rows(StoredValue, part)


async def apply_chunk(uow: UnitOfWork, *, now: datetime, limit: int = CHUNK_CONTACTS) -> bool:
    """Convert stored values to the type of their custom field, for up to ``limit`` contacts.

    A call converts values of the field that has waited longest. The next call for this field
    continues after the last contact of this call. Values that do not fit do not change.

    Returns:
        False if no field waits for the conversion of its values.
    """
    found = await _lock_waiting_field(uow.session)
    if found is None:
        return False
    after = found.applied_through or _FIRST
    rows = await _fetch_value_page(uow.session, name=found.name, after=after, limit=limit)
    stored = [(row.id, row.value) for row in rows if row.has_value]
    rewritten = _rewritten(stored, FieldType(found.type), found.choices)
    if rewritten:
        await _rewrite_values(uow.session, name=found.name, rows=rewritten)
    values: dict[str, Any] = {"applied_at": now} if len(rows) < limit else {}
    if rows:
        values["applied_through"] = rows[-1].id
    await uow.session.execute(update(CustomField).where(CustomField.id == found.id).values(values))
    return True


async def _lock_waiting_field(session: AsyncSession) -> CustomField | None:
    """Lock the field that has waited longest for the conversion; None if no field waits."""
    statement = (
        select(CustomField)
        .where(CustomField.applied_at.is_(None), CustomField.archived_at.is_(None))
        .order_by(CustomField.updated_at, CustomField.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


@dataclass(frozen=True, slots=True)
class ContactValue:
    """The value of an attribute of one contact."""

    id: UUID
    has_value: bool
    value: Any


_CHUNK = text("""
    SELECT id, jsonb_exists(attributes, :name) AS has_value, attributes -> :name AS value
    FROM contact WHERE id > :after ORDER BY id LIMIT :limit
""").columns(column("id", Uuid), column("has_value"), column("value", JSONB))


async def _fetch_value_page(
    session: AsyncSession, *, name: str, after: UUID, limit: int
) -> list[ContactValue]:
    """Fetch the contacts with an id above ``after``, each with its value for an attribute."""
    values = {"name": name, "after": after, "limit": limit}
    return typed_rows(ContactValue, await session.execute(_CHUNK, values))


def _rewritten(
    stored: Sequence[tuple[UUID, Any]], kind: FieldType, choices: Sequence[str]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for contact_id, value in stored:
        try:
            normal = normalise(value, kind, choices)
        except MisfitError:
            continue
        if not is_same_json(normal, value) or value is None:
            rows.append({"id": contact_id, "old": value, "normal": normal})
    return rows


_LOCK = text("""
    SELECT 1 FROM contact WHERE id = ANY(CAST(:contact_ids AS uuid[]))
    ORDER BY phone FOR NO KEY UPDATE
""")

# A stored value is not replaced if it has changed since it was read. The request that changed the
# value has already converted it to the new type.
_REWRITE = text("""
    UPDATE contact c
    SET attributes = CASE WHEN r.normal IS NULL THEN c.attributes - CAST(:name AS text)
        ELSE jsonb_set(c.attributes, ARRAY[CAST(:name AS text)], r.normal) END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, old jsonb, normal jsonb)
    WHERE c.id = r.id AND c.attributes -> CAST(:name AS text) = coalesce(r.old, 'null')
""")


async def _rewrite_values(session: AsyncSession, *, name: str, rows: list[dict[str, Any]]) -> None:
    """Replace stored values, unless they have changed since they were read.

    Args:
        rows: One dict for each contact: the contact's ``id``, the ``old`` value, and the ``normal``
            value to store. If ``normal`` is None, the attribute is removed.
    """
    await session.execute(_LOCK, {"contact_ids": [row["id"] for row in rows]})
    await session.execute(_REWRITE, {"name": name, "rows": json.dumps(rows, default=str)})
