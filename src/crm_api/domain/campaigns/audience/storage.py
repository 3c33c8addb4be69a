"""Store the audience of a started campaign as recipients, chunk by chunk."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from sqlalchemy import Select, TextClause, null, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.audience.selection import (
    IS_NAMED,
    STATEMENTS_KEPT,
    VARIANT_OF_PERSON,
    AudienceSettings,
    SegmentConditions,
    assess,
    resolve_audience,
    variant_thresholds,
)
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork, typed_row

CHUNK_PEOPLE = 20_000
"""People per transaction: about half a second. A pause or cancel waits no longer than that."""
_BEFORE_ALL = UUID(int=0)


def unstored_audiences_statement(*, only_new: bool) -> Select[UUID]:
    """Build the statement that lists the campaigns whose audience is not completely stored."""
    statement = select(Campaign.id).where(
        Campaign.status == CampaignStatus.SCHEDULED, Campaign.recipients_total.is_(null())
    )
    if only_new:
        statement = statement.where(Campaign.written_up_to.is_(null()))
    return statement.order_by(Campaign.id)


async def list_unstored_audiences(uow: UnitOfWork, *, only_new: bool = False) -> Sequence[UUID]:
    """Return the campaigns that wait for ``store_next_chunk``, oldest first.

    Args:
        only_new: Only campaigns of whose audience nothing is stored yet.
    """
    return (await uow.session.scalars(unstored_audiences_statement(only_new=only_new))).all()


@dataclass(frozen=True, kw_only=True)
class StoredChunk:
    """The result of storing one chunk of an audience.

    Attributes:
        people: Recipients stored.
        is_whole: The whole audience is stored; otherwise the next chunk waits.
    """

    people: int
    is_whole: bool


async def store_next_chunk(
    uow: UnitOfWork, *, campaign_id: UUID, limit: int = CHUNK_PEOPLE, now: datetime
) -> StoredChunk | None:
    """Store the next chunk of a scheduled campaign's audience.

    There is one row per person: ``pending`` and due now, or with the reason why not. The same
    transaction stores in the campaign's row how far it got. So any worker can continue after a
    crash, and no one is stored twice. After the last chunk ``recipients_total`` is set, and the
    campaign may begin. After a large audience call ``refresh_statistics`` in a separate unit of
    work.

    All chunks use the instant of the start: contacts and list members added later are left out.
    Other changes (excluded, deleted, flagged, earlier messages) count up to each chunk. An opt-out
    that is stored during a chunk does not see the chunk's rows and cannot take them back. The claim
    checks again and leaves that person out.

    Returns:
        None if the audience was already whole, the campaign is paused or cancelled, or another
        worker holds its row.
    """
    campaign = await _lock_unstored(uow.session, campaign_id=campaign_id)
    if campaign is None:
        return None
    variants = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    weights = [row.weight for row in variants]
    chunk = await insert_chunk(
        uow.session, campaign=campaign, weights=weights, limit=limit, now=now
    )
    campaign.recipients_written += chunk.people
    campaign.zone_keys = sorted({*campaign.zone_keys, *chunk.zone_keys})
    campaign.written_up_to = chunk.up_to or campaign.written_up_to
    is_whole = chunk.named < limit
    if is_whole:
        campaign.recipients_total = campaign.recipients_written
    campaign.updated_at = now
    await uow.session.flush()
    return StoredChunk(people=chunk.people, is_whole=is_whole)


async def _lock_unstored(session: AsyncSession, *, campaign_id: UUID) -> Campaign | None:
    """Lock a campaign whose audience must be stored; None if another worker has it."""
    statement = (
        select(Campaign)
        .where(
            Campaign.id == campaign_id,
            Campaign.status == CampaignStatus.SCHEDULED,
            Campaign.recipients_total.is_(null()),
        )
        .with_for_update(key_share=True, skip_locked=True)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


_PAGE = """
    named AS MATERIALIZED (
        (SELECT l.contact_id FROM contact_list_member l
         WHERE l.list_id = CAST(:list_id AS uuid) AND l.added_at <= CAST(:as_of AS timestamptz)
           AND l.contact_id > CAST(:after AS uuid)
         ORDER BY l.contact_id LIMIT :limit)
        UNION ALL
        (SELECT x.id FROM (
             SELECT unnest(CAST(:contact_ids AS uuid[]))
             UNION
             SELECT d.merged_into FROM contact d WHERE d.id = ANY(CAST(:contact_ids AS uuid[]))
         ) AS x (id)
         WHERE x.id > CAST(:after AS uuid)
         ORDER BY x.id LIMIT :limit)
    )
"""

# The page is read a second time: a join to `named` would read all contacts for each page.
_NEXT_PEOPLE = """(
    SELECT {columns} FROM contact a
    WHERE a.deleted_at IS NULL AND a.id > CAST(:after AS uuid)
    ORDER BY a.id LIMIT :limit)"""

_PAGE_OF_ALL = f"named AS MATERIALIZED {_NEXT_PEOPLE.format(columns='a.id AS contact_id')}"

_OF_THE_PAGE = "AND f.phone = ANY(ARRAY(SELECT a.phone FROM audience a))"


def _assess_page(conditions: SegmentConditions) -> str:
    page, is_named, people = _PAGE, IS_NAMED, "contact"
    if conditions.named:
        page, is_named = _PAGE_OF_ALL, conditions.named
        people = _NEXT_PEOPLE.format(columns="a.*")
    assessed = assess(
        conditions, is_named=is_named, people=people, each="OFFSET 0", of_those=_OF_THE_PAGE
    )
    return f"{page}, {assessed}"


@lru_cache(maxsize=STATEMENTS_KEPT)
def insert_chunk_statement(conditions: SegmentConditions) -> TextClause:
    """Build the statement that stores a page.

    The page is counted before people are left out of it. Otherwise a page without a single
    recipient would be taken for the last page.
    """
    return text(f"""
        WITH {_assess_page(conditions)}, inserted AS (
            INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key,
                variant, status, skip_reason, due_at, created_at, updated_at)
            SELECT uuid_v7(), :campaign_id, 0, s.contact_id, s.phone, s.zone_key,
                   {VARIANT_OF_PERSON},
                   CASE WHEN s.verdict IN ('pending', 'review', 'held') THEN s.verdict
                        ELSE 'skipped' END,
                   CASE WHEN s.verdict NOT IN ('pending', 'review', 'held') THEN s.verdict END,
                   :now, :now, :now
            FROM assessed s
            ON CONFLICT DO NOTHING
            RETURNING zone_key
        )
        SELECT count(*) AS people,
               coalesce(array_agg(DISTINCT zone_key), CAST('{{}}' AS text[])) AS zone_keys,
               (SELECT count(*) FROM named) AS named,
               (SELECT n.contact_id FROM named n ORDER BY n.contact_id DESC LIMIT 1) AS up_to
        FROM inserted
    """)


@dataclass(frozen=True, slots=True)
class InsertedChunk:
    """What a chunk has stored.

    Attributes:
        people: Recipients stored.
        zone_keys: Their distinct zone keys.
        named: How many people the audience names, including those who were left out.
        up_to: The last named contact; None without any.
    """

    people: int
    zone_keys: list[str]
    named: int
    up_to: UUID | None


async def insert_chunk(
    session: AsyncSession, *, campaign: Campaign, weights: list[int], limit: int, now: datetime
) -> InsertedChunk:
    """Store the next people of an audience as recipients, ordered by contact id."""
    audience = await resolve_audience(
        session, AudienceSettings.of(campaign), as_of=campaign.started_at or now, by_page=True
    )
    values = {
        **audience.values,
        "campaign_id": campaign.id,
        "thresholds": variant_thresholds(weights),
        "after": campaign.written_up_to or _BEFORE_ALL,
        "limit": limit,
        "now": now,
    }
    result = await session.execute(insert_chunk_statement(audience.conditions), values)
    return typed_row(InsertedChunk, result.one())


ANALYZE_RECIPIENTS = text("SELECT analyze_memberships()")


async def refresh_statistics(uow: UnitOfWork) -> None:
    """Refresh the planner's statistics after a mass change; with old ones it uses a wrong index."""
    await uow.session.execute(ANALYZE_RECIPIENTS)
