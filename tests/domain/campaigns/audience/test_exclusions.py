"""Exclusions from an audience: contacts of lists, and recipients of other campaigns."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import BUSINESS
from tests.factories import ids, make_campaign, make_contact, make_line, make_list, number

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.audience.storage import store_next_chunk
from crm_api.domain.campaigns.drafts import service as drafts
from crm_api.domain.campaigns.errors import EmptyAudienceError, InvalidCampaignError
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.campaigns.preview import service as previews
from crm_api.domain.campaigns.preview.schemas import PreviewRequest
from crm_api.domain.campaigns.schemas import CampaignCreate
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
UNKNOWN_ID = UUID("00000000-0000-7000-8000-000000000000")


async def make_contacts(session: AsyncSession, count: int) -> list[Contact]:
    return [await make_contact(session, phone=number(position)) for position in range(count)]


async def make_earlier_campaign(
    session: AsyncSession, line: Line, *members: tuple[Contact, str], step: int = 0
) -> Campaign:
    campaign = await make_campaign(session, line=line, status="completed")
    session.add_all(
        CampaignMembership(
            campaign_id=campaign.id,
            step=step,
            contact_id=contact.id,
            phone=contact.phone,
            zone_key=contact.zone_key,
            status=status,
            due_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
        for contact, status in members
    )
    await session.flush()
    return campaign


async def make_draft(
    session: AsyncSession, line: Line, contacts: list[Contact], **exclude: list[Any]
) -> Campaign:
    audience = {
        "contact_ids": [str(one) for one in ids(*contacts)],
        "exclude": {name: [str(row.id) for row in rows] for name, rows in exclude.items()},
    }
    campaign = await make_campaign(session, line=line, status="draft", audience=audience)
    await session.commit()
    return campaign


async def start_and_read_audience(
    session: AsyncSession, new_uow: NewUow, campaign: Campaign
) -> list[str]:
    """Start the campaign, store its audience, and return the numbers of the recipients."""
    async with new_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)
        await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
    rows = await session.scalars(
        select(CampaignMembership.phone).where(CampaignMembership.campaign_id == campaign.id)
    )
    return sorted(rows)


async def test_contacts_of_excluded_lists_are_left_out(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 4)
    lists = [
        await make_list(session, name=str(position), contacts=[contacts[position]])
        for position in range(2)
    ]
    campaign = await make_draft(session, await make_line(session), contacts, list_ids=lists)

    assert await start_and_read_audience(session, new_uow, campaign) == [number(2), number(3)]


async def test_recipients_of_excluded_campaigns_are_left_out(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 9)
    line = await make_line(session)
    states = ["pending", "review", "sending", "unknown", "delivered", "failed", "skipped"]
    first = await make_earlier_campaign(session, line, *zip(contacts, states, strict=False))
    second = await make_earlier_campaign(session, line, (contacts[7], "cancelled"))
    campaign = await make_draft(session, line, contacts, campaign_ids=[first, second])

    included = await start_and_read_audience(session, new_uow, campaign)

    assert included == [number(6), number(7), number(8)]


async def test_recipient_of_a_later_step_is_left_out(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 2)
    line = await make_line(session)
    earlier = await make_earlier_campaign(session, line, (contacts[0], "sent"), step=2)
    campaign = await make_draft(session, line, contacts, campaign_ids=[earlier])

    assert await start_and_read_audience(session, new_uow, campaign) == [number(1)]


async def test_recipient_is_excluded_by_number_and_by_contact(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 3)
    line = await make_line(session)
    earlier = await make_earlier_campaign(
        session, line, (contacts[0], "sent"), (contacts[1], "sent")
    )
    contacts[0].phone = number(50)
    await session.delete(contacts[1])
    await session.flush()
    again = await make_contact(session, phone=number(1))
    candidates = [contacts[0], again, contacts[2]]
    campaign = await make_draft(session, line, candidates, campaign_ids=[earlier])

    assert await start_and_read_audience(session, new_uow, campaign) == [number(2)]


async def test_preview_leaves_out_excluded_contacts(session: AsyncSession, new_uow: NewUow) -> None:
    contacts = await make_contacts(session, 3)
    line = await make_line(session)
    earlier = await make_earlier_campaign(session, line, (contacts[0], "sent"))
    neighbours = await make_list(session, contacts=[contacts[1]])
    campaign = await make_draft(
        session, line, contacts, campaign_ids=[earlier], list_ids=[neighbours]
    )

    async with new_uow() as uow:
        shown = await previews.preview_campaign(
            uow, campaign_id=campaign.id, request=PreviewRequest(), business=BUSINESS, now=NOW
        )

    assert [sample.phone for sample in shown.samples] == [number(2)]
    assert shown.recipients.total == 1


async def test_start_is_refused_if_all_contacts_are_excluded(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 1)
    line = await make_line(session)
    earlier = await make_earlier_campaign(session, line, (contacts[0], "sent"))
    campaign = await make_draft(session, line, contacts, campaign_ids=[earlier])

    with pytest.raises(EmptyAudienceError):
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)


async def test_unknown_exclusion_ids_are_reported(session: AsyncSession, new_uow: NewUow) -> None:
    (contact,) = await make_contacts(session, 1)
    line = await make_line(session)
    known = await make_campaign(session, line=line, status="draft")
    homeowners = await make_list(session, contacts=[])
    await session.commit()
    body = CampaignCreate.model_validate(
        {
            "name": "Autumn check",
            "line_id": line.id,
            "audience": {
                "contact_ids": [contact.id],
                "exclude": {
                    "list_ids": [homeowners.id, UNKNOWN_ID],
                    "campaign_ids": [UNKNOWN_ID, known.id],
                },
            },
            "variants": [{"name": "A", "body": "Hi", "weight": 100}],
        }
    )

    with pytest.raises(InvalidCampaignError) as caught:
        async with new_uow() as uow:
            await drafts.create_campaign(uow, body, now=NOW)

    assert [(fault.pointer, fault.code) for fault in caught.value.errors] == [
        ("/audience/exclude/list_ids/1", "unknown_list"),
        ("/audience/exclude/campaign_ids/0", "unknown_campaign"),
    ]


@pytest.mark.parametrize("kind", ["list_ids", "campaign_ids"])
async def test_start_is_refused_if_an_exclusion_no_longer_exists(
    session: AsyncSession, new_uow: NewUow, kind: str
) -> None:
    contacts = await make_contacts(session, 1)
    campaign = await make_draft(session, await make_line(session), contacts)
    campaign.audience = campaign.audience | {"exclude": {kind: [str(UNKNOWN_ID)]}}
    await session.commit()

    with pytest.raises(InvalidCampaignError) as caught:
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert [fault.pointer for fault in caught.value.errors] == [f"/audience/exclude/{kind}/0"]
