"""Create, rename and delete lists, and add contacts to them or remove contacts."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.contacts import queries as contact_queries
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.export import people_csv
from crm_api.domain.people.contacts.schemas import FlaggedContact
from crm_api.domain.people.lists import queries
from crm_api.domain.people.lists.errors import (
    ListExistsError,
    ListNotFoundError,
    MemberNotFoundError,
    UnknownContactsError,
)
from crm_api.domain.people.lists.schemas import CountedList, ListUpdate
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory


async def create_list(uow: UnitOfWork, *, name: str, now: datetime) -> CountedList:
    """Create an empty list.

    Raises:
        ListExistsError: Another list has this name; ``list_id`` is its id.
    """
    made = await queries.insert_list(uow.session, name=name, now=now)
    if made is None:
        raise await _taken(uow, name)
    return CountedList(made, 0)


async def get_list(uow: UnitOfWork, *, list_id: UUID) -> CountedList:
    """Return a list with its number of contacts.

    Raises:
        ListNotFoundError: No list has this id.
    """
    found = await queries.find_list(uow.session, list_id=list_id)
    if found is None:
        raise ListNotFoundError("No list has this id.")
    return found


async def list_lists(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[CountedList]:
    """Return a page of lists, newest first, with their numbers of contacts.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("lists")
    after = cursors.read(cursor)
    rows = await queries.fetch_lists(uow.session, after=after, limit=limit + 1)
    return cursors.page(
        rows, limit=limit, position=lambda row: (row.contact_list.created_at, row.contact_list.id)
    )


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
        try:
            async with uow.session.begin_nested():
                await queries.set_list_name(
                    uow.session, list_id=list_id, name=changes.name, now=now
                )
        except IntegrityError as error:
            raise await _taken(uow, changes.name) from error
    return await get_list(uow, list_id=list_id)


async def delete_list(uow: UnitOfWork, *, list_id: UUID) -> None:
    """Delete a list; its contacts are not deleted.

    Raises:
        ListNotFoundError: No list has this id.
    """
    if not await queries.remove_list(uow.session, list_id=list_id):
        raise ListNotFoundError("No list has this id.")


async def list_members(
    uow: UnitOfWork, *, list_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[FlaggedContact]:
    """Return a page of the contacts on a list; the contact that was added last comes first.

    Raises:
        ListNotFoundError: No list has this id.
        InvalidCursorError: The cursor does not belong to this list.
    """
    await get_list(uow, list_id=list_id)
    return await contacts.list_members(uow, list_id=list_id, cursor=cursor, limit=limit, now=now)


async def members_csv(
    new_uow: UnitOfWorkFactory, *, list_id: UUID, now: datetime
) -> AsyncIterator[bytes]:
    """Stream the contacts on a list as CSV; the contact that was added last comes first.

    Raises:
        ListNotFoundError: No list has this id.
    """
    async with new_uow() as uow:
        await get_list(uow, list_id=list_id)

    async def next_people(
        uow: UnitOfWork, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[tuple[datetime, UUID]]:
        return await contact_queries.fetch_list_member_ids(
            uow.session, list_id=list_id, after=after, limit=limit
        )

    return await people_csv(new_uow, next_people, now=now)


async def add_members(
    uow: UnitOfWork, *, list_id: UUID, contact_ids: Sequence[UUID], now: datetime
) -> CountedList:
    """Add contacts to a list; contacts that are already on it do not change.

    Raises:
        ListNotFoundError: No list has this id.
        UnknownContactsError: Some ids do not belong to a contact; no contact was added.
    """
    if not await queries.lock_list_row(uow.session, list_id=list_id):
        raise ListNotFoundError("No list has this id.")
    known = await queries.insert_members(
        uow.session, list_id=list_id, contact_ids=contact_ids, now=now
    )
    unknown = [position for position, one in enumerate(contact_ids) if one not in known]
    if unknown:
        raise UnknownContactsError(unknown)
    return replace(await get_list(uow, list_id=list_id), added=sum(known.values()))


async def remove_member(uow: UnitOfWork, *, list_id: UUID, contact_id: UUID) -> None:
    """Remove a contact from a list.

    Raises:
        ListNotFoundError: No list has this id.
        MemberNotFoundError: The contact is not on the list.
    """
    if await queries.delete_member(uow.session, list_id=list_id, contact_id=contact_id):
        return
    await get_list(uow, list_id=list_id)
    raise MemberNotFoundError("This contact is not on the list.")


async def _taken(uow: UnitOfWork, name: str) -> ListExistsError:
    holder = await queries.find_list_id(uow.session, name=name)
    return ListExistsError(
        "Another list has this name. Use that list, or choose another name.", list_id=str(holder)
    )
