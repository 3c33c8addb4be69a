"""Merges beside other transactions: each waits for the other, and neither loses a thing."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW, SECRET
from tests.domain.merging.people import ids_of, merge
from tests.factories import make_contact, number
from tests.locks import blocked

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.activity.placing import contacts_of
from crm_api.domain.consent import service as consent
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.contacts import service as contacts
from crm_api.domain.merging import group
from crm_api.domain.merging import service as merging
from crm_api.domain.merging.errors import ContactsChangedError


async def people(new_uow: UnitOfWorkFactory, count: int) -> None:
    async with new_uow() as uow:
        for place in range(count):
            await make_contact(uow.session, phone=number(place))


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


async def opted_out(new_uow: UnitOfWorkFactory) -> set[str]:
    async with new_uow() as uow:
        return set(await uow.session.scalars(text("SELECT phone FROM contact_flag")))


async def test_two_merges_in_opposite_directions_end_in_one_person(
    committed_uow: UnitOfWorkFactory,
) -> None:
    await people(committed_uow, 2)
    ids = await ids_of(committed_uow)

    async def into(primary: int, duplicate: int) -> None:
        async with committed_uow() as uow:
            await merging.merge(
                uow,
                primary_id=ids[number(primary)],
                duplicate_ids=[ids[number(duplicate)]],
                actor="key",
                secret=SECRET.encode(),
                now=NOW,
            )

    await asyncio.gather(into(0, 1), into(1, 0))

    async with committed_uow() as uow:
        found = [await contacts.get(uow, contact_id=one, now=NOW) for one in sorted(ids.values())]
    assert len({one.contact.id for one in found}) == 1


async def test_many_merges_at_once_lose_nobody(committed_uow: UnitOfWorkFactory) -> None:
    await people(committed_uow, 6)
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]

    results = await asyncio.gather(
        *(merge(committed_uow, *pair) for pair in pairs), return_exceptions=True
    )

    # The last of a circle finds that all are one person already.
    assert {type(one) for one in results if isinstance(one, BaseException)} <= {AssertionError}
    async with committed_uow() as uow:
        found = {
            (await contacts.get_by_phone(uow, phone=number(place), now=NOW)).contact.id
            for place in range(6)
        }
        chained = await uow.session.scalar(
            text(
                "SELECT count(*) FROM contact d JOIN contact p ON p.id = d.merged_into "
                "WHERE p.deleted_at IS NOT NULL"
            )
        )
    assert len(found) == 1
    assert chained == 0


async def test_who_changes_again_and_again_is_not_merged(
    committed_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people(committed_uow, 2)
    monkeypatch.setattr(group, "_TRIES", 0)

    with pytest.raises(ContactsChangedError):
        await merge(committed_uow, 0, 1)


async def test_a_text_that_is_being_told_moves_too(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await people(committed_uow, 2)
    ids = await ids_of(committed_uow)
    async with committed_uow() as uow:
        found = await contacts_of(uow, [number(1)], may_add=(), now=NOW)
        going = await blocked(committed_db, merge(committed_uow, 0, 1))
        await uow.session.execute(
            text(
                "INSERT INTO activity (id, kind, origin, status, contact_id, phone, occurred_at, "
                "created_at, updated_at) VALUES (uuid_v7(), 'message', 'provider', 'received', "
                ":contact_id, :phone, :now, :now, :now)"
            ),
            {"contact_id": found[number(1)], "phone": number(1), "now": NOW},
        )
    await going

    async with committed_uow() as uow:
        owner = await uow.session.scalar(text("SELECT contact_id FROM activity"))
        later = await contacts_of(uow, [number(1)], may_add=[number(1)], now=NOW)
    assert owner == ids[number(0)]
    assert later == {number(1): ids[number(0)]}


async def test_an_opt_out_before_the_merge_is_seen_by_it(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await people(committed_uow, 2)
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
        going = await blocked(committed_db, merge(committed_uow, 0, 1))
    await going

    assert await opted_out(committed_uow) == {number(0), number(1)}


async def test_an_opt_out_beside_a_merge_holds_for_both_numbers(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await people(committed_uow, 2)
    ids = await ids_of(committed_uow)
    async with committed_uow() as uow:
        await merging.merge(
            uow,
            primary_id=ids[number(0)],
            duplicate_ids=[ids[number(1)]],
            actor="key",
            secret=SECRET.encode(),
            now=NOW,
        )
        going = await blocked(committed_db, opt_out(committed_uow, number(1)))
    await going

    assert await opted_out(committed_uow) == {number(0), number(1)}


async def test_an_edit_of_a_duplicate_beside_its_merge_reaches_the_primary(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    await people(committed_uow, 2)
    ids = await ids_of(committed_uow)

    async def hold() -> object:
        async with committed_uow() as uow:
            return (await contacts.hold(uow, contact_id=ids[number(1)])).id

    async with committed_uow() as uow:
        await merging.merge(
            uow,
            primary_id=ids[number(0)],
            duplicate_ids=[ids[number(1)]],
            actor="key",
            secret=SECRET.encode(),
            now=NOW,
        )
        going = await blocked(committed_db, hold())

    assert await going == ids[number(0)]
