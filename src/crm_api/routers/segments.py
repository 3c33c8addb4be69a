"""Segments, who fits them, and why."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.contacts.schemas import ContactRead
from crm_api.domain.schemas import PageRead
from crm_api.domain.segments import people
from crm_api.domain.segments import service as segments
from crm_api.domain.segments.schemas import (
    FieldRead,
    FieldsRead,
    SegmentCount,
    SegmentCreate,
    SegmentDetail,
    SegmentExplanation,
    SegmentPreview,
    SegmentPreviewRead,
    SegmentRead,
    SegmentUpdate,
)
from crm_api.routers.deps import Caller, ListUow, Paging, Uow, require

router = APIRouter(prefix="/v1/segments", tags=["segments"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post("", status_code=201)
async def create_segment(body: SegmentCreate, uow: Uow, _caller: Writer) -> SegmentRead:
    """Store a segment: people by rules, asked anew each time."""
    async with uow:
        made = await segments.create(uow, body, now=clock.now())
    return SegmentRead.of(made)


@router.get("")
async def list_segments(uow: Uow, page: Paging, _caller: Reader) -> PageRead[SegmentRead]:
    """List segments, newest first."""
    async with uow:
        found = await segments.list_segments(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(data=[SegmentRead.of(one) for one in found.data], next_cursor=found.next_cursor)


@router.get("/fields")
async def list_segment_fields(uow: Uow, _caller: Reader) -> FieldsRead:
    """List the fields that a rule may name, and the operators of each."""
    async with uow:
        found = await segments.list_fields(uow)
    return FieldsRead(data=[FieldRead.model_validate(one) for one in found])


@router.post("/preview")
async def preview_segment(body: SegmentPreview, uow: Uow, _caller: Reader) -> SegmentPreviewRead:
    """Count who fits rules that are not stored, and show some of them."""
    async with uow:
        found = await people.preview(
            uow, body.filter, limit=body.limit, with_count=body.count, now=clock.now()
        )
    return SegmentPreviewRead(
        count=found.count, sample=[ContactRead.of(one) for one in found.sample]
    )


@router.get("/{segment_id}")
async def get_segment(segment_id: UUID, uow: Uow, _caller: Reader) -> SegmentDetail:
    """Show a segment, and what of its rules names a list or campaign that is no more."""
    async with uow:
        found = await segments.get(uow, segment_id=segment_id)
        missing = await segments.missing_of(uow, found)
    return SegmentDetail.with_missing(found, missing)


@router.patch("/{segment_id}")
async def update_segment(
    segment_id: UUID, body: SegmentUpdate, uow: Uow, _caller: Writer
) -> SegmentRead:
    """Change a segment; whoever became a recipient by its old rules stays one."""
    async with uow:
        found = await segments.update(uow, body, segment_id=segment_id, now=clock.now())
    return SegmentRead.of(found)


@router.delete("/{segment_id}", status_code=204)
async def delete_segment(segment_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Remove a segment; refused while a campaign that was not started yet names it."""
    async with uow:
        await segments.delete(uow, segment_id=segment_id)


@router.get("/{segment_id}/count")
async def count_segment(segment_id: UUID, uow: ListUow, _caller: Reader) -> SegmentCount:
    """Count who fits a segment now."""
    async with uow:
        found = await people.count(uow, segment_id=segment_id, now=clock.now())
    return SegmentCount(count=found)


@router.get("/{segment_id}/contacts")
async def list_segment_contacts(
    segment_id: UUID, uow: ListUow, page: Paging, _caller: Reader
) -> PageRead[ContactRead]:
    """List who fits a segment now, the last added first."""
    async with uow:
        found = await people.list_people(
            uow, segment_id=segment_id, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return PageRead(data=[ContactRead.of(one) for one in found.data], next_cursor=found.next_cursor)


@router.get("/{segment_id}/contacts/{contact_id}/explain")
async def explain_segment(
    segment_id: UUID, contact_id: UUID, uow: Uow, _caller: Reader
) -> SegmentExplanation:
    """Say why a person is in a segment or not: each rule, and what the person has."""
    async with uow:
        found = await people.explain(
            uow, segment_id=segment_id, contact_id=contact_id, now=clock.now()
        )
    return SegmentExplanation.of(found.verdicts, segment_id=segment_id, contact_id=found.contact_id)
