"""Campaigns: drafts, moves, figures; ``recipients.py`` has who gets them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.activity.schemas import MessageRead
from crm_api.domain.campaigns import cloning, preview, trial
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.answers import CampaignRead, CampaignStats
from crm_api.domain.campaigns.content import CampaignDetail
from crm_api.domain.campaigns.forecast import service as forecasting
from crm_api.domain.campaigns.forecast.answers import ForecastRead
from crm_api.domain.campaigns.models import CampaignStatus
from crm_api.domain.campaigns.preview_answers import CampaignPreview
from crm_api.domain.campaigns.schemas import (
    CampaignCreate,
    CampaignUpdate,
    CloneRequest,
    DraftPreview,
    PreviewRequest,
    TrialRequest,
)
from crm_api.domain.schemas import PageRead
from crm_api.domain.sends.times import SendTimes
from crm_api.routers.deps import Caller, ListUow, Paging, State, Step, Uow, business_of, require

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, require(Scope.CAMPAIGNS_WRITE)]
Sender = Annotated[Caller, require(Scope.CAMPAIGNS_SEND)]


def _shown(detail: CampaignDetail) -> CampaignRead:
    return CampaignRead.of(detail.campaign, detail.variants, line_timezone=detail.line.timezone)


@router.post("", status_code=201)
async def create_campaign(body: CampaignCreate, uow: Uow, _caller: Writer) -> CampaignRead:
    """Write a campaign; it is a draft until it is started."""
    async with uow:
        detail = await campaigns.create(uow, body, now=clock.now())
    return _shown(detail)


@router.get("")
async def list_campaigns(
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    status: Annotated[CampaignStatus | None, Query()] = None,
) -> PageRead[CampaignRead]:
    """List campaigns, newest first."""
    async with uow:
        found = await campaigns.list_page(uow, status=status, cursor=page.cursor, limit=page.limit)
    return PageRead(data=[_shown(detail) for detail in found.data], next_cursor=found.next_cursor)


@router.post("/preview")
async def preview_draft(
    body: DraftPreview, uow: Uow, state: State, _caller: Reader
) -> CampaignPreview:
    """Show what a campaign would send and cost, without storing it."""
    async with uow:
        return await preview.of_draft(uow, body, business=business_of(state), now=clock.now())


@router.get("/{campaign_id}")
async def read_campaign(campaign_id: UUID, uow: Uow, _caller: Reader) -> CampaignRead:
    """Show one campaign."""
    async with uow:
        detail = await campaigns.read(uow, campaign_id=campaign_id)
    return _shown(detail)


@router.patch("/{campaign_id}")
async def update_campaign(
    campaign_id: UUID, body: CampaignUpdate, uow: Uow, _caller: Writer
) -> CampaignRead:
    """Change a draft; what is left out stays."""
    async with uow:
        detail = await campaigns.update(uow, campaign_id=campaign_id, body=body, now=clock.now())
    return _shown(detail)


@router.delete("/{campaign_id}", status_code=204)
async def delete_campaign(campaign_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Remove a draft."""
    async with uow:
        await campaigns.remove(uow, campaign_id=campaign_id)


@router.post("/{campaign_id}/start")
async def start_campaign(
    campaign_id: UUID, uow: Uow, state: State, _caller: Sender
) -> CampaignRead:
    """Start a draft; the worker writes its audience down and sends."""
    sender = business_of(state) if state.settings.rules_name != "none" else None
    async with uow:
        detail = await campaigns.start(
            uow, campaign_id=campaign_id, sender=sender, rules=state.rules, now=clock.now()
        )
    return _shown(detail)


@router.post("/{campaign_id}/pause")
async def pause_campaign(campaign_id: UUID, uow: Uow, _caller: Sender) -> CampaignRead:
    """Stop before the next text; texts under way end and are recorded."""
    async with uow:
        detail = await campaigns.pause(uow, campaign_id=campaign_id, now=clock.now())
    return _shown(detail)


@router.post("/{campaign_id}/resume")
async def resume_campaign(campaign_id: UUID, uow: Uow, _caller: Sender) -> CampaignRead:
    """Let a paused or blocked campaign go on."""
    async with uow:
        detail = await campaigns.resume(uow, campaign_id=campaign_id, now=clock.now())
    return _shown(detail)


@router.post("/{campaign_id}/cancel")
async def cancel_campaign(campaign_id: UUID, uow: Uow, _caller: Sender) -> CampaignRead:
    """End a campaign; who still waits gets nothing."""
    async with uow:
        detail = await campaigns.cancel(uow, campaign_id=campaign_id, now=clock.now())
    return _shown(detail)


@router.post("/{campaign_id}/clone", status_code=201)
async def clone_campaign(
    campaign_id: UUID, uow: Uow, _caller: Writer, body: CloneRequest | None = None
) -> CampaignRead:
    """Write a new draft with the same content; a start or end that has passed is left out."""
    name = body.name if body is not None else None
    async with uow:
        detail = await cloning.clone(uow, campaign_id=campaign_id, name=name, now=clock.now())
    return _shown(detail)


@router.post("/{campaign_id}/preview")
async def preview_campaign(
    campaign_id: UUID,
    uow: Uow,
    state: State,
    _caller: Reader,
    body: PreviewRequest | None = None,
) -> CampaignPreview:
    """Show what a campaign would send and cost, were it started now."""
    async with uow:
        return await preview.of_campaign(
            uow,
            campaign_id=campaign_id,
            request=body or PreviewRequest(),
            business=business_of(state),
            now=clock.now(),
        )


@router.post("/{campaign_id}/test-send", status_code=202)
async def send_test(
    campaign_id: UUID, body: TrialRequest, uow: Uow, state: State, _caller: Sender
) -> MessageRead:
    """Send a wording to another own line; it counts for no recipient."""
    async with uow:
        message = await trial.send(
            uow,
            campaign_id=campaign_id,
            request=body,
            business=business_of(state),
            now=clock.now(),
        )
    return MessageRead.of(message)


@router.get("/{campaign_id}/stats")
async def read_stats(
    campaign_id: UUID, uow: ListUow, state: State, _caller: Reader, step: Step = 0
) -> CampaignStats:
    """Count where a campaign stands."""
    async with uow:
        return await campaigns.stats(
            uow,
            campaign_id=campaign_id,
            step=step,
            rules=state.rules,
            times=SendTimes.from_settings(state.settings),
            texts_per_second=state.settings.openphone_rate_per_second,
            now=clock.now(),
        )


@router.get("/{campaign_id}/forecast")
async def forecast_campaign(
    campaign_id: UUID, uow: ListUow, state: State, _caller: Reader
) -> ForecastRead:
    """Tell when it will be done, and the rule that binds it; a draft as if started now."""
    async with uow:
        return await forecasting.forecast(
            uow,
            campaign_id=campaign_id,
            rules=state.rules,
            times=SendTimes.from_settings(state.settings),
            texts_per_second=state.settings.openphone_rate_per_second,
            now=clock.now(),
        )
