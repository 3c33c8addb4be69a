"""An audience that one worker writes down is left by the others."""

import asyncio

from tests.conftest import NOW
from tests.domain.campaigns.test_progress import NewUow, people, scheduled, written

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.progress import Written


async def test_audience_that_one_worker_writes_is_left_by_the_other(
    committed_uow: NewUow,
) -> None:
    async with committed_uow() as uow:
        campaign = await scheduled(uow.session, await people(uow.session, 20))

    async with committed_uow() as uow:
        mine = await campaigns.write_chunk(uow, campaign_id=campaign.id, now=NOW)
        async with asyncio.timeout(10):
            other = await written(committed_uow, campaign)

    async with committed_uow() as uow:
        detail = await campaigns.read(uow, campaign_id=campaign.id)
    assert (mine, other) == (Written(people=20, is_whole=True), 0)
    assert detail.campaign.recipients_total == 20
    assert detail.campaign.zone_keys
