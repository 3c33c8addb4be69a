"""SQL on imports, and their bulk writes of contacts, memberships and errors."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import orjson
from sqlalchemy import CursorResult, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.lists.models import ContactList
from crm_api.domain.transfer.models import ContactImport, ContactImportError, ImportStatus

OPEN = (ImportStatus.PENDING, ImportStatus.RUNNING)

_COLUMNS = (
    "first_name, last_name, email, company, street, city, state, postal_code, country, timezone"
)
_RECORD = (
    "phone text, first_name text, last_name text, email text, company text, street text, "
    "city text, state text, postal_code text, country text, timezone text, zone_key text, "
    "tags jsonb, attributes jsonb"
)
_TAGS = "ARRAY(SELECT jsonb_array_elements_text(r.tags))"
_FIND = text(
    f"SELECT id, phone, {_COLUMNS}, tags, attributes, deleted_at FROM contact "
    "WHERE phone = ANY(CAST(:phones AS text[]))"
)
_LOCK = text(
    f"SELECT id, phone, {_COLUMNS}, tags, attributes, deleted_at FROM contact "
    "WHERE phone = ANY(CAST(:phones AS text[])) ORDER BY phone FOR NO KEY UPDATE"
)
_INSERT = text(
    f"INSERT INTO contact (id, phone, {_COLUMNS}, zone_key, tags, attributes, source, "
    "created_at, updated_at) "
    f"SELECT r.id, r.phone, r.{_COLUMNS.replace(', ', ', r.')}, r.zone_key, {_TAGS}, "
    "r.attributes, 'import', :now, :now "
    f"FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, {_RECORD}) ORDER BY r.phone "
    "ON CONFLICT (phone) DO NOTHING RETURNING id, phone"
)
_SET = ", ".join(f"{name} = r.{name}" for name in _COLUMNS.split(", "))
_UPDATE = text(
    f"UPDATE contact AS c SET {_SET}, zone_key = r.zone_key, tags = {_TAGS}, "
    "attributes = r.attributes, updated_at = :now, "
    "created_at = CASE WHEN c.deleted_at IS NULL THEN c.created_at ELSE :now END, "
    "source = CASE WHEN c.deleted_at IS NULL THEN c.source ELSE 'import' END, deleted_at = NULL "
    f"FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_RECORD}) WHERE c.phone = r.phone"
)
_ADD_MEMBERS = text(
    "INSERT INTO contact_list_member (list_id, contact_id, added_at) "
    "SELECT :list_id, member, :now FROM unnest(CAST(:contact_ids AS uuid[])) AS member "
    "ORDER BY member ON CONFLICT DO NOTHING"
)
_ADD_ERRORS = text(
    'INSERT INTO contact_import_error (import_id, line, "column", value, code, reason) '
    'SELECT :import_id, r.line, r."column", r.value, r.code, r.reason '
    "FROM ROWS FROM (jsonb_to_recordset(CAST(:rows AS jsonb)) "
    'AS (line integer, "column" text, value text, code text, reason text)) '
    "WITH ORDINALITY AS r ORDER BY r.ordinality"
)
_LIST_LOCK = text("SELECT 1 FROM contact_list WHERE id = :list_id FOR KEY SHARE")


async def insert_import(session: AsyncSession, *, values: dict[str, object]) -> ContactImport:
    """Store a new import."""
    statement = insert(ContactImport).values(values).returning(ContactImport)
    return (await session.scalars(statement)).one()


async def get(session: AsyncSession, *, import_id: UUID) -> ContactImport | None:
    """Fetch an import."""
    return await session.get(ContactImport, import_id, populate_existing=True)


async def list_imports(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[ContactImport]:
    """Fetch imports, newest first."""
    statement = select(ContactImport)
    if after is not None:
        statement = statement.where(tuple_(ContactImport.created_at, ContactImport.id) < after)
    statement = statement.order_by(ContactImport.created_at.desc(), ContactImport.id.desc())
    return list(await session.scalars(statement.limit(limit)))


async def claim(
    session: AsyncSession, *, now: datetime, lease_until: datetime
) -> ContactImport | None:
    """Take an import that waits or whose worker is gone; None when there is none.

    The one worked on longest ago comes first, so that a large file lets small ones pass.
    """
    waiting = (
        select(ContactImport.id)
        .where(
            ContactImport.status.in_(OPEN),
            or_(ContactImport.lease_until.is_(None), ContactImport.lease_until < now),
        )
        .order_by(ContactImport.updated_at, ContactImport.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(ContactImport)
        .where(ContactImport.id == waiting)
        .values(
            status=ImportStatus.RUNNING,
            lease_until=lease_until,
            started_at=func.coalesce(ContactImport.started_at, now),
            updated_at=now,
        )
        .returning(ContactImport)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def lock(session: AsyncSession, *, import_id: UUID) -> ContactImport | None:
    """Fetch an import and hold it until the transaction ends."""
    statement = select(ContactImport).where(ContactImport.id == import_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def set_open(session: AsyncSession, *, import_id: UUID, values: dict[str, object]) -> bool:
    """Change an import that has not ended; False when it has, or does not exist."""
    statement = (
        update(ContactImport)
        .where(ContactImport.id == import_id, ContactImport.status.in_(OPEN))
        .values(values)
        .execution_options(synchronize_session=False)
    )
    result = await session.execute(statement)
    return bool(cast("CursorResult[Any]", result).rowcount)


async def find_contacts(
    session: AsyncSession, *, phones: Sequence[str], is_locking: bool
) -> dict[str, dict[str, Any]]:
    """Fetch contacts by number, deleted ones too; locked in the order of their numbers."""
    statement = _LOCK if is_locking else _FIND
    found = await session.execute(statement, {"phones": list(phones)})
    return {row["phone"]: dict(row) for row in found.mappings()}


async def insert_contacts(
    session: AsyncSession, *, rows: list[dict[str, Any]], now: datetime
) -> dict[str, UUID]:
    """Store new contacts; a number that somebody else stored meanwhile is missing in the answer."""
    found = await session.execute(_INSERT, {"rows": _json(rows), "now": now})
    return {row.phone: row.id for row in found}


async def update_contacts(
    session: AsyncSession, *, rows: list[dict[str, Any]], now: datetime
) -> None:
    """Write contacts' columns by number; a deleted one comes back as if new."""
    await session.execute(_UPDATE, {"rows": _json(rows), "now": now})


async def add_members(
    session: AsyncSession, *, list_id: UUID, contact_ids: Iterable[UUID], now: datetime
) -> None:
    """Put contacts on a list; those that are on it stay."""
    values = {"list_id": list_id, "contact_ids": list(contact_ids), "now": now}
    await session.execute(_ADD_MEMBERS, values)


async def hold_list(session: AsyncSession, *, list_id: UUID) -> bool:
    """Keep a list from being deleted until the transaction ends; False when it is gone."""
    return await session.scalar(_LIST_LOCK, {"list_id": list_id}) is not None


async def list_named(session: AsyncSession, *, name: str, now: datetime) -> UUID:
    """Return the list of this name, which is made when there is none."""
    made = (
        insert(ContactList)
        .values(name=name, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(ContactList.id)
    )
    new_id = await session.scalar(made)
    if new_id is not None:
        return new_id
    found = await session.scalars(select(ContactList.id).where(ContactList.name == name))
    return found.one()


async def add_errors(session: AsyncSession, *, import_id: UUID, rows: list[dict[str, Any]]) -> None:
    """Store what could not be taken, in the order of the file."""
    await session.execute(_ADD_ERRORS, {"import_id": import_id, "rows": _json(rows)})


async def list_errors(
    session: AsyncSession, *, import_id: UUID, after: int, limit: int
) -> list[ContactImportError]:
    """Fetch errors in the order of the file, from behind this id on."""
    statement = (
        select(ContactImportError)
        .where(ContactImportError.import_id == import_id, ContactImportError.id > after)
        .order_by(ContactImportError.id)
        .limit(limit)
    )
    return list(await session.scalars(statement))


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
