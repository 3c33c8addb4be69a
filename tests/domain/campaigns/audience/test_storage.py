"""The contacts of an audience are stored as recipients, with their status and variant."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import (
    NewUow,
    make_contacts,
    make_scheduled_campaign,
    read_recipients,
    store_audience,
)
from tests.factories import make_campaign, make_line, make_list, number

from crm_api.domain.campaigns.audience.storage import (
    StoredChunk,
    list_unstored_audiences,
    refresh_statistics,
    store_next_chunk,
)
from crm_api.domain.campaigns.campaign_detail import read_campaign
from crm_api.domain.campaigns.models import Campaign, CampaignMembership, CampaignVariant
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.models.contacts import Contact


async def test_audience_is_stored_once(session: AsyncSession, new_uow: NewUow) -> None:
    contacts = await make_contacts(session, 2)
    contacts[1].zone_key = "TX/America/Chicago"
    campaign = await make_scheduled_campaign(session, contacts)

    first, second = await store_audience(new_uow, campaign), await store_audience(new_uow, campaign)

    await session.refresh(campaign)
    rows = await read_recipients(session, campaign)
    assert (first, second) == (2, 0)
    assert campaign.status == "scheduled"
    assert campaign.recipients_total == 2
    assert campaign.zone_keys == ["MA/America/New_York", "TX/America/Chicago"]
    assert {(row.status, row.step, row.due_at) for row in rows.values()} == {("pending", 0, NOW)}
    assert rows[number(1)].zone_key == "TX/America/Chicago"
    assert rows[number(1)].id.version == 7


async def test_concurrent_workers_store_an_audience_once(committed_uow: NewUow) -> None:
    async with committed_uow() as uow:
        campaign = await make_scheduled_campaign(uow.session, await make_contacts(uow.session, 20))

    totals = await asyncio.gather(*(store_audience(committed_uow, campaign) for _ in range(3)))

    assert sorted(totals) == [0, 0, 20]
    async with committed_uow() as uow:
        assert len(await read_recipients(uow.session, campaign)) == 20


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("opted_out", "skipped", "opted_out"),
        ("do_not_contact", "skipped", "do_not_contact"),
        ("opt_out_hold", "held", None),
        ("office_number", "pending", None),
        ("recently_texted", "pending", None),
    ],
)
async def test_flagged_number_is_stored_with_its_reason(
    session: AsyncSession, new_uow: NewUow, kind: str, status: str, reason: str | None
) -> None:
    contacts = await make_contacts(session, 2)
    session.add(ContactFlag(phone=number(0), flag_type=kind, created_at=NOW))
    campaign = await make_scheduled_campaign(session, contacts)

    total = await store_audience(new_uow, campaign)

    rows = await read_recipients(session, campaign)
    assert total == 2
    assert (rows[number(0)].status, rows[number(0)].skip_reason) == (status, reason)
    assert rows[number(1)].status == "pending"


async def test_opt_out_has_priority_over_other_flags(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 1)
    for kind in ("opt_out_hold", "do_not_contact", "opted_out"):
        session.add(ContactFlag(phone=number(0), flag_type=kind, created_at=NOW))
    campaign = await make_scheduled_campaign(session, contacts)

    await store_audience(new_uow, campaign)

    assert (await read_recipients(session, campaign))[number(0)].skip_reason == "opted_out"


async def test_deleted_and_excluded_contacts_get_no_row(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 5)
    contacts[1].deleted_at = NOW
    homeowners = await make_list(session, contacts=contacts)
    neighbours = await make_list(session, name="Neighbours", contacts=[contacts[2]])
    audience = {
        "list_id": str(homeowners.id),
        "exclude": {"list_id": str(neighbours.id), "contact_ids": [str(contacts[3].id)]},
    }
    campaign = await make_scheduled_campaign(session, contacts, audience=audience)

    await store_audience(new_uow, campaign)

    assert sorted(await read_recipients(session, campaign)) == [number(0), number(4)]


async def test_contact_named_twice_is_one_recipient(session: AsyncSession, new_uow: NewUow) -> None:
    (contact,) = await make_contacts(session, 1)
    audience = {"contact_ids": [str(contact.id), str(contact.id)]}
    campaign = await make_scheduled_campaign(session, [], audience=audience)

    assert await store_audience(new_uow, campaign) == 1


@pytest.mark.parametrize(
    ("rule", "status", "reason"),
    [
        ("send", "pending", None),
        ("skip", "skipped", "previously_contacted"),
        ("review", "review", None),
    ],
)
async def test_previously_contacted_rule_decides_the_status(
    session: AsyncSession, new_uow: NewUow, rule: str, status: str, reason: str | None
) -> None:
    line = await make_line(session)
    contacts = await make_contacts(session, 5)
    earlier = await make_campaign(session, line=line, status="completed")
    session.add_all(_make_earlier_messages(earlier, contacts))
    session.add(ContactFlag(phone=number(3), flag_type="recently_texted", created_at=NOW))
    campaign = await make_scheduled_campaign(session, contacts, line, previously_contacted=rule)

    await store_audience(new_uow, campaign)

    rows = await read_recipients(session, campaign)
    states_of_contacted = [(rows[number(n)].status, rows[number(n)].skip_reason) for n in (0, 2, 3)]
    assert states_of_contacted == [(status, reason)] * 3
    assert [rows[number(n)].status for n in (1, 4)] == ["pending", "pending"]


def _make_earlier_messages(earlier: Campaign, contacts: list[Contact]) -> list[Any]:
    """Return rows of earlier messages to the first three contacts.

    The earlier campaign sent a message to the first contact, and its message to the second contact
    failed. An employee sent the third contact a message in the provider's app.
    """
    common = {"campaign_id": earlier.id, "zone_key": "x", "due_at": NOW}
    stamps = {"created_at": NOW, "updated_at": NOW}
    first, second, third = contacts[:3]
    return [
        CampaignMembership(
            contact_id=first.id, phone=first.phone, status="sent", sent_at=NOW, **common, **stamps
        ),
        CampaignMembership(
            contact_id=second.id, phone=second.phone, status="failed", **common, **stamps
        ),
        Activity(
            kind="message",
            direction="outgoing",
            origin="provider",
            contact_id=third.id,
            phone=third.phone,
            status="delivered",
            occurred_at=NOW,
            **stamps,
        ),
    ]


async def test_weights_split_recipients_differently_in_each_campaign(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 400)
    campaign = await make_scheduled_campaign(session, contacts, bodies=("A", "B", "C", "D"))
    line = await session.get_one(Line, campaign.line_id)
    twin = await make_scheduled_campaign(session, contacts, line, bodies=("A", "B"))

    await store_audience(new_uow, campaign)
    await store_audience(new_uow, twin)

    rows = await read_recipients(session, campaign)
    counts = Counter(row.variant for row in rows.values())
    other = await read_recipients(session, twin)
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(70 <= count <= 130 for count in counts.values())
    assert {row.variant for row in other.values()} == {0, 1}
    # The two campaigns assign variants independently, so all eight pairs of variants occur.
    assert len({(rows[phone].variant, other[phone].variant) for phone in rows}) == 8


async def test_variant_without_weight_gets_no_recipients(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 50)
    campaign = await make_scheduled_campaign(session, contacts, bodies=("A", "B"))
    variants = await read_variants(session, campaign)
    variants[0].weight, variants[1].weight = 0, 100
    await session.commit()

    await store_audience(new_uow, campaign)

    assert {row.variant for row in (await read_recipients(session, campaign)).values()} == {1}


async def read_variants(session: AsyncSession, campaign: Campaign) -> list[CampaignVariant]:
    statement = (
        select(CampaignVariant)
        .where(CampaignVariant.campaign_id == campaign.id)
        .order_by(CampaignVariant.position)
    )
    return list(await session.scalars(statement))


async def test_campaign_with_an_unstored_audience_is_listed(
    session: AsyncSession, new_uow: NewUow
) -> None:
    waiting = await make_scheduled_campaign(session, await make_contacts(session, 1))
    line = await session.get_one(Line, waiting.line_id)
    await make_campaign(session, line=line, status="draft")
    await make_campaign(session, line=line, status="scheduled", recipients_total=0)
    await session.commit()

    async with new_uow() as uow:
        found = await list_unstored_audiences(uow)

    assert list(found) == [waiting.id]


async def test_statistics_can_be_refreshed(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await refresh_statistics(uow)


async def test_audience_that_one_worker_stores_is_left_to_that_worker(
    committed_uow: NewUow,
) -> None:
    async with committed_uow() as uow:
        campaign = await make_scheduled_campaign(uow.session, await make_contacts(uow.session, 20))

    async with committed_uow() as uow:
        first = await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
        async with asyncio.timeout(10):
            other = await store_audience(committed_uow, campaign)

    async with committed_uow() as uow:
        detail = await read_campaign(uow, campaign_id=campaign.id)
    assert (first, other) == (StoredChunk(people=20, is_whole=True), 0)
    assert detail.campaign.recipients_total == 20
    assert detail.campaign.zone_keys
