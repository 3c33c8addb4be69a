"""Read the people of an audience, and count them by verdict."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.audience.selection import (
    STATEMENTS_KEPT,
    VARIANT_OF_PERSON,
    AudienceSettings,
    SegmentConditions,
    assess_audience,
    resolve_audience,
    variant_thresholds,
)
from crm_api.domain.kit.contact_columns import ContactValues

BATCH_PEOPLE = 1_000
"""People in memory at once; rendering their messages takes about 30 ms."""


@lru_cache(maxsize=STATEMENTS_KEPT)
def count_statement(conditions: SegmentConditions) -> TextClause:
    """Build the statement that counts people by verdict."""
    return text(f"""
        WITH {assess_audience(conditions)}
        SELECT s.verdict, count(*) AS people FROM assessed s GROUP BY s.verdict
    """)


async def count_audience(
    session: AsyncSession, settings: AudienceSettings, *, now: datetime
) -> dict[str, int]:
    """Count the audience by the verdict of each person at a start."""
    audience = await resolve_audience(session, settings, as_of=now)
    rows = await session.execute(count_statement(audience.conditions), audience.values)
    return {row.verdict: row.people for row in rows}


@dataclass(frozen=True, slots=True)
class AudiencePerson(ContactValues):
    """A person of an audience, with what a message may name."""

    contact_id: UUID
    verdict: str
    variant: int

    @property
    def step(self) -> int:
        """Return 0: a preview shows first messages."""
        return 0


_CONTACT_COLUMNS = ", ".join(f"c.{column.name}" for column in fields(ContactValues))


@lru_cache(maxsize=STATEMENTS_KEPT)
def people_statement(conditions: SegmentConditions) -> TextClause:
    """Build the statement that reads people; ``chosen`` restricts it to these contacts."""
    return text(f"""
        WITH {assess_audience(conditions)}
        SELECT {_CONTACT_COLUMNS}, s.contact_id, s.verdict, {VARIANT_OF_PERSON} AS variant
        FROM assessed s JOIN contact c ON c.id = s.contact_id
        WHERE CAST(:chosen AS uuid[]) IS NULL OR s.contact_id = ANY(CAST(:chosen AS uuid[]))
        ORDER BY s.contact_id
        LIMIT :limit
    """)


async def stream_audience(
    session: AsyncSession,
    settings: AudienceSettings,
    *,
    campaign_id: UUID,
    weights: list[int],
    chosen: Sequence[UUID] | None,
    limit: int,
    now: datetime,
) -> AsyncGenerator[list[AudiencePerson]]:
    """Read people in batches, ordered by contact id.

    Args:
        campaign_id: Decides, with ``weights``, who gets which variant.
        chosen: Only these contacts; None for all.
        limit: At most this many people.
    """
    audience = await resolve_audience(session, settings, as_of=now)
    values = {
        **audience.values,
        "campaign_id": campaign_id,
        "thresholds": variant_thresholds(weights),
        "chosen": None if chosen is None else list(chosen),
        "limit": limit,
    }
    result = await session.stream(people_statement(audience.conditions), values)
    async for batch in result.partitions(BATCH_PEOPLE):
        # By position: the statement lists the columns in the order of the fields, and by name a
        # preview of 100,000 people takes 0.8 s longer.
        yield [AudiencePerson(*row) for row in batch]
