"""The review queue: people who were texted before, approved or rejected by a person."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import queries, review_queries
from crm_api.domain.campaigns.errors import CampaignNotFoundError, NotInReviewError
from crm_api.domain.campaigns.models import CampaignStatus
from crm_api.domain.campaigns.review_answers import ReviewRead
from crm_api.domain.operations import service as operations
from crm_api.jobs import Job, JobName

_WITHOUT_REVIEW = {
    CampaignStatus.DRAFT: "It has no recipients before its start.",
    CampaignStatus.COMPLETED: "Nobody waits in it any more.",
    CampaignStatus.CANCELLED: "Nobody waits in it any more.",
}


async def decide(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    decision: Literal["approve", "reject"],
    contact_ids: Sequence[UUID] | None,
    actor: str,
    now: datetime,
) -> ReviewRead:
    """Approve or reject people in review, in one statement, and note who decided.

    Whoever has opted out meanwhile, or was deleted, is skipped for that, not approved.

    Args:
        contact_ids: None for everybody in review.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        NotInReviewError: The campaign was not started, or is over.
    """
    campaign = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    if campaign.status in _WITHOUT_REVIEW:
        why = _WITHOUT_REVIEW[CampaignStatus(campaign.status)]
        raise NotInReviewError(f"The campaign is {campaign.status}. {why}")
    wanted = None if contact_ids is None else set(contact_ids)
    decided = await review_queries.decide(
        uow.session, campaign_id=campaign_id, decision=decision, contact_ids=wanted, now=now
    )
    changed = decided.approved + decided.rejected
    result = ReviewRead(
        approved=decided.approved,
        rejected=decided.rejected,
        unchanged=(decided.found if wanted is None else len(wanted)) - changed,
        left=await review_queries.count_in_review(uow.session, campaign_id=campaign_id),
    )
    await operations.audit(
        uow,
        actor=actor,
        action=f"{decision}_recipients",
        subject=str(campaign_id),
        detail={
            **result.model_dump(),
            "contact_ids": None if wanted is None else sorted(str(one) for one in wanted),
        },
        now=now,
    )
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return result
