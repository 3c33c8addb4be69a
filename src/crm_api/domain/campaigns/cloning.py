"""Copies of campaigns."""

from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import content, drafts, queries, service
from crm_api.domain.campaigns.content import CampaignDetail
from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.schemas import LONGEST_NAME, Variant
from crm_api.ids import new_id

_SUFFIX = " (copy)"
_DATES = ("start_at", "end_at")


async def clone(
    uow: UnitOfWork, *, campaign_id: UUID, name: str | None, now: datetime
) -> CampaignDetail:
    """Store a draft with the content of a campaign of any status.

    A start or an end that has passed is left out: a copy must not be over before it begins.

    Args:
        name: None for the original's with ``(copy)``.

    Raises:
        CampaignNotFoundError: There is no such campaign.
    """
    original = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if original is None:
        raise CampaignNotFoundError(campaign_id)
    columns = content.present_columns(original)
    for date in _DATES:
        if columns[date] is not None and columns[date] <= now:
            columns[date] = None
    columns["name"] = name or original.name[: LONGEST_NAME - len(_SUFFIX)] + _SUFFIX
    copy = await queries.insert_campaign(
        uow.session, values={**columns, "id": new_id(), "created_at": now, "updated_at": now}
    )
    rows = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    variants = [Variant.model_validate(row, from_attributes=True) for row in rows]
    await drafts.store_variants(uow, copy.id, variants)
    return await service.read(uow, campaign_id=copy.id)
