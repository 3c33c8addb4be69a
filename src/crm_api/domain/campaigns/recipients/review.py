"""Store decisions of users about recipients.

- A user approves or rejects a recipient in review. A recipient in review is a person who
  already got a message, for example before the campaign.
- A user settles a parked attempt. The service could not find out whether the message was sent, so
  the user decides whether it was sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.audience.schemas import MAX_CONTACT_IDS
from crm_api.domain.campaigns.campaign_detail import require_campaign
from crm_api.domain.campaigns.errors import NotInReviewError, RecipientNotFoundError
from crm_api.domain.campaigns.recipients.listing import ListedRecipient, read_recipient
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.examples import CONTACT, TICKET, example
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import settle
from crm_api.domain.messaging.sends.number_rules import HOLDING, stopping_rule
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.jobs import Job, JobName


class ReviewRead(DryRunRead):
    """The result of a decision about recipients in review.

    Attributes:
        approved: The number of approved recipients. All rules are checked again before a message is
            sent.
        rejected: The number of rejected recipients. They get no message.
        unchanged: The number of selected contacts that are not in review, or that a rule (such as
            an opt-out or a hold) stops.
        left: The number of recipients still in review.
    """

    model_config = example(token=TICKET, approved=3, left=1)

    approved: int
    rejected: int
    unchanged: int
    left: int


# Only first messages of a campaign are reviewed. If two users decide at the same time, the second
# decision waits for the row lock, and then finds no recipient in review. The flags of the number
# are checked here too, because an opt-out may be stored before its recipient is removed from the
# review.
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
    CampaignStatus.DRAFT: "The campaign is a draft and has no recipients yet. Start it first.",
    CampaignStatus.COMPLETED: "The campaign is completed, so no recipient waits for a review.",
    CampaignStatus.CANCELLED: "The campaign is cancelled, so no recipient waits for a review.",
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
    """Approve or reject recipients in review, and write the decision to the audit log.

    An approval skips a person who has opted out, or whose contact was deleted. If the phone number
    is on hold, an approval puts the recipient on hold.

    Args:
        contact_ids: The recipients; None for all recipients in review.
        actor: Who decided, for the audit log.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        NotInReviewError: The campaign is a draft, completed or cancelled.
    """
    campaign = await require_campaign(uow.session, campaign_id=campaign_id)
    if campaign.status in _WITHOUT_REVIEW:
        raise NotInReviewError(_WITHOUT_REVIEW[CampaignStatus(campaign.status)])
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
    """The numbers of recipients in review that were found, approved and rejected.

    A rule, such as an opt-out, can prevent an approval. Then the recipient is skipped or put on
    hold, and counts only as found.
    """

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
    """Approve or reject recipients in review; all of them if ``contact_ids`` is None."""
    values = {
        "campaign_id": campaign_id,
        "decision": decision,
        "contact_ids": None if contact_ids is None else list(contact_ids),
        "now": now,
    }
    return typed_row(StoredDecisions, (await session.execute(_DECIDE, values)).one())


async def count_in_review(session: AsyncSession, *, campaign_id: UUID) -> int:
    """Return the number of recipients in review, from stored sums, without counting rows."""
    values = {"campaign_id": campaign_id}
    return int((await session.execute(_IN_REVIEW, values)).scalar_one())


class ReviewRequest(DryRunRequest):
    """A decision about recipients who are in review because they got a message before the campaign.

    Attributes:
        decision: ``approve`` lets the recipients get their message; ``reject`` skips them.
        contact_ids: The contact ids of the recipients to approve or reject.
        all: True selects all recipients in review, instead of ``contact_ids``.
    """

    model_config = example(decision="approve", contact_ids=[CONTACT])

    decision: Literal["approve", "reject"]
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_CONTACT_IDS)
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.contact_ids is None) == (self.all is None):
            raise PydanticCustomError("whom", 'Set exactly one of `contact_ids` and `"all": true`.')
        return self


async def settle_recipient(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    outcome: Literal["sent", "resend", "failed"],
    actor: str,
    now: datetime,
) -> ListedRecipient:
    """Store a user's decision about the parked attempt of a recipient.

    Args:
        outcome: ``sent``: the message was sent. ``failed``: the message was not sent, and shall not
            be sent again. ``resend``: the message shall be sent again.
        actor: Who decided, for the audit log.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        RecipientNotFoundError: The contact is not a recipient of the campaign.
        NotParkedError: The recipient has no parked attempt.
    """
    await _require_recipient(uow, campaign_id, contact_id)
    await settle.settle_recipient(
        uow, campaign_id=campaign_id, contact_id=contact_id, outcome=outcome, actor=actor, now=now
    )
    return await _require_recipient(uow, campaign_id, contact_id)


async def _require_recipient(
    uow: UnitOfWork, campaign_id: UUID, contact_id: UUID
) -> ListedRecipient:
    recipient = await read_recipient(uow, campaign_id=campaign_id, contact_id=contact_id)
    if recipient is None:
        raise RecipientNotFoundError
    return recipient


class SettleRequest(RequestModel):
    """A user's decision about a message that was perhaps sent.

    Attributes:
        outcome: ``sent``: the message was sent. ``failed``: the message was not sent, and shall not
            be sent again. ``resend``: the message shall be sent again.
    """

    model_config = example(outcome="resend")

    outcome: Literal["sent", "resend", "failed"]
