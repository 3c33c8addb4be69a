"""The counts of several campaigns at once, for whoever shows them live."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns.answers import StatusCounts

COUNTERS = text("""
    SELECT t.campaign_id, t.status, CAST(sum(t.people) AS bigint) AS people,
           CAST(sum(t.replied) AS bigint) AS replied, CAST(sum(t.opted_out) AS bigint) AS opted_out
    FROM campaign_tally t
    WHERE t.campaign_id = ANY(CAST(:campaign_ids AS uuid[])) AND t.step = 0
    GROUP BY t.campaign_id, t.status
""")


class CampaignCounters(BaseModel):
    """Where a campaign stands, by its first text; the same figures as in its statistics."""

    recipients_total: int
    by_status: StatusCounts
    replied: int
    opted_out: int


async def count_campaigns(
    uow: UnitOfWork, *, campaign_ids: Sequence[UUID]
) -> dict[UUID, CampaignCounters]:
    """Sum up each campaign; one without recipients counts zeros."""
    values = {"campaign_ids": list(campaign_ids)}
    rows = (await uow.session.execute(COUNTERS, values)).all()
    counted = {}
    for campaign_id in campaign_ids:
        own = [row for row in rows if row.campaign_id == campaign_id]
        counted[campaign_id] = CampaignCounters(
            recipients_total=sum(row.people for row in own),
            by_status=StatusCounts(**{row.status: row.people for row in own}),
            replied=sum(row.replied for row in own),
            opted_out=sum(row.opted_out for row in own),
        )
    return counted
