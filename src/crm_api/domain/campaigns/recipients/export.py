"""Export the recipients of a campaign as CSV."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from sqlalchemy import SQLColumnExpression, String, and_, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.models import CampaignMembership, CampaignVariant
from crm_api.domain.campaigns.recipients.service import find_variant_names
from crm_api.domain.kit.csv_export import cell, copy_rows, end_of_page, instant, row_id, write_csv
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

_COLUMNS: dict[str, SQLColumnExpression[Any]] = {
    "id": row_id(CampaignMembership.id),
    "contact_id": row_id(CampaignMembership.contact_id),
    "phone": CampaignMembership.phone,
    "status": CampaignMembership.status,
    "variant": cell(CampaignVariant.name),
    "step": cast(CampaignMembership.step, String),
    "attempts": cast(CampaignMembership.attempts, String),
    "skip_reason": cell(CampaignMembership.skip_reason),
    "error_code": cell(CampaignMembership.error_code),
    "provider_message_id": cell(CampaignMembership.provider_message_id),
    "sent_at": instant(CampaignMembership.sent_at),
    "delivered_at": instant(CampaignMembership.delivered_at),
    "replied_at": instant(CampaignMembership.replied_at),
    "opted_out_at": instant(CampaignMembership.opted_out_at),
}


HEADER = tuple(_COLUMNS)


async def export_recipients(
    new_uow: UnitOfWorkFactory,
    *,
    campaign_id: UUID,
    status: MembershipStatus | None,
    variant: str | None,
    step: int,
) -> AsyncIterator[bytes]:
    """Stream the recipients of one step as CSV, ordered by contact id.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant with the name ``variant``.
    """
    async with new_uow() as uow:
        names = await find_variant_names(uow, campaign_id=campaign_id, wanted=variant)
    position = None if variant is None else names.index(variant)

    async def next_page(uow: UnitOfWork, after: UUID | None) -> tuple[bytes, UUID | None]:
        return await copy_recipients(
            uow.session,
            campaign_id=campaign_id,
            step=step,
            status=status,
            variant=position,
            after=after,
        )

    return write_csv(new_uow, header=HEADER, next_page=next_page)


async def copy_recipients(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    step: int,
    status: str | None,
    variant: int | None,
    after: UUID | None,
) -> tuple[bytes, UUID | None]:
    """Return a page of recipients as CSV lines, and the id after which the next page begins.

    Args:
        session: The session.
        campaign_id: The campaign.
        step: The step.
        status: Only recipients of this status; None for all.
        variant: Only recipients of the variant at this position; None for all.
        after: The contact id after which the page begins; None for the first page.

    Returns:
        The lines, and None instead of a contact id if this is the last page.
    """
    member = CampaignMembership
    span = [
        member.campaign_id == campaign_id,
        member.step == step,
        *([] if after is None else [member.contact_id > after]),
    ]
    last = await end_of_page(
        session, select(member.contact_id).where(*span).order_by(member.contact_id)
    )
    rows = (
        select(*_COLUMNS.values())
        .select_from(member)
        .outerjoin(
            CampaignVariant,
            and_(
                CampaignVariant.campaign_id == member.campaign_id,
                CampaignVariant.position == member.variant,
            ),
        )
        .where(*span)
        .order_by(member.contact_id)
    )
    if last is not None:
        rows = rows.where(member.contact_id <= last[0])
    if status is not None:
        rows = rows.where(member.status == status)
    if variant is not None:
        rows = rows.where(member.variant == variant)
    return await copy_rows(session, rows), None if last is None else last[0]
