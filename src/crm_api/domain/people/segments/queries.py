"""SQL on segments and on the contacts that match them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.lists import ContactList
from crm_api.domain.people.models.segments import Segment
from crm_api.domain.people.segments.compiler import Condition
from crm_api.platform.database import typed_rows
from crm_api.platform.ids import new_id

Position = tuple[datetime, UUID]
"""Where a page continues: after the row with this time and id."""

# Until the transaction ends:
# - Plan for the actual values: a generic plan chooses joins that suit few contacts.
# - Allow parallel workers for the scan of all contacts. The high set-up cost prevents them for the
#   tables that are looked up, which would leave the scan of contacts to one process.
# - Allow memory to hash a million ids.
PLAN_FOR_MANY = text("""
    SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
           set_config('max_parallel_workers_per_gather', '2', true),
           set_config('parallel_setup_cost', '12000', true),
           set_config('work_mem', '64MB', true)
""")


async def insert_segment(
    session: AsyncSession, *, name: str, filter_: dict[str, Any], now: datetime
) -> Segment | None:
    """Add a segment; None if the name is taken."""
    values = {"id": new_id(), "name": name, "filter": filter_, "created_at": now, "updated_at": now}
    statement = insert(Segment).values(values).on_conflict_do_nothing(index_elements=["name"])
    return await session.scalar(statement.returning(Segment))


async def id_of_name(session: AsyncSession, *, name: str) -> UUID | None:
    """Return the id of the segment with a name."""
    return await session.scalar(select(Segment.id).where(Segment.name == name))


async def find_segment(session: AsyncSession, *, segment_id: UUID) -> Segment | None:
    """Fetch a segment."""
    statement = select(Segment).where(Segment.id == segment_id)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def lock_segments(
    session: AsyncSession, *, segment_ids: Collection[UUID]
) -> Sequence[Segment]:
    """Fetch segments by id order, and lock them against changes until the transaction ends."""
    statement = (
        select(Segment)
        .where(Segment.id.in_(list(segment_ids)))
        .order_by(Segment.id)
        .with_for_update(read=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).all()


async def lock_segment(session: AsyncSession, *, segment_id: UUID) -> bool:
    """Lock a segment against campaigns that would use it; False if there is no such segment."""
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


async def change_segment(
    session: AsyncSession, *, segment_id: UUID, values: dict[str, Any]
) -> None:
    """Write these columns of a segment."""
    await session.execute(update(Segment).where(Segment.id == segment_id).values(values))


async def delete_segment(session: AsyncSession, *, segment_id: UUID) -> None:
    """Remove a segment."""
    await session.execute(delete(Segment).where(Segment.id == segment_id))


CAMPAIGNS_NAMING = text("""
    SELECT c.id FROM campaign c
    WHERE (
        c.recipients_total IS NULL AND c.status IN ('scheduled', 'paused', 'blocked')
        OR NOT :only_written_now AND c.status IN ('draft', 'scheduled')
    ) AND (
        c.audience ->> 'segment_id' = :segment
        OR c.audience -> 'exclude' -> 'segment_ids' ? :segment
    )
    ORDER BY c.id
""")


async def campaigns_naming(
    session: AsyncSession, *, segment_id: UUID, only_written_now: bool
) -> Sequence[UUID]:
    """Return the campaigns that still need a segment to find their recipients.

    Args:
        only_written_now: Only campaigns that were started and whose recipients are not all stored.
    """
    values = {"segment": str(segment_id), "only_written_now": only_written_now}
    return (await session.scalars(CAMPAIGNS_NAMING, values)).all()


async def known_lists(session: AsyncSession, *, list_ids: Collection[UUID]) -> set[UUID]:
    """Return the ids that belong to a list."""
    found = await session.scalars(select(ContactList.id).where(ContactList.id.in_(list(list_ids))))
    return set(found)


KNOWN_CAMPAIGNS = text("SELECT c.id FROM campaign c WHERE c.id = ANY(CAST(:ids AS uuid[]))")


async def known_campaigns(session: AsyncSession, *, campaign_ids: Collection[UUID]) -> set[UUID]:
    """Return the ids that belong to a campaign."""
    return set(await session.scalars(KNOWN_CAMPAIGNS, {"ids": list(campaign_ids)}))


async def count_matches(session: AsyncSession, condition: Condition) -> int:
    """Count the contacts that match."""
    await session.execute(PLAN_FOR_MANY)
    statement = f"SELECT count(*) FROM contact c WHERE c.deleted_at IS NULL AND {condition.sql}"
    return int(await session.scalar(text(statement), condition.values) or 0)


async def sample_matches(
    session: AsyncSession, condition: Condition, *, limit: int
) -> Sequence[UUID]:
    """Fetch the ids of some matching contacts, in no order."""
    await session.execute(PLAN_FOR_MANY)
    statement = (
        f"SELECT c.id FROM contact c WHERE c.deleted_at IS NULL AND {condition.sql} LIMIT :limit"
    )
    values = {**condition.values, "limit": limit}
    return (await session.scalars(text(statement), values)).all()


@dataclass(frozen=True, slots=True)
class MatchingContact:
    """A contact that matches, and the instant that orders it."""

    id: UUID
    created_at: datetime


async def fetch_matches(
    session: AsyncSession, condition: Condition, *, after: Position | None, limit: int
) -> list[MatchingContact]:
    """Fetch matching contacts, newest first."""
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
    return typed_rows(MatchingContact, await session.execute(text(statement), values))


async def evaluate_conditions(
    session: AsyncSession, *, contact_id: UUID, columns: Sequence[str], values: dict[str, Any]
) -> dict[str, Any]:
    """Evaluate named expressions on one ``contact c``, which must exist; return them by name."""
    statement = f"SELECT {', '.join(columns)} FROM contact c WHERE c.id = :contact_id"
    found = await session.execute(text(statement), {**values, "contact_id": contact_id})
    return dict(found.mappings().one())
