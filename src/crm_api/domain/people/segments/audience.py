"""Use segments in the audience of a campaign: compile the segments to SQL, and check them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.people.models.segments import Segment
from crm_api.domain.people.segments.compiler import Condition, compile_filter
from crm_api.domain.people.segments.errors import SegmentNotFoundError
from crm_api.domain.people.segments.parser import read_filter
from crm_api.domain.people.segments.references import lost_references
from crm_api.platform.database import UnitOfWork


async def conditions(
    session: AsyncSession,
    segment_ids: Collection[UUID],
    *,
    now: datetime,
    prefix: str,
    is_negated: bool = False,
    by_person: bool = False,
) -> list[Condition]:
    """Compile stored segments to SQL conditions on ``contact c``, for use in another statement.

    Each condition has its own bind values, whose names begin with the prefix. The segments are
    locked against changes until the transaction ends.

    Args:
        segment_ids: Ids of segments; each must exist.
        now: The end of periods such as "the last 30 days".
        prefix: Beginning of the names of the bind values.
        is_negated: True: match the contacts that are not in the segment, to exclude a segment.
        by_person: True: query other tables once per contact. Use this in a statement that reads a
            page of contacts.

    Raises:
        SegmentNotFoundError: One of the segments does not exist.
    """
    found = await lock_segments(session, segment_ids=segment_ids) if segment_ids else []
    if len(found) < len(set(segment_ids)):
        raise SegmentNotFoundError(
            "A segment of the audience was deleted. Choose another audience."
        )
    return [
        compile_filter(
            read_filter(segment.filter),
            now=now,
            prefix=f"{prefix}_{place}",
            is_negated=is_negated,
            by_person=by_person,
        )
        for place, segment in enumerate(found)
    ]


async def faults_of(uow: UnitOfWork, named: Mapping[str, UUID]) -> list[FieldProblem]:
    """Return the problems of the segments that a campaign names.

    A segment has a problem if it does not exist, or if its rules name a deleted list or campaign.
    A rule that names a deleted list or campaign could match contacts that the user did not mean.
    The segments are locked against changes until the transaction ends.

    Args:
        named: The ids of the segments. Each key is the JSON pointer of the id in the request.
    """
    if not named:
        return []
    found = await lock_segments(uow.session, segment_ids=set(named.values()))
    known = {segment.id: segment for segment in found}
    problems = []
    for pointer, segment_id in named.items():
        if segment_id not in known:
            detail = "No segment has this id. GET /v1/segments lists the segments."
            problems.append(FieldProblem(pointer=pointer, code="unknown_segment", detail=detail))
        elif lost := await lost_references(uow, read_filter(known[segment_id].filter)):
            detail = (
                f"A rule of the segment {known[segment_id].name!r} is not valid: {lost[0].detail}"
            )
            problems.append(FieldProblem(pointer=pointer, code="broken_segment", detail=detail))
    return problems


async def lock_segments(
    session: AsyncSession, *, segment_ids: Collection[UUID]
) -> Sequence[Segment]:
    """Fetch segments in the order of their ids; lock them until the transaction ends."""
    statement = (
        select(Segment)
        .where(Segment.id.in_(list(segment_ids)))
        .order_by(Segment.id)
        .with_for_update(read=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).all()
