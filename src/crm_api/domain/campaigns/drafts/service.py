"""Create, change, copy and delete drafts; all content is checked before it is stored."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.drafts import content
from crm_api.domain.campaigns.drafts.content_checks import check_content, copy_template_bodies
from crm_api.domain.campaigns.errors import CampaignNotEditableError, CampaignNotFoundError
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.campaigns.queries import CampaignDetail, load_detail
from crm_api.domain.campaigns.schemas import (
    LONGEST_NAME,
    CampaignCreate,
    CampaignUpdate,
    Variant,
)
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

_COPY_SUFFIX = " (copy)"
_DATES = ("start_at", "end_at")


async def create_campaign(
    uow: UnitOfWork, body: CampaignCreate, *, now: datetime
) -> CampaignDetail:
    """Store a draft.

    Raises:
        InvalidCampaignError: The content has faults; each has a pointer.
    """
    await copy_template_bodies(uow, body)
    columns = content.columns_of_request(body, only_given=False)
    passed = content.find_date_faults(columns, now=now)
    await check_content(uow, columns, body.variants, audience=body.audience, found=passed)
    return await _store_draft(uow, columns, body.variants, now=now)


async def _store_draft(
    uow: UnitOfWork, columns: content.Columns, variants: list[Variant], *, now: datetime
) -> CampaignDetail:
    values = {**columns, "id": new_id(), "created_at": now, "updated_at": now}
    statement = insert(Campaign).values(values).returning(Campaign)
    campaign = (await uow.session.scalars(statement)).one()
    await _store_variants(uow, campaign.id, variants)
    return await load_detail(uow, campaign)


async def update_campaign(
    uow: UnitOfWork, *, campaign_id: UUID, body: CampaignUpdate, now: datetime
) -> CampaignDetail:
    """Change a draft; what the request leaves out stays.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        CampaignNotEditableError: It is not a draft.
        InvalidCampaignError: The result would have faults.
    """
    campaign = await queries.lock_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    _require_draft(campaign)
    await copy_template_bodies(uow, body)
    given = content.columns_of_request(body, only_given=True)
    variants = body.variants or await _read_variants(uow, campaign_id)
    columns = {**content.columns_of_campaign(campaign), **given}
    # Only the given dates: a passed date of an old draft must not refuse another change.
    passed = content.find_date_faults(given, now=now)
    await check_content(uow, columns, variants, audience=body.audience, found=passed)
    changed = await _change_draft(
        uow.session, campaign_id=campaign_id, values={**given, "updated_at": now}
    )
    if changed is None:  # pragma: no cover - the row is locked above
        raise CampaignNotFoundError(campaign_id)
    if body.variants is not None:
        await _store_variants(uow, campaign_id, body.variants)
    return await load_detail(uow, changed)


async def _change_draft(
    session: AsyncSession, *, campaign_id: UUID, values: dict[str, Any]
) -> Campaign | None:
    """Change the content of a draft; None if the campaign is not a draft."""
    statement = (
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.DRAFT)
        .values(values)
        .returning(Campaign)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def clone_campaign(
    uow: UnitOfWork, *, campaign_id: UUID, name: str | None, now: datetime
) -> CampaignDetail:
    """Store a draft with the content of a campaign of any status.

    A start or an end that has passed is left out: otherwise the copy would be over before it
    starts.

    Args:
        name: None for the original's name with ``(copy)``.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    original = await queries.require_campaign(uow.session, campaign_id=campaign_id)
    columns = content.columns_of_campaign(original)
    for date in _DATES:
        if columns[date] is not None and columns[date] <= now:
            columns[date] = None
    columns["name"] = name or original.name[: LONGEST_NAME - len(_COPY_SUFFIX)] + _COPY_SUFFIX
    return await _store_draft(uow, columns, await _read_variants(uow, campaign_id), now=now)


async def delete_campaign(uow: UnitOfWork, *, campaign_id: UUID) -> None:
    """Delete a draft; a started campaign stays as the record of what was sent.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        CampaignNotEditableError: It is not a draft.
    """
    statement = (
        delete(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.DRAFT)
        .returning(Campaign.id)
    )
    if await uow.session.scalar(statement) is None:
        _require_draft(await queries.require_campaign(uow.session, campaign_id=campaign_id))


def _require_draft(campaign: Campaign) -> None:
    if campaign.status != CampaignStatus.DRAFT:
        raise CampaignNotEditableError(
            f"The campaign is {campaign.status}; only a draft can be changed or removed."
        )


async def _read_variants(uow: UnitOfWork, campaign_id: UUID) -> list[Variant]:
    rows = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    return [Variant.model_validate(row, from_attributes=True) for row in rows]


async def _store_variants(uow: UnitOfWork, campaign_id: UUID, variants: list[Variant]) -> None:
    """Replace the stored variants of a campaign."""
    values = [
        {
            "id": new_id(),
            "campaign_id": campaign_id,
            "position": position,
            **variant.model_dump(),
        }
        for position, variant in enumerate(variants)
    ]
    await uow.session.execute(
        delete(CampaignVariant).where(CampaignVariant.campaign_id == campaign_id)
    )
    await uow.session.execute(insert(CampaignVariant).values(values))
