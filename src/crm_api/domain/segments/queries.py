"""SQL on segments and on the people who fit them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.models import Campaign, CampaignStatus
from crm_api.domain.lists.models import ContactList
from crm_api.domain.segments.compiling import Condition
from crm_api.domain.segments.models import Segment
from crm_api.ids import new_id

Position = tuple[datetime, UUID]
"""Where a page continues: after the row with this time and id."""

# Until the end of the transaction: a plan for these very values, since one for any takes joins for
# a few people; helpers, where a core is free, for the scan of all people but not of what is looked
# up beside it, which would leave that scan to one process; and room to hash a million ids.
PLAN_FOR_MANY = text("""
    SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
           set_config('max_parallel_workers_per_gather', '2', true),
           set_config('parallel_setup_cost', '12000', true),
           set_config('work_mem', '64MB', true)
""")


async def insert_segment(
    session: AsyncSession, *, name: str, filter_: dict[str, Any], now: datetime
) -> Segment | None:
    """Add a segment; None when the name is taken."""
    values = {"id": new_id(), "name": name, "filter": filter_, "created_at": now, "updated_at": now}
    statement = insert(Segment).values(values).on_conflict_do_nothing(index_elements=["name"])
    return await session.scalar(statement.returning(Segment))


async def id_of_name(session: AsyncSession, *, name: str) -> UUID | None:
    """Return the id of the segment with a name."""
    return await session.scalar(select(Segment.id).where(Segment.name == name))


async def find(session: AsyncSession, *, segment_id: UUID) -> Segment | None:
    """Fetch a segment."""
    statement = select(Segment).where(Segment.id == segment_id)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def find_all(session: AsyncSession, *, segment_ids: Collection[UUID]) -> Sequence[Segment]:
    """Fetch segments, kept from being changed or removed until the end of the transaction."""
    statement = (
        select(Segment)
        .where(Segment.id.in_(list(segment_ids)))
        .order_by(Segment.id)
        .with_for_update(read=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).all()


async def lock(session: AsyncSession, *, segment_id: UUID) -> bool:
    """Lock a segment against whoever would name it; False when there is none."""
    statement = select(Segment.id).where(Segment.id == segment_id).with_for_update()
    return await session.scalar(statement) is not None


async def list_segments(
    session: AsyncSession, *, after: Position | None, limit: int
) -> Sequence[Segment]:
    """Fetch segments, newest first."""
    statement = select(Segment)
    if after is not None:
        statement = statement.where(tuple_(Segment.created_at, Segment.id) < after)
    ordered = statement.order_by(Segment.created_at.desc(), Segment.id.desc())
    return (await session.scalars(ordered.limit(limit))).all()


async def change(session: AsyncSession, *, segment_id: UUID, values: dict[str, Any]) -> None:
    """Write these columns of a segment."""
    await session.execute(update(Segment).where(Segment.id == segment_id).values(values))


async def delete_segment(session: AsyncSession, *, segment_id: UUID) -> None:
    """Remove a segment."""
    await session.execute(delete(Segment).where(Segment.id == segment_id))


async def campaigns_naming(
    session: AsyncSession, *, segment_id: UUID, only_written_now: bool
) -> Sequence[UUID]:
    """Return the campaigns for which a segment is still asked, or which have yet to begin.

    Args:
        only_written_now: Only those that were started and whose audience is not whole.
    """
    named = str(segment_id)
    begun = CampaignStatus.SCHEDULED, CampaignStatus.PAUSED, CampaignStatus.BLOCKED
    asked = and_(Campaign.recipients_total.is_(None), Campaign.status.in_(begun))
    if not only_written_now:
        asked = or_(asked, Campaign.status.in_((CampaignStatus.DRAFT, CampaignStatus.SCHEDULED)))
    statement = select(Campaign.id).where(
        asked,
        or_(
            Campaign.audience["segment_id"].astext == named,
            Campaign.audience["exclude"]["segment_ids"].has_key(named),
        ),
    )
    return (await session.scalars(statement.order_by(Campaign.id))).all()


async def known_lists(session: AsyncSession, *, list_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the ids that are lists."""
    found = await session.scalars(select(ContactList.id).where(ContactList.id.in_(list(list_ids))))
    return set(found)


async def known_campaigns(session: AsyncSession, *, campaign_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the ids that are campaigns."""
    found = await session.scalars(select(Campaign.id).where(Campaign.id.in_(list(campaign_ids))))
    return set(found)


async def count(session: AsyncSession, condition: Condition) -> int:
    """Count the people who fit."""
    await session.execute(PLAN_FOR_MANY)
    statement = f"SELECT count(*) FROM contact c WHERE c.deleted_at IS NULL AND {condition.sql}"
    return int(await session.scalar(text(statement), condition.values) or 0)


async def sample(session: AsyncSession, condition: Condition, *, limit: int) -> Sequence[UUID]:
    """Fetch some people who fit, in no order."""
    await session.execute(PLAN_FOR_MANY)
    statement = (
        f"SELECT c.id FROM contact c WHERE c.deleted_at IS NULL AND {condition.sql} LIMIT :limit"
    )
    values = {**condition.values, "limit": limit}
    return (await session.scalars(text(statement), values)).all()


async def page(
    session: AsyncSession, condition: Condition, *, after: Position | None, limit: int
) -> Sequence[Row[Any]]:
    """Fetch the ids of people who fit with when each was added, newest first."""
    await session.execute(PLAN_FOR_MANY)
    values: dict[str, Any] = {**condition.values, "limit": limit}
    older = ""
    if after is not None:
        older = "AND (c.created_at, c.id) < (CAST(:after_at AS timestamptz), CAST(:after AS uuid))"
        values |= {"after_at": after[0], "after": after[1]}
    statement = f"""
        SELECT c.id, c.created_at FROM contact c
        WHERE c.deleted_at IS NULL {older} AND {condition.sql}
        ORDER BY c.created_at DESC, c.id DESC LIMIT :limit
    """
    return (await session.execute(text(statement), values)).all()


async def evaluate(
    session: AsyncSession, *, contact_id: UUID, columns: Sequence[str], values: dict[str, Any]
) -> Row[Any]:
    """Evaluate expressions on one ``contact c``; the caller knows that there is one."""
    statement = f"SELECT {', '.join(columns)} FROM contact c WHERE c.id = :contact_id"
    found = await session.execute(text(statement), {**values, "contact_id": contact_id})
    return found.one()
