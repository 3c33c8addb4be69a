"""Lists: made, renamed, removed, and who is on them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.contacts.schemas import FlaggedContact
from crm_api.domain.lists import queries
from crm_api.domain.lists.errors import (
    ListExistsError,
    ListNotFoundError,
    MemberNotFoundError,
    UnknownContactsError,
)
from crm_api.domain.lists.schemas import CountedList, ListUpdate
from crm_api.domain.paging import Cursors, Page


async def create(uow: UnitOfWork, *, name: str, now: datetime) -> CountedList:
    """Make an empty list.

    Raises:
        ListExistsError: The name is taken; ``list_id`` says by which.
    """
    made = await queries.insert_list(uow.session, name=name, now=now)
    if made is None:
        raise await _taken(uow, name)
    return CountedList(made, 0)


async def get(uow: UnitOfWork, *, list_id: UUID) -> CountedList:
    """Fetch a list.

    Raises:
        ListNotFoundError: There is none with this id.
    """
    found = await queries.find(uow.session, list_id=list_id)
    if found is None:
        raise ListNotFoundError("No list has this id.")
    return found


async def list_lists(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[CountedList]:
    """List lists, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("lists")
    after = cursors.read(cursor)
    rows = await queries.list_lists(uow.session, after=after, limit=limit + 1)
    return cursors.page(
        rows, limit=limit, position=lambda row: (row.contact_list.created_at, row.contact_list.id)
    )


async def update(
    uow: UnitOfWork, changes: ListUpdate, *, list_id: UUID, now: datetime
) -> CountedList:
    """Change a list's name.

    Raises:
        ListNotFoundError: There is none with this id.
        ListExistsError: The name is taken; ``list_id`` says by which.
    """
    found = await get(uow, list_id=list_id)
    if "name" in changes.model_fields_set and changes.name != found.contact_list.name:
        try:
            async with uow.session.begin_nested():
                await queries.rename(uow.session, list_id=list_id, name=changes.name, now=now)
        except IntegrityError as error:
            raise await _taken(uow, changes.name) from error
    return await get(uow, list_id=list_id)


async def delete(uow: UnitOfWork, *, list_id: UUID) -> None:
    """Remove a list; the contacts stay.

    Raises:
        ListNotFoundError: There is none with this id.
    """
    if not await queries.delete_list(uow.session, list_id=list_id):
        raise ListNotFoundError("No list has this id.")


async def list_members(
    uow: UnitOfWork, *, list_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[FlaggedContact]:
    """List who is on a list, the last added first.

    Raises:
        ListNotFoundError: There is none with this id.
        InvalidCursorError: The cursor is not one of this list's.
    """
    await get(uow, list_id=list_id)
    return await contacts.list_members(uow, list_id=list_id, cursor=cursor, limit=limit, now=now)


async def add_members(
    uow: UnitOfWork, *, list_id: UUID, contact_ids: Sequence[UUID], now: datetime
) -> CountedList:
    """Put contacts on a list; whoever is on it already stays.

    Raises:
        ListNotFoundError: There is none with this id.
        UnknownContactsError: Some ids are no contacts; nobody was added.
    """
    if not await queries.lock_list(uow.session, list_id=list_id):
        raise ListNotFoundError("No list has this id.")
    known = await queries.add_members(
        uow.session, list_id=list_id, contact_ids=contact_ids, now=now
    )
    unknown = [position for position, one in enumerate(contact_ids) if one not in known]
    if unknown:
        raise UnknownContactsError(unknown)
    return await get(uow, list_id=list_id)


async def remove_member(uow: UnitOfWork, *, list_id: UUID, contact_id: UUID) -> None:
    """Take a contact off a list.

    Raises:
        ListNotFoundError: There is no list with this id.
        MemberNotFoundError: The contact is not on it.
    """
    if await queries.remove_member(uow.session, list_id=list_id, contact_id=contact_id):
        return
    await get(uow, list_id=list_id)
    raise MemberNotFoundError("This contact is not on the list.")


async def _taken(uow: UnitOfWork, name: str) -> ListExistsError:
    holder = await queries.id_of_name(uow.session, name=name)
    return ListExistsError("A list with this name exists.", list_id=str(holder))
