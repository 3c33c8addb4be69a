"""List the recipients of a campaign, and settle their parked (unclear) attempts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import BigInteger, Select, literal, select
from sqlalchemy.orm import aliased

from crm_api.domain.campaigns.campaign_detail import list_variants, require_campaign
from crm_api.domain.campaigns.errors import (
    NOT_A_RECIPIENT,
    InvalidCampaignError,
    RecipientNotFoundError,
)
from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.messaging.sends import settle_by_hand
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.platform.database import UnitOfWork

_ALL = 2**62
"""More recipients than a campaign can have."""


async def find_variant_names(
    uow: UnitOfWork, *, campaign_id: UUID, wanted: str | None
) -> list[str]:
    """Return the names of a campaign's variants, by position.

    Args:
        uow: The unit of work.
        campaign_id: The campaign.
        wanted: A name that one of the variants must have; None for no check.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant with the name ``wanted``.
    """
    await require_campaign(uow.session, campaign_id=campaign_id)
    names = await _variant_names(uow, campaign_id)
    if wanted is not None and wanted not in names:
        detail = f"The campaign has no variant {wanted!r}. Its variants are: {', '.join(names)}."
        raise InvalidCampaignError(
            [FieldProblem(pointer="/variant", code="unknown_variant", detail=detail)]
        )
    return names


def recipients_statement(
    *,
    campaign_id: UUID,
    step: int,
    status: str | None,
    variant: int | None,
    after: UUID | None,
    limit: int,
) -> Select[CampaignMembership]:
    """Return the statement that reads one page of recipients, ordered by contact id.

    Args:
        campaign_id: The campaign.
        step: The step.
        status: Only recipients of this status; None for all.
        variant: Only recipients of the variant at this position; None for all.
        after: The contact id after which the page begins; None for the first page.
        limit: The maximum number of recipients.
    """
    member = CampaignMembership
    statement = select(member).where(member.campaign_id == campaign_id, member.step == step)
    if status is not None:
        statement = statement.where(member.status == status)
    if after is not None:
        statement = statement.where(member.contact_id > after)
    ordered = statement.order_by(member.contact_id)
    if variant is None:
        return ordered.limit(limit)
    # The inner limit is never reached. PostgreSQL does not know it, so it reads in the order of the
    # index until the page is full. Otherwise, without statistics, it expects few recipients of the
    # variant and sorts all recipients: 400 ms for a million.
    everyone = ordered.limit(select(literal(_ALL, BigInteger)).scalar_subquery()).subquery("member")
    found = aliased(member, everyone)
    return select(found).where(found.variant == variant).order_by(found.contact_id).limit(limit)


async def list_recipients(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    status: MembershipStatus | None,
    variant: str | None,
    step: int,
    cursor: str | None,
    limit: int,
) -> tuple[Page[CampaignMembership], list[str]]:
    """Return a page of the recipients of one step, and the names of the variants by position.

    The recipients are ordered by contact id.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant with the name ``variant``.
        InvalidCursorError: The cursor is not from this list, or was made with other filters.
    """
    names = await find_variant_names(uow, campaign_id=campaign_id, wanted=variant)
    cursors = Cursors(
        "recipients", campaign_id=campaign_id, step=step, status=status, variant=variant
    )
    after = cursors.read(cursor)
    statement = recipients_statement(
        campaign_id=campaign_id,
        step=step,
        status=status,
        variant=None if variant is None else names.index(variant),
        after=after[1] if after else None,
        limit=limit + 1,
    )
    rows = (await uow.session.scalars(statement)).all()
    # The order depends only on the contact id. The cursor also needs an instant, but it is ignored.
    page = cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.contact_id))
    return page, names


async def settle_recipient(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    outcome: Literal["sent", "resend", "failed"],
    actor: str,
    now: datetime,
) -> tuple[CampaignMembership, list[str]]:
    """Settle the parked (unclear) attempt of a recipient as a person decided.

    Args:
        uow: The unit of work.
        campaign_id: The campaign.
        contact_id: The contact that is the recipient.
        outcome: ``sent`` or ``failed`` ends the attempt; ``resend`` sends the message again.
        actor: The name of the person or API key that decided, for the audit log.
        now: The present instant.

    Returns:
        The changed recipient, and the names of the campaign's variants by position.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        RecipientNotFoundError: The contact is not a recipient of the campaign.
        NotParkedError: The recipient has no parked attempt.
    """
    await require_campaign(uow.session, campaign_id=campaign_id)
    await _recipient(uow, campaign_id, contact_id)
    await settle_by_hand.settle_recipient(
        uow, campaign_id=campaign_id, contact_id=contact_id, outcome=outcome, actor=actor, now=now
    )
    return await _recipient(uow, campaign_id, contact_id), await _variant_names(uow, campaign_id)


async def _recipient(uow: UnitOfWork, campaign_id: UUID, contact_id: UUID) -> CampaignMembership:
    statement = select(CampaignMembership).where(
        CampaignMembership.campaign_id == campaign_id,
        CampaignMembership.step == 0,
        CampaignMembership.contact_id == contact_id,
    )
    member = await uow.session.scalar(statement, execution_options={"populate_existing": True})
    if member is None:
        raise RecipientNotFoundError(NOT_A_RECIPIENT)
    return member


async def _variant_names(uow: UnitOfWork, campaign_id: UUID) -> list[str]:
    rows = await list_variants(uow.session, campaign_ids=[campaign_id])
    return [row.name for row in rows]


class SettleRequest(RequestModel):
    """The decision of a person about a message whose sending is unclear (a parked attempt).

    Attributes:
        outcome: ``sent`` if the message was sent; ``failed`` if the message was not sent and shall
            not be sent again; ``resend`` to send the message again.
    """

    model_config = example(outcome="resend")

    outcome: Literal["sent", "resend", "failed"]
