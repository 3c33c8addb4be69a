"""Export the recipients of a campaign as CSV."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from sqlalchemy import SQLColumnExpression, String, and_, cast, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.models import CampaignMembership, CampaignVariant
from crm_api.domain.campaigns.recipients.listing import (
    RecipientFilter,
    RecipientSearch,
    find_variant_names,
    recipient_body,
    recipient_name,
)
from crm_api.domain.kit.csv_export import cell, copy_rows, end_of_page, instant, row_id, write_csv
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

_TEXTS = (
    # The LIMIT makes PostgreSQL read the name and the body only once, although the function `cell`
    # uses each of them several times.
    select(
        recipient_name(CampaignMembership).label("name"),
        recipient_body(CampaignMembership).label("body"),
    )
    .limit(1)
    .lateral("texts")
)
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
    "name": cell(_TEXTS.c.name),
    "body": cell(_TEXTS.c.body),
    "message_id": row_id(CampaignMembership.activity_id),
}


HEADER = tuple(_COLUMNS)


async def export_recipients(
    new_uow: UnitOfWorkFactory, wanted: RecipientFilter, *, campaign_id: UUID
) -> AsyncIterator[bytes]:
    """Stream the recipients of one step as CSV, ordered by contact id.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant with the name ``wanted.variant``.
        UnsearchableError: The search text has no letter and no digit.
    """
    async with new_uow() as uow:
        names = await find_variant_names(uow, campaign_id=campaign_id, wanted=wanted.variant)
    search = RecipientSearch.of(wanted, campaign_id=campaign_id, variant_names=names)

    async def next_page(uow: UnitOfWork, after: UUID | None) -> tuple[bytes, UUID | None]:
        return await copy_recipients(uow.session, search, after=after)

    return write_csv(new_uow, header=HEADER, next_page=next_page)


async def copy_recipients(
    session: AsyncSession, search: RecipientSearch, *, after: UUID | None
) -> tuple[bytes, UUID | None]:
    """Return a page of recipients as CSV, and the contact id after which the next page begins.

    Args:
        after: The contact id after which the page begins; None for the first page.

    Returns:
        The lines of the CSV file, and the contact id. On the last page, the contact id is None.
    """
    member = CampaignMembership
    span = search.span(after)
    last = await end_of_page(
        session, select(member.contact_id).where(*span).order_by(member.contact_id)
    )
    rows = (
        select(*_COLUMNS.values())
        .select_from(member)
        .join(_TEXTS, true())
        .outerjoin(
            CampaignVariant,
            and_(
                CampaignVariant.campaign_id == member.campaign_id,
                CampaignVariant.position == member.variant,
            ),
        )
        .where(*span, *search.conditions(member))
        .order_by(member.contact_id)
    )
    if last is not None:
        rows = rows.where(member.contact_id <= last[0])
    return await copy_rows(session, rows), None if last is None else last[0]
