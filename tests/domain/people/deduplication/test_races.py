"""A merge and another transaction run at the same time: one waits, and no data is lost."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW, SECRET
from tests.domain.people.deduplication.people import merge, read_ids
from tests.factories import make_contact, number
from tests.locks import blocked

from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.conversations.participants import find_or_add_contacts
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.deduplication import group
from crm_api.domain.people.deduplication import merge as merging
from crm_api.domain.people.deduplication.errors import ContactsChangedError
from crm_api.platform.database import UnitOfWorkFactory


async def make_contacts(new_uow: UnitOfWorkFactory, count: int) -> None:
    async with new_uow() as uow:
        for position in range(count):
            await make_contact(uow.session, phone=number(position))


async def opt_out(new_uow: UnitOfWorkFactory, phone: str) -> None:
    async with new_uow() as uow:
        await consent.opt_out(
            uow,
            phone=phone,
            contact_id=None,
            source=ConsentSource.MESSAGE,
            actor="person",
            reason="stop",
            now=NOW,
            secret=SECRET.encode(),
        )


async def read_opted_out_phones(new_uow: UnitOfWorkFactory) -> set[str]:
    async with new_uow() as uow:
        return set(await uow.session.scalars(text("SELECT phone FROM contact_flag")))


async def test_two_merges_in_opposite_directions_leave_one_contact(
    committed_uow: UnitOfWorkFactory,
) -> None:
    await make_contacts(committed_uow, 2)
    ids = await read_ids(committed_uow)

    async def merge_into(primary: int, duplicate: int) -> None:
        async with committed_uow() as uow:
            await merging.merge_contacts(
                uow,
                primary_id=ids[number(primary)],
                duplicate_ids=[ids[number(duplicate)]],
                actor="key",
                secret=SECRET.encode(),
                now=NOW,
            )

    await asyncio.gather(merge_into(0, 1), merge_into(1, 0))

    async with committed_uow() as uow:
        found = [
            await contacts.get_contact(uow, contact_id=one, now=NOW) for one in sorted(ids.values())
        ]
    assert len({one.contact.id for one in found}) == 1


async def test_many_concurrent_merges_lose_no_contact(committed_uow: UnitOfWorkFactory) -> None:
    await make_contacts(committed_uow, 6)
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]

    results = await asyncio.gather(
        *(merge(committed_uow, *pair) for pair in pairs), return_exceptions=True
    )

    # The merges form a circle. The last merge finds that its contacts are already merged, and
    # fails.
    assert {type(one) for one in results if isinstance(one, BaseException)} <= {AssertionError}
    async with committed_uow() as uow:
        found = {
            (await contacts.get_contact_by_phone(uow, phone=number(position), now=NOW)).contact.id
            for position in range(6)
        }
        chained = await uow.session.scalar(
            text(
                "SELECT count(*) FROM contact d JOIN contact p ON p.id = d.merged_into "
                "WHERE p.deleted_at IS NOT NULL"
            )
        )
    assert len(found) == 1
    assert chained == 0


async def test_contacts_that_change_during_every_attempt_are_not_merged(
    committed_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_contacts(committed_uow, 2)
    monkeypatch.setattr(group, "_TRIES", 0)

    with pytest.raises(ContactsChangedError):
        await merge(committed_uow, 0, 1)


async def test_a_message_that_is_being_stored_moves_to_the_primary(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await make_contacts(committed_uow, 2)
    ids = await read_ids(committed_uow)
    async with committed_uow() as uow:
        found = await find_or_add_contacts(uow, [number(1)], may_add=(), now=NOW)
        waiting = await blocked(committed_db, merge(committed_uow, 0, 1))
        await uow.session.execute(
            text(
                "INSERT INTO activity (id, kind, origin, status, contact_id, phone, occurred_at, "
                "created_at, updated_at) VALUES (uuid_v7(), 'message', 'provider', 'received', "
                ":contact_id, :phone, :now, :now, :now)"
            ),
            {"contact_id": found[number(1)], "phone": number(1), "now": NOW},
        )
    await waiting

    async with committed_uow() as uow:
        owner = await uow.session.scalar(text("SELECT contact_id FROM activity"))
        later = await find_or_add_contacts(uow, [number(1)], may_add=[number(1)], now=NOW)
    assert owner == ids[number(0)]
    assert later == {number(1): ids[number(0)]}


async def test_a_merge_sees_an_opt_out_committed_before_it(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await make_contacts(committed_uow, 2)
    async with committed_uow() as uow:
        await consent.opt_out(
            uow,
            phone=number(1),
            contact_id=None,
            source=ConsentSource.MESSAGE,
            actor="person",
            reason="stop",
            now=NOW,
            secret=SECRET.encode(),
        )
        waiting = await blocked(committed_db, merge(committed_uow, 0, 1))
    await waiting

    assert await read_opted_out_phones(committed_uow) == {number(0), number(1)}


async def test_an_opt_out_concurrent_with_a_merge_applies_to_both_numbers(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await make_contacts(committed_uow, 2)
    ids = await read_ids(committed_uow)
    async with committed_uow() as uow:
        await merging.merge_contacts(
            uow,
            primary_id=ids[number(0)],
            duplicate_ids=[ids[number(1)]],
            actor="key",
            secret=SECRET.encode(),
            now=NOW,
        )
        waiting = await blocked(committed_db, opt_out(committed_uow, number(1)))
    await waiting

    assert await read_opted_out_phones(committed_uow) == {number(0), number(1)}


async def test_an_edit_of_a_duplicate_concurrent_with_its_merge_reaches_the_primary(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await make_contacts(committed_uow, 2)
    ids = await read_ids(committed_uow)

    async def lock_duplicate() -> object:
        async with committed_uow() as uow:
            return (await contacts.lock_contact(uow, contact_id=ids[number(1)])).id

    async with committed_uow() as uow:
        await merging.merge_contacts(
            uow,
            primary_id=ids[number(0)],
            duplicate_ids=[ids[number(1)]],
            actor="key",
            secret=SECRET.encode(),
            now=NOW,
        )
        waiting = await blocked(committed_db, lock_duplicate())

    assert await waiting == ids[number(0)]
