"""Approve or reject people in review: those who got a message before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.errors import NotInReviewError
from crm_api.domain.campaigns.schemas import MAX_CONTACT_IDS
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.examples import CONTACT, TICKET, example
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.number_rules import HOLDING, stopping_rule
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.jobs import Job, JobName


class ReviewRead(DryRunRead):
    """What a decision changed.

    Attributes:
        approved: Now wait for their message; every rule is checked again before it is sent.
        rejected: Get nothing.
        unchanged: Named in the request, but not in review, not recipients, or stopped by a rule.
        left: Still in review.
    """

    model_config = example(token=TICKET, approved=3, left=1)

    approved: int
    rejected: int
    unchanged: int
    left: int


# Only first messages are reviewed. Of two decisions at the same time the second finds no one in
# review. Flags are checked too: an opt-out takes people out of review, but its own row may be
# newer.
_DECIDE = text(f"""
    WITH chosen AS (
        SELECT m.id, m.phone FROM campaign_membership m
        WHERE m.campaign_id = :campaign_id AND m.step = 0 AND m.status = 'review'
          AND (CAST(:contact_ids AS uuid[]) IS NULL
               OR m.contact_id = ANY(CAST(:contact_ids AS uuid[])))
        ORDER BY m.id FOR NO KEY UPDATE
    ), verdict AS (
        SELECT c.id, CASE
                   WHEN CAST(:decision AS text) = 'reject' THEN 'rejected'
                   WHEN r.rule = '{HOLDING}' THEN 'held'
                   ELSE coalesce(r.rule, 'pending') END AS verdict
        FROM chosen c CROSS JOIN LATERAL (
            SELECT {stopping_rule(SendKind.CAMPAIGN, phone="c.phone")} AS rule
        ) r
    ), decided AS (
        UPDATE campaign_membership m
        SET status = CASE WHEN v.verdict IN ('pending', 'held') THEN v.verdict ELSE 'skipped' END,
            skip_reason = CASE WHEN v.verdict NOT IN ('pending', 'held') THEN v.verdict END,
            approved_at = CASE WHEN v.verdict IN ('pending', 'held')
                               THEN CAST(:now AS timestamptz) END,
            due_at = :now, updated_at = :now
        FROM verdict v WHERE m.id = v.id
        RETURNING v.verdict
    )
    SELECT count(*) AS found, count(*) FILTER (WHERE verdict = 'pending') AS approved,
           count(*) FILTER (WHERE verdict = 'rejected') AS rejected
    FROM decided
""")

_IN_REVIEW = text("""
    SELECT CAST(coalesce(sum(t.people), 0) AS bigint) FROM campaign_tally t
    WHERE t.campaign_id = :campaign_id AND t.step = 0 AND t.status = 'review'
""")


_WITHOUT_REVIEW = {
    CampaignStatus.DRAFT: "It has no recipients before its start.",
    CampaignStatus.COMPLETED: "It has no waiting recipients.",
    CampaignStatus.CANCELLED: "It has no waiting recipients.",
}


async def review_recipients(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    decision: Literal["approve", "reject"],
    contact_ids: Sequence[UUID] | None,
    actor: str,
    now: datetime,
) -> ReviewRead:
    """Approve or reject people in review with one statement, and log who decided.

    People who opted out or were deleted since then are skipped for that reason, not approved.

    Args:
        contact_ids: None for all people in review.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        NotInReviewError: The campaign was not started, or is over.
    """
    campaign = await queries.require_campaign(uow.session, campaign_id=campaign_id)
    if campaign.status in _WITHOUT_REVIEW:
        why = _WITHOUT_REVIEW[CampaignStatus(campaign.status)]
        raise NotInReviewError(f"The campaign is {campaign.status}. {why}")
    wanted = None if contact_ids is None else set(contact_ids)
    decided = await store_decisions(
        uow.session, campaign_id=campaign_id, decision=decision, contact_ids=wanted, now=now
    )
    changed = decided.approved + decided.rejected
    counts = {
        "approved": decided.approved,
        "rejected": decided.rejected,
        "unchanged": (decided.found if wanted is None else len(wanted)) - changed,
        "left": await count_in_review(uow.session, campaign_id=campaign_id),
    }
    await note_decision(
        uow,
        actor=actor,
        action=f"{decision}_recipients",
        subject=str(campaign_id),
        detail={
            **counts,
            "contact_ids": None if wanted is None else sorted(str(one) for one in wanted),
        },
        now=now,
    )
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return ReviewRead(**counts, counts=counts)


@dataclass(frozen=True, slots=True)
class StoredDecisions:
    """How many people in review were found, approved and rejected; the others a rule stops."""

    found: int
    approved: int
    rejected: int


async def store_decisions(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    decision: str,
    contact_ids: Iterable[UUID] | None,
    now: datetime,
) -> StoredDecisions:
    """Store decisions about people in review."""
    values = {
        "campaign_id": campaign_id,
        "decision": decision,
        "contact_ids": None if contact_ids is None else list(contact_ids),
        "now": now,
    }
    return typed_row(StoredDecisions, (await session.execute(_DECIDE, values)).one())


async def count_in_review(session: AsyncSession, *, campaign_id: UUID) -> int:
    """Count people in review; fast for a campaign of any size."""
    values = {"campaign_id": campaign_id}
    return int((await session.execute(_IN_REVIEW, values)).scalar_one())


class ReviewRequest(DryRunRequest):
    """A decision about people who got a message before: about these, or about all in review.

    Attributes:
        decision: Whether the recipients are approved or rejected.
        all: True selects every recipient in review.
    """

    model_config = example(decision="approve", contact_ids=[CONTACT])

    decision: Literal["approve", "reject"]
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_CONTACT_IDS)
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.contact_ids is None) == (self.all is None):
            raise PydanticCustomError("whom", 'Give exactly one of contact_ids and "all": true.')
        return self
