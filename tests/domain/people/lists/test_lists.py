"""Lists of contacts: created, renamed, filled, counted and deleted in a real database."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, event, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import ids, make_contact, number

from crm_api.domain.kit.paging import InvalidCursorError
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.lists import service as lists
from crm_api.domain.people.lists.errors import (
    ListExistsError,
    ListNotFoundError,
    MemberNotFoundError,
    UnknownContactsError,
)
from crm_api.domain.people.lists.schemas import CountedList, ListUpdate
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactListMember, ContactListTally
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

LATER = NOW + timedelta(hours=1)


async def create_list(
    new_uow: UnitOfWorkFactory, name: str = "Homeowners", *, after: int = 0
) -> CountedList:
    async with new_uow() as uow:
        return await lists.create_list(uow, name=name, now=NOW + timedelta(minutes=after))


async def make_contacts(session: AsyncSession, count: int) -> list[Contact]:
    made = [await make_contact(session, phone=number(position)) for position in range(count)]
    await session.commit()
    return made


async def add_members(
    new_uow: UnitOfWorkFactory, found: CountedList, *new_members: Contact
) -> CountedList:
    async with new_uow() as uow:
        return await lists.add_members(
            uow, list_id=found.contact_list.id, contact_ids=ids(*new_members), now=NOW
        )


async def test_new_list_is_empty(new_uow: UnitOfWorkFactory) -> None:
    made = await create_list(new_uow)

    async with new_uow() as uow:
        found = await lists.get_list(uow, list_id=made.contact_list.id)

    assert (found.contact_list.name, found.contact_count) == ("Homeowners", 0)


async def test_used_name_is_refused_with_the_id_of_its_list(new_uow: UnitOfWorkFactory) -> None:
    made = await create_list(new_uow)
    other = await create_list(new_uow, "Realtors")

    with pytest.raises(ListExistsError) as refusal:
        await create_list(new_uow)
    async with new_uow() as uow:
        with pytest.raises(ListExistsError):
            await lists.rename_list(
                uow, ListUpdate(name="Homeowners"), list_id=other.contact_list.id, now=NOW
            )

    assert refusal.value.extras == {"list_id": str(made.contact_list.id)}


async def test_list_is_renamed(new_uow: UnitOfWorkFactory) -> None:
    made = await create_list(new_uow)

    async with new_uow() as uow:
        found = await lists.rename_list(
            uow, ListUpdate(name="Quincy"), list_id=made.contact_list.id, now=LATER
        )

    assert (found.contact_list.name, found.contact_list.updated_at) == ("Quincy", LATER)


async def test_lists_are_newest_first_in_stable_pages(new_uow: UnitOfWorkFactory) -> None:
    for position in range(3):
        await create_list(new_uow, str(position), after=position)

    async with new_uow() as uow:
        first = await lists.list_lists(uow, cursor=None, limit=2)
    await create_list(new_uow, "later", after=9)
    async with new_uow() as uow:
        second = await lists.list_lists(uow, cursor=first.next_cursor, limit=2)
        with pytest.raises(InvalidCursorError):
            await lists.list_lists(uow, cursor="x", limit=2)

    assert [one.contact_list.name for one in first.data + second.data] == ["2", "1", "0"]
    assert second.next_cursor is None


async def test_contact_that_is_added_twice_is_counted_once(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    ada, eve = await make_contacts(session, 2)

    await add_members(new_uow, made, ada, eve)
    found = await add_members(new_uow, made, ada, ada)

    assert found.contact_count == 2


async def test_unknown_and_deleted_contacts_are_reported_and_none_is_added(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    ada, deleted = await make_contacts(session, 2)
    async with new_uow() as uow:
        await contact_changes.delete_contact(uow, contact_id=deleted.id, now=NOW)

    with pytest.raises(UnknownContactsError) as refusal:
        async with new_uow() as uow:
            await lists.add_members(
                uow,
                list_id=made.contact_list.id,
                contact_ids=[ada.id, new_id(), deleted.id],
                now=NOW,
            )

    async with new_uow() as uow:
        found = await lists.get_list(uow, list_id=made.contact_list.id)
    assert [fault.pointer for fault in refusal.value.errors] == [
        "/contact_ids/1",
        "/contact_ids/2",
    ]
    assert found.contact_count == 0


async def test_members_are_paged(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    made = await create_list(new_uow)
    members = await make_contacts(session, 5)
    await add_members(new_uow, made, *members)

    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        async with new_uow() as uow:
            page = await lists.list_members(
                uow, list_id=made.contact_list.id, cursor=cursor, limit=2, now=NOW
            )
        seen += [found.contact.phone for found in page.data]
        cursor = page.next_cursor

    assert sorted(seen) == [number(position) for position in range(5)]
    assert cursor is None


async def test_deleted_contact_is_removed_from_its_lists(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    [ada] = await make_contacts(session, 1)
    await add_members(new_uow, made, ada)

    async with new_uow() as uow:
        await contact_changes.delete_contact(uow, contact_id=ada.id, now=NOW)
        found = await lists.get_list(uow, list_id=made.contact_list.id)

    assert found.contact_count == 0


async def test_member_cannot_be_removed_twice(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    [ada] = await make_contacts(session, 1)
    await add_members(new_uow, made, ada)

    async with new_uow() as uow:
        await lists.remove_member(uow, list_id=made.contact_list.id, contact_id=ada.id)
        with pytest.raises(MemberNotFoundError):
            await lists.remove_member(uow, list_id=made.contact_list.id, contact_id=ada.id)


async def test_contacts_of_a_deleted_list_are_kept(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    [ada] = await make_contacts(session, 1)
    await add_members(new_uow, made, ada)

    async with new_uow() as uow:
        await lists.delete_list(uow, list_id=made.contact_list.id)
        found = await contacts.get_contact(uow, contact_id=ada.id, now=NOW)

    assert found.contact.id == ada.id


async def test_unknown_list_is_not_found(new_uow: UnitOfWorkFactory) -> None:
    unknown_id = new_id()
    async with new_uow() as uow:
        for attempt in (
            lists.get_list(uow, list_id=unknown_id),
            lists.delete_list(uow, list_id=unknown_id),
            lists.rename_list(uow, ListUpdate(name="x"), list_id=unknown_id, now=NOW),
            lists.add_members(uow, list_id=unknown_id, contact_ids=[new_id()], now=NOW),
            lists.list_members(uow, list_id=unknown_id, cursor=None, limit=1, now=NOW),
            lists.remove_member(uow, list_id=unknown_id, contact_id=unknown_id),
        ):
            with pytest.raises(ListNotFoundError):
                await attempt


async def read_tallies(session: AsyncSession, list_id: UUID) -> list[int]:
    """Return the tallies of a list (stored counts); their sum is the list's number of contacts."""
    statement = select(ContactListTally.contacts).where(ContactListTally.list_id == list_id)
    return list(await session.scalars(statement.order_by(ContactListTally.id)))


async def count_members(session: AsyncSession, list_id: UUID) -> int | None:
    members = select(func.count()).where(ContactListMember.list_id == list_id)
    return await session.scalar(members)


async def test_each_statement_adds_one_tally(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    new_members = await make_contacts(session, 5)
    list_id = made.contact_list.id

    await add_members(new_uow, made, *new_members)
    await add_members(new_uow, made, *new_members[:2])
    async with new_uow() as uow:
        await lists.remove_member(uow, list_id=list_id, contact_id=new_members[0].id)

    assert await read_tallies(session, list_id) == [5, -1]
    assert await count_members(session, list_id) == 4
    async with new_uow() as uow:
        assert (await lists.get_list(uow, list_id=list_id)).contact_count == 4


async def test_deleted_contact_is_not_counted(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    new_members = await make_contacts(session, 3)
    await add_members(new_uow, made, *new_members)

    await session.execute(delete(Contact).where(Contact.id == new_members[1].id))

    async with new_uow() as uow:
        assert (await lists.get_list(uow, list_id=made.contact_list.id)).contact_count == 2


async def test_deleted_list_has_no_tallies(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made, other = await create_list(new_uow), await create_list(new_uow, "Realtors")
    new_members = await make_contacts(session, 3)
    await add_members(new_uow, made, *new_members)
    await add_members(new_uow, other, *new_members)

    async with new_uow() as uow:
        await lists.delete_list(uow, list_id=made.contact_list.id)

    assert await read_tallies(session, made.contact_list.id) == []
    assert await read_tallies(session, other.contact_list.id) == [3]


async def test_merged_tallies_keep_the_counts(
    new_uow: UnitOfWorkFactory, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MERGED_ABOVE", 2)
    many, few, emptied = (
        await create_list(new_uow),
        await create_list(new_uow, "Few"),
        await create_list(new_uow, "Empty"),
    )
    new_members = await make_contacts(session, 3)
    for one in new_members:
        await add_members(new_uow, many, one)
        await add_members(new_uow, emptied, one)
    await add_members(new_uow, few, new_members[0])
    await session.execute(
        delete(ContactListMember).where(ContactListMember.list_id == emptied.contact_list.id)
    )

    async with new_uow() as uow:
        await lists.merge_list_tallies(uow)

    assert await read_tallies(session, many.contact_list.id) == [3]
    assert await read_tallies(session, few.contact_list.id) == [1]
    assert await read_tallies(session, emptied.contact_list.id) == []


async def test_page_of_members_does_not_count_the_members(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await create_list(new_uow)
    await add_members(new_uow, made, *await make_contacts(session, 3))
    seen: list[str] = []
    connection = await session.connection()

    def record_statement(*given: Any) -> None:
        seen.append(given[2])

    event.listen(connection.sync_connection, "before_cursor_execute", record_statement)
    async with new_uow() as uow:
        await lists.list_members(uow, list_id=made.contact_list.id, cursor=None, limit=2, now=LATER)
    event.remove(connection.sync_connection, "before_cursor_execute", record_statement)

    read = [one for one in seen if one.startswith("SELECT")]
    assert len(read) == 2
    assert not any("count(" in one or "sum(" in one for one in read)
