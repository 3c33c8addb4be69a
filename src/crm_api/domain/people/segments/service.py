"""Create, change and delete segments, and compile them to SQL conditions of an audience."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.custom_fields.service import MOST_FIELDS
from crm_api.domain.people.models.segments import Segment
from crm_api.domain.people.segments import queries
from crm_api.domain.people.segments.catalogue import (
    ATTRIBUTE_PREFIX,
    OPERATORS,
    FieldEntry,
    SegmentFieldKind,
    built_in_fields,
)
from crm_api.domain.people.segments.compiler import Condition, compile_filter
from crm_api.domain.people.segments.errors import (
    SegmentExistsError,
    SegmentInUseError,
    SegmentNotFoundError,
)
from crm_api.domain.people.segments.parser import read_filter
from crm_api.domain.people.segments.references import lost_references, read_with_references
from crm_api.domain.people.segments.schemas import SegmentCreate, SegmentUpdate
from crm_api.platform.database import UnitOfWork


async def create_segment(uow: UnitOfWork, body: SegmentCreate, *, now: datetime) -> Segment:
    """Create a segment.

    Raises:
        InvalidFilterError: The rules are not valid, or name a list or campaign that does not exist.
        SegmentExistsError: Another segment has this name; ``segment_id`` is its id.
    """
    await read_with_references(uow, body.filter)
    made = await queries.insert_segment(uow.session, name=body.name, filter_=body.filter, now=now)
    if made is None:
        raise await _taken(uow, body.name)
    return made


async def get_segment(uow: UnitOfWork, *, segment_id: UUID) -> Segment:
    """Return a segment.

    Raises:
        SegmentNotFoundError: No segment has this id.
    """
    found = await queries.find_segment(uow.session, segment_id=segment_id)
    if found is None:
        raise SegmentNotFoundError("No segment has this id.")
    return found


async def list_segments(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Segment]:
    """Return a page of segments, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("segments")
    rows = await queries.list_segments(uow.session, after=cursors.read(cursor), limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update_segment(
    uow: UnitOfWork, changes: SegmentUpdate, *, segment_id: UUID, now: datetime
) -> Segment:
    """Change a segment; recipients that its old rules selected stay recipients.

    Raises:
        SegmentNotFoundError: No segment has this id.
        InvalidFilterError: The rules are not valid, or name a list or campaign that does not exist.
        SegmentExistsError: Another segment has this name; ``segment_id`` is its id.
        SegmentInUseError: A started campaign is still selecting its recipients by the old rules.
    """
    await _lock(uow, segment_id)
    given = changes.model_dump(exclude_unset=True)
    if "filter" in given:
        await read_with_references(uow, changes.filter)
        await _require_unused(
            uow,
            segment_id,
            only_written_now=True,
            detail="A started campaign still selects its recipients by these rules. Change the "
            "rules when it has stored all recipients, or cancel the campaign. `campaign_ids` names "
            "it.",
        )
    if given:
        try:
            async with uow.session.begin_nested():
                await queries.change_segment(
                    uow.session, segment_id=segment_id, values={**given, "updated_at": now}
                )
        except IntegrityError as error:
            raise await _taken(uow, changes.name) from error
    return await get_segment(uow, segment_id=segment_id)


async def delete_segment(uow: UnitOfWork, *, segment_id: UUID) -> None:
    """Delete a segment; campaigns that have stored their recipients keep them.

    Raises:
        SegmentNotFoundError: No segment has this id.
        SegmentInUseError: A campaign still needs the segment to select its recipients.
    """
    await _lock(uow, segment_id)
    await _require_unused(
        uow,
        segment_id,
        only_written_now=False,
        detail="Campaigns that have not started use this segment; `campaign_ids` lists them. Give "
        "them another audience, or cancel them.",
    )
    await queries.delete_segment(uow.session, segment_id=segment_id)


async def list_fields(uow: UnitOfWork) -> list[FieldEntry]:
    """Return the fields that a rule may name: built-in fields, then custom fields by name."""
    found = await custom_fields.list_fields(uow, archived=False, cursor=None, limit=MOST_FIELDS)
    own = [
        FieldEntry(
            name=f"{ATTRIBUTE_PREFIX}{one.name}",
            label=one.label,
            kind=SegmentFieldKind.ATTRIBUTE,
            operators=OPERATORS[SegmentFieldKind.ATTRIBUTE],
            type=one.type,
            choices=tuple(one.choices),
        )
        for one in sorted(found.data, key=lambda one: one.name)
    ]
    return [*built_in_fields(), *own]


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
        now: Periods such as "the last 30 days" end here.
        prefix: Beginning of the names of the bind values.
        is_negated: Match the contacts that are not in the segment, for an exclusion.
        by_person: Look up other tables once per contact, for a statement that reads a page of
            contacts.

    Raises:
        SegmentNotFoundError: One of the segments does not exist.
    """
    found = await queries.lock_segments(session, segment_ids=segment_ids) if segment_ids else []
    if len(found) < len(set(segment_ids)):
        raise SegmentNotFoundError(
            "A segment of the audience was deleted; choose another audience."
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

    A segment has a problem if it does not exist, or if its rules name a deleted list or campaign,
    because it would then match other contacts than intended. The segments are locked against
    changes until the transaction ends.

    Args:
        named: The id of a segment, by its JSON pointer in the request.
    """
    if not named:
        return []
    found = await queries.lock_segments(uow.session, segment_ids=set(named.values()))
    known = {segment.id: segment for segment in found}
    problems = []
    for pointer, segment_id in named.items():
        if segment_id not in known:
            detail = "No segment has this id."
            problems.append(FieldProblem(pointer=pointer, code="unknown_segment", detail=detail))
        elif lost := await lost_references(uow, read_filter(known[segment_id].filter)):
            detail = (
                f"A rule of the segment {known[segment_id].name!r} is not valid: {lost[0].detail}"
            )
            problems.append(FieldProblem(pointer=pointer, code="broken_segment", detail=detail))
    return problems


async def missing_of(uow: UnitOfWork, segment: Segment) -> list[FieldProblem]:
    """Return a problem for each deleted list or campaign that the rules of a segment name."""
    return await lost_references(uow, read_filter(segment.filter))


async def _lock(uow: UnitOfWork, segment_id: UUID) -> None:
    if not await queries.lock_segment(uow.session, segment_id=segment_id):
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
    return SegmentExistsError(
        "Another segment has this name. Change that segment, or choose another name.",
        segment_id=str(holder),
    )
