"""Routes for the tags of all contacts: list, change for many contacts, rename, remove."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.models.contacts import TagChange, TagChangeStatus
from crm_api.domain.people.tags import tag_changes, tag_counts
from crm_api.domain.people.tags.schemas import (
    TagChangeRead,
    TagName,
    TagRead,
    TagRename,
    TagsRequest,
)
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(tags=["tags"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]
Tag = Annotated[TagName, Path(description="The name of the tag.", examples=["homeowner"])]
LARGE: dict[int | str, dict[str, Any]] = {
    202: {
        "model": TagChangeRead,
        "description": "The change is large: some contacts are changed later, in the background.",
    }
}


@router.post(
    "/v1/contacts/tags", responses=LARGE, openapi_extra=fails_with("tag_people", "unsearchable")
)
async def change_tags(
    body: TagsRequest, uow: Uow, response: Response, caller: Writer
) -> TagChangeRead:
    """Add tags to the selected contacts, and remove tags from the selected contacts.

    A dry run changes nothing and only counts the contacts.
    """
    async with uow:
        if body.dry_run:
            matched = await tag_changes.count_people(uow, body, now=clock.now())
            return TagChangeRead.counted(body, matched)
        change = await tag_changes.change_tags(uow, body, actor=caller.name, now=clock.now())
    return _answer(change, response)


@router.get("/v1/tags")
async def list_tags(uow: Uow, page: Paging, _caller: Reader) -> PageRead[TagRead]:
    """List the tags by name, each with the number of its contacts."""
    async with uow:
        found = await tag_counts.list_tags(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.patch("/v1/tags/{tag:path}", responses=LARGE)
async def rename_tag(
    tag: Tag, body: TagRename, uow: Uow, response: Response, caller: Writer
) -> TagChangeRead:
    """Rename a tag on all contacts.

    A contact that already has the old and the new tag keeps only the new tag.
    """
    async with uow:
        change = await tag_changes.rename_tag(
            uow, tag=tag, name=body.name, actor=caller.name, now=clock.now()
        )
    return _answer(change, response)


@router.delete("/v1/tags/{tag:path}", responses=LARGE)
async def delete_tag(tag: Tag, uow: Uow, response: Response, caller: Writer) -> TagChangeRead:
    """Remove a tag from all contacts."""
    async with uow:
        change = await tag_changes.delete_tag(uow, tag=tag, actor=caller.name, now=clock.now())
    return _answer(change, response)


@router.get("/v1/tag-changes/{change_id}")
async def get_tag_change(change_id: UUID, uow: Uow, _caller: Reader) -> TagChangeRead:
    """Show the progress of a tag change."""
    async with uow:
        change = await tag_changes.get_tag_change(uow, change_id=change_id)
    return TagChangeRead.model_validate(change)


def _answer(change: TagChange, response: Response) -> TagChangeRead:
    """Return the change; the response has status 202 if the change is still running."""
    if change.status == TagChangeStatus.RUNNING:
        response.status_code = 202
    return TagChangeRead.model_validate(change)
