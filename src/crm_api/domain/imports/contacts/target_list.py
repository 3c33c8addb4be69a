"""Find, create and lock the list that the contacts of an import join."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.lists import ContactList

_LIST_LOCK = text("SELECT 1 FROM contact_list WHERE id = :list_id FOR KEY SHARE")


async def lock_list(session: AsyncSession, *, list_id: UUID) -> bool:
    """Prevent the deletion of a list until the transaction ends.

    Return False if no list has this id.
    """
    return await session.scalar(_LIST_LOCK, {"list_id": list_id}) is not None


async def find_or_create_list(session: AsyncSession, *, name: str, now: datetime) -> UUID:
    """Return the id of the list with this name; create the list if needed."""
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
