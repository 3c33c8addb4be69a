"""The route that approves the draft of a campaign."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.campaigns import approvals
from crm_api.domain.campaigns.approvals import CampaignApproval
from crm_api.domain.campaigns.read_models import CampaignRead
from crm_api.domain.campaigns.templates.versions import Author
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.routers.http.deps import Caller, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/campaigns", tags=["campaigns"])
Approver = Annotated[Caller, require(Scope.ADMIN)]


@router.post(
    "/{campaign_id}/approve", openapi_extra=fails_with("campaign_not_editable", "own_approval")
)
async def approve_campaign(
    campaign_id: UUID, uow: Uow, caller: Approver, body: CampaignApproval | None = None
) -> CampaignRead:
    """Approve a draft as it is now. The caller must not have written or changed it.

    A later change of the draft removes the approval. If `require_approval` in `/v1/settings` is on,
    a campaign starts only if it is approved, or if all its message bodies are approved versions of
    templates.
    """
    async with uow:
        detail = await approvals.approve_campaign(
            uow,
            campaign_id=campaign_id,
            by=Author(id=caller.id, name=caller.name),
            note=None if body is None else body.note,
            now=await uow.database_now(),
        )
    return CampaignRead.of(detail)
