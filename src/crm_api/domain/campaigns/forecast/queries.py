"""What a forecast reads: sums, bounded counts and samples, never the recipients one by one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns import audience_statements
from crm_api.domain.campaigns.audience_queries import plan_for_values, whom
from crm_api.domain.campaigns.forecast import statements as sql
from crm_api.domain.campaigns.models import Campaign

SAMPLED_PAGES = 100
"""A few thousand recipients, in about a millisecond."""
NEWEST_TEXTS = 5_000
"""A look back at a line: two weeks of most lines, a day of the busiest."""


async def count_by_step(session: AsyncSession, *, campaign_id: UUID) -> Sequence[Row[Any]]:
    """Sum up a campaign's people and replies by step and status."""
    return (await session.execute(sql.TALLY, {"campaign_id": campaign_id})).all()


async def count_places(
    session: AsyncSession, *, campaign_id: UUID, zone_keys: Sequence[str], most: int
) -> Sequence[Row[Any]]:
    """Count who waits in each place, up to ``most`` in each, with the first and last due."""
    values = {"campaign_id": campaign_id, "zone_keys": list(zone_keys), "most": most}
    return (await session.execute(sql.COUNT_PLACES, values)).all()


async def sample_places(session: AsyncSession, *, campaign_id: UUID) -> Sequence[Row[Any]]:
    """Count who waits in each place on some pages of the table."""
    values = {"campaign_id": campaign_id, "pages": SAMPLED_PAGES}
    return (await session.execute(sql.SAMPLE_PLACES, values)).all()


async def list_rivals(
    session: AsyncSession, *, line_id: UUID, campaign_id: UUID, now: datetime
) -> Sequence[Row[Any]]:
    """Fetch the other campaigns that have texts to send on the line."""
    values = {"line_id": line_id, "campaign_id": campaign_id, "now": now}
    return (await session.execute(sql.RIVALS, values)).all()


async def count_lately(
    session: AsyncSession, *, line_id: UUID, timezone: str, since: datetime
) -> Sequence[Row[Any]]:
    """Count the newest texts of a line by its day and campaign."""
    values = {"line_id": line_id, "timezone": timezone, "since": since, "most": NEWEST_TEXTS}
    return (await session.execute(sql.LATELY, values)).all()


async def count_uncertain(session: AsyncSession, *, line_id: UUID, since: datetime) -> int:
    """Count the line's texts that count, though nobody knows that they arrived."""
    values = {"line_id": line_id, "since": since, "most": NEWEST_TEXTS}
    return await session.scalar(sql.UNCERTAIN, values) or 0


async def list_size(session: AsyncSession, *, list_id: UUID) -> int:
    """Count the contacts of a list."""
    return await session.scalar(sql.LIST_SIZE, {"list_id": list_id}) or 0


async def sample_list(session: AsyncSession, *, list_id: UUID, percent: float) -> Sequence[UUID]:
    """Return about so many in a hundred of a list's contacts."""
    values = {"list_id": list_id, "percent": percent}
    return (await session.scalars(sql.SAMPLE_LIST, values)).all()


async def count_audience(
    session: AsyncSession, *, campaign: Campaign, sample: Sequence[UUID] | None, now: datetime
) -> Sequence[Row[Any]]:
    """Count what a start would make of the audience, by verdict and place.

    Args:
        sample: Contacts who stand for those of the list; None asks about all of it.
    """
    audience = await whom(session, campaign.audience, as_of=now)
    values = {
        **audience.values,
        "previously_contacted": campaign.previously_contacted,
        "skip_landlines": campaign.skip_landlines,
    }
    if sample is not None:
        values |= {"list_id": None, "contact_ids": list(sample)}
    await plan_for_values(session)
    statement = audience_statements.count_audience_places(audience.rules)
    return (await session.execute(statement, values)).all()
