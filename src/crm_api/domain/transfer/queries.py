"""SQL on imports, and their bulk writes of contacts, memberships and errors."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

import orjson
from sqlalchemy import CursorResult, delete, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.lists.models import ContactList
from crm_api.domain.transfer.models import (
    ContactImport,
    ContactImportChunk,
    ContactImportError,
    ImportStatus,
    UndoState,
)

OPEN = (ImportStatus.PENDING, ImportStatus.RUNNING)
UNDOING = (UndoState.PENDING, UndoState.RUNNING)

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


async def hold_list(session: AsyncSession, *, list_id: UUID) -> bool:
    """Keep a list from being deleted until the transaction ends; False when it is gone."""
    return await session.scalar(_LIST_LOCK, {"list_id": list_id}) is not None


async def end(
    session: AsyncSession,
    *,
    import_id: UUID,
    status: ImportStatus,
    now: datetime,
    error: str | None = None,
) -> bool:
    """Let an open import end so; False when it has ended already."""
    values: dict[str, object] = {
        "status": status,
        "error": error,
        "lease_until": None,
        "finished_at": now,
        "updated_at": now,
    }
    return await set_open(session, import_id=import_id, values=values)


async def forget(session: AsyncSession, *, import_id: UUID) -> None:
    """Remove the errors and the chunks of an import, which begins anew."""
    for table in (ContactImportError, ContactImportChunk):
        await session.execute(delete(table).where(table.import_id == import_id))


async def commit_of(session: AsyncSession, *, dry_run_id: UUID) -> ContactImport | None:
    """Fetch the commit of a dry run that is under way or stands."""
    statement = select(ContactImport).where(
        ContactImport.dry_run_id == dry_run_id,
        ContactImport.status.in_([*OPEN, ImportStatus.COMPLETED]),
        ContactImport.undone_at.is_(None),
    )
    return await session.scalar(statement)


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
