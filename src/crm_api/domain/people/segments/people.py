"""Count, list and export the contacts of a segment, and explain why a contact is in it or not."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.export import people_csv
from crm_api.domain.people.contacts.schemas import ContactRead, FlaggedContact
from crm_api.domain.people.segments import explanation
from crm_api.domain.people.segments.compiler import Condition, compile_filter
from crm_api.domain.people.segments.parser import read_filter, read_with_references
from crm_api.domain.people.segments.schemas import SegmentExplanation, SegmentPreviewRead
from crm_api.domain.people.segments.service import get_segment
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, typed_rows

# These settings are valid until the transaction ends. The first setting makes PostgreSQL plan the
# query for the actual values, because a generic plan chooses joins that are fast only for few
# contacts. The second setting allows two parallel workers for the scan of the contacts. With the
# high set-up cost of the third setting, the planner does not use the workers for other tables.
# Otherwise, one process would scan all contacts. The last setting gives enough memory to hash a
# million ids.
PLAN_FOR_MANY = text("""
    SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
           set_config('max_parallel_workers_per_gather', '2', true),
           set_config('parallel_setup_cost', '12000', true),
           set_config('work_mem', '64MB', true)
""")


async def list_people(
    uow: UnitOfWork, *, segment_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[FlaggedContact]:
    """Return a page of the contacts that match a segment now, newest first.

    Raises:
        SegmentNotFoundError: No segment has this id.
        InvalidCursorError: The cursor does not belong to this list.
    """
    segment = await get_segment(uow, segment_id=segment_id)
    cursors = Cursors("segment_contacts", segment_id=segment_id, filter=segment.filter)
    after = cursors.read(cursor)
    condition = compile_filter(read_filter(segment.filter), now=now, by_person=True)
    rows = await fetch_matches(uow.session, condition, after=after, limit=limit + 1)
    page = cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))
    found = await contacts.get_contacts(uow, contact_ids=[row.id for row in page.data], now=now)
    return Page(found, page.next_cursor)


@dataclass(frozen=True, slots=True)
class MatchingContact:
    """The id of a contact that matches a segment, and when the contact was created."""

    id: UUID
    created_at: datetime


async def fetch_matches(
    session: AsyncSession, condition: Condition, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[MatchingContact]:
    """Fetch up to ``limit`` contacts that match a condition, newest first.

    Args:
        session: An open session.
        condition: The condition.
        after: The instant and id of the last contact of the previous page; None for the first page.
        limit: The largest number of contacts.
    """
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


async def people_of_segment_csv(
    new_uow: UnitOfWorkFactory, *, segment_id: UUID, now: datetime
) -> AsyncIterator[bytes]:
    """Stream a CSV file of the contacts that match a segment now, newest first.

    Raises:
        SegmentNotFoundError: No segment has this id.
    """
    async with new_uow() as uow:
        segment = await get_segment(uow, segment_id=segment_id)
        condition = compile_filter(read_filter(segment.filter), now=now, by_person=True)

    async def next_people(
        uow: UnitOfWork, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[tuple[datetime, UUID]]:
        rows = await fetch_matches(uow.session, condition, after=after, limit=limit)
        return [(row.created_at, row.id) for row in rows]

    return await people_csv(new_uow, next_people, now=now)


async def preview_segment(
    uow: UnitOfWork,
    filter_: Any,  # noqa: ANN401 - JSON
    *,
    limit: int,
    with_count: bool,
    now: datetime,
) -> SegmentPreviewRead:
    """Count the contacts that match a filter, and return some of them. The filter is not stored.

    Raises:
        InvalidFilterError: The rules are not valid, or name a list or campaign that does not exist.
    """
    node = await read_with_references(uow, filter_)
    condition = compile_filter(node, now=now)
    count = await count_matches(uow.session, condition) if with_count else None
    # If the count shows that no contact matches, no sample is searched. The search would read all
    # contacts and find nothing.
    wanted = 0 if count == 0 else limit
    probing = compile_filter(node, now=now, by_person=True)
    ids = await sample_matches(uow.session, probing, limit=wanted) if wanted else []
    people = await contacts.get_contacts(uow, contact_ids=ids, now=now)
    return SegmentPreviewRead(count=count, sample=[ContactRead.of(one) for one in people])


async def count_matches(session: AsyncSession, condition: Condition) -> int:
    """Count the contacts that match a condition."""
    await session.execute(PLAN_FOR_MANY)
    statement = f"SELECT count(*) FROM contact c WHERE c.deleted_at IS NULL AND {condition.sql}"
    return int(await session.scalar(text(statement), condition.values) or 0)


async def sample_matches(
    session: AsyncSession, condition: Condition, *, limit: int
) -> Sequence[UUID]:
    """Fetch the ids of some contacts that match a condition, in no particular order."""
    await session.execute(PLAN_FOR_MANY)
    statement = (
        f"SELECT c.id FROM contact c WHERE c.deleted_at IS NULL AND {condition.sql} LIMIT :limit"
    )
    values = {**condition.values, "limit": limit}
    return (await session.scalars(text(statement), values)).all()


async def count_segment(uow: UnitOfWork, *, segment_id: UUID, now: datetime) -> int:
    """Count the contacts that match a segment now.

    Raises:
        SegmentNotFoundError: No segment has this id.
    """
    node = read_filter((await get_segment(uow, segment_id=segment_id)).filter)
    return await count_matches(uow.session, compile_filter(node, now=now))


async def explain_segment(
    uow: UnitOfWork, *, segment_id: UUID, contact_id: UUID, now: datetime
) -> SegmentExplanation:
    """Return for each rule and group of a segment whether it matches a contact.

    If the request names a merged duplicate, the ``contact_id`` of the result is the contact into
    which the duplicate was merged.

    Raises:
        SegmentNotFoundError: No segment has this id.
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    node = read_filter((await get_segment(uow, segment_id=segment_id)).filter)
    person_id = (await contacts.get_contact(uow, contact_id=contact_id, now=now)).contact.id
    verdicts = await explanation.explain_rules(uow.session, node, contact_id=person_id, now=now)
    return SegmentExplanation.of(verdicts, segment_id=segment_id, contact_id=person_id)
