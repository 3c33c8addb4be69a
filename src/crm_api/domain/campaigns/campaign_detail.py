"""Read a stored campaign, its variants and its line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWork


@dataclass(frozen=True, kw_only=True)
class CampaignDetail:
    """A campaign, its variants in the order of position, and its line."""

    campaign: Campaign
    variants: list[CampaignVariant]
    line: Line


async def read_campaign(uow: UnitOfWork, *, campaign_id: UUID) -> CampaignDetail:
    """Return a campaign with its variants and its line.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    return await load_detail(uow, await require_campaign(uow.session, campaign_id=campaign_id))


async def require_campaign(session: AsyncSession, *, campaign_id: UUID) -> Campaign:
    """Return a campaign with the values that the database has now.

    If the session already has the campaign, its values are read again.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    statement = select(Campaign).where(Campaign.id == campaign_id)
    campaign = await session.scalar(statement, execution_options={"populate_existing": True})
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    return campaign


async def load_detail(uow: UnitOfWork, campaign: Campaign) -> CampaignDetail:
    """Read the variants and the line of a campaign, and return them with the campaign."""
    return (await load_details(uow, [campaign]))[0]


async def load_details(uow: UnitOfWork, campaigns: Sequence[Campaign]) -> list[CampaignDetail]:
    """Return campaigns with their variants and lines, in the given order.

    Two SQL statements read the variants and the lines of all campaigns.
    """
    if not campaigns:
        return []
    ids = [campaign.id for campaign in campaigns]
    variants: dict[UUID, list[CampaignVariant]] = {campaign_id: [] for campaign_id in ids}
    for variant in await list_variants(uow.session, campaign_ids=ids):
        variants[variant.campaign_id].append(variant)
    line_ids = {campaign.line_id for campaign in campaigns}
    found = await uow.session.scalars(select(Line).where(Line.id.in_(line_ids)))
    lines = {line.id: line for line in found}
    return [
        CampaignDetail(
            campaign=campaign, variants=variants[campaign.id], line=lines[campaign.line_id]
        )
        for campaign in campaigns
    ]


async def lock_campaign(uow: UnitOfWork, campaign_id: UUID) -> Campaign:
    """Return a campaign, and lock its row until the transaction ends.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    statement = select(Campaign).where(Campaign.id == campaign_id).with_for_update(key_share=True)
    campaign = await uow.session.scalar(statement, execution_options={"populate_existing": True})
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    return campaign


async def list_variants(
    session: AsyncSession, *, campaign_ids: Iterable[UUID]
) -> Sequence[CampaignVariant]:
    """Return the variants of campaigns, ordered by campaign and position."""
    statement = (
        select(CampaignVariant)
        .where(CampaignVariant.campaign_id.in_(list(campaign_ids)))
        .order_by(CampaignVariant.campaign_id, CampaignVariant.position)
    )
    return (await session.scalars(statement)).all()


async def read_line(session: AsyncSession, *, line_id: UUID) -> Line:
    """Return the line with this id, which must exist."""
    return (await session.scalars(select(Line).where(Line.id == line_id))).one()
