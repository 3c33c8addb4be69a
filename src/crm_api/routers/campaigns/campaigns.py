"""Routes of campaigns: drafts, status changes, previews, statistics, forecasts.

``recipients.py`` has the routes of a campaign's recipients.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from crm_api.domain.campaigns import campaign_detail, campaign_list
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.campaign_list import CampaignFilter, CampaignSort
from crm_api.domain.campaigns.drafts import service as drafts
from crm_api.domain.campaigns.figures.campaign_stats import read_campaign_stats
from crm_api.domain.campaigns.figures.schemas import CampaignStats
from crm_api.domain.campaigns.forecast import service as forecasting
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.campaigns.forecast.schemas import ForecastRead
from crm_api.domain.campaigns.preview import service as previews
from crm_api.domain.campaigns.preview import test_send
from crm_api.domain.campaigns.preview.schemas import (
    CampaignPreview,
    DraftPreview,
    PreviewRequest,
    TrialRequest,
)
from crm_api.domain.campaigns.read_models import CampaignItem, CampaignRead
from crm_api.domain.campaigns.schemas import CampaignCreate, CampaignUpdate, CloneRequest
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import NOW, example_id
from crm_api.domain.kit.fields import Line200
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.conversations.schemas import MessageRead
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import (
    IN_STATUS,
    Caller,
    ListUow,
    State,
    Step,
    Uow,
    business_of,
    require,
)
from crm_api.routers.http.list_responses import ReplicaListed
from crm_api.routers.http.query_parameters import After, Before, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1/campaigns", tags=["campaigns"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, require(Scope.CAMPAIGNS_WRITE)]
Sender = Annotated[Caller, require(Scope.CAMPAIGNS_SEND)]


DRAFT = {"status": "draft", "recipients_total": None, "recipients_written": 0, "started_at": None}
"""The fields in which the example of a draft differs from the example of a running campaign."""


@router.post(
    "",
    status_code=201,
    openapi_extra=fails_with("invalid_campaign") | shows(**DRAFT),
)
async def create_campaign(body: CampaignCreate, uow: Uow, caller: Writer) -> CampaignRead:
    """Create a campaign. It is a draft and sends nothing until you start it."""
    async with uow:
        detail = await drafts.create_campaign(
            uow, body, author_id=caller.id, now=await uow.database_now()
        )
    return CampaignRead.of(detail)


@router.get("", response_model=PageRead[CampaignItem], responses=csv_list_of(CampaignItem))
async def list_campaigns(
    listed: ReplicaListed,
    _caller: Reader,
    zone: QueryZone,
    *,
    q: Annotated[
        Line200,
        Query(
            description="Only campaigns whose name contains this text. Case and accents are "
            "ignored.",
            examples=["december"],
        ),
    ] = "",
    status: Annotated[CampaignStatus | None, IN_STATUS] = None,
    line_id: Annotated[UUID | None, Query(description="Only campaigns of this line.")] = None,
    archived: Annotated[
        bool,
        Query(
            description="True: only archived campaigns; false: only campaigns that are not "
            "archived."
        ),
    ] = False,
    created_after: After = None,
    created_before: Before = None,
    sort: Annotated[
        CampaignSort,
        Query(
            description="The order of the campaigns. A minus sign reverses the order.",
            examples=["-created_at"],
        ),
    ] = CampaignSort.NEWEST,
) -> PageRead[CampaignItem] | Response:
    """List the campaigns that match all given filters, with the counts of their recipients.

    A CSV response contains all campaigns that match.
    """
    wanted = CampaignFilter(
        q=q or None,
        line_id=line_id,
        status=status,
        is_archived=archived,
        created_after=start_of(created_after, zone),
        created_before=start_of(created_before, zone),
    )

    async def read_page(uow: UnitOfWork, cursor: str | None, limit: int) -> PageRead[CampaignItem]:
        found = await campaign_list.list_campaigns(
            uow, wanted, sort=sort, cursor=cursor, limit=limit
        )
        return PageRead.of(found, CampaignItem.of_listed)

    return await listed.respond(CampaignItem, read_page, name="campaigns")


@router.post("/preview", openapi_extra=fails_with("invalid_campaign"))
async def preview_draft(
    body: DraftPreview, uow: Uow, state: State, _caller: Reader
) -> CampaignPreview:
    """Show the messages that a campaign would send, and their cost. The campaign is not stored."""
    async with uow:
        return await previews.preview_draft(
            uow, body, business=await business_of(uow, state), now=await uow.database_now()
        )


@router.get("/{campaign_id}")
async def read_campaign(campaign_id: UUID, uow: Uow, _caller: Reader) -> CampaignRead:
    """Return one campaign, with its message variants, schedule, pacing and rules.

    The pacing is the maximum number of messages a day, and how they are spread over the day.
    """
    async with uow:
        detail = await campaign_detail.read_campaign(uow, campaign_id=campaign_id)
    return CampaignRead.of(detail)


@router.patch(
    "/{campaign_id}",
    openapi_extra=fails_with("campaign_not_editable", "invalid_campaign") | shows(**DRAFT),
)
async def update_campaign(
    campaign_id: UUID, body: CampaignUpdate, uow: Uow, caller: Writer
) -> CampaignRead:
    """Change a campaign. Fields that you leave out do not change.

    You can change `name`, `archived` and `recurrence` in every status. You can change the other
    fields only while the campaign is a draft.
    """
    async with uow:
        detail = await drafts.update_campaign(
            uow,
            campaign_id=campaign_id,
            body=body,
            author_id=caller.id,
            now=await uow.database_now(),
        )
    return CampaignRead.of(detail)


@router.delete("/{campaign_id}", status_code=204, openapi_extra=fails_with("campaign_not_editable"))
async def delete_campaign(campaign_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a draft. A campaign that was started cannot be deleted."""
    async with uow:
        await drafts.delete_campaign(uow, campaign_id=campaign_id)


@router.post(
    "/{campaign_id}/start",
    openapi_extra=fails_with(
        "approval_needed",
        "empty_audience",
        "invalid_campaign",
        "invalid_transition",
        "missing_identification",
    )
    | shows(status="scheduled", started_at=None, recipients_total=None, recipients_written=0),
)
async def start_campaign(
    campaign_id: UUID, uow: Uow, state: State, _caller: Sender
) -> CampaignRead:
    """Start a draft. A worker then stores the recipients and sends the messages as scheduled.

    With the ETag of the campaign in `If-Match`, a draft that has changed since you read it is not
    started.
    """
    async with uow:
        has_rules = state.settings.rules_name != "none"
        sender = await business_of(uow, state) if has_rules else None
        detail = await campaigns.start_campaign(
            uow,
            campaign_id=campaign_id,
            sender=sender,
            rules=state.rules,
            now=await uow.database_now(),
        )
    return CampaignRead.of(detail)


@router.post(
    "/{campaign_id}/pause", openapi_extra=fails_with("invalid_transition") | shows(status="paused")
)
async def pause_campaign(campaign_id: UUID, uow: Uow, _caller: Sender) -> CampaignRead:
    """Pause a campaign. Nothing more is sent, except messages that are already being sent."""
    async with uow:
        detail = await campaigns.pause_campaign(
            uow, campaign_id=campaign_id, now=await uow.database_now()
        )
    return CampaignRead.of(detail)


@router.post(
    "/{campaign_id}/resume",
    openapi_extra=fails_with("audience_lost", "invalid_transition", "not_reconciled"),
)
async def resume_campaign(campaign_id: UUID, uow: Uow, _caller: Sender) -> CampaignRead:
    """Resume a paused or blocked campaign. The campaign continues to send as scheduled.

    A campaign is blocked if the provider refused to send its messages.
    """
    async with uow:
        detail = await campaigns.resume_campaign(
            uow, campaign_id=campaign_id, now=await uow.database_now()
        )
    return CampaignRead.of(detail)


@router.post(
    "/{campaign_id}/cancel",
    openapi_extra=fails_with("invalid_transition") | shows(status="cancelled", finished_at=NOW),
)
async def cancel_campaign(campaign_id: UUID, uow: Uow, _caller: Sender) -> CampaignRead:
    """Cancel a campaign. This is final. Recipients that still wait for a message do not get it."""
    async with uow:
        detail = await campaigns.cancel_campaign(
            uow, campaign_id=campaign_id, now=await uow.database_now()
        )
    return CampaignRead.of(detail)


@router.post(
    "/{campaign_id}/clone",
    status_code=201,
    openapi_extra=shows(**DRAFT, id=example_id("copy"), name="Foundation check, January"),
)
async def clone_campaign(
    campaign_id: UUID, uow: Uow, caller: Writer, body: CloneRequest | None = None
) -> CampaignRead:
    """Create a draft with the same content as this campaign. The campaign may have any status.

    `start_at` and `end_at` are not copied if they are in the past.
    """
    name = body.name if body is not None else None
    async with uow:
        detail = await drafts.clone_campaign(
            uow,
            campaign_id=campaign_id,
            name=name,
            author_id=caller.id,
            now=await uow.database_now(),
        )
    return CampaignRead.of(detail)


@router.post("/{campaign_id}/preview", openapi_extra=fails_with("invalid_campaign"))
async def preview_campaign(
    campaign_id: UUID,
    uow: Uow,
    state: State,
    _caller: Reader,
    body: PreviewRequest | None = None,
) -> CampaignPreview:
    """Show which messages a campaign would send if you started it now, and what they cost."""
    async with uow:
        return await previews.preview_campaign(
            uow,
            campaign_id=campaign_id,
            request=body or PreviewRequest(),
            business=await business_of(uow, state),
            now=await uow.database_now(),
        )


@router.post(
    "/{campaign_id}/test-send",
    status_code=202,
    openapi_extra=fails_with(
        "invalid_campaign",
        "legal_frequency",
        "line_blocked",
        "missing_value",
        "not_own_number",
        "outside_window",
        "recipient_do_not_contact",
        "recipient_opt_out_hold",
        "recipient_opted_out",
        "text_failed",
    )
    | shows(
        origin="test",
        status="queued",
        provider_message_id=None,
        attempts=[],
        phone="+16175550101",
        contact_id=None,
    ),
)
async def send_test(
    campaign_id: UUID, body: TrialRequest, uow: Uow, state: State, _caller: Sender
) -> MessageRead:
    """Send a test message of the campaign to another line of the company or to a test number.

    Test numbers are set in `test_numbers` of `/v1/settings`. Opt-outs and the legal rules also
    apply to test numbers. The test message does not count as a message to a recipient.
    """
    async with uow:
        message = await test_send.send_test_message(
            uow,
            campaign_id=campaign_id,
            request=body,
            business=await business_of(uow, state),
            rules=state.rules,
            now=await uow.database_now(),
        )
    return MessageRead.of(message)


@router.get("/{campaign_id}/stats")
async def read_stats(
    campaign_id: UUID, uow: ListUow, state: State, _caller: Reader, step: Step = 0
) -> CampaignStats:
    """Return the statistics of one step of a campaign: statuses, replies, opt-outs, variants.

    A step is one message of the campaign, and a variant is one text of this message.

    Step 0 is the first message, step 1 is the first follow-up, and so on.
    """
    async with uow:
        return await read_campaign_stats(
            uow,
            campaign_id=campaign_id,
            step=step,
            limits=SendLimits.from_settings(state.settings, rules=state.rules),
            now=clock.now(),
        )


@router.get("/{campaign_id}/forecast")
async def forecast_campaign(
    campaign_id: UUID, uow: ListUow, state: State, _caller: Reader
) -> ForecastRead:
    """Estimate when a campaign sends its last message, and which rule delays this message most.

    For a draft, the forecast assumes that the campaign is started now.
    """
    async with uow:
        return await forecasting.forecast(
            uow,
            campaign_id=campaign_id,
            limits=SendLimits.from_settings(state.settings, rules=state.rules),
            now=clock.now(),
        )
