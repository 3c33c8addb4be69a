"""Duplicates: merged into one person, and taken apart again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.merging import candidates
from crm_api.domain.merging import service as merging
from crm_api.domain.merging.schemas import (
    CandidateRead,
    MergedContactRead,
    MergeRead,
    MergeRequest,
)
from crm_api.domain.merging.undoing import undo
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, State, Uow, require

router = APIRouter(tags=["merging"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post("/v1/contacts/merge")
async def merge_contacts(
    body: MergeRequest, uow: Uow, state: State, caller: Writer
) -> MergedContactRead:
    """Make duplicates one person with the primary; the strictest consent holds for all numbers."""
    async with uow:
        contact, made = await merging.merge(
            uow,
            primary_id=body.primary_id,
            duplicate_ids=body.duplicate_ids,
            actor=caller.name,
            secret=state.secret,
            now=clock.now(),
        )
    return MergedContactRead.after(contact, made)


@router.get("/v1/contacts/merge-candidates")
async def list_candidates(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    contact_id: Annotated[UUID | None, Query(description="Only pairs of this contact.")] = None,
    min_score: Annotated[int, Query(ge=0, le=100)] = 0,
) -> PageRead[CandidateRead]:
    """List pairs of contacts that may be one person, the surest first; found in the background."""
    async with uow:
        found = await candidates.list_candidates(
            uow,
            contact_id=contact_id,
            min_score=min_score,
            cursor=page.cursor,
            limit=page.limit,
            now=clock.now(),
        )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.post("/v1/contacts/merge-candidates/{candidate_id}/dismiss", status_code=204)
async def dismiss_candidate(candidate_id: UUID, uow: Uow, caller: Writer) -> None:
    """Say that these are two people: the pair does not come back."""
    async with uow:
        await candidates.dismiss(uow, candidate_id=candidate_id, actor=caller.name, now=clock.now())


@router.get("/v1/contact-merges")
async def list_merges(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    contact_id: Annotated[
        UUID | None, Query(description="Only those in which this contact was either side.")
    ] = None,
) -> PageRead[MergeRead]:
    """List merges, newest first."""
    async with uow:
        found = await merging.list_merges(
            uow, contact_id=contact_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead(data=[MergeRead.of(one) for one in found.data], next_cursor=found.next_cursor)


@router.get("/v1/contact-merges/{merge_id}")
async def get_merge(merge_id: UUID, uow: Uow, _caller: Reader) -> MergeRead:
    """Show a merge."""
    async with uow:
        found = await merging.get(uow, merge_id=merge_id)
    return MergeRead.of(found)


@router.post("/v1/contact-merges/{merge_id}/undo")
async def undo_merge(merge_id: UUID, uow: Uow, caller: Writer) -> MergeRead:
    """Bring the duplicates back; edits made since stay, and consent is never loosened."""
    async with uow:
        merge = await undo(uow, merge_id=merge_id, actor=caller.name, now=clock.now())
    return MergeRead.of(merge)
