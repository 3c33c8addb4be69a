"""Routes of templates: saved message bodies that campaigns can copy."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api.domain.campaigns.templates import service as templates
from crm_api.domain.campaigns.templates.schemas import TemplateCreate, TemplateRead, TemplateUpdate
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.route_notes import fails_with

router = APIRouter(prefix="/v1/templates", tags=["templates"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, require(Scope.CAMPAIGNS_WRITE)]


@router.post("", status_code=201, openapi_extra=fails_with("invalid_template", "template_exists"))
async def create_template(body: TemplateCreate, uow: Uow, _caller: Writer) -> TemplateRead:
    """Create a template: a saved message body that campaigns can copy."""
    async with uow:
        made = await templates.create_template(uow, body, now=clock.now())
    return TemplateRead.of(made)


@router.get("")
async def list_templates(uow: Uow, page: Paging, _caller: Reader) -> PageRead[TemplateRead]:
    """List all templates, newest first."""
    async with uow:
        found = await templates.list_templates(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[TemplateRead.of(one) for one in found.data], next_cursor=found.next_cursor
    )


@router.get("/{template_id}")
async def get_template(template_id: UUID, uow: Uow, _caller: Reader) -> TemplateRead:
    """Return one template."""
    async with uow:
        found = await templates.read_template(uow, template_id=template_id)
    return TemplateRead.of(found)


@router.patch("/{template_id}", openapi_extra=fails_with("invalid_template", "template_exists"))
async def update_template(
    template_id: UUID, body: TemplateUpdate, uow: Uow, _caller: Writer
) -> TemplateRead:
    """Change the name or the body of a template. Campaigns that copied its body do not change."""
    async with uow:
        found = await templates.update_template(uow, body, template_id=template_id, now=clock.now())
    return TemplateRead.of(found)


@router.delete("/{template_id}", status_code=204)
async def delete_template(template_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a template. Campaigns that copied its body do not change."""
    async with uow:
        await templates.delete_template(uow, template_id=template_id)
