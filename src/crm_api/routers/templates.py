"""Saved texts, to be used in campaigns again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.schemas import PageRead
from crm_api.domain.templates import service as templates
from crm_api.domain.templates.schemas import TemplateCreate, TemplateRead, TemplateUpdate
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1/templates", tags=["templates"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, require(Scope.CAMPAIGNS_WRITE)]


@router.post("", status_code=201)
async def create_template(body: TemplateCreate, uow: Uow, _caller: Writer) -> TemplateRead:
    """Save a text; it is checked as the texts of campaigns are."""
    async with uow:
        made = await templates.create(uow, body, now=clock.now())
    return TemplateRead.of(made)


@router.get("")
async def list_templates(uow: Uow, page: Paging, _caller: Reader) -> PageRead[TemplateRead]:
    """List saved texts, newest first."""
    async with uow:
        found = await templates.list_templates(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[TemplateRead.of(one) for one in found.data], next_cursor=found.next_cursor
    )


@router.get("/{template_id}")
async def get_template(template_id: UUID, uow: Uow, _caller: Reader) -> TemplateRead:
    """Show a saved text."""
    async with uow:
        found = await templates.get(uow, template_id=template_id)
    return TemplateRead.of(found)


@router.patch("/{template_id}")
async def update_template(
    template_id: UUID, body: TemplateUpdate, uow: Uow, _caller: Writer
) -> TemplateRead:
    """Change a saved text; campaigns that copied it keep what they have."""
    async with uow:
        found = await templates.update(uow, body, template_id=template_id, now=clock.now())
    return TemplateRead.of(found)


@router.delete("/{template_id}", status_code=204)
async def delete_template(template_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Remove a saved text; campaigns that copied it keep what they have."""
    async with uow:
        await templates.delete(uow, template_id=template_id)
