"""Lists and who is on them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.contacts.schemas import ContactRead
from crm_api.domain.lists import service as lists
from crm_api.domain.lists.schemas import ListCreate, ListRead, ListUpdate, MembersAdd
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, ListUow, Paging, Uow, require

router = APIRouter(prefix="/v1/lists", tags=["lists"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post("", status_code=201)
async def create_list(body: ListCreate, uow: Uow, _caller: Writer) -> ListRead:
    """Make an empty list."""
    async with uow:
        made = await lists.create(uow, name=body.name, now=clock.now())
    return ListRead.of(made)


@router.get("")
async def list_lists(uow: Uow, page: Paging, _caller: Reader) -> PageRead[ListRead]:
    """List lists, newest first, with the number of contacts on each."""
    async with uow:
        found = await lists.list_lists(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(data=[ListRead.of(one) for one in found.data], next_cursor=found.next_cursor)


@router.get("/{list_id}")
async def get_list(list_id: UUID, uow: Uow, _caller: Reader) -> ListRead:
    """Show a list."""
    async with uow:
        found = await lists.get(uow, list_id=list_id)
    return ListRead.of(found)


@router.patch("/{list_id}")
async def update_list(list_id: UUID, body: ListUpdate, uow: Uow, _caller: Writer) -> ListRead:
    """Give a list another name."""
    async with uow:
        found = await lists.update(uow, body, list_id=list_id, now=clock.now())
    return ListRead.of(found)


@router.delete("/{list_id}", status_code=204)
async def delete_list(list_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Remove a list; its contacts stay."""
    async with uow:
        await lists.delete(uow, list_id=list_id)


@router.get("/{list_id}/contacts")
async def list_members(
    list_id: UUID, uow: ListUow, page: Paging, _caller: Reader
) -> PageRead[ContactRead]:
    """List who is on a list, the last added first."""
    async with uow:
        found = await lists.list_members(
            uow, list_id=list_id, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return PageRead(data=[ContactRead.of(one) for one in found.data], next_cursor=found.next_cursor)


@router.post("/{list_id}/contacts")
async def add_members(list_id: UUID, body: MembersAdd, uow: Uow, _caller: Writer) -> ListRead:
    """Put contacts on a list; whoever is on it already stays."""
    async with uow:
        found = await lists.add_members(
            uow, list_id=list_id, contact_ids=body.contact_ids, now=clock.now()
        )
    return ListRead.of(found)


@router.delete("/{list_id}/contacts/{contact_id}", status_code=204)
async def remove_member(list_id: UUID, contact_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Take a contact off a list."""
    async with uow:
        await lists.remove_member(uow, list_id=list_id, contact_id=contact_id)
