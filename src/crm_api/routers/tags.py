"""Tags over all contacts: counted, changed for many at once, renamed, taken off everybody."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.schemas import PageRead
from crm_api.domain.tags import service as tags
from crm_api.domain.tags.models import TagChange, TagChangeStatus
from crm_api.domain.tags.schemas import TagChangeRead, TagName, TagRead, TagRename, TagsRequest
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(tags=["tags"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]
Tag = Annotated[TagName, Path(description="As it stands on contacts.")]
LARGE: dict[int | str, dict[str, Any]] = {
    202: {"model": TagChangeRead, "description": "A large one: what is left goes on."}
}


@router.post("/v1/contacts/tags", responses=LARGE)
async def change_tags(
    body: TagsRequest, uow: Uow, response: Response, caller: Writer
) -> TagChangeRead:
    """Put tags on, and take them off, many contacts; `dry_run` only counts them."""
    async with uow:
        if body.dry_run:
            matched = await tags.count_people(uow, body, now=clock.now())
            return TagChangeRead.counted(body, matched)
        change = await tags.change(uow, body, actor=caller.name, now=clock.now())
    return _told(change, response)


@router.get("/v1/tags")
async def list_tags(uow: Uow, page: Paging, _caller: Reader) -> PageRead[TagRead]:
    """List the tags by name, with how many contacts have each."""
    async with uow:
        found = await tags.list_tags(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.patch("/v1/tags/{tag:path}", responses=LARGE)
async def rename_tag(
    tag: Tag, body: TagRename, uow: Uow, response: Response, caller: Writer
) -> TagChangeRead:
    """Give a tag another name on all contacts; whoever has both keeps one."""
    async with uow:
        change = await tags.rename(uow, tag=tag, name=body.name, actor=caller.name, now=clock.now())
    return _told(change, response)


@router.delete("/v1/tags/{tag:path}", responses=LARGE)
async def delete_tag(tag: Tag, uow: Uow, response: Response, caller: Writer) -> TagChangeRead:
    """Take a tag off all contacts."""
    async with uow:
        change = await tags.delete(uow, tag=tag, actor=caller.name, now=clock.now())
    return _told(change, response)


@router.get("/v1/tag-changes/{change_id}")
async def get_tag_change(change_id: UUID, uow: Uow, _caller: Reader) -> TagChangeRead:
    """Show how far a change of tags has come."""
    async with uow:
        change = await tags.get_change(uow, change_id=change_id)
    return TagChangeRead.of(change)


def _told(change: TagChange, response: Response) -> TagChangeRead:
    """A change that is not over is answered 202."""
    if change.status == TagChangeStatus.RUNNING:
        response.status_code = 202
    return TagChangeRead.of(change)
