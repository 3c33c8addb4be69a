"""SQL on pairs of contacts that may be one person."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from crm_api.domain.contacts.models import Contact
from crm_api.domain.merging import scan_statements as sql
from crm_api.domain.merging.models import DuplicateScan, MergeCandidate
from crm_api.ids import new_id

Position = tuple[int, UUID]
"""Where a page continues: after the pair with this score and id."""
_SCAN = 1
_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('find_duplicates', 0))")


async def list_candidates(
    session: AsyncSession,
    *,
    contact_id: UUID | None,
    min_score: int,
    after: Position | None,
    limit: int,
) -> list[MergeCandidate]:
    """Fetch pairs that nobody has dismissed and whose people are there, the surest first."""
    pair, first, second = MergeCandidate, aliased(Contact), aliased(Contact)
    statement = (
        select(pair)
        .join(first, first.id == pair.first_id)
        .join(second, second.id == pair.second_id)
        .where(
            pair.dismissed_at.is_(None),
            first.deleted_at.is_(None),
            second.deleted_at.is_(None),
            pair.score >= min_score,
        )
    )
    if contact_id is not None:
        statement = statement.where(or_(pair.first_id == contact_id, pair.second_id == contact_id))
    if after is not None:
        statement = statement.where(tuple_(pair.score, pair.id) < after)
    statement = statement.order_by(pair.score.desc(), pair.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def dismiss(
    session: AsyncSession, *, candidate_id: UUID, actor: str, now: datetime
) -> UUID | None:
    """Say that a pair is two people; repeating it changes nothing. None when there is no pair."""
    statement = (
        update(MergeCandidate)
        .where(MergeCandidate.id == candidate_id)
        .values(
            dismissed_at=func.coalesce(MergeCandidate.dismissed_at, now),
            dismissed_by=func.coalesce(MergeCandidate.dismissed_by, actor),
        )
    )
    return await session.scalar(statement.returning(MergeCandidate.id))


async def dismiss_pairs(
    session: AsyncSession, *, one: UUID, others: Collection[UUID], actor: str, now: datetime
) -> None:
    """Say that somebody is none of these others, whether or not that was asked."""
    values = [
        {
            "id": new_id(),
            "first_id": min(one, other),
            "second_id": max(one, other),
            "found_at": now,
            "dismissed_at": now,
            "dismissed_by": actor,
        }
        for other in others
    ]
    statement = insert(MergeCandidate).values(values)
    told = statement.excluded
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["first_id", "second_id"],
            set_={"dismissed_at": told.dismissed_at, "dismissed_by": told.dismissed_by},
        )
    )


async def forget(session: AsyncSession, *, contact_ids: Collection[UUID]) -> None:
    """Remove the pairs of contacts that are merged."""
    pair = MergeCandidate
    await session.execute(
        delete(pair).where(or_(pair.first_id.in_(contact_ids), pair.second_id.in_(contact_ids)))
    )


async def try_lock_scan(session: AsyncSession) -> bool:
    """Be the only one who looks for pairs until the transaction ends; False when another does."""
    return bool(await session.scalar(_LOCK))


async def last_scan(session: AsyncSession) -> DuplicateScan | None:
    """Fetch when the last pass was; None before the first."""
    return await session.get(DuplicateScan, _SCAN, populate_existing=True)


async def changed_since(session: AsyncSession, *, at: datetime) -> bool:
    """Say whether a contact has changed since; reads all of them, which takes a moment."""
    return bool(await session.scalar(select(exists().where(Contact.updated_at > at))))


async def find_pairs(session: AsyncSession, *, now: datetime) -> None:
    """Look at all contacts and bring the pairs to what is found; dismissed ones stay so."""
    statements = (*sql.PREPARE, sql.SAME_EMAIL, sql.SIMILAR_ADDRESS, *sql.CLOSE_NUMBER)
    for statement in statements:
        await session.execute(statement)
    for statement in sql.STORE:
        await session.execute(statement, {"now": now})
    await session.execute(sql.DROP)


async def note_scan(session: AsyncSession, *, started_at: datetime, finished_at: datetime) -> None:
    """Write when a pass began and ended."""
    values = {"started_at": started_at, "finished_at": finished_at}
    statement = insert(DuplicateScan).values(id=_SCAN, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
