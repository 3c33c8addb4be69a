"""Create, rename and delete lists; add contacts to lists, and remove contacts from them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Select, cast, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page, TimePosition, newest_first
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.export import people_csv
from crm_api.domain.people.contacts.schemas import FlaggedContact
from crm_api.domain.people.lists.errors import (
    ListExistsError,
    ListNotFoundError,
    MemberNotFoundError,
    UnknownContactsError,
)
from crm_api.domain.people.lists.schemas import CountedList, ListUpdate
from crm_api.domain.people.models.lists import ContactList, ContactListMember, ContactListTally
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.ids import new_id

_COUNTED: Select[tuple[ContactList, Any]] = select(
    ContactList,
    select(func.coalesce(cast(func.sum(ContactListTally.contacts), BigInteger), 0))
    .where(ContactListTally.list_id == ContactList.id)
    .correlate(ContactList)
    .scalar_subquery(),
)
"""Each list with its number of contacts."""


async def create_list(uow: UnitOfWork, *, name: str, now: datetime) -> CountedList:
    """Create an empty list.

    Raises:
        ListExistsError: Another list has this name; ``list_id`` is its id.
    """
    statement = (
        insert(ContactList)
        .values(id=new_id(), name=name, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    made = await uow.session.scalar(statement.returning(ContactList))
    if made is None:
        raise await _taken(uow, name)
    return CountedList(made, 0)


async def get_list(uow: UnitOfWork, *, list_id: UUID) -> CountedList:
    """Return a list with its number of contacts.

    Raises:
        ListNotFoundError: No list has this id.
    """
    found = await _fetch_counted(uow.session, _COUNTED.where(ContactList.id == list_id))
    if not found:
        raise ListNotFoundError
    return found[0]


async def list_lists(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[CountedList]:
    """Return a page of lists, newest first, with their numbers of contacts.

    Raises:
        InvalidCursorError: The cursor is from another listing.
    """
    cursors = Cursors("lists")
    after = cursors.read(cursor)
    rows = await fetch_lists(uow.session, after=after, limit=limit + 1)
    return cursors.page(
        rows, limit=limit, position=lambda row: (row.contact_list.created_at, row.contact_list.id)
    )


async def fetch_lists(
    session: AsyncSession, *, after: TimePosition | None, limit: int
) -> list[CountedList]:
    """Fetch lists with their numbers of contacts, newest first."""
    ordered = newest_first(
        _COUNTED, ContactList.created_at, ContactList.id, after=after, limit=limit
    )
    return await _fetch_counted(session, ordered)


async def rename_list(
    uow: UnitOfWork, changes: ListUpdate, *, list_id: UUID, now: datetime
) -> CountedList:
    """Change the name of a list.

    Raises:
        ListNotFoundError: No list has this id.
        ListExistsError: Another list has this name; ``list_id`` is its id.
    """
    found = await get_list(uow, list_id=list_id)
    if "name" in changes.model_fields_set and changes.name != found.contact_list.name:
        renamed = update(ContactList).where(ContactList.id == list_id)
        try:
            async with uow.session.begin_nested():
                await uow.session.execute(renamed.values(name=changes.name, updated_at=now))
        except IntegrityError as error:
            raise await _taken(uow, changes.name) from error
    return await get_list(uow, list_id=list_id)


async def delete_list(uow: UnitOfWork, *, list_id: UUID) -> None:
    """Delete a list; its contacts are not deleted.

    Raises:
        ListNotFoundError: No list has this id.
    """
    deleted = delete(ContactList).where(ContactList.id == list_id).returning(ContactList.id)
    if await uow.session.scalar(deleted) is None:
        raise ListNotFoundError


async def list_members(
    uow: UnitOfWork, *, list_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[FlaggedContact]:
    """Return a page of the contacts on a list; the contact that was added last comes first.

    Raises:
        ListNotFoundError: No list has this id.
        InvalidCursorError: The cursor is from another listing.
    """
    await _require_list(uow.session, list_id=list_id)
    return await contacts.list_members(uow, list_id=list_id, cursor=cursor, limit=limit, now=now)


async def members_csv(
    new_uow: UnitOfWorkFactory, *, list_id: UUID, now: datetime
) -> AsyncIterator[bytes]:
    """Stream the contacts on a list as CSV; the contact that was added last comes first.

    Raises:
        ListNotFoundError: No list has this id.
    """
    async with new_uow() as uow:
        await _require_list(uow.session, list_id=list_id)

    async def next_people(
        uow: UnitOfWork, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[tuple[datetime, UUID]]:
        return await contacts.fetch_list_member_ids(
            uow.session, list_id=list_id, after=after, limit=limit
        )

    return await people_csv(new_uow, next_people, now=now)


async def find_or_create_list(session: AsyncSession, *, name: str, now: datetime) -> UUID:
    """Return the id of the list with this name; create the list if needed."""
    made = (
        insert(ContactList)
        .values(name=name, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(ContactList.id)
    )
    made_id = await session.scalar(made)
    if made_id is not None:
        return made_id
    found = await session.scalars(select(ContactList.id).where(ContactList.name == name))
    return found.one()


# Until the transaction ends, this lock prevents the deletion of the list.
_LOCK_LIST = text("SELECT 1 FROM contact_list WHERE id = :list_id FOR KEY SHARE")


async def lock_list(session: AsyncSession, *, list_id: UUID) -> bool:
    """Prevent the deletion of a list until the transaction ends.

    Return False if no list has this id.
    """
    return await session.scalar(_LOCK_LIST, {"list_id": list_id}) is not None


async def add_members(
    uow: UnitOfWork, *, list_id: UUID, contact_ids: Sequence[UUID], now: datetime
) -> CountedList:
    """Add contacts to a list; contacts that are already on it do not change.

    Raises:
        ListNotFoundError: No list has this id.
        UnknownContactsError: Some ids do not belong to a contact; no contact was added.
    """
    if not await lock_list(uow.session, list_id=list_id):
        raise ListNotFoundError
    known = await insert_members(uow.session, list_id=list_id, contact_ids=contact_ids, now=now)
    unknown = [position for position, one in enumerate(contact_ids) if one not in known]
    if unknown:
        raise UnknownContactsError(unknown)
    return replace(await get_list(uow, list_id=list_id), added=sum(known.values()))


# Another transaction could delete a contact at the same time, and with it the contact's rows in
# ``contact_list_member``. The share lock on the contact prevents this.
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
    """Add the given contacts to a list, if they exist and are not on the list yet.

    Returns:
        For each id that belongs to a contact: True if the contact was added, False if it was
        already on the list. Other ids are left out.
    """
    values = {"list_id": list_id, "contact_ids": list(contact_ids), "now": now}
    rows = await session.execute(_ADD_MEMBERS, values)
    return {row.id: row.is_new for row in rows}


async def remove_member(uow: UnitOfWork, *, list_id: UUID, contact_id: UUID) -> None:
    """Remove a contact from a list.

    Raises:
        ListNotFoundError: No list has this id.
        MemberNotFoundError: The contact is not on the list.
    """
    member = (ContactListMember.list_id == list_id) & (ContactListMember.contact_id == contact_id)
    removed = delete(ContactListMember).where(member).returning(ContactListMember.contact_id)
    if await uow.session.scalar(removed) is not None:
        return
    await _require_list(uow.session, list_id=list_id)
    raise MemberNotFoundError


# Only one worker at a time merges the rows of ``contact_list_tally``. A second worker would wait
# for the first worker, and then find nothing to merge.
_MERGE_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('merge_list_tallies', 0))")
_MERGE_TALLIES = text("""
    WITH gone AS (
        DELETE FROM contact_list_tally t
        WHERE t.list_id IN (
            SELECT l.list_id FROM contact_list_tally l GROUP BY l.list_id HAVING count(*) > :rows)
        RETURNING t.list_id, t.contacts
    )
    INSERT INTO contact_list_tally (list_id, contacts)
    SELECT list_id, sum(contacts) FROM gone GROUP BY list_id HAVING sum(contacts) <> 0
""")
MERGED_ABOVE = 100
"""If a list has more rows in ``contact_list_tally`` than this, they are merged into one row."""


async def merge_list_tallies(uow: UnitOfWork) -> None:
    """For each list with many rows in ``contact_list_tally``, merge these rows into one row.

    The sum of the rows, which is the number of contacts on the list, does not change.
    """
    if await uow.session.scalar(_MERGE_LOCK):
        await uow.session.execute(_MERGE_TALLIES, {"rows": MERGED_ABOVE})


async def _require_list(session: AsyncSession, *, list_id: UUID) -> None:
    """Check that a list exists.

    Raises:
        ListNotFoundError: No list has this id.
    """
    if await session.scalar(select(ContactList.id).where(ContactList.id == list_id)) is None:
        raise ListNotFoundError


async def _taken(uow: UnitOfWork, name: str) -> ListExistsError:
    holder = await uow.session.scalar(select(ContactList.id).where(ContactList.name == name))
    return ListExistsError(
        "Another list has this name. Use that list, or choose another name.", list_id=str(holder)
    )


async def _fetch_counted(session: AsyncSession, statement: Select[Any]) -> list[CountedList]:
    rows = await session.execute(statement.execution_options(populate_existing=True))
    return [CountedList(found, count) for found, count in rows]
