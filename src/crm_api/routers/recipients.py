"""Who gets a campaign, where their text stands, and why."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.campaigns import explaining, recipients, reviewing
from crm_api.domain.campaigns.answers import RecipientRead
from crm_api.domain.campaigns.explain_answers import ExplanationRead
from crm_api.domain.campaigns.exporting import recipients_csv
from crm_api.domain.campaigns.models import MembershipStatus
from crm_api.domain.campaigns.review_answers import ReviewRead
from crm_api.domain.campaigns.schemas import ReviewRequest, SettleRequest
from crm_api.domain.schemas import PageRead
from crm_api.domain.sends.times import SendTimes
from crm_api.routers.csv_answers import CSV_RESPONSE, WantsCsv, csv_answer
from crm_api.routers.deps import Caller, ListUow, Paging, State, Step, Uow, business_of, require

router = APIRouter(prefix="/v1/campaigns/{campaign_id}/recipients", tags=["campaigns"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Sender = Annotated[Caller, require(Scope.CAMPAIGNS_SEND)]


@dataclass(frozen=True, kw_only=True)
class RecipientFilter:
    """Which recipients of a campaign."""

    status: MembershipStatus | None
    variant: str | None
    step: int


async def _recipient_filter(
    status: Annotated[MembershipStatus | None, Query()] = None,
    variant: Annotated[str | None, Query(description="A variant's name.")] = None,
    step: Step = 0,
) -> RecipientFilter:
    return RecipientFilter(status=status, variant=variant, step=step)


@router.get("", response_model=PageRead[RecipientRead], responses=CSV_RESPONSE)
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
    """List who gets it and where their text stands; as CSV all of them."""
    if as_csv:
        rows = await recipients_csv(
            state.new_list_uow,
            campaign_id=campaign_id,
            status=wanted.status,
            variant=wanted.variant,
            step=wanted.step,
        )
        return csv_answer(rows, name="recipients")
    async with uow:
        found, names = await recipients.list_page(
            uow,
            campaign_id=campaign_id,
            status=wanted.status,
            variant=wanted.variant,
            step=wanted.step,
            cursor=page.cursor,
            limit=page.limit,
        )
    return PageRead(
        data=[RecipientRead.of(member, names) for member in found.data],
        next_cursor=found.next_cursor,
    )


@router.post("/review")
async def review_recipients(
    campaign_id: UUID, body: ReviewRequest, uow: Uow, caller: Sender
) -> ReviewRead:
    """Approve or reject people who were texted before; `?status=review` lists them."""
    async with uow:
        return await reviewing.decide(
            uow,
            campaign_id=campaign_id,
            decision=body.decision,
            contact_ids=body.contact_ids,
            actor=caller.name,
            now=clock.now(),
        )


@router.get("/{contact_id}/explain")
async def explain_recipient(
    campaign_id: UUID,
    contact_id: UUID,
    uow: Uow,
    state: State,
    _caller: Reader,
    step: Annotated[int | None, Query(ge=0, le=20, description="Left out: the next.")] = None,
) -> ExplanationRead:
    """Say whether this person would be texted now, which rule stops it, and until when."""
    async with uow:
        found = await explaining.explain(
            uow,
            campaign_id=campaign_id,
            contact_id=contact_id,
            step=step,
            rules=state.rules,
            business=business_of(state),
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return ExplanationRead.of(found)


@router.post("/{contact_id}/settle")
async def settle_recipient(
    campaign_id: UUID, contact_id: UUID, body: SettleRequest, uow: Uow, caller: Sender
) -> RecipientRead:
    """Say what became of a send that waits for a person."""
    async with uow:
        member, names = await recipients.settle(
            uow,
            campaign_id=campaign_id,
            contact_id=contact_id,
            outcome=body.outcome,
            actor=caller.name,
            now=clock.now(),
        )
    return RecipientRead.of(member, names)
