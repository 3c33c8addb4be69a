"""Create, list, change and delete segments, and list the fields that their rules may name."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.custom_fields.service import MOST_FIELDS
from crm_api.domain.people.models.lists import Segment
from crm_api.domain.people.segments.catalogue import (
    ATTRIBUTE_PREFIX,
    OPERATORS,
    SegmentFieldKind,
    SegmentFieldRead,
    built_in_fields,
)
from crm_api.domain.people.segments.errors import (
    SegmentExistsError,
    SegmentInUseError,
    SegmentNotFoundError,
)
from crm_api.domain.people.segments.parser import lost_references, read_filter, read_with_references
from crm_api.domain.people.segments.schemas import SegmentCreate, SegmentUpdate
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id


async def create_segment(uow: UnitOfWork, body: SegmentCreate, *, now: datetime) -> Segment:
    """Create a segment.

    Raises:
        InvalidFilterError: The rules are not valid, or name a list or campaign that does not exist.
        SegmentExistsError: Another segment has this name; ``segment_id`` is its id.
    """
    await read_with_references(uow, body.filter)
    values = {
        "id": new_id(),
        "name": body.name,
        "filter": body.filter,
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(Segment).values(values).on_conflict_do_nothing(index_elements=["name"])
    made: Segment | None = await uow.session.scalar(statement.returning(Segment))
    if made is None:
        raise await _taken(uow, body.name)
    return made


async def get_segment(uow: UnitOfWork, *, segment_id: UUID) -> Segment:
    """Return a segment.

    Raises:
        SegmentNotFoundError: No segment has this id.
    """
    return await get_or_raise(uow.session, Segment, segment_id, SegmentNotFoundError)


async def list_segments(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Segment]:
    """Return a page of segments, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    return await read_newest(
        uow.session,
        select(Segment),
        Segment.created_at,
        Segment.id,
        cursors=Cursors("segments"),
        cursor=cursor,
        limit=limit,
    )


async def update_segment(
    uow: UnitOfWork, changes: SegmentUpdate, *, segment_id: UUID, now: datetime
) -> Segment:
    """Change a segment. Recipients that the old rules selected stay recipients.

    Raises:
        SegmentNotFoundError: No segment has this id.
        InvalidFilterError: The rules are not valid, or name an unknown list or campaign.
        SegmentExistsError: Another segment has this name; ``segment_id`` is its id.
        SegmentInUseError: A started campaign still selects recipients with the old rules.
    """
    await _lock(uow, segment_id)
    given = changes.model_dump(exclude_unset=True)
    if "filter" in given:
        await read_with_references(uow, changes.filter)
        await _require_unused(
            uow,
            segment_id,
            only_started=True,
            detail="A started campaign still selects its recipients by these rules; `campaign_ids` "
            "contains its id. Change the rules after the campaign has stored all recipients, or "
            "cancel the campaign.",
        )
    if given:
        changed = update(Segment).where(Segment.id == segment_id)
        try:
            async with uow.session.begin_nested():
                await uow.session.execute(changed.values({**given, "updated_at": now}))
        except IntegrityError as error:
            raise await _taken(uow, changes.name) from error
    return await get_segment(uow, segment_id=segment_id)


async def delete_segment(uow: UnitOfWork, *, segment_id: UUID) -> None:
    """Delete a segment; campaigns that have stored their recipients keep these recipients.

    Raises:
        SegmentNotFoundError: No segment has this id.
        SegmentInUseError: A campaign still needs the segment to select its recipients.
    """
    await _lock(uow, segment_id)
    await _require_unused(
        uow,
        segment_id,
        only_started=False,
        detail="Campaigns still need this segment to find their recipients; `campaign_ids` lists "
        "these campaigns. Give each of them another audience, or cancel it.",
    )
    await uow.session.execute(delete(Segment).where(Segment.id == segment_id))


async def list_fields(uow: UnitOfWork) -> list[SegmentFieldRead]:
    """Return the fields that a rule may name: built-in fields, then custom fields by name."""
    found = await custom_fields.list_fields(uow, archived=False, cursor=None, limit=MOST_FIELDS)
    own = [
        SegmentFieldRead(
            name=f"{ATTRIBUTE_PREFIX}{one.name}",
            label=one.label,
            kind=SegmentFieldKind.ATTRIBUTE,
            operators=list(OPERATORS[SegmentFieldKind.ATTRIBUTE]),
            type=one.type,
            choices=one.choices,
        )
        for one in sorted(found.data, key=lambda one: one.name)
    ]
    return [*built_in_fields(), *own]


async def missing_of(uow: UnitOfWork, segment: Segment) -> list[FieldProblem]:
    """Return an error for each list or campaign that the rules name but that does not exist."""
    return await lost_references(uow, read_filter(segment.filter))


async def _lock(uow: UnitOfWork, segment_id: UUID) -> None:
    """Lock a segment, so that no campaign can begin to use it before the transaction ends."""
    statement = select(Segment.id).where(Segment.id == segment_id).with_for_update()
    if await uow.session.scalar(statement) is None:
        raise SegmentNotFoundError


CAMPAIGNS_NAMING = text("""
    SELECT c.id FROM campaign c
    WHERE (
        c.recipients_total IS NULL AND c.status IN ('scheduled', 'paused', 'blocked')
        OR NOT :only_started AND c.status IN ('draft', 'scheduled')
    ) AND (
        c.audience ->> 'segment_id' = :segment
        OR c.audience -> 'exclude' -> 'segment_ids' ? :segment
    )
    ORDER BY c.id
""")


async def _require_unused(
    uow: UnitOfWork, segment_id: UUID, *, only_started: bool, detail: str
) -> None:
    """Raise ``SegmentInUseError`` if a campaign still needs the segment to select recipients.

    Args:
        only_started: True: check only started campaigns that have not stored all recipients.
            False: also check all drafts and all scheduled campaigns.
    """
    values = {"segment": str(segment_id), "only_started": only_started}
    users = (await uow.session.scalars(CAMPAIGNS_NAMING, values)).all()
    if users:
        raise SegmentInUseError(detail, campaign_ids=[str(one) for one in users])


async def _taken(uow: UnitOfWork, name: str) -> SegmentExistsError:
    holder = await id_of_name(uow.session, name=name)
    return SegmentExistsError(
        "Another segment has this name. Change that segment, or choose another name.",
        segment_id=str(holder),
    )


async def id_of_name(session: AsyncSession, *, name: str) -> UUID | None:
    """Return the id of the segment that has this name; None if no segment has the name."""
    return await session.scalar(select(Segment.id).where(Segment.name == name))
