"""Test texts: a campaign's wording, sent to one's own lines."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.activity.errors import LineCannotSendError, RecipientOptedOutError
from crm_api.domain.activity.models import Activity
from crm_api.domain.campaigns import preview_queries, queries
from crm_api.domain.campaigns.errors import (
    CampaignNotFoundError,
    InvalidCampaignError,
    NotOwnNumberError,
)
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.campaigns.schemas import TrialRequest
from crm_api.domain.campaigns.tally import TO_TEXT
from crm_api.domain.campaigns.wording import Business, composer
from crm_api.domain.campaigns.writing import texts_for_nobody
from crm_api.domain.consent import service as consent
from crm_api.domain.errors import FieldProblem, InvalidError
from crm_api.domain.lines import service as lines
from crm_api.domain.lines.models import Line, LineStatus
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.models import SendKind

_TRIED = 20
"""How many of the audience are tried for somebody who has all values."""


async def send(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    request: TrialRequest,
    business: Business,
    now: datetime,
) -> Activity:
    """Queue a wording for an own line, with the values of the first person of the audience.

    Without anybody who has all values, their names stand in brackets. The text leaves at once,
    outside the daily limit, and belongs to no recipient.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidCampaignError: The campaign has no variant of that name.
        NotOwnNumberError: The number is no other line of one's own.
        LineCannotSendError: The campaign's line is blocked.
        RecipientOptedOutError: Somebody opted this number out.
    """
    campaign = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    variants = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    variant = _variant(list(variants), request.variant)
    line = (await queries.list_lines(uow.session, line_ids=[campaign.line_id]))[0]
    await _check_number(uow, line, request.to, now=now)
    if line.status == LineStatus.BLOCKED:
        raise LineCannotSendError(
            "The line is blocked and sends nothing.", blocked_reason=line.blocked_reason
        )
    return await sends.queue_text(
        uow,
        line_id=line.id,
        phone=request.to,
        body=await _text(uow, campaign, variant, line, business=business, now=now),
        kind=SendKind.TEST,
        contact_id=None,
        now=now,
    )


def _variant(variants: list[CampaignVariant], name: str | None) -> CampaignVariant:
    if name is None:
        return variants[0]
    for variant in variants:
        if variant.name == name:
            return variant
    known = ", ".join(variant.name for variant in variants)
    detail = f"The campaign has no variant {name!r}; it has: {known}."
    raise InvalidCampaignError(
        [FieldProblem(pointer="/variant", code="unknown_variant", detail=detail)]
    )


async def _check_number(uow: UnitOfWork, line: Line, phone: str, *, now: datetime) -> None:
    own = await lines.find_by_number(uow, numbers=[phone])
    if own is None or phone == line.number:
        detail = (
            "A test goes to another own line than the one that sends; this number is none. "
            "GET /v1/lines lists them."
        )
        raise NotOwnNumberError(
            detail,
            errors=[FieldProblem(pointer="/to", code=NotOwnNumberError.code, detail=detail)],
        )
    if await consent.suppressed(uow.session, [phone], now=now):
        raise RecipientOptedOutError("This number asked not to be texted.")


async def _text(
    uow: UnitOfWork,
    campaign: Campaign,
    variant: CampaignVariant,
    line: Line,
    *,
    business: Business,
    now: datetime,
) -> str:
    footer = campaign.opt_out_footer
    # The wording stands alone here, so it is the variant of everybody.
    compose = composer([variant.body], footer=footer, business=business)
    people = preview_queries.stream_audience(
        uow.session,
        audience=campaign.audience,
        previously_contacted=campaign.previously_contacted,
        skip_landlines=campaign.skip_landlines,
        campaign_id=campaign.id,
        weights=[variant.weight],
        chosen=None,
        limit=_TRIED,
        now=now,
    )
    for person in [person async for batch in people for person in batch]:
        if person.verdict not in TO_TEXT:
            continue
        try:
            return compose(person, cast("Row[Any]", line))
        except InvalidError:
            continue
    return texts_for_nobody(variant.body, footer=footer, business=business, line=line)[0]
