"""Lists, tested against the database."""

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


async def add(
    new_uow: UnitOfWorkFactory, name: str = "Homeowners", *, after: int = 0
) -> CountedList:
    async with new_uow() as uow:
        return await lists.create_list(uow, name=name, now=NOW + timedelta(minutes=after))


async def people(session: AsyncSession, count: int) -> list[Contact]:
    made = [await make_contact(session, phone=number(position)) for position in range(count)]
    await session.commit()
    return made


async def put(new_uow: UnitOfWorkFactory, found: CountedList, *who: Contact) -> CountedList:
    async with new_uow() as uow:
        return await lists.add_members(
            uow, list_id=found.contact_list.id, contact_ids=ids(*who), now=NOW
        )


async def test_new_list_is_empty(new_uow: UnitOfWorkFactory) -> None:
    made = await add(new_uow)

    async with new_uow() as uow:
        found = await lists.get_list(uow, list_id=made.contact_list.id)

    assert (found.contact_list.name, found.contact_count) == ("Homeowners", 0)


async def test_taken_name_is_refused_with_its_list(new_uow: UnitOfWorkFactory) -> None:
    made = await add(new_uow)
    other = await add(new_uow, "Realtors")

    with pytest.raises(ListExistsError) as refusal:
        await add(new_uow)
    async with new_uow() as uow:
        with pytest.raises(ListExistsError):
            await lists.rename_list(
                uow, ListUpdate(name="Homeowners"), list_id=other.contact_list.id, now=NOW
            )

    assert refusal.value.extras == {"list_id": str(made.contact_list.id)}


async def test_list_is_renamed(new_uow: UnitOfWorkFactory) -> None:
    made = await add(new_uow)

    async with new_uow() as uow:
        found = await lists.rename_list(
            uow, ListUpdate(name="Quincy"), list_id=made.contact_list.id, now=LATER
        )

    assert (found.contact_list.name, found.contact_list.updated_at) == ("Quincy", LATER)


async def test_lists_are_newest_first_in_stable_pages(new_uow: UnitOfWorkFactory) -> None:
    for position in range(3):
        await add(new_uow, str(position), after=position)

    async with new_uow() as uow:
        first = await lists.list_lists(uow, cursor=None, limit=2)
    await add(new_uow, "later", after=9)
    async with new_uow() as uow:
        second = await lists.list_lists(uow, cursor=first.next_cursor, limit=2)
        with pytest.raises(InvalidCursorError):
            await lists.list_lists(uow, cursor="x", limit=2)

    assert [one.contact_list.name for one in first.data + second.data] == ["2", "1", "0"]
    assert second.next_cursor is None


async def test_contacts_are_counted_once(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    made = await add(new_uow)
    ada, eve = await people(session, 2)

    await put(new_uow, made, ada, eve)
    found = await put(new_uow, made, ada, ada)

    assert found.contact_count == 2


async def test_unknown_and_deleted_contacts_are_reported_and_none_is_added(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await add(new_uow)
    ada, gone = await people(session, 2)
    async with new_uow() as uow:
        await contact_changes.delete_contact(uow, contact_id=gone.id, now=NOW)

    with pytest.raises(UnknownContactsError) as refusal:
        async with new_uow() as uow:
            await lists.add_members(
                uow,
                list_id=made.contact_list.id,
                contact_ids=[ada.id, new_id(), gone.id],
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
    made = await add(new_uow)
    members = await people(session, 5)
    await put(new_uow, made, *members)

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
    made = await add(new_uow)
    [ada] = await people(session, 1)
    await put(new_uow, made, ada)

    async with new_uow() as uow:
        await contact_changes.delete_contact(uow, contact_id=ada.id, now=NOW)
        found = await lists.get_list(uow, list_id=made.contact_list.id)

    assert found.contact_count == 0


async def test_member_is_removed_once(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    made = await add(new_uow)
    [ada] = await people(session, 1)
    await put(new_uow, made, ada)

    async with new_uow() as uow:
        await lists.remove_member(uow, list_id=made.contact_list.id, contact_id=ada.id)
        with pytest.raises(MemberNotFoundError):
            await lists.remove_member(uow, list_id=made.contact_list.id, contact_id=ada.id)


async def test_contacts_of_a_deleted_list_stay(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await add(new_uow)
    [ada] = await people(session, 1)
    await put(new_uow, made, ada)

    async with new_uow() as uow:
        await lists.delete_list(uow, list_id=made.contact_list.id)
        found = await contacts.get_contact(uow, contact_id=ada.id, now=NOW)

    assert found.contact.id == ada.id


async def test_unknown_list_is_not_found(new_uow: UnitOfWorkFactory) -> None:
    nothing = new_id()
    async with new_uow() as uow:
        for attempt in (
            lists.get_list(uow, list_id=nothing),
            lists.delete_list(uow, list_id=nothing),
            lists.rename_list(uow, ListUpdate(name="x"), list_id=nothing, now=NOW),
            lists.add_members(uow, list_id=nothing, contact_ids=[new_id()], now=NOW),
            lists.list_members(uow, list_id=nothing, cursor=None, limit=1, now=NOW),
            lists.remove_member(uow, list_id=nothing, contact_id=nothing),
        ):
            with pytest.raises(ListNotFoundError):
                await attempt


async def tally(session: AsyncSession, list_id: UUID) -> list[int]:
    """The rows whose sum is the number of contacts of a list."""
    statement = select(ContactListTally.contacts).where(ContactListTally.list_id == list_id)
    return list(await session.scalars(statement.order_by(ContactListTally.id)))


async def counted(session: AsyncSession, list_id: UUID) -> int | None:
    members = select(func.count()).where(ContactListMember.list_id == list_id)
    return await session.scalar(members)


async def test_each_statement_changes_the_count_by_one_row(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await add(new_uow)
    who = await people(session, 5)
    list_id = made.contact_list.id

    await put(new_uow, made, *who)
    await put(new_uow, made, *who[:2])
    async with new_uow() as uow:
        await lists.remove_member(uow, list_id=list_id, contact_id=who[0].id)

    assert await tally(session, list_id) == [5, -1]
    assert await counted(session, list_id) == 4
    async with new_uow() as uow:
        assert (await lists.get_list(uow, list_id=list_id)).contact_count == 4


async def test_deleted_contact_is_not_counted(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await add(new_uow)
    who = await people(session, 3)
    await put(new_uow, made, *who)

    await session.execute(delete(Contact).where(Contact.id == who[1].id))

    async with new_uow() as uow:
        assert (await lists.get_list(uow, list_id=made.contact_list.id)).contact_count == 2


async def test_deleted_list_leaves_no_count(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made, other = await add(new_uow), await add(new_uow, "Realtors")
    who = await people(session, 3)
    await put(new_uow, made, *who)
    await put(new_uow, other, *who)

    async with new_uow() as uow:
        await lists.delete_list(uow, list_id=made.contact_list.id)

    assert await tally(session, made.contact_list.id) == []
    assert await tally(session, other.contact_list.id) == [3]


async def test_merging_keeps_the_counts(
    new_uow: UnitOfWorkFactory, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MERGED_ABOVE", 2)
    many, few, emptied = await add(new_uow), await add(new_uow, "Few"), await add(new_uow, "Empty")
    who = await people(session, 3)
    for one in who:
        await put(new_uow, many, one)
        await put(new_uow, emptied, one)
    await put(new_uow, few, who[0])
    await session.execute(
        delete(ContactListMember).where(ContactListMember.list_id == emptied.contact_list.id)
    )

    async with new_uow() as uow:
        await lists.merge_list_tallies(uow)

    assert await tally(session, many.contact_list.id) == [3]
    assert await tally(session, few.contact_list.id) == [1]
    assert await tally(session, emptied.contact_list.id) == []


async def test_page_of_members_reads_no_count(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    made = await add(new_uow)
    await put(new_uow, made, *await people(session, 3))
    seen: list[str] = []
    connection = await session.connection()

    def remember(*given: Any) -> None:
        seen.append(given[2])

    event.listen(connection.sync_connection, "before_cursor_execute", remember)
    async with new_uow() as uow:
        await lists.list_members(uow, list_id=made.contact_list.id, cursor=None, limit=2, now=LATER)
    event.remove(connection.sync_connection, "before_cursor_execute", remember)

    read = [one for one in seen if one.startswith("SELECT")]
    assert len(read) == 2
    assert not any("count(" in one or "sum(" in one for one in read)
