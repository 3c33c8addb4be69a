"""Routes of templates. A template is a saved message body that campaigns can copy."""

from typing import Annotated
from uuid import UUID

from fastapi import Response

from crm_api.domain.campaigns.figures import campaign_stats
from crm_api.domain.campaigns.figures.schemas import TemplateStats
from crm_api.domain.campaigns.templates import approval
from crm_api.domain.campaigns.templates import service as templates
from crm_api.domain.campaigns.templates.schemas import (
    TemplateCreate,
    TemplateDecision,
    TemplateRead,
    TemplateRejection,
    TemplateUpdate,
)
from crm_api.domain.campaigns.templates.versions import Author
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, ListUow, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/templates", tags=["templates"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, require(Scope.CAMPAIGNS_WRITE)]
Approver = Annotated[Caller, require(Scope.ADMIN)]


def _author(caller: Caller) -> Author:
    return Author(id=caller.id, name=caller.name)


@router.post("", status_code=201, openapi_extra=fails_with("invalid_template", "template_exists"))
async def create_template(body: TemplateCreate, uow: Uow, caller: Writer) -> TemplateRead:
    """Create a template, which is a saved message body that campaigns can copy.

    The first version of the template is a draft.
    """
    async with uow:
        made = await templates.create_template(uow, body, author=_author(caller), now=clock.now())
    return TemplateRead.of(made)


@router.get("", response_model=PageRead[TemplateRead], responses=csv_list_of(TemplateRead))
async def list_templates(listed: Listed, _caller: Reader) -> PageRead[TemplateRead] | Response:
    """List all templates, newest first. A CSV response contains all templates."""

    async def read_page(uow: UnitOfWork, cursor: str | None, limit: int) -> PageRead[TemplateRead]:
        found = await templates.list_templates(uow, cursor=cursor, limit=limit)
        return PageRead.of(found, TemplateRead.of)

    return await listed.respond(TemplateRead, read_page, name="templates")


@router.get("/{template_id}")
async def get_template(template_id: UUID, uow: Uow, _caller: Reader) -> TemplateRead:
    """Return one template with its versions."""
    async with uow:
        found = await templates.read_template(uow, template_id=template_id)
    return TemplateRead.of(found)


@router.get("/{template_id}/stats")
async def read_template_stats(template_id: UUID, uow: ListUow, _caller: Reader) -> TemplateStats:
    """Return the statistics of a template over all campaigns that used it, in total and by version.

    All figures are defined as in the statistics of a campaign.
    """
    async with uow:
        return await campaign_stats.read_template_stats(uow, template_id=template_id)


@router.patch("/{template_id}", openapi_extra=fails_with("invalid_template", "template_exists"))
async def update_template(
    template_id: UUID, body: TemplateUpdate, uow: Uow, caller: Writer
) -> TemplateRead:
    """Change a template. A changed body becomes a new version, which is a draft.

    Campaigns that copied the body do not change.
    """
    async with uow:
        found = await templates.update_template(
            uow, body, template_id=template_id, author=_author(caller), now=clock.now()
        )
    return TemplateRead.of(found)


@router.post("/{template_id}/submit", openapi_extra=fails_with("template_changed"))
async def submit_template(
    template_id: UUID, uow: Uow, caller: Writer, body: TemplateDecision | None = None
) -> TemplateRead:
    """Ask for the approval of the newest version of a template.

    A rejected version may be submitted again.
    """
    async with uow:
        found = await approval.submit_template(
            uow,
            body or TemplateDecision(),
            template_id=template_id,
            by=_author(caller),
            now=clock.now(),
        )
    return TemplateRead.of(found)


@router.post(
    "/{template_id}/approve",
    openapi_extra=fails_with("own_approval", "template_changed", "template_not_submitted"),
)
async def approve_template(
    template_id: UUID, uow: Uow, caller: Approver, body: TemplateDecision | None = None
) -> TemplateRead:
    """Approve the newest version of a template. The caller must not be its author."""
    async with uow:
        found = await approval.approve_template(
            uow,
            body or TemplateDecision(),
            template_id=template_id,
            by=_author(caller),
            now=clock.now(),
        )
    return TemplateRead.of(found)


@router.post(
    "/{template_id}/reject",
    openapi_extra=fails_with("template_changed", "template_not_submitted"),
)
async def reject_template(
    template_id: UUID, body: TemplateRejection, uow: Uow, caller: Approver
) -> TemplateRead:
    """Reject the newest version of a template, with a note that says why."""
    async with uow:
        found = await approval.reject_template(
            uow, body, template_id=template_id, by=_author(caller), now=clock.now()
        )
    return TemplateRead.of(found)


@router.delete("/{template_id}", status_code=204)
async def delete_template(template_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a template. Campaigns that copied its body do not change."""
    async with uow:
        await templates.delete_template(uow, template_id=template_id)
