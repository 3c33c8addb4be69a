"""Helpers for scheduled campaigns, their audiences and their recipients."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, number

from crm_api.domain.campaigns.audience.storage import (
    store_next_chunk,
)
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]


async def make_scheduled_campaign(
    session: AsyncSession, contacts: list[Contact], line: Line | None = None, **values: Any
) -> Campaign:
    line = line or await make_line(session)
    values.setdefault("audience", {"contact_ids": [str(contact.id) for contact in contacts]})
    campaign = await make_campaign(session, line=line, status="scheduled", **values)
    await session.commit()
    return campaign


async def store_audience(new_uow: NewUow, campaign: Campaign) -> int:
    """Store the audience in one chunk; return its number of people, or 0 if none was left."""
    async with new_uow() as uow:
        chunk = await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
    assert chunk is None or chunk.is_whole
    return 0 if chunk is None else chunk.people


async def read_recipients(
    session: AsyncSession, campaign: Campaign
) -> dict[str, CampaignMembership]:
    rows = await session.scalars(
        select(CampaignMembership)
        .where(CampaignMembership.campaign_id == campaign.id)
        .execution_options(populate_existing=True)
    )
    return {row.phone: row for row in rows}


async def make_contacts(session: AsyncSession, count: int) -> list[Contact]:
    return [await make_contact(session, phone=number(n)) for n in range(count)]
