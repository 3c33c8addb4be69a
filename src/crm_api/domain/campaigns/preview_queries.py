"""Reads the audience of a campaign for its preview, by ``audience_statements.py``."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns import audience_statements as statements
from crm_api.domain.campaigns.audience_queries import plan_for_values, thresholds, whom

BATCH = 1_000
"""Rows in memory at once; a render of so many takes some 30 ms."""


async def count_audience(
    session: AsyncSession,
    *,
    audience: dict[str, Any],
    previously_contacted: str,
    skip_landlines: bool,
    now: datetime,
) -> dict[str, int]:
    """Count the audience by what would become of each person at a start."""
    people = await whom(session, audience, as_of=now)
    values = {
        **people.values,
        "previously_contacted": previously_contacted,
        "skip_landlines": skip_landlines,
    }
    await plan_for_values(session)
    rows = await session.execute(statements.count_audience(people.rules), values)
    return {row.verdict: row.people for row in rows}


async def stream_audience(
    session: AsyncSession,
    *,
    audience: dict[str, Any],
    previously_contacted: str,
    skip_landlines: bool,
    campaign_id: UUID,
    weights: list[int],
    chosen: Sequence[UUID] | None,
    limit: int,
    now: datetime,
) -> AsyncGenerator[Sequence[Row[Any]]]:
    """Read people with what a text may name, in the order of their ids, a batch at a time.

    Args:
        campaign_id: Decides, with ``weights``, who gets which variant.
        chosen: These people only; None for everybody.
        limit: At most so many.
    """
    people = await whom(session, audience, as_of=now)
    values = {
        **people.values,
        "previously_contacted": previously_contacted,
        "skip_landlines": skip_landlines,
        "campaign_id": campaign_id,
        "thresholds": thresholds(weights),
        "chosen": None if chosen is None else list(chosen),
        "limit": limit,
    }
    await plan_for_values(session)
    result = await session.stream(statements.read_audience(people.rules), values)
    async for batch in result.partitions(BATCH):
        yield batch
