"""The recipients of a campaign as CSV."""

from collections.abc import AsyncIterator
from uuid import UUID

from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.campaigns import export_queries
from crm_api.domain.campaigns.models import MembershipStatus
from crm_api.domain.campaigns.recipients import find_variants
from crm_api.domain.exports.copying import write_csv


async def recipients_csv(
    new_uow: UnitOfWorkFactory,
    *,
    campaign_id: UUID,
    status: MembershipStatus | None,
    variant: str | None,
    step: int,
) -> AsyncIterator[bytes]:
    """Write the recipients of a step, in the order of their contact ids.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidCampaignError: The campaign has no variant of that name.
    """
    async with new_uow() as uow:
        names = await find_variants(uow, campaign_id=campaign_id, wanted=variant)
    position = None if variant is None else names.index(variant)

    async def next_page(uow: UnitOfWork, after: UUID | None) -> tuple[bytes, UUID | None]:
        return await export_queries.copy_recipients(
            uow.session,
            campaign_id=campaign_id,
            step=step,
            status=status,
            variant=position,
            after=after,
        )

    return write_csv(new_uow, header=export_queries.HEADER, next_page=next_page)
