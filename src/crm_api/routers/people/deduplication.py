"""Routes to find duplicate contacts, merge them and undo merges."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.dry_runs import make_call
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.deduplication import candidates, undo
from crm_api.domain.people.deduplication import merge as merging
from crm_api.domain.people.deduplication.schemas import (
    CandidateRead,
    MergedContactRead,
    MergeRead,
    MergeRequest,
)
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.dry_run_calls import ThisCall
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(tags=["merging"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post(
    "/v1/contacts/merge",
    response_model_exclude_unset=True,
    openapi_extra=fails_with(
        "contact_not_found", "contacts_changed", "merge_with_itself", "unknown_duplicates"
    ),
)
async def merge_contacts(
    body: MergeRequest, uow: Uow, state: State, call: ThisCall, caller: Writer
) -> MergedContactRead:
    """Merge duplicates into the primary contact.

    An opt-out, a hold or the flag `do_not_contact` of one contact is copied to all merged numbers.
    A hold (no campaign messages until a user decides) is not copied if a contact is opted out.
    """

    async def act() -> MergedContactRead:
        contact, made = await merging.merge_contacts(
            uow,
            primary_id=body.primary_id,
            duplicate_ids=body.duplicate_ids,
            actor=caller.name,
            secret=state.secret,
            now=await uow.database_now(),
        )
        return MergedContactRead.after(contact, made)

    async with uow:
        answer = await make_call(
            uow,
            call.by(caller),
            body,
            act,
            basis=lambda read: [sorted(map(str, read.merged_ids)), read.flags],
        )
    return answer.model_copy(update={"merge_id": None}) if body.dry_run else answer


@router.get("/v1/contacts/merge-candidates")
async def list_candidates(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    contact_id: Annotated[UUID | None, Query(description="Only pairs with this contact.")] = None,
    min_score: Annotated[
        int,
        Query(
            ge=0,
            le=100,
            description="Only pairs with at least this score, from 0 to 100.",
            examples=[60],
        ),
    ] = 0,
) -> PageRead[CandidateRead]:
    """List pairs of contacts that may be the same person, the most certain first.

    The pairs are found in the background.
    """
    async with uow:
        found = await candidates.list_candidates(
            uow,
            contact_id=contact_id,
            min_score=min_score,
            cursor=page.cursor,
            limit=page.limit,
            now=await uow.database_now(),
        )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.post("/v1/contacts/merge-candidates/{candidate_id}/dismiss", status_code=204)
async def dismiss_candidate(candidate_id: UUID, uow: Uow, caller: Writer) -> None:
    """Dismiss a pair of contacts that are two different people. The pair is not suggested again."""
    async with uow:
        await candidates.dismiss(
            uow, candidate_id=candidate_id, actor=caller.name, now=await uow.database_now()
        )


@router.get("/v1/contact-merges")
async def list_merges(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    contact_id: Annotated[
        UUID | None, Query(description="Only merges that this contact was part of.")
    ] = None,
) -> PageRead[MergeRead]:
    """List merges of contacts, newest first."""
    async with uow:
        found = await undo.list_merges(
            uow, contact_id=contact_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, MergeRead.model_validate)


@router.get("/v1/contact-merges/{merge_id}")
async def get_merge(merge_id: UUID, uow: Uow, _caller: Reader) -> MergeRead:
    """Show a merge of contacts."""
    async with uow:
        found = await undo.get_merge(uow, merge_id=merge_id)
    return MergeRead.model_validate(found)


@router.post(
    "/v1/contact-merges/{merge_id}/undo",
    openapi_extra=fails_with("merge_not_undoable", "merge_undone"),
)
async def undo_merge(merge_id: UUID, uow: Uow, caller: Writer) -> MergeRead:
    """Undo a merge: restore the duplicates. Opted-out numbers stay opted out.

    Edits of the primary contact after the merge are not undone.
    """
    async with uow:
        merge = await undo.undo_merge(
            uow, merge_id=merge_id, actor=caller.name, now=await uow.database_now()
        )
    return MergeRead.model_validate(merge)
