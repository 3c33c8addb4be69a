"""Route of the launch check of a campaign."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.campaigns.launch_check import service as launch_checks
from crm_api.domain.campaigns.launch_check.schemas import LaunchCheck
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.routers.http.deps import Caller, State, Uow, business_of, require
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1/campaigns", tags=["campaigns"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]


@router.get("/{campaign_id}/launch-check")
async def check_launch(campaign_id: UUID, uow: Uow, state: State, _caller: Reader) -> LaunchCheck:
    """Show what would happen if you started a campaign now. This does not start the campaign.

    The response shows:

    - who gets a message
    - who gets no message, and why
    - when the first and the last message are expected
    - what all messages cost
    - whether the start would be refused
    """
    async with uow:
        return await launch_checks.check_launch(
            uow,
            campaign_id=campaign_id,
            business=await business_of(uow, state),
            needs_identification=state.settings.rules_name != "none",
            limits=SendLimits.from_settings(state.settings, rules=state.rules),
            now=await uow.database_now(),
        )
