"""SQL that writes recipients as CSV."""

from typing import Any
from uuid import UUID

from sqlalchemy import SQLColumnExpression, String, and_, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.models import CampaignMembership, CampaignVariant
from crm_api.domain.exports.copying import cell, copy_rows, end_of_page, instant, row_id

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


async def copy_recipients(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    step: int,
    status: str | None,
    variant: int | None,
    after: UUID | None,
) -> tuple[bytes, UUID | None]:
    """Write the next recipients of a step, and say with which contact they end."""
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
