"""A copy of a campaign is a new draft without the dates that have passed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_line

from crm_api.domain.campaigns.campaign_detail import CampaignDetail
from crm_api.domain.campaigns.drafts import service as drafts
from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.models import Campaign
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

NewUow = Callable[[], UnitOfWork]
HOUR = timedelta(hours=1)


async def clone(new_uow: NewUow, campaign: Campaign, **values: Any) -> CampaignDetail:
    async with new_uow() as uow:
        return await drafts.clone_campaign(
            uow, campaign_id=campaign.id, now=NOW, **{"name": None, **values}
        )


async def test_copy_of_a_running_campaign_is_a_new_draft(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(
        session,
        line=line,
        bodies=("One", "Two"),
        opt_out_footer="STOP ends it",
        recipients_total=7,
        zone_keys=["MA/America/New_York"],
        started_at=NOW - HOUR,
        paused_reason="failure_rate",
        previously_contacted="review",
    )
    await session.commit()

    copy = await clone(new_uow, campaign)

    assert copy.campaign.id != campaign.id
    assert copy.campaign.status == "draft"
    assert copy.campaign.recipients_total is None
    assert copy.campaign.zone_keys == []
    assert copy.campaign.started_at is None
    assert copy.campaign.paused_reason is None
    assert copy.campaign.created_at == NOW
    assert copy.campaign.opt_out_footer == "STOP ends it"
    assert copy.campaign.previously_contacted == "review"
    assert [(one.name, one.body, one.weight) for one in copy.variants] == [
        ("V0", "One", 50),
        ("V1", "Two", 50),
    ]


@pytest.mark.parametrize(
    ("start_at", "end_at", "kept"),
    [
        (NOW - HOUR, NOW + HOUR, (None, NOW + HOUR)),
        (NOW - 2 * HOUR, NOW - HOUR, (None, None)),
        (NOW + HOUR, NOW + 2 * HOUR, (NOW + HOUR, NOW + 2 * HOUR)),
        (None, NOW, (None, None)),
    ],
)
async def test_copy_leaves_out_dates_that_have_passed(
    session: AsyncSession, new_uow: NewUow, start_at: Any, end_at: Any, kept: Any
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, start_at=start_at, end_at=end_at)
    await session.commit()

    copy = await clone(new_uow, campaign)

    assert (copy.campaign.start_at, copy.campaign.end_at) == kept


async def test_name_of_a_copy_keeps_the_length_limit(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, name="x" * 200)
    await session.commit()

    copy = await clone(new_uow, campaign)
    named = await clone(new_uow, campaign, name="Winter")

    assert copy.campaign.name == "x" * 193 + " (copy)"
    assert named.campaign.name == "Winter"


async def test_unknown_campaign_cannot_be_cloned(new_uow: NewUow) -> None:
    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await drafts.clone_campaign(uow, campaign_id=new_id(), name=None, now=NOW)
