"""The claim skips people of a holdout (a group without messages), and stores who is in it."""

from datetime import timedelta

from sqlalchemy import insert, text
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger, after
from tests.factories import number

from crm_api.domain.messaging.models.holdouts import Holdout
from crm_api.domain.messaging.sends.holdouts import is_held_out
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

KEY = b"7" * 32
PEOPLE = 40


async def add_holdout(
    new_uow: UnitOfWorkFactory, *, percent: int = 50, scope: str = "cold"
) -> None:
    values = {
        "id": new_id(),
        "name": "Plan",
        "percent": percent,
        "scope": scope,
        "starts_at": NOW - timedelta(days=1),
        "ends_at": NOW + timedelta(days=30),
        "hash_key": KEY,
        "created_by": "key",
        "created_at": NOW,
    }
    async with new_uow() as uow:
        await uow.session.execute(insert(Holdout).values(values))


def held_out_numbers(percent: int = 50) -> set[str]:
    phones = map(number, range(PEOPLE))
    return {phone for phone in phones if is_held_out(phone, hash_key=KEY, percent=percent)}


async def test_person_in_the_holdout_is_skipped_with_the_reason_holdout(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=PEOPLE)
    await add_holdout(new_uow)

    claimed = await ledger.claim()

    held = held_out_numbers()
    assert 0 < len(held) < PEOPLE
    assert {one.phone for one in claimed} == {*map(number, range(PEOPLE))} - held
    skipped = {one.phone for one in await ledger.recipients() if one.status == "skipped"}
    assert skipped == held
    assert {one.skip_reason for one in await ledger.recipients()} == {None, "holdout"}
    groups = await ledger.rows("SELECT is_held, count(*) AS people FROM holdout_person GROUP BY 1")
    assert {row.is_held: row.people for row in groups} == {
        True: len(held),
        False: PEOPLE - len(held),
    }


async def test_contacted_person_is_not_in_a_holdout_of_scope_cold(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=PEOPLE)
    for one in await ledger.begin_calls():
        await ledger.accept(one, f"AC{one.phone}")
    second = await Ledger.open(new_uow, people=PEOPLE, line=ledger.line, now=after(7200))
    await add_holdout(new_uow)

    assert await second.claim(now=after(7200)) != []
    assert {one.skip_reason for one in await second.recipients()} == {None}
    assert await second.rows("SELECT 1 FROM holdout_person") == []


async def test_contacted_person_may_be_in_a_holdout_of_scope_all(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=PEOPLE)
    for one in await ledger.begin_calls():
        await ledger.accept(one, f"AC{one.phone}")
    second = await Ledger.open(new_uow, people=PEOPLE, line=ledger.line, now=after(7200))
    await add_holdout(new_uow, scope="all")

    await second.claim(now=after(7200))

    assert {one.phone for one in await second.recipients() if one.status == "skipped"} == (
        held_out_numbers()
    )


async def test_holdout_has_no_effect_after_its_end(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=PEOPLE)
    await add_holdout(new_uow)
    async with new_uow() as uow:
        await uow.session.execute(text("UPDATE holdout SET ends_at = :now"), {"now": NOW})

    assert len(await ledger.claim()) == PEOPLE


def test_share_of_held_out_numbers_is_the_percentage() -> None:
    held = sum(is_held_out(number(place), hash_key=KEY, percent=10) for place in range(20_000))

    assert 1_850 < held < 2_150
    assert not is_held_out(number(1), hash_key=KEY, percent=0)
    assert is_held_out(number(1), hash_key=KEY, percent=100)
