"""Routes of segments, their contacts, and the reasons why a contact is in a segment."""

from typing import Annotated
from uuid import UUID

from fastapi import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.contacts.schemas import ContactRead
from crm_api.domain.people.segments import people
from crm_api.domain.people.segments import service as segments
from crm_api.domain.people.segments.schemas import (
    SegmentCount,
    SegmentCreate,
    SegmentDetail,
    SegmentExplanation,
    SegmentFieldsRead,
    SegmentPreview,
    SegmentPreviewRead,
    SegmentRead,
    SegmentUpdate,
)
from crm_api.platform import clock
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer
from crm_api.routers.http.deps import Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.people.contacts import CONTACTS_AS_CSV

router = ResourceRouter(prefix="/v1/segments", tags=["segments"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post("", status_code=201, openapi_extra=fails_with("invalid_filter", "segment_exists"))
async def create_segment(body: SegmentCreate, uow: Uow, _caller: Writer) -> SegmentRead:
    """Create a segment: rules that select contacts each time the segment is used."""
    async with uow:
        made = await segments.create_segment(uow, body, now=clock.now())
    return SegmentRead.model_validate(made)


@router.get("")
async def list_segments(uow: Uow, page: Paging, _caller: Reader) -> PageRead[SegmentRead]:
    """List segments, newest first. A segment is a set of rules that select contacts."""
    async with uow:
        found = await segments.list_segments(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, SegmentRead.model_validate)


@router.get("/fields")
async def list_segment_fields(uow: Uow, _caller: Reader) -> SegmentFieldsRead:
    """List the fields that a rule may use, and the operators that each field allows."""
    async with uow:
        found = await segments.list_fields(uow)
    return SegmentFieldsRead(data=found)


@router.post("/preview", openapi_extra=fails_with("invalid_filter"))
async def preview_segment(body: SegmentPreview, uow: Uow, _caller: Reader) -> SegmentPreviewRead:
    """Try rules without storing them: count the contacts that match, and show some of them."""
    async with uow:
        return await people.preview_segment(
            uow, body.filter, limit=body.limit, with_count=body.count, now=clock.now()
        )


@router.get("/{segment_id}")
async def get_segment(segment_id: UUID, uow: Uow, _caller: Reader) -> SegmentDetail:
    """Show a segment, and which lists and campaigns in its rules no longer exist."""
    async with uow:
        found = await segments.get_segment(uow, segment_id=segment_id)
        missing = await segments.missing_of(uow, found)
    return SegmentDetail.with_missing(found, missing)


@router.patch(
    "/{segment_id}", openapi_extra=fails_with("invalid_filter", "segment_exists", "segment_in_use")
)
async def update_segment(
    segment_id: UUID, body: SegmentUpdate, uow: Uow, _caller: Writer
) -> SegmentRead:
    """Change a segment. A campaign keeps the recipients that the old rules selected."""
    async with uow:
        found = await segments.update_segment(uow, body, segment_id=segment_id, now=clock.now())
    return SegmentRead.model_validate(found)


@router.delete("/{segment_id}", status_code=204, openapi_extra=fails_with("segment_in_use"))
async def delete_segment(segment_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a segment. This is refused while a campaign needs the segment to select recipients."""
    async with uow:
        await segments.delete_segment(uow, segment_id=segment_id)


@router.get("/{segment_id}/count")
async def count_segment(segment_id: UUID, uow: ListUow, _caller: Reader) -> SegmentCount:
    """Count the contacts that match a segment now."""
    async with uow:
        found = await people.count_segment(uow, segment_id=segment_id, now=clock.now())
    return SegmentCount(count=found)


@router.get(
    "/{segment_id}/contacts", response_model=PageRead[ContactRead], responses=CONTACTS_AS_CSV
)
async def list_segment_contacts(
    segment_id: UUID,
    *,
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    _caller: Reader,
) -> PageRead[ContactRead] | Response:
    """List the contacts that match a segment now, newest first.

    A CSV response contains all contacts that match.
    """
    if as_csv:
        rows = await people.people_of_segment_csv(
            state.new_list_uow, segment_id=segment_id, now=clock.now()
        )
        return csv_answer(rows, name="segment")
    async with uow:
        found = await people.list_people(
            uow, segment_id=segment_id, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return PageRead.of(found, ContactRead.of)


@router.get("/{segment_id}/contacts/{contact_id}/explain")
async def explain_segment(
    segment_id: UUID, contact_id: UUID, uow: Uow, _caller: Reader
) -> SegmentExplanation:
    """Explain why a contact is or is not in a segment: each rule with the contact's value."""
    async with uow:
        return await people.explain_segment(
            uow, segment_id=segment_id, contact_id=contact_id, now=clock.now()
        )
