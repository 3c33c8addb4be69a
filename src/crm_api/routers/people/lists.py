"""Routes of lists and the contacts on them."""

from typing import Annotated
from uuid import UUID

from fastapi import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.dry_runs import make_call
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.contacts.schemas import ContactRead
from crm_api.domain.people.lists import service as lists
from crm_api.domain.people.lists.schemas import (
    ListCreate,
    ListRead,
    ListUpdate,
    MembersAdd,
    MembersAdded,
)
from crm_api.platform import clock
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer
from crm_api.routers.http.deps import Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.dry_run_calls import ThisCall
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.people.contacts import CONTACTS_AS_CSV

router = ResourceRouter(prefix="/v1/lists", tags=["lists"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post("", status_code=201, openapi_extra=fails_with("list_exists"))
async def create_list(body: ListCreate, uow: Uow, _caller: Writer) -> ListRead:
    """Create an empty list of contacts."""
    async with uow:
        made = await lists.create_list(uow, name=body.name, now=clock.now())
    return ListRead.of(made)


@router.get("")
async def list_lists(uow: Uow, page: Paging, _caller: Reader) -> PageRead[ListRead]:
    """List all contact lists, newest first, with the number of contacts on each."""
    async with uow:
        found = await lists.list_lists(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, ListRead.of)


@router.get("/{list_id}")
async def get_list(list_id: UUID, uow: Uow, _caller: Reader) -> ListRead:
    """Show a list with its number of contacts."""
    async with uow:
        found = await lists.get_list(uow, list_id=list_id)
    return ListRead.of(found)


@router.patch("/{list_id}", openapi_extra=fails_with("list_exists"))
async def update_list(list_id: UUID, body: ListUpdate, uow: Uow, _caller: Writer) -> ListRead:
    """Rename a list."""
    async with uow:
        found = await lists.rename_list(uow, body, list_id=list_id, now=clock.now())
    return ListRead.of(found)


@router.delete("/{list_id}", status_code=204)
async def delete_list(list_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a list. Its contacts are not deleted."""
    async with uow:
        await lists.delete_list(uow, list_id=list_id)


@router.get("/{list_id}/contacts", response_model=PageRead[ContactRead], responses=CONTACTS_AS_CSV)
async def list_members(
    list_id: UUID,
    *,
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    _caller: Reader,
) -> PageRead[ContactRead] | Response:
    """List the contacts on a list, the most recently added first.

    A CSV response contains all contacts on the list.
    """
    if as_csv:
        rows = await lists.members_csv(state.new_list_uow, list_id=list_id, now=clock.now())
        return csv_answer(rows, name="list")
    async with uow:
        found = await lists.list_members(
            uow, list_id=list_id, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return PageRead.of(found, ContactRead.of)


@router.post(
    "/{list_id}/contacts",
    response_model_exclude_unset=True,
    openapi_extra=fails_with("unknown_contacts"),
)
async def add_members(
    list_id: UUID, body: MembersAdd, uow: Uow, call: ThisCall, caller: Writer
) -> MembersAdded:
    """Add contacts to a list. Contacts that are already on the list do not change."""

    async def act() -> MembersAdded:
        found = await lists.add_members(
            uow, list_id=list_id, contact_ids=body.contact_ids, now=clock.now()
        )
        return MembersAdded.after(found, named=len(set(body.contact_ids)))

    async with uow:
        return await make_call(uow, call.by(caller), body, act)


@router.delete(
    "/{list_id}/contacts/{contact_id}",
    status_code=204,
    openapi_extra=fails_with("list_member_not_found", "list_not_found"),
)
async def remove_member(list_id: UUID, contact_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Remove a contact from a list. The contact is not deleted."""
    async with uow:
        await lists.remove_member(uow, list_id=list_id, contact_id=contact_id)
