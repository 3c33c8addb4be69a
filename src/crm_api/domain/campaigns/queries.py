"""SQL that several use cases of campaigns share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.models import (
    Campaign,
    CampaignMembership,
    CampaignVariant,
)
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork


async def find_campaign(session: AsyncSession, *, campaign_id: UUID) -> Campaign | None:
    """Return a campaign as the database has it now; None without one."""
    statement = select(Campaign).where(Campaign.id == campaign_id)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def require_campaign(session: AsyncSession, *, campaign_id: UUID) -> Campaign:
    """Return a campaign as the database has it now.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    campaign = await find_campaign(session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    return campaign


async def lock_campaign(session: AsyncSession, *, campaign_id: UUID) -> Campaign | None:
    """Return a campaign and lock its row until the transaction ends; None without one."""
    statement = select(Campaign).where(Campaign.id == campaign_id).with_for_update(key_share=True)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def list_campaigns(
    session: AsyncSession,
    *,
    status: CampaignStatus | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Campaign]:
    """Return campaigns, newest first."""
    statement = select(Campaign)
    if status is not None:
        statement = statement.where(Campaign.status == status)
    if after is not None:
        statement = statement.where(tuple_(Campaign.created_at, Campaign.id) < after)
    statement = statement.order_by(Campaign.created_at.desc(), Campaign.id.desc()).limit(limit)
    return (await session.scalars(statement)).all()


async def list_variants(
    session: AsyncSession, *, campaign_ids: Iterable[UUID]
) -> Sequence[CampaignVariant]:
    """Return the variants of campaigns, by campaign and position."""
    statement = (
        select(CampaignVariant)
        .where(CampaignVariant.campaign_id.in_(list(campaign_ids)))
        .order_by(CampaignVariant.campaign_id, CampaignVariant.position)
    )
    return (await session.scalars(statement)).all()


async def list_lines(session: AsyncSession, *, line_ids: Iterable[UUID]) -> Sequence[Line]:
    """Return the lines with these ids."""
    return (await session.scalars(select(Line).where(Line.id.in_(set(line_ids))))).all()


async def change_status(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    sources: Iterable[CampaignStatus],
    values: dict[str, Any],
) -> Campaign | None:
    """Move a campaign out of one of ``sources``; None for any other status and a lost race."""
    statement = (
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status.in_(list(sources)))
        .values(values)
        .returning(Campaign)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def list_recipients(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    step: int,
    status: str | None,
    variant: int | None,
    after: UUID | None,
    limit: int,
) -> Sequence[CampaignMembership]:
    """Return recipients ordered by contact id."""
    membership = CampaignMembership
    statement = select(membership).where(
        membership.campaign_id == campaign_id, membership.step == step
    )
    if status is not None:
        statement = statement.where(membership.status == status)
    if variant is not None:
        statement = statement.where(membership.variant == variant)
    if after is not None:
        statement = statement.where(membership.contact_id > after)
    statement = statement.order_by(membership.contact_id).limit(limit)
    return (await session.scalars(statement)).all()


async def find_recipient(
    session: AsyncSession, *, campaign_id: UUID, contact_id: UUID, step: int
) -> CampaignMembership | None:
    """Return one recipient as the database has it now; None without one."""
    statement = select(CampaignMembership).where(
        CampaignMembership.campaign_id == campaign_id,
        CampaignMembership.step == step,
        CampaignMembership.contact_id == contact_id,
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


@dataclass(frozen=True, kw_only=True)
class CampaignDetail:
    """A campaign with its variants and its line."""

    campaign: Campaign
    variants: list[CampaignVariant]
    line: Line


async def load_detail(uow: UnitOfWork, campaign: Campaign) -> CampaignDetail:
    """Return a campaign with its variants and its line."""
    return (await load_details(uow, [campaign]))[0]


async def load_details(uow: UnitOfWork, campaigns: Sequence[Campaign]) -> list[CampaignDetail]:
    """Return campaigns with their variants and lines, in the same order."""
    if not campaigns:
        return []
    ids = [campaign.id for campaign in campaigns]
    variants: dict[UUID, list[CampaignVariant]] = {campaign_id: [] for campaign_id in ids}
    for variant in await list_variants(uow.session, campaign_ids=ids):
        variants[variant.campaign_id].append(variant)
    line_ids = [campaign.line_id for campaign in campaigns]
    lines = {line.id: line for line in await list_lines(uow.session, line_ids=line_ids)}
    return [
        CampaignDetail(
            campaign=campaign, variants=variants[campaign.id], line=lines[campaign.line_id]
        )
        for campaign in campaigns
    ]
