"""Start, pause, resume and cancel a campaign and settle its attempts, also concurrently."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import time, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member, number
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.campaign_detail import CampaignDetail, read_campaign
from crm_api.domain.campaigns.errors import (
    CampaignNotFoundError,
    EmptyAudienceError,
    InvalidCampaignError,
    InvalidTransitionError,
    RecipientNotFoundError,
)
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.campaigns.recipients import review
from crm_api.domain.campaigns.service import allowed_actions
from crm_api.domain.consent.legal_rules.rules import RuleBook, load_rules
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.sends.settle import NotParkedError
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import JobName

NewUow = Callable[[], UnitOfWork]


async def add_flag(
    session: AsyncSession, phone: str, kind: str = "opted_out", **values: Any
) -> None:
    session.add(ContactFlag(phone=phone, flag_type=kind, created_at=NOW, **values))
    await session.flush()


async def make_draft(
    session: AsyncSession,
    *,
    people: int = 1,
    zone_key: str = "MA/America/New_York",
    **values: Any,
) -> Campaign:
    line = await make_line(session)
    contacts = [
        await make_contact(session, phone=number(n), zone_key=zone_key) for n in range(people)
    ]
    homeowners = await make_list(session, contacts=contacts)
    campaign = await make_campaign(
        session, line=line, status="draft", audience={"list_id": str(homeowners.id)}, **values
    )
    await session.commit()
    return campaign


async def make_running_campaign(
    session: AsyncSession, **values: Any
) -> tuple[Campaign, CampaignMembership]:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, **values)
    contact = await make_contact(session)
    member = await make_member(session, campaign=campaign, contact=contact)
    await session.commit()
    return campaign, member


async def add_attempt(
    session: AsyncSession, member: CampaignMembership, status: str
) -> SendAttempt:
    campaign = await session.get_one(Campaign, member.campaign_id)
    row = SendAttempt(
        id=new_id(),
        membership_id=member.id,
        campaign_id=campaign.id,
        line_id=campaign.line_id,
        activity_id=new_id(),
        phone=member.phone,
        body="Hi Ada",
        status=status,
        called_at=None if status == "claimed" else NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(row)
    await session.commit()
    return row


async def test_start_schedules_and_nudges_the_worker(
    session: AsyncSession, new_uow: NewUow, queue: RecordingQueue
) -> None:
    campaign = await make_draft(session)

    async with new_uow() as uow:
        detail = await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert detail.campaign.status == "scheduled"
    assert detail.campaign.started_at == NOW
    assert detail.campaign.recipients_total is None
    assert queue.names == [JobName.PROCESS_CAMPAIGN_QUEUE]


async def test_second_start_is_refused(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await make_draft(session)
    async with new_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    with pytest.raises(InvalidTransitionError) as caught:
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert caught.value.extras == {"allowed": ["pause", "cancel"]}


async def test_only_one_of_concurrent_starts_succeeds(
    committed_uow: NewUow, queue: RecordingQueue
) -> None:
    async with committed_uow() as uow:
        campaign = await make_draft(uow.session)

    async def start() -> str:
        try:
            async with committed_uow() as uow:
                await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)
        except InvalidTransitionError as error:
            return error.code
        return "started"

    outcomes = await asyncio.gather(start(), start(), start())

    assert sorted(outcomes) == ["invalid_transition", "invalid_transition", "started"]
    assert queue.names == [JobName.PROCESS_CAMPAIGN_QUEUE]


@pytest.mark.parametrize("kind", ["opted_out", "do_not_contact", "opt_out_hold"])
async def test_start_without_eligible_recipients_is_refused(
    session: AsyncSession, new_uow: NewUow, queue: RecordingQueue, kind: str
) -> None:
    campaign = await make_draft(session)
    await add_flag(session, number(0), kind)
    await session.commit()

    with pytest.raises(EmptyAudienceError) as caught:
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    async with new_uow() as uow:
        detail = await read_campaign(uow, campaign_id=campaign.id)
    assert caught.value.code == "empty_audience"
    assert detail.campaign.status == "draft"
    assert queue.names == []


async def test_empty_list_is_an_empty_audience(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await make_draft(session, people=0)

    with pytest.raises(EmptyAudienceError):
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)


async def test_deleted_contacts_are_not_in_the_audience(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    deleted = await make_contact(session, deleted_at=NOW)
    campaign = await make_campaign(
        session, line=line, status="draft", audience={"contact_ids": [str(deleted.id)]}
    )
    await session.commit()

    with pytest.raises(EmptyAudienceError):
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)


async def test_expired_flag_does_not_exclude_a_recipient(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_draft(session)
    await add_flag(session, number(0), "do_not_contact", expires_at=NOW - timedelta(seconds=1))
    await session.commit()

    async with new_uow() as uow:
        detail = await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert detail.campaign.status == "scheduled"


DAY = timedelta(days=1)
US = load_rules("us")
MASSACHUSETTS = "MA/America/New_York"
ALABAMA = "AL/America/Chicago"
ANYWHERE = "?/America/New_York,America/Los_Angeles"


async def start_and_read_fault(
    new_uow: NewUow, campaign: Campaign, *, rules: RuleBook = US
) -> tuple[str, str, str]:
    """Start a campaign that must be refused; return pointer, code and text of its only fault."""
    with pytest.raises(InvalidCampaignError) as caught:
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, rules=rules, now=NOW)
    async with new_uow() as uow:
        detail = await read_campaign(uow, campaign_id=campaign.id)
    assert detail.campaign.status == "draft"
    (fault,) = caught.value.errors
    return fault.pointer, fault.code, fault.detail


async def start_and_read_status(new_uow: NewUow, campaign: Campaign) -> str:
    async with new_uow() as uow:
        detail = await campaigns.start_campaign(uow, campaign_id=campaign.id, rules=US, now=NOW)
    return detail.campaign.status


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"end_at": NOW}, "/schedule/end_at"),
        ({"start_at": NOW - timedelta(minutes=5, seconds=1)}, "/schedule/start_at"),
    ],
)
async def test_start_after_a_date_has_passed_is_refused(
    session: AsyncSession, new_uow: NewUow, values: dict[str, Any], pointer: str
) -> None:
    campaign = await make_draft(session, **values)

    assert (await start_and_read_fault(new_uow, campaign))[:2] == (pointer, "passed")


async def test_start_time_of_five_minutes_ago_is_accepted(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_draft(session, start_at=NOW - timedelta(minutes=5))

    assert await start_and_read_status(new_uow, campaign) == "scheduled"


@pytest.mark.parametrize(
    ("zone_key", "values", "fault"),
    [
        (MASSACHUSETTS, {"window_start": time(5), "window_end": time(8)}, "window: legal hours"),
        (ALABAMA, {"days": ["sun"]}, "window: legal hours"),
        (ANYWHERE, {"timezone": "recipient", "window_end": time(12)}, "window: several time zones"),
        # Each of these campaigns ends before the next time at which it may send a message. The
        # three times are: the next Tuesday morning, the next morning, and the morning after a
        # holiday.
        (MASSACHUSETTS, {"days": ["tue"], "end_at": NOW + 5 * DAY}, "end_at: 2026-12-01T14:00"),
        (
            MASSACHUSETTS,
            {"window_end": time(10), "end_at": NOW + DAY / 2},
            "end_at: 2026-11-26T14:00",
        ),
        (
            ALABAMA,
            {"start_at": NOW + DAY / 2, "end_at": NOW + 3 * DAY / 2},
            "end_at: 2026-11-27T14:00",
        ),
    ],
)
async def test_start_of_a_campaign_that_could_never_send_is_refused(
    session: AsyncSession, new_uow: NewUow, zone_key: str, values: dict[str, Any], fault: str
) -> None:
    campaign = await make_draft(session, zone_key=zone_key, **values)
    field, words = fault.split(": ")

    found = await start_and_read_fault(new_uow, campaign)

    assert found[:2] == (f"/schedule/{field}", "never_open")
    assert words in found[2]


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_zone_key_that_opens_is_enough(
    session: AsyncSession, new_uow: NewUow, position: int
) -> None:
    campaign = await make_draft(session, people=3, zone_key=ALABAMA, days=["sun"])
    (one,) = await session.scalars(select(Contact).where(Contact.phone == number(position)))
    one.zone_key = MASSACHUSETTS
    await session.commit()

    assert await start_and_read_status(new_uow, campaign) == "scheduled"


async def test_zone_key_of_an_opted_out_person_does_not_count(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_draft(session, people=2, zone_key=ALABAMA, days=["sun"])
    (last,) = await session.scalars(select(Contact).where(Contact.phone == number(1)))
    last.zone_key = MASSACHUSETTS
    await add_flag(session, number(1))
    await session.commit()

    assert (await start_and_read_fault(new_uow, campaign))[1] == "never_open"


async def test_hours_are_checked_from_the_start_time(
    session: AsyncSession, new_uow: NewUow
) -> None:
    # NOW is a Wednesday. The campaign begins on Thursday and ends before the next Wednesday.
    campaign = await make_draft(session, days=["wed"], start_at=NOW + DAY, end_at=NOW + 6 * DAY)

    assert (await start_and_read_fault(new_uow, campaign))[:2] == ("/schedule/end_at", "never_open")


async def test_without_legal_rules_only_the_hours_of_the_campaign_count(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_draft(session, window_start=time(5), window_end=time(8))

    async with new_uow() as uow:
        detail = await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert detail.campaign.status == "scheduled"


async def test_pause_withdraws_claims(session: AsyncSession, new_uow: NewUow) -> None:
    campaign, member = await make_running_campaign(session)
    claim = await add_attempt(session, member, "claimed")

    async with new_uow() as uow:
        detail = await campaigns.pause_campaign(uow, campaign_id=campaign.id, now=NOW)

    await session.refresh(claim)
    await session.refresh(member)
    assert detail.campaign.status == "paused"
    assert claim.status == "released"
    assert member.status == "pending"


async def test_call_in_progress_at_a_pause_is_recorded_and_no_call_follows(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    (in_progress,) = await ledger.begin_calls(limit=1)
    claimed = await ledger.claim(limit=1)

    async with new_uow() as uow:
        await campaigns.pause_campaign(uow, campaign_id=ledger.campaign.id, now=NOW)
    passed = await ledger.gate(claimed)
    await ledger.accept(in_progress)
    more = await ledger.claim()

    assert (passed, more) == ([], [])
    assert [member.status for member in await ledger.recipients()] == ["sent", "pending", "pending"]

    async with new_uow() as uow:
        await campaigns.resume_campaign(uow, campaign_id=ledger.campaign.id, now=NOW)
    assert len(await ledger.claim()) == 2


async def test_resume_runs_the_campaign_and_nudges_the_worker(
    session: AsyncSession, new_uow: NewUow, queue: RecordingQueue
) -> None:
    campaign, _ = await make_running_campaign(
        session, status="paused", paused_reason="opt_out_rate"
    )

    async with new_uow() as uow:
        detail = await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert detail.campaign.status == "running"
    assert detail.campaign.paused_reason is None
    assert queue.names == [JobName.PROCESS_CAMPAIGN_QUEUE]


async def test_resume_unblocks_the_campaign(session: AsyncSession, new_uow: NewUow) -> None:
    campaign, _ = await make_running_campaign(session, status="blocked", blocked_reason="refused")

    async with new_uow() as uow:
        detail = await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert detail.campaign.status == "running"
    assert detail.campaign.blocked_reason is None


@pytest.mark.parametrize(
    "values", [{"start_at": NOW + timedelta(hours=1), "recipients_total": 1}, {}]
)
async def test_resume_before_the_start_schedules_the_campaign(
    session: AsyncSession, new_uow: NewUow, values: dict[str, Any]
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status="paused", **values)
    await session.commit()

    async with new_uow() as uow:
        detail = await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert detail.campaign.status == "scheduled"


async def test_cancel_ends_waiting_recipients_and_withdraws_claims(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign, member = await make_running_campaign(session)
    claim = await add_attempt(session, member, "claimed")
    member.status = "sending"
    waiting = [
        await make_member(
            session,
            campaign=campaign,
            contact=await make_contact(session, phone=number(n)),
            status=status,
        )
        for n, status in enumerate(["pending", "review", "held", "sent", "skipped"])
    ]
    await session.commit()

    async with new_uow() as uow:
        detail = await campaigns.cancel_campaign(uow, campaign_id=campaign.id, now=NOW)

    for row in [claim, member, *waiting]:
        await session.refresh(row)
    assert detail.campaign.status == "cancelled"
    assert detail.campaign.finished_at == NOW
    assert claim.status == "released"
    assert [row.status for row in [member, *waiting]] == [
        "cancelled",
        "cancelled",
        "cancelled",
        "cancelled",
        "sent",
        "skipped",
    ]


@pytest.mark.parametrize(
    "action",
    [
        campaigns.start_campaign,
        campaigns.pause_campaign,
        campaigns.resume_campaign,
        campaigns.cancel_campaign,
    ],
)
async def test_action_on_an_unknown_campaign_is_not_found(
    new_uow: NewUow, action: Callable[..., Awaitable[CampaignDetail]]
) -> None:
    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await action(uow, campaign_id=UUID(int=0), now=NOW)


@pytest.mark.parametrize(
    ("outcome", "status"), [("sent", "sent"), ("resend", "pending"), ("failed", "failed")]
)
async def test_user_settles_a_parked_attempt(
    session: AsyncSession, new_uow: NewUow, outcome: Any, status: str
) -> None:
    campaign, member = await make_running_campaign(session)
    await add_attempt(session, member, "parked")
    member.status = "unknown"
    await session.commit()

    async with new_uow() as uow:
        settled = await review.settle_recipient(
            uow,
            campaign_id=campaign.id,
            contact_id=member.contact_id,
            outcome=outcome,
            actor="owner",
            now=NOW,
        )

    assert settled.member.status == status
    assert settled.variant == "V0"


async def test_only_a_parked_attempt_can_be_settled(session: AsyncSession, new_uow: NewUow) -> None:
    campaign, member = await make_running_campaign(session)
    values: dict[str, Any] = {"outcome": "sent", "actor": "owner", "now": NOW}

    with pytest.raises(NotParkedError):
        async with new_uow() as uow:
            await review.settle_recipient(
                uow, campaign_id=campaign.id, contact_id=member.contact_id, **values
            )
    with pytest.raises(RecipientNotFoundError):
        async with new_uow() as uow:
            await review.settle_recipient(
                uow, campaign_id=campaign.id, contact_id=UUID(int=0), **values
            )


ACTIONS = {
    "draft": ["start"],
    "scheduled": ["pause", "cancel"],
    "running": ["pause", "cancel"],
    "paused": ["resume", "cancel"],
    "blocked": ["resume", "cancel"],
    "completed": [],
    "cancelled": [],
}


@pytest.mark.parametrize("status", ACTIONS)
def test_each_status_allows_only_its_actions(status: str) -> None:
    assert allowed_actions(status) == ACTIONS[status]


def test_every_status_is_covered() -> None:
    assert set(ACTIONS) == set(CampaignStatus)


def test_refused_action_lists_the_allowed_actions() -> None:
    error = InvalidTransitionError("start", status="running", allowed=allowed_actions("running"))

    assert error.code == "invalid_transition"
    assert error.extras == {"allowed": ["pause", "cancel"]}
