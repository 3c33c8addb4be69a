"""Routes of a campaign's recipients, and of their unclear messages.

The routes list recipients, approve or reject recipients that are in review, and explain why a
recipient gets a message or not. A message is unclear if the service could not find out whether it
was sent. Then a user records the result.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response

from crm_api.domain.campaigns.explain import service as explaining
from crm_api.domain.campaigns.explain.explanation import ExplanationRead
from crm_api.domain.campaigns.recipients import listing, review
from crm_api.domain.campaigns.recipients.export import export_recipients
from crm_api.domain.campaigns.recipients.listing import RecipientFilter
from crm_api.domain.campaigns.recipients.review import ReviewRead, ReviewRequest, SettleRequest
from crm_api.domain.campaigns.recipients.schemas import RecipientRead
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.dry_runs import make_call
from crm_api.domain.kit.examples import CONTACT, example_id
from crm_api.domain.kit.fields import Line200
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus, SkipReason
from crm_api.platform import clock
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer, csv_list
from crm_api.routers.http.deps import (
    IN_STATUS,
    Caller,
    ListUow,
    Paging,
    State,
    Step,
    Uow,
    business_of,
    require,
)
from crm_api.routers.http.dry_run_calls import ThisCall
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/campaigns/{campaign_id}/recipients", tags=["campaigns"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Sender = Annotated[Caller, require(Scope.CAMPAIGNS_SEND)]


async def _recipient_filter(
    *,
    status: Annotated[MembershipStatus | None, IN_STATUS] = None,
    variant: Annotated[
        str | None, Query(description="Only recipients that get the variant with this name.")
    ] = None,
    step: Step = 0,
    q: Annotated[
        Line200,
        Query(
            description="Words to find in the contact's name, phone number, e-mail address or "
            "company. Every word must occur. A word with fewer than three letters or digits is "
            "found only at the beginning of a word.",
            examples=["rossi"],
        ),
    ] = "",
    replied: Annotated[
        bool | None,
        Query(
            description="True: only recipients who replied to the message of this step; false: "
            "only recipients who did not reply to it."
        ),
    ] = None,
    opted_out: Annotated[
        bool | None,
        Query(
            description="True: only recipients who opted out after the message of this step; "
            "false: only recipients who did not opt out after it."
        ),
    ] = None,
    parked: Annotated[
        bool | None,
        Query(
            description="True: only recipients for whom a user must decide whether the message was "
            "sent (`settle`); false: only recipients without such a decision."
        ),
    ] = None,
    error_code: Annotated[
        Line200 | None,
        Query(
            description="Only recipients whose message failed with this code.",
            examples=["provider_refused"],
        ),
    ] = None,
    skip_reason: Annotated[
        SkipReason | None, Query(description="Only recipients that were skipped for this reason.")
    ] = None,
) -> RecipientFilter:
    return RecipientFilter(
        step=step,
        status=status,
        variant=variant,
        q=q,
        replied=replied,
        opted_out=opted_out,
        parked=parked,
        error_code=error_code,
        skip_reason=skip_reason,
    )


RECIPIENTS_AS_CSV = csv_list(
    {
        "id": example_id("recipient"),
        "contact_id": CONTACT,
        "phone": "+16175550123",
        "status": "delivered",
        "variant": "Short",
        "step": "0",
        "attempts": "1",
        "skip_reason": "",
        "error_code": "",
        "provider_message_id": "ACf3b9c27d41e8452c9b6a7d0e5f183c64",
        "sent_at": "2026-11-30T14:05:12.000Z",
        "delivered_at": "2026-11-30T14:05:15.000Z",
        "replied_at": "",
        "opted_out_at": "",
        "name": "Ada Rossi",
        "body": "Hi Ada, Granite Foundations here. Reply STOP to opt out.",
        "message_id": example_id("message"),
    }
)


@router.get(
    "",
    response_model=PageRead[RecipientRead],
    responses=RECIPIENTS_AS_CSV,
    openapi_extra=fails_with("invalid_campaign", "unsearchable"),
)
async def list_recipients(
    *,
    campaign_id: UUID,
    uow: ListUow,
    state: State,
    page: Paging,
    as_csv: WantsCsv,
    _caller: Reader,
    wanted: Annotated[RecipientFilter, Depends(_recipient_filter)],
) -> PageRead[RecipientRead] | Response:
    """List the recipients of one step of a campaign, with the status of their message.

    A JSON response is one page. A CSV response contains all recipients.
    """
    if as_csv:
        rows = await export_recipients(state.new_list_uow, wanted, campaign_id=campaign_id)
        return csv_answer(rows, name="recipients")
    async with uow:
        found = await listing.list_recipients(
            uow, wanted, campaign_id=campaign_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, RecipientRead.of)


@router.post(
    "/review", response_model_exclude_unset=True, openapi_extra=fails_with("not_in_review")
)
async def review_recipients(
    campaign_id: UUID, body: ReviewRequest, uow: Uow, call: ThisCall, caller: Sender
) -> ReviewRead:
    """Approve or reject recipients that are in review.

    A recipient in review waits for this decision, because the person already got a message, for
    example from an earlier campaign. `GET /v1/campaigns/{campaign_id}/recipients?status=review`
    lists these recipients.
    """

    async def act() -> ReviewRead:
        return await review.review_recipients(
            uow,
            campaign_id=campaign_id,
            decision=body.decision,
            contact_ids=body.contact_ids,
            actor=caller.name,
            now=await uow.database_now(),
        )

    async with uow:
        return await make_call(uow, call.by(caller), body, act)


@router.get("/{contact_id}/explain", openapi_extra=fails_with("recipient_not_found"))
async def explain_recipient(
    campaign_id: UUID,
    contact_id: UUID,
    uow: Uow,
    state: State,
    _caller: Reader,
    step: Annotated[
        int | None,
        Query(
            ge=0,
            le=20,
            description="The step of the campaign. The default is the first step whose message is "
            "not sent yet.",
        ),
    ] = None,
) -> ExplanationRead:
    """Explain whether this recipient would get a message now, and which rules prevent a message."""
    async with uow:
        return await explaining.explain_recipient(
            uow,
            campaign_id=campaign_id,
            contact_id=contact_id,
            step=step,
            rules=state.rules,
            business=await business_of(uow, state),
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
            secret=state.secret,
        )


@router.post(
    "/{contact_id}/settle",
    openapi_extra=fails_with("campaign_not_found", "not_parked", "recipient_not_found"),
)
async def settle_recipient(
    campaign_id: UUID, contact_id: UUID, body: SettleRequest, uow: Uow, caller: Sender
) -> RecipientRead:
    """Record whether a message to this recipient was sent, if the service could not find out.

    Set `outcome` to one of these values:

    - `sent`: the message was sent.
    - `failed`: the message was not sent, and must not be sent again.
    - `resend`: the message was not sent, and must be sent again.
    """
    async with uow:
        settled = await review.settle_recipient(
            uow,
            campaign_id=campaign_id,
            contact_id=contact_id,
            outcome=body.outcome,
            actor=caller.name,
            now=await uow.database_now(),
        )
    return RecipientRead.of(settled)
