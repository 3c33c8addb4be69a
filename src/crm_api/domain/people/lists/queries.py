"""SQL on lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.lists.schemas import CountedList
from crm_api.domain.people.models.lists import ContactList, ContactListMember
from crm_api.platform.ids import new_id


def _counted() -> Select[tuple[ContactList, Any]]:
    count = (
        select(func.count())
        .select_from(ContactListMember)
        .where(ContactListMember.list_id == ContactList.id)
        .correlate(ContactList)
        .scalar_subquery()
    )
    return select(ContactList, count)


async def _fetch(session: AsyncSession, statement: Select[Any]) -> list[CountedList]:
    rows = await session.execute(statement.execution_options(populate_existing=True))
    return [CountedList(found, count) for found, count in rows]


async def insert_list(session: AsyncSession, *, name: str, now: datetime) -> ContactList | None:
    """Add a list; None when the name is taken."""
    statement = (
        insert(ContactList)
        .values(id=new_id(), name=name, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    return await session.scalar(statement.returning(ContactList))


async def find_list_id(session: AsyncSession, *, name: str) -> UUID | None:
    """Return the id of the list with a name."""
    return await session.scalar(select(ContactList.id).where(ContactList.name == name))


async def find_list(session: AsyncSession, *, list_id: UUID) -> CountedList | None:
    """Fetch a list with its number of contacts."""
    found = await _fetch(session, _counted().where(ContactList.id == list_id))
    return found[0] if found else None


async def fetch_lists(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[CountedList]:
    """Fetch lists, newest first."""
    statement = _counted()
    if after is not None:
        statement = statement.where(tuple_(ContactList.created_at, ContactList.id) < after)
    ordered = statement.order_by(ContactList.created_at.desc(), ContactList.id.desc())
    return await _fetch(session, ordered.limit(limit))


async def set_list_name(session: AsyncSession, *, list_id: UUID, name: str, now: datetime) -> None:
    """Change the name of a list."""
    await session.execute(
        update(ContactList).where(ContactList.id == list_id).values(name=name, updated_at=now)
    )


async def remove_list(session: AsyncSession, *, list_id: UUID) -> bool:
    """Remove a list and its memberships; False if there is no such list."""
    statement = delete(ContactList).where(ContactList.id == list_id)
    return await session.scalar(statement.returning(ContactList.id)) is not None


async def lock_list_row(session: AsyncSession, *, list_id: UUID) -> bool:
    """Lock a list against deletion until the transaction ends; False if there is no such list."""
    statement = (
        select(ContactList.id)
        .where(ContactList.id == list_id)
        .with_for_update(read=True, key_share=True)
    )
    return await session.scalar(statement) is not None


# The share lock prevents a concurrent deletion of a contact, which removes it from its lists.
_ADD_MEMBERS = text("""
    WITH known AS (
        SELECT c.id FROM contact c
        WHERE c.id = ANY(CAST(:contact_ids AS uuid[])) AND c.deleted_at IS NULL
        ORDER BY c.id FOR SHARE
    ), added AS (
        INSERT INTO contact_list_member (list_id, contact_id, added_at)
        SELECT :list_id, known.id, :now FROM known
        ON CONFLICT DO NOTHING
        RETURNING contact_id
    )
    SELECT known.id, added.contact_id IS NOT NULL AS is_new
    FROM known LEFT JOIN added ON added.contact_id = known.id
""")


async def insert_members(
    session: AsyncSession, *, list_id: UUID, contact_ids: Sequence[UUID], now: datetime
) -> dict[UUID, bool]:
    """Add contacts to a list; those already on it stay.

    Returns:
        The ids that belong to a contact; True for those that were not on the list before.
    """
    values = {"list_id": list_id, "contact_ids": list(contact_ids), "now": now}
    rows = await session.execute(_ADD_MEMBERS, values)
    return {row.id: row.is_new for row in rows}


async def delete_member(session: AsyncSession, *, list_id: UUID, contact_id: UUID) -> bool:
    """Remove a contact from a list; False if it was not on the list."""
    statement = delete(ContactListMember).where(
        ContactListMember.list_id == list_id, ContactListMember.contact_id == contact_id
    )
    return await session.scalar(statement.returning(ContactListMember.contact_id)) is not None
