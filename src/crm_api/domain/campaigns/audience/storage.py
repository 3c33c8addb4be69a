"""Store the audience of a started campaign as recipients, in chunks: one transaction per chunk."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, TextClause, null, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.audience.selection import (
    IS_NAMED,
    STATEMENTS_KEPT,
    VARIANT_OF_PERSON,
    AudienceConditions,
    AudienceSettings,
    assess,
    resolve_audience,
    variant_values,
)
from crm_api.domain.campaigns.campaign_detail import list_variants
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork, typed_row

CHUNK_PEOPLE = 20_000
"""The number of people per chunk. A chunk takes about half a second, and a pause or a cancel of the
campaign waits at most that long."""
_BEFORE_ALL = UUID(int=0)


def unstored_audiences_statement(*, only_new: bool) -> Select[UUID]:
    """Return the statement that finds scheduled campaigns whose audience is not completely stored.

    The oldest campaign is first. If ``only_new`` is True, the statement finds only the campaigns
    without any stored recipient.
    """
    statement = select(Campaign.id).where(
        Campaign.status == CampaignStatus.SCHEDULED, Campaign.recipients_total.is_(null())
    )
    if only_new:
        statement = statement.where(Campaign.written_up_to.is_(null()))
    return statement.order_by(Campaign.id)


async def list_unstored_audiences(uow: UnitOfWork, *, only_new: bool = False) -> Sequence[UUID]:
    """Return the ids of the scheduled campaigns whose audience is not completely stored.

    The oldest campaign is first.

    Args:
        uow: The unit of work.
        only_new: If True, only the campaigns without any stored recipient are returned.
    """
    return (await uow.session.scalars(unstored_audiences_statement(only_new=only_new))).all()


@dataclass(frozen=True, kw_only=True)
class StoredChunk:
    """The result of storing one chunk of an audience.

    Attributes:
        people: The number of recipients that were stored.
        is_whole: True if the whole audience is now stored.
    """

    people: int
    is_whole: bool


class ChunkOvertakenError(Exception):
    """An inserted chunk of recipients must not be committed; the caller must roll it back.

    A chunk is a part of a campaign's audience. ``store_chunk_ahead`` inserts a chunk while another
    transaction still stores the previous chunk. Then it checks some conditions, and raises this
    error if one of them is not met.
    """


async def store_next_chunk(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    limit: int = CHUNK_PEOPLE,
    now: datetime,
    begin_next: Callable[[UUID], object] | None = None,
) -> StoredChunk | None:
    """Store the next chunk of a scheduled campaign's audience as recipients.

    The last chunk also sets ``recipients_total``; then the campaign may begin. After a large
    audience is stored, call ``refresh_statistics`` in a separate unit of work.

    Contacts and list members that were added after the start request are left out. Exclusions,
    deletions and flags count even if they were made after the start request. This function may miss
    an opt-out that is stored at the same time, so opt-outs must be checked again before each
    message.

    Args:
        begin_next: A function that starts to store the next chunk in another transaction. If more
            people may follow, it is called before this chunk is inserted. Its argument is the id of
            the last contact in this chunk.

    Returns:
        None if the audience is already completely stored, the campaign is not scheduled, or another
        worker has locked the campaign's row.
    """
    campaign = await _lock_unstored(uow.session, campaign_id=campaign_id)
    if campaign is None:
        return None
    page = await resolve_page(
        uow.session, campaign=campaign, after=campaign.written_up_to, limit=limit, now=now
    )
    if begin_next is not None:
        end = (await uow.session.execute(page_end_statement(page.conditions), page.values)).one()
        if end.named == limit:
            await uow.session.execute(WAIT_BRIEFLY)
            begin_next(end.up_to)
    chunk = await insert_chunk(uow.session, page)
    return await _record_progress(uow, campaign, chunk, limit=limit, now=now)


# While two chunks of an audience are stored at the same time, a phone number may move from a person
# of this chunk to a person of the next chunk. Then the transaction of this chunk would wait for the
# transaction of the next chunk, and the transaction of the next chunk would wait for this
# transaction. The time limit ends this deadlock.
WAIT_BRIEFLY = text("SET LOCAL lock_timeout = '5s'")


async def store_chunk_ahead(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    after: UUID,
    limit: int,
    now: datetime,
    is_turn: Awaitable[bool],
) -> StoredChunk:
    """Store a chunk of recipients while another transaction still stores the previous chunk.

    After the insert, the function waits for the other transaction, then locks the campaign. The
    other transaction must not wait for this one, because that would be a deadlock.

    Args:
        uow: The unit of work, on another connection.
        after: The id of the last contact in the previous chunk.
        is_turn: Waits until the other transaction has ended; True if it was committed.

    Raises:
        ChunkOvertakenError: The caller must roll back, for one of these reasons:

            - The other transaction was rolled back.
            - The campaign is locked or not scheduled.
            - The previous chunk did not end with ``after``.
    """
    campaign = await uow.session.get_one(Campaign, campaign_id)
    page = await resolve_page(uow.session, campaign=campaign, after=after, limit=limit, now=now)
    chunk = await insert_chunk(uow.session, page)
    locked = await _lock_unstored(uow.session, campaign_id=campaign_id) if await is_turn else None
    if locked is None or locked.written_up_to != after:
        raise ChunkOvertakenError
    return await _record_progress(uow, locked, chunk, limit=limit, now=now)


async def _record_progress(
    uow: UnitOfWork, campaign: Campaign, chunk: "InsertedChunk", *, limit: int, now: datetime
) -> StoredChunk:
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
    """Lock a scheduled campaign whose audience is not completely stored, and return it.

    Returns:
        The campaign. None if the campaign does not exist, is not scheduled, has a completely stored
        audience, or is locked by another worker.
    """
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

# This query reads the page of contacts a second time. With a join to `named` instead, PostgreSQL
# would read all contacts for each page.
_NEXT_PEOPLE = """(
    SELECT {columns} FROM contact a
    WHERE a.deleted_at IS NULL AND a.id > CAST(:after AS uuid)
    ORDER BY a.id LIMIT :limit)"""

_PAGE_OF_ALL = f"named AS MATERIALIZED {_NEXT_PEOPLE.format(columns='a.id AS contact_id')}"

_PAGE_FIGURES = """(SELECT count(*) FROM named) AS named,
               (SELECT n.contact_id FROM named n ORDER BY n.contact_id DESC LIMIT 1) AS up_to"""

SKIP_STORED = "ON CONFLICT DO NOTHING"

_OF_THE_PAGE = "AND f.phone = ANY(ARRAY(SELECT a.phone FROM audience a))"


def _assess_page(conditions: AudienceConditions) -> str:
    page, is_named, people = _PAGE, IS_NAMED, "contact"
    if conditions.named:
        page, is_named = _PAGE_OF_ALL, conditions.named
        people = _NEXT_PEOPLE.format(columns="a.*")
    assessed = assess(
        conditions, is_named=is_named, people=people, each="OFFSET 0", flags_filter=_OF_THE_PAGE
    )
    return f"{page}, {assessed}"


@lru_cache(maxsize=STATEMENTS_KEPT)
def insert_chunk_statement(conditions: AudienceConditions, *, on_conflict: str = "") -> TextClause:
    """Return the statement that stores the next page of an audience as recipients.

    The result of the statement is an ``InsertedChunk``.

    Args:
        on_conflict: What to do with people and phone numbers that the campaign already has. With
            ``SKIP_STORED``, the statement leaves them out. With an empty text, they cause an
            ``IntegrityError``.
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
            {on_conflict}
            RETURNING zone_key
        )
        SELECT count(*) AS people,
               coalesce(array_agg(DISTINCT zone_key), CAST('{{}}' AS text[])) AS zone_keys,
               {_PAGE_FIGURES}
        FROM inserted
    """)


@lru_cache(maxsize=STATEMENTS_KEPT)
def page_end_statement(conditions: AudienceConditions) -> TextClause:
    """Return the statement that counts the contacts in the next page of an audience.

    The statement also finds the last contact in the page. The contacts are ordered by id.
    """
    return text(f"WITH {_PAGE_OF_ALL if conditions.named else _PAGE} SELECT {_PAGE_FIGURES}")


@dataclass(frozen=True, slots=True)
class InsertedChunk:
    """The result of storing one part (a chunk) of the audience.

    Attributes:
        people: The number of recipients that were stored.
        zone_keys: The zone keys of the stored recipients, without duplicates.
        named: The number of contacts that were read. If it is below the maximum for a chunk, this
            chunk is the last.
        up_to: The id of the last contact that was read; None if no contact was read.
    """

    people: int
    zone_keys: list[str]
    named: int
    up_to: UUID | None


@dataclass(frozen=True, kw_only=True)
class AudiencePage:
    """One page of an audience: the SQL conditions for its contacts, and the bind values."""

    conditions: AudienceConditions
    values: dict[str, Any]


async def resolve_page(
    session: AsyncSession, *, campaign: Campaign, after: UUID | None, limit: int, now: datetime
) -> AudiencePage:
    """Return the SQL conditions and the bind values that select one page of an audience.

    The page has up to ``limit`` people. Their contact ids come after the id ``after``. If ``after``
    is None, it is the first page.
    """
    variants = await list_variants(session, campaign_ids=[campaign.id])
    audience = await resolve_audience(
        session, AudienceSettings.of(campaign), as_of=campaign.started_at or now, by_page=True
    )
    values = {
        **audience.values,
        "campaign_id": campaign.id,
        **variant_values(variants),
        "after": after or _BEFORE_ALL,
        "limit": limit,
        "now": now,
    }
    return AudiencePage(conditions=audience.conditions, values=values)


async def insert_chunk(session: AsyncSession, page: AudiencePage) -> InsertedChunk:
    """Store one page of the audience as recipients of the campaign, in the order of contact ids."""
    # ON CONFLICT is slow, because it searches each unique index before it inserts a row. So the
    # first try does not use it. The first try fails only if the campaign already has a recipient
    # with one of the phone numbers. This is rare: the number must have moved to another contact
    # since an earlier chunk.
    try:
        async with session.begin_nested():
            result = await session.execute(insert_chunk_statement(page.conditions), page.values)
            return typed_row(InsertedChunk, result.one())
    except IntegrityError:
        statement = insert_chunk_statement(page.conditions, on_conflict=SKIP_STORED)
        result = await session.execute(statement, page.values)
        return typed_row(InsertedChunk, result.one())


ANALYZE_RECIPIENTS = text("SELECT analyze_memberships()")


async def refresh_statistics(uow: UnitOfWork) -> None:
    """Refresh the statistics that PostgreSQL has of the recipients table.

    Call it after many rows were stored: with old statistics, PostgreSQL uses a wrong index.
    """
    await uow.session.execute(ANALYZE_RECIPIENTS)
