"""Segments: made, changed, removed, and as conditions of an audience."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import UnitOfWork
from crm_api.domain.custom_fields import service as custom_fields
from crm_api.domain.custom_fields.service import MOST_FIELDS
from crm_api.domain.errors import FieldProblem
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.segments import queries
from crm_api.domain.segments.catalogue import (
    ATTRIBUTE_PREFIX,
    OPERATORS,
    FieldEntry,
    Kind,
    entries,
)
from crm_api.domain.segments.compiling import Condition, compile_filter
from crm_api.domain.segments.errors import (
    SegmentExistsError,
    SegmentInUseError,
    SegmentNotFoundError,
)
from crm_api.domain.segments.models import Segment
from crm_api.domain.segments.reading import read_filter
from crm_api.domain.segments.references import lost_references, read_with_references
from crm_api.domain.segments.schemas import SegmentCreate, SegmentUpdate


async def create(uow: UnitOfWork, body: SegmentCreate, *, now: datetime) -> Segment:
    """Store a segment.

    Raises:
        InvalidFilterError: The rules have faults, or name a list or campaign that is not there.
        SegmentExistsError: The name is taken; ``segment_id`` says by which.
    """
    await read_with_references(uow, body.filter)
    made = await queries.insert_segment(uow.session, name=body.name, filter_=body.filter, now=now)
    if made is None:
        raise await _taken(uow, body.name)
    return made


async def get(uow: UnitOfWork, *, segment_id: UUID) -> Segment:
    """Fetch a segment.

    Raises:
        SegmentNotFoundError: There is none with this id.
    """
    found = await queries.find(uow.session, segment_id=segment_id)
    if found is None:
        raise SegmentNotFoundError("No segment has this id.")
    return found


async def list_segments(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Segment]:
    """List segments, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("segments")
    rows = await queries.list_segments(uow.session, after=cursors.read(cursor), limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update(
    uow: UnitOfWork, changes: SegmentUpdate, *, segment_id: UUID, now: datetime
) -> Segment:
    """Change a segment; whoever is a recipient of a campaign by its old rules stays one.

    Raises:
        SegmentNotFoundError: There is none with this id.
        InvalidFilterError: The rules have faults, or name a list or campaign that is not there.
        SegmentExistsError: The name is taken; ``segment_id`` says by which.
        SegmentInUseError: The recipients of a campaign are being written down by its rules.
    """
    await _lock(uow, segment_id)
    given = changes.model_dump(exclude_unset=True)
    if "filter" in given:
        await read_with_references(uow, changes.filter)
        await _require_unused(
            uow,
            segment_id,
            only_written_now=True,
            detail="The recipients of a campaign are being written down by these rules. Change "
            "them when that is done, or cancel the campaign.",
        )
    if given:
        try:
            async with uow.session.begin_nested():
                await queries.change(
                    uow.session, segment_id=segment_id, values={**given, "updated_at": now}
                )
        except IntegrityError as error:
            raise await _taken(uow, changes.name) from error
    return await get(uow, segment_id=segment_id)


async def delete(uow: UnitOfWork, *, segment_id: UUID) -> None:
    """Remove a segment; campaigns that were started keep their recipients.

    Raises:
        SegmentNotFoundError: There is none with this id.
        SegmentInUseError: A draft, or a campaign that has yet to begin, names it.
    """
    await _lock(uow, segment_id)
    await _require_unused(
        uow,
        segment_id,
        only_written_now=False,
        detail="Drafts, or campaigns that have yet to begin, name this segment. Give them another "
        "audience, or cancel them.",
    )
    await queries.delete_segment(uow.session, segment_id=segment_id)


async def list_fields(uow: UnitOfWork) -> list[FieldEntry]:
    """List what a rule may name: what every contact has, then custom fields by name."""
    found = await custom_fields.list_fields(uow, archived=False, cursor=None, limit=MOST_FIELDS)
    own = [
        FieldEntry(
            name=f"{ATTRIBUTE_PREFIX}{one.name}",
            label=one.label,
            kind=Kind.ATTRIBUTE,
            operators=OPERATORS[Kind.ATTRIBUTE],
            type=one.type,
            choices=tuple(one.choices),
        )
        for one in sorted(found.data, key=lambda one: one.name)
    ]
    return [*entries(), *own]


async def conditions(
    session: AsyncSession,
    segment_ids: Collection[UUID],
    *,
    now: datetime,
    prefix: str,
    is_negated: bool = False,
    by_person: bool = False,
) -> list[Condition]:
    """Make SQL conditions of stored segments, on ``contact c``, for a statement of another part.

    Each names its own bind values, which begin with the prefix. Until the end of the transaction
    nobody changes or removes the segments.

    Args:
        segment_ids: Ids of segments; those that are not there have no condition.
        now: What their distances are counted from.
        prefix: Begins the names of bind values.
        is_negated: Of everybody else: for those who are left out.
        by_person: Each look-up is a probe for one person, for statements that go page by page.

    Raises:
        SegmentNotFoundError: One of them is not there.
    """
    found = await queries.find_all(session, segment_ids=segment_ids) if segment_ids else []
    if len(found) < len(set(segment_ids)):
        raise SegmentNotFoundError("A segment of the audience is not there any more.")
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
    """Find what is wrong with segments that a campaign names, by pointer.

    One is not there, or it names a list or campaign that is not (or no more): who fits it would be
    other people than was meant. Those that are there stay so until the end of the transaction.
    """
    if not named:
        return []
    found = await queries.find_all(uow.session, segment_ids=set(named.values()))
    known = {segment.id: segment for segment in found}
    problems = []
    for pointer, segment_id in named.items():
        if segment_id not in known:
            detail = "There is no such segment."
            problems.append(FieldProblem(pointer=pointer, code="unknown_segment", detail=detail))
        elif lost := await lost_references(uow, read_filter(known[segment_id].filter)):
            detail = f"The segment {known[segment_id].name!r} has a fault: {lost[0].detail}"
            problems.append(FieldProblem(pointer=pointer, code="broken_segment", detail=detail))
    return problems


async def missing_of(uow: UnitOfWork, segment: Segment) -> list[FieldProblem]:
    """List the lists and campaigns that a segment names and that are no more."""
    return await lost_references(uow, read_filter(segment.filter))


async def _lock(uow: UnitOfWork, segment_id: UUID) -> None:
    if not await queries.lock(uow.session, segment_id=segment_id):
        raise SegmentNotFoundError("No segment has this id.")


async def _require_unused(
    uow: UnitOfWork, segment_id: UUID, *, only_written_now: bool, detail: str
) -> None:
    users = await queries.campaigns_naming(
        uow.session, segment_id=segment_id, only_written_now=only_written_now
    )
    if users:
        raise SegmentInUseError(detail, campaign_ids=[str(one) for one in users])


async def _taken(uow: UnitOfWork, name: str) -> SegmentExistsError:
    holder = await queries.id_of_name(uow.session, name=name)
    return SegmentExistsError("A segment with this name exists.", segment_id=str(holder))
