"""Recipients of a campaign: listed, and decided where a send waits for a person."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.errors import (
    CampaignNotFoundError,
    InvalidCampaignError,
    RecipientNotFoundError,
)
from crm_api.domain.campaigns.models import CampaignMembership, MembershipStatus
from crm_api.domain.errors import FieldProblem
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.sends import service as sends


async def find_variants(uow: UnitOfWork, *, campaign_id: UUID, wanted: str | None) -> list[str]:
    """Return the names of a campaign's variants by position.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidCampaignError: The campaign has no variant of the wanted name.
    """
    await _require_campaign(uow, campaign_id)
    names = await _variant_names(uow, campaign_id)
    if wanted is not None and wanted not in names:
        detail = f"The campaign has no variant {wanted!r}; it has: {', '.join(names)}."
        raise InvalidCampaignError(
            [FieldProblem(pointer="/variant", code="unknown_variant", detail=detail)]
        )
    return names


async def list_page(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    status: MembershipStatus | None,
    variant: str | None,
    step: int,
    cursor: str | None,
    limit: int,
) -> tuple[Page[CampaignMembership], list[str]]:
    """List the recipients of a step, and the variants' names by position.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidCampaignError: The campaign has no variant of that name.
        InvalidCursorError: The cursor is not one of this list's.
    """
    names = await find_variants(uow, campaign_id=campaign_id, wanted=variant)
    cursors = Cursors(
        "recipients", campaign_id=campaign_id, step=step, status=status, variant=variant
    )
    after = cursors.read(cursor)
    rows = await queries.list_recipients(
        uow.session,
        campaign_id=campaign_id,
        step=step,
        status=status,
        variant=None if variant is None else names.index(variant),
        after=after[1] if after else None,
        limit=limit + 1,
    )
    # The order is that of the contact ids alone; the time only completes the common cursor.
    page = cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.contact_id))
    return page, names


async def settle(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    outcome: Literal["sent", "resend", "failed"],
    actor: str,
    now: datetime,
) -> tuple[CampaignMembership, list[str]]:
    """Decide a parked send as a person says; the recipient as it then is, and variants' names.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        RecipientNotFoundError: The contact is no recipient of it.
        NotParkedError: The recipient has no send that waits for a person.
    """
    await _require_campaign(uow, campaign_id)
    await _recipient(uow, campaign_id, contact_id)
    await sends.settle_by_person(
        uow, campaign_id=campaign_id, contact_id=contact_id, outcome=outcome, actor=actor, now=now
    )
    return await _recipient(uow, campaign_id, contact_id), await _variant_names(uow, campaign_id)


async def _require_campaign(uow: UnitOfWork, campaign_id: UUID) -> None:
    if await queries.find_campaign(uow.session, campaign_id=campaign_id) is None:
        raise CampaignNotFoundError(campaign_id)


async def _recipient(uow: UnitOfWork, campaign_id: UUID, contact_id: UUID) -> CampaignMembership:
    member = await queries.find_recipient(
        uow.session, campaign_id=campaign_id, contact_id=contact_id, step=0
    )
    if member is None:
        raise RecipientNotFoundError("This contact is no recipient of the campaign.")
    return member


async def _variant_names(uow: UnitOfWork, campaign_id: UUID) -> list[str]:
    rows = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    return [row.name for row in rows]
