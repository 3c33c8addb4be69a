"""People who already got a message wait in review until a user approves or rejects them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import make_campaign, make_contact, make_line, make_member, number
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns.errors import CampaignNotFoundError, NotInReviewError
from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.campaigns.recipients import review
from crm_api.domain.campaigns.recipients.review import ReviewRead
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit.audit_log import AuditEntry
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import JobName

NewUow = Callable[[], UnitOfWork]
LATER = NOW + timedelta(hours=2)
UNKNOWN_ID = UUID("00000000-0000-7000-8000-000000000000")


def make_result(**counts: int) -> ReviewRead:
    """Return the response to a decision, with these counts.

    The response has the counts twice, because a dry run also returns them as ``counts``.
    """
    return ReviewRead(**counts, counts=counts)


async def make_people_in_review(
    session: AsyncSession, *, people: int = 3, **values: Any
) -> tuple[Campaign, list[CampaignMembership]]:
    """Start a campaign that has ``people`` people in review.

    Their numbers are ``number(0)``, ``number(1)`` and so on.
    """
    campaign = await make_campaign(session, line=await make_line(session), **values)
    members = [
        await make_member(
            session,
            campaign=campaign,
            contact=await make_contact(session, phone=number(position)),
            status="review",
        )
        for position in range(people)
    ]
    await session.commit()
    return campaign, members


async def decide(
    new_uow: NewUow,
    campaign: Campaign,
    decision: Any,
    members: list[CampaignMembership] | None = None,
) -> ReviewRead:
    chosen = None if members is None else [member.contact_id for member in members]
    async with new_uow() as uow:
        return await review.review_recipients(
            uow,
            campaign_id=campaign.id,
            decision=decision,
            contact_ids=chosen,
            actor="Grace",
            now=LATER,
        )


async def read_states(session: AsyncSession, campaign: Campaign) -> list[tuple[str, str | None]]:
    rows = await session.scalars(
        select(CampaignMembership)
        .where(CampaignMembership.campaign_id == campaign.id)
        .order_by(CampaignMembership.phone)
        .execution_options(populate_existing=True)
    )
    return [(row.status, row.skip_reason) for row in rows]


async def test_approved_people_are_due_now(
    session: AsyncSession, new_uow: NewUow, queue: RecordingQueue
) -> None:
    campaign, members = await make_people_in_review(session)

    result = await decide(new_uow, campaign, "approve", members[:2])

    await session.refresh(members[0])
    assert result == make_result(approved=2, rejected=0, unchanged=0, left=1)
    assert members[0].due_at == LATER
    assert await read_states(session, campaign) == [
        ("pending", None),
        ("pending", None),
        ("review", None),
    ]
    assert queue.names == [JobName.PROCESS_CAMPAIGN_QUEUE]


async def test_rejected_people_are_skipped_as_rejected(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign, members = await make_people_in_review(session)

    result = await decide(new_uow, campaign, "reject", members[:1])

    assert result == make_result(approved=0, rejected=1, unchanged=0, left=2)
    assert (await read_states(session, campaign))[0] == ("skipped", "rejected")


async def test_decision_for_all_people_is_applied_and_audited(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign, _ = await make_people_in_review(session, people=5)
    campaign_id = campaign.id

    result = await decide(new_uow, campaign, "reject")

    entry = (await session.scalars(select(AuditEntry))).one()
    assert result == make_result(approved=0, rejected=5, unchanged=0, left=0)
    assert (entry.actor, entry.action, entry.subject) == (
        "Grace",
        "reject_recipients",
        str(campaign_id),
    )
    assert entry.detail == {**result.counts, "contact_ids": None}


async def test_only_people_in_review_are_changed(session: AsyncSession, new_uow: NewUow) -> None:
    campaign, members = await make_people_in_review(session, people=4)
    other, (neighbour,) = await make_person_in_other_review(session)
    for member, status in zip(members, ("sent", "pending", "skipped"), strict=False):
        member.status = status
    await session.commit()
    stranger = CampaignMembership(contact_id=UNKNOWN_ID)

    result = await decide(new_uow, campaign, "approve", [*members, neighbour, stranger])

    assert result == make_result(approved=1, rejected=0, unchanged=5, left=0)
    assert [status for status, _ in await read_states(session, campaign)] == [
        "sent",
        "pending",
        "skipped",
        "pending",
    ]
    assert await read_states(session, other) == [("review", None)]


async def make_person_in_other_review(
    session: AsyncSession,
) -> tuple[Campaign, list[CampaignMembership]]:
    line = await make_line(session, phone_number_id="PN2", line_number="+16175550101")
    campaign = await make_campaign(session, line=line)
    contact = await make_contact(session, phone=number(99))
    member = await make_member(session, campaign=campaign, contact=contact, status="review")
    await session.commit()
    return campaign, [member]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("opted_out", ("skipped", "opted_out")),
        ("do_not_contact", ("skipped", "do_not_contact")),
        ("opt_out_hold", ("held", None)),
        ("recently_texted", ("pending", None)),
    ],
)
async def test_flag_set_before_an_approval_has_priority(
    session: AsyncSession, new_uow: NewUow, kind: str, state: tuple[str, str | None]
) -> None:
    campaign, _ = await make_people_in_review(session, people=1)
    session.add(ContactFlag(phone=number(0), flag_type=kind, created_at=NOW))
    await session.commit()

    result = await decide(new_uow, campaign, "approve")

    assert await read_states(session, campaign) == [state]
    assert (result.approved, result.unchanged) == ((1, 0) if state[0] == "pending" else (0, 1))


async def test_expired_flag_does_not_stop_an_approval(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign, _ = await make_people_in_review(session, people=1)
    session.add(
        ContactFlag(phone=number(0), flag_type="do_not_contact", created_at=NOW, expires_at=LATER)
    )
    await session.commit()

    await decide(new_uow, campaign, "approve")

    assert await read_states(session, campaign) == [("pending", None)]


async def test_deleted_contact_is_not_approved(session: AsyncSession, new_uow: NewUow) -> None:
    campaign, _ = await make_people_in_review(session, people=0)
    contact = await make_contact(session, phone=number(0), deleted_at=NOW)
    await make_member(session, campaign=campaign, contact=contact, status="review")
    await session.commit()

    await decide(new_uow, campaign, "approve")

    assert await read_states(session, campaign) == [("skipped", "contact_deleted")]


async def test_only_the_approved_person_is_claimed(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await ledger.run("UPDATE campaign_membership SET status = 'review'")
    before = await ledger.claim()
    first, _ = await ledger.recipients()

    async with new_uow() as uow:
        await review.review_recipients(
            uow,
            campaign_id=ledger.campaign.id,
            decision="approve",
            contact_ids=[first.contact_id],
            actor="Grace",
            now=NOW,
        )
    claimed = await ledger.claim()

    assert before == []
    assert [one.phone for one in claimed] == [first.phone]


@pytest.mark.parametrize("status", ["draft", "completed", "cancelled"])
async def test_review_of_a_draft_or_finished_campaign_is_refused(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    campaign, _ = await make_people_in_review(session, status=status)

    with pytest.raises(NotInReviewError, match=status):
        await decide(new_uow, campaign, "approve")


@pytest.mark.parametrize("status", ["scheduled", "running", "paused", "blocked"])
async def test_unfinished_campaign_can_be_reviewed(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    campaign, _ = await make_people_in_review(session, status=status)

    assert (await decide(new_uow, campaign, "approve")).approved == 3


async def test_unknown_campaign_cannot_be_reviewed(session: AsyncSession, new_uow: NewUow) -> None:
    campaign, _ = await make_people_in_review(session)
    await session.delete(campaign)
    await session.commit()

    with pytest.raises(CampaignNotFoundError):
        await decide(new_uow, campaign, "approve")


async def test_concurrent_decisions_count_each_person_once(committed_uow: NewUow) -> None:
    async with committed_uow() as uow:
        campaign, _ = await make_people_in_review(uow.session, people=20)

    results = await asyncio.gather(
        *(decide(committed_uow, campaign, decision) for decision in ("approve", "reject"))
    )

    assert sum(result.approved + result.rejected for result in results) == 20
    async with committed_uow() as uow:
        statuses = {status for status, _ in await read_states(uow.session, campaign)}
    assert len(statuses) == 1


async def test_campaign_completes_when_its_last_recipients_are_rejected(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign, _ = await make_people_in_review(session)

    async with new_uow() as uow:
        before = await complete_finished_campaigns(uow, now=LATER)
    await decide(new_uow, campaign, "reject")
    async with new_uow() as uow:
        after = await complete_finished_campaigns(uow, now=LATER)

    assert (before, after) == ([], [campaign.id])
