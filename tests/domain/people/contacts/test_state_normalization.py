"""Stored states are replaced by codes, and the zone keys change with them."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.kit import regions
from crm_api.domain.kit.zones import ZoneKey
from crm_api.domain.people.contacts.state_normalization import normalise_states
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
LATER = NOW + timedelta(days=1)


async def test_stored_states_become_codes_or_move_to_an_attribute(
    session: AsyncSession, new_uow: NewUow
) -> None:
    stored = {
        "+12125550101": ("Tex.", None),
        "+12125550102": ("ZZ", "USA"),
        "+12125550103": ("Bayern", "DE"),
        "+12125550104": ("NY", None),
    }
    for phone, (state, country) in stored.items():
        await make_contact(
            session, phone=phone, state=state, country=country, zone_key="NY/America/New_York"
        )

    async with new_uow() as uow:
        counts = [await normalise_states(uow, now=LATER) for _ in range(2)]
    statement = select(Contact).order_by(Contact.phone)
    found = list(await session.scalars(statement.execution_options(populate_existing=True)))

    assert counts == [2, 0]
    assert [one.state for one in found] == ["TX", None, "Bayern", "NY"]
    assert [one.attributes for one in found] == [{}, {"state_as_written": "ZZ"}, {}, {}]
    assert found[0].zone_key == "NY,TX/America/Chicago,America/Denver,America/New_York"
    assert found[1].zone_key.startswith("?/")
    assert [one.updated_at for one in found] == [LATER, LATER, NOW, NOW]


async def test_recipients_get_the_new_zone_key(session: AsyncSession, new_uow: NewUow) -> None:
    contact = await make_contact(
        session, phone="+12125550102", state="ZZ", zone_key="NY/America/New_York"
    )
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status="running")
    await make_member(session, campaign=campaign, contact=contact)

    async with new_uow() as uow:
        await normalise_states(uow, now=LATER)
    zone_key: str | None = await session.scalar(select(CampaignMembership.zone_key))

    assert zone_key is not None
    assert zone_key.startswith("?/")


async def test_old_zone_key_outside_the_states_is_computed_again(
    session: AsyncSession, new_uow: NewUow
) -> None:
    old = str(ZoneKey((), tuple(sorted(regions.ANYWHERE))))
    stored = [("PW", None), ("AP", None), (None, "09123"), (None, None)]
    for position, (state, postal_code) in enumerate(stored):
        await make_contact(
            session,
            phone=f"+1800555010{position}",
            state=state,
            postal_code=postal_code,
            zone_key=old,
        )

    async with new_uow() as uow:
        counts = [await normalise_states(uow, now=LATER) for _ in range(2)]
    keys = list(await session.scalars(select(Contact.zone_key).order_by(Contact.phone)))

    assert counts == [3, 0]
    assert keys[0] == "PW/Pacific/Palau"
    assert "Asia/Tokyo" in keys[1]
    assert "Asia/Dubai" in keys[2]
    assert keys[3] == old


@pytest.mark.parametrize(("postal_code", "country"), [("340", None), ("09001", "ES")])
async def test_address_that_is_not_of_the_armed_forces_keeps_its_zone_key(
    session: AsyncSession, new_uow: NewUow, postal_code: str, country: str | None
) -> None:
    old = str(ZoneKey((), tuple(sorted(regions.ANYWHERE))))
    contact = await make_contact(
        session, phone="+442071234567", postal_code=postal_code, country=country, zone_key=old
    )

    async with new_uow() as uow:
        assert await normalise_states(uow, now=LATER) == 0

    await session.refresh(contact)
    assert (contact.zone_key, contact.updated_at) == (old, NOW)
