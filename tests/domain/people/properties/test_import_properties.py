"""An import stores the properties of its rows once, and its undo removes unused properties."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact, number

from crm_api.domain.people.models.properties import PropertyRole
from crm_api.domain.people.properties import import_properties, property_contacts, service
from crm_api.domain.people.properties.imported_property import ImportedProperty
from crm_api.domain.people.properties.schemas import (
    PropertyAddress,
    PropertyCreate,
    PropertyUpdate,
)
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

PRIMARY, SECONDARY = PropertyRole.PRIMARY, PropertyRole.SECONDARY
LATER = NOW + timedelta(hours=1)


def make_row(
    street: str = "12 Main St",
    people: list[tuple[str, str]] | None = None,
    *,
    postal_code: str | None = "02169",
    **values: Any,
) -> ImportedProperty:
    return ImportedProperty(
        street=street,
        city="Quincy",
        state=None,
        postal_code=postal_code,
        year_built=values.get("year_built"),
        property_type=values.get("property_type"),
        people=people or [],
    )


async def read_properties(session: AsyncSession) -> list[tuple[Any, ...]]:
    found = await session.execute(
        text("SELECT street, year_built, property_type, source FROM property ORDER BY address_key")
    )
    return [tuple(one) for one in found]


async def read_contacts(session: AsyncSession) -> list[tuple[Any, ...]]:
    found = await session.execute(
        text(
            "SELECT p.street, c.phone, l.role FROM property_contact l "
            "JOIN property p ON p.id = l.property_id JOIN contact c ON c.id = l.contact_id "
            "ORDER BY p.address_key, c.phone"
        )
    )
    return [tuple(one) for one in found]


async def test_chunk_adds_properties_with_their_contacts_once(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for position in range(3):
        await make_contact(session, phone=number(position))
    chunk = [
        make_row(people=[(number(0), PRIMARY), (number(1), SECONDARY)], year_built=1987),
        make_row("12 MAIN STREET", people=[(number(2), PRIMARY)], property_type="SFR"),
        make_row("14 Oak Ave", people=[(number(0), PRIMARY), ("+16175559999", SECONDARY)]),
        make_row("15 Oak Ave", postal_code=None),
    ]

    for _ in range(2):
        async with new_uow() as uow:
            await import_properties.store_properties(uow, chunk, import_id=new_id(), now=NOW)

    assert await read_properties(session) == [
        ("12 Main St", 1987, "SFR", "import"),
        ("14 Oak Ave", None, None, "import"),
    ]
    assert await read_contacts(session) == [
        ("12 Main St", number(0), "primary"),
        ("12 Main St", number(1), "secondary"),
        ("12 Main St", number(2), "primary"),
        ("14 Oak Ave", number(0), "primary"),
    ]


async def test_existing_values_are_kept_and_empty_values_are_filled(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    address = PropertyAddress(street="12 Main Street", postal_code="02169")
    async with new_uow() as uow:
        await service.create_property(
            uow, PropertyCreate(address=address, year_built=1950), now=NOW
        )

    async with new_uow() as uow:
        imported = make_row(year_built=1987, property_type="SFR")
        await import_properties.store_properties(uow, [imported], import_id=new_id(), now=LATER)

    assert await read_properties(session) == [("12 Main Street", 1950, "SFR", "api")]


async def test_undo_removes_unused_properties_of_the_import(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for position in range(3):
        await make_contact(session, phone=number(position))
    first, second = new_id(), new_id()
    async with new_uow() as uow:
        await import_properties.store_properties(
            uow,
            [
                make_row("1 Oak St", [(number(0), PRIMARY)]),
                make_row("2 Oak St", [(number(0), PRIMARY)]),
                make_row("3 Oak St", [(number(0), PRIMARY)]),
            ],
            import_id=first,
            now=NOW,
        )
        await import_properties.store_properties(
            uow, [make_row("2 Oak St", [(number(1), SECONDARY)])], import_id=second, now=LATER
        )
        edited = await service.get_by_address(
            uow, PropertyAddress(street="3 Oak St", postal_code="02169")
        )
        await service.update_property(
            uow, PropertyUpdate(year_built=1987), property_id=edited.found.id, now=LATER
        )

    rounds = 0
    async with new_uow() as uow:
        while await import_properties.undo_some(uow, import_id=first, limit=2):
            rounds += 1

    assert rounds == 3
    assert [street for street, *_ in await read_properties(session)] == ["2 Oak St", "3 Oak St"]
    assert await read_contacts(session) == [("2 Oak St", number(1), "secondary")]


async def test_undo_removes_a_property_that_only_this_import_has_completed(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    own, other = new_id(), new_id()
    async with new_uow() as uow:
        for row, import_id, now in [
            (make_row("1 Oak St"), own, NOW),
            (make_row("2 Oak St"), own, NOW),
            (make_row("1 Oak St", year_built=1987), own, LATER),
            (make_row("2 Oak St", year_built=1987), other, LATER),
        ]:
            await import_properties.store_properties(uow, [row], import_id=import_id, now=now)

    async with new_uow() as uow:
        while await import_properties.undo_some(uow, import_id=own):
            pass

    assert await read_properties(session) == [("2 Oak St", 1987, None, "import")]


async def test_undo_keeps_a_contact_that_a_user_has_attached_again(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    people = [await make_contact(session, phone=number(position)) for position in range(2)]
    import_id = new_id()
    async with new_uow() as uow:
        row = make_row(people=[(number(0), PRIMARY), (number(1), PRIMARY)])
        await import_properties.store_properties(uow, [row], import_id=import_id, now=NOW)
        stored = await service.get_by_address(
            uow, PropertyAddress(street="12 Main St", postal_code="02169")
        )
        await property_contacts.attach_contacts(
            uow.session,
            property_id=stored.found.id,
            people=[(people[1].id, PropertyRole.OTHER)],
            now=LATER,
        )

    async with new_uow() as uow:
        while await import_properties.undo_some(uow, import_id=import_id):
            pass

    assert await read_contacts(session) == [("12 Main St", number(1), "other")]
