"""Campaigns begin, pause if they miss their start, end at their end date, and complete."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import (
    NewUow,
    make_contacts,
    make_scheduled_campaign,
    read_recipients,
    store_audience,
)
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import ids, make_campaign, make_line, number
from tests.locks import blocked

from crm_api.domain.alerts.models import Alert
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.lifecycle import begin_due_campaigns, complete_finished_campaigns
from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.kit.audit_log import AuditEntry
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.provider.openphone.send_responses import ResponseKind


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ({"recipients_total": 3}, True),
        ({"recipients_total": 3, "start_at": NOW}, True),
        ({"recipients_total": 3, "start_at": NOW - timedelta(hours=24)}, True),
        (
            {"recipients_total": 3, "start_at": NOW - timedelta(days=3), "start_grace_hours": 72},
            True,
        ),
        ({"recipients_total": 3, "start_at": NOW + timedelta(seconds=1)}, False),
        ({}, False),
    ],
)
async def test_campaign_begins_when_stored_and_due(
    session: AsyncSession, new_uow: NewUow, values: dict[str, Any], *, begins: bool
) -> None:
    campaign = await make_scheduled_campaign(session, [], **values)

    async with new_uow() as uow:
        begun = await begin_due_campaigns(uow, now=NOW)

    await session.refresh(campaign)
    assert begun == ([campaign.id] if begins else [])
    assert campaign.status == ("running" if begins else "scheduled")


MISSED: dict[str, Any] = {
    "recipients_total": 3,
    "started_at": NOW - timedelta(days=9),
    "start_at": NOW - timedelta(hours=24, seconds=1),
}


async def begin_campaigns(new_uow: NewUow, now: datetime = NOW) -> list[UUID]:
    async with new_uow() as uow:
        return await begin_due_campaigns(uow, now=now)


async def read_alerts(session: AsyncSession) -> list[Alert]:
    statement = select(Alert).execution_options(populate_existing=True)
    return list(await session.scalars(statement))


async def test_missed_start_pauses_the_campaign(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await make_scheduled_campaign(session, [], **MISSED)
    timely = await make_scheduled_campaign(
        session, [], await session.get_one(Line, campaign.line_id)
    )
    timely.recipients_total = 1
    await session.commit()

    begun = await begin_campaigns(new_uow)

    await session.refresh(campaign)
    (alert,) = await read_alerts(session)
    (entry,) = await session.scalars(select(AuditEntry))
    evidence = campaign.paused_evidence or {}
    assert begun == [timely.id]
    assert (campaign.status, campaign.paused_reason) == ("paused", "missed_start")
    assert evidence | {"sentence": ""} == {
        "due_at": "2026-11-24T14:59:59.000Z",
        "late_hours": 24,
        "start_grace_hours": 24,
        "sentence": "",
        "at": "2026-11-25T15:00:00.000Z",
    }
    assert "Resume the campaign to start it now, or cancel it." in evidence["sentence"]
    assert (alert.kind, alert.subject) == ("campaign_paused", str(campaign.id))
    assert alert.detail == f"The campaign 'Autumn check' paused itself. {evidence['sentence']}"
    assert alert.resolved_at is None
    assert (entry.actor, entry.action, entry.subject) == (
        "worker",
        "pause_campaign",
        str(campaign.id),
    )


async def test_immediate_start_can_be_missed(session: AsyncSession, new_uow: NewUow) -> None:
    await make_scheduled_campaign(session, [], **(MISSED | {"start_at": None}))

    assert await begin_campaigns(new_uow) == []


async def test_missed_start_after_the_end_advises_to_clone(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_scheduled_campaign(session, [], **MISSED, end_at=NOW)

    await begin_campaigns(new_uow)

    await session.refresh(campaign)
    assert "start a clone with other dates" in (campaign.paused_evidence or {})["sentence"]


async def test_missed_start_is_reported_once(
    committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    async with committed_uow() as uow:
        campaign = await make_scheduled_campaign(uow.session, [], **MISSED)

    async with committed_uow() as uow:
        await begin_due_campaigns(uow, now=NOW)
        second = await blocked(committed_db, begin_campaigns(committed_uow))

    assert await second == []
    async with committed_uow() as uow:
        (alert,) = await read_alerts(uow.session)
        assert (alert.subject, alert.count) == (str(campaign.id), 1)


async def test_resume_begins_a_campaign_that_missed_its_start(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_scheduled_campaign(session, [], **MISSED)
    await begin_campaigns(new_uow)

    async with new_uow() as uow:
        detail = await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    (alert,) = await read_alerts(session)
    assert detail.campaign.status == "running"
    assert (detail.campaign.paused_reason, detail.campaign.paused_evidence) == (None, None)
    assert alert.resolved_at == NOW


async def test_resume_before_the_audience_is_stored_is_not_a_missed_start(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await make_contacts(session, 1)
    campaign = await make_scheduled_campaign(
        session, contacts, **(MISSED | {"recipients_total": None})
    )
    async with new_uow() as uow:
        await campaigns.pause_campaign(uow, campaign_id=campaign.id, now=NOW)
        detail = await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)
    assert detail.campaign.status == "scheduled"

    await store_audience(new_uow, campaign)

    assert await begin_campaigns(new_uow, NOW + timedelta(minutes=1)) == [campaign.id]


async def make_campaign_with_recipients(
    session: AsyncSession, *statuses: str, **values: Any
) -> Campaign:
    values.setdefault("status", "running")
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, recipients_total=len(statuses), **values)
    session.add_all(
        CampaignMembership(
            campaign_id=campaign.id,
            contact_id=UUID(int=position),
            phone=number(position),
            zone_key="x",
            status=status,
            due_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
        for position, status in enumerate(statuses)
    )
    await session.commit()
    return campaign


async def complete_campaigns(new_uow: NewUow) -> list[UUID]:
    async with new_uow() as uow:
        return await complete_finished_campaigns(uow, now=NOW)


async def test_campaign_completes_when_no_recipient_waits(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_campaign_with_recipients(
        session, "sent", "delivered", "failed", "skipped", "cancelled"
    )

    found = await complete_campaigns(new_uow)

    await session.refresh(campaign)
    assert found == ids(campaign)
    assert (campaign.status, campaign.finished_at) == ("completed", NOW)
    assert await complete_campaigns(new_uow) == []


@pytest.mark.parametrize("status", ["pending", "review", "held", "sending", "unknown"])
async def test_open_recipient_keeps_the_campaign_open(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    await make_campaign_with_recipients(session, "sent", status)

    assert await complete_campaigns(new_uow) == []


@pytest.mark.parametrize("status", ["scheduled", "paused", "blocked", "cancelled"])
async def test_only_a_running_campaign_completes(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    await make_campaign_with_recipients(session, "sent", status=status)

    assert await complete_campaigns(new_uow) == []


async def test_end_cancels_waiting_recipients_and_completes_the_campaign(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_campaign_with_recipients(
        session, "sent", "pending", "review", "held", end_at=NOW
    )

    found = await complete_campaigns(new_uow)

    rows = await read_recipients(session, campaign)
    assert found == ids(campaign)
    assert [rows[number(n)].status for n in range(4)] == ["sent", *["cancelled"] * 3]
    assert rows[number(1)].skip_reason == "campaign_ended"


@pytest.mark.parametrize("status", ["scheduled", "paused", "blocked"])
async def test_campaign_that_is_not_running_is_not_ended(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    campaign = await make_campaign_with_recipients(session, "pending", status=status, end_at=NOW)

    await complete_campaigns(new_uow)

    assert (await read_recipients(session, campaign))[number(0)].status == "pending"


async def test_call_in_progress_keeps_an_ended_campaign_open(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await make_campaign_with_recipients(session, "pending", "sending", end_at=NOW)

    assert await complete_campaigns(new_uow) == []


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [(ResponseKind.LATER, ["cancelled"]), (ResponseKind.ACCEPTED, ["cancelled", "sent"])],
)
async def test_response_recorded_during_a_cancel_leaves_no_recipient_waiting(
    committed_uow: NewUow, answer: ResponseKind, statuses: list[str]
) -> None:
    ledger = await Ledger.open(committed_uow, follow_ups=[{"after_hours": 24, "body": "Still?"}])
    (claimed,) = await ledger.begin_calls()
    async with committed_uow() as cancelling:
        await campaigns.cancel_campaign(cancelling, campaign_id=ledger.campaign.id, now=NOW)
        # The cancellation is not committed. So the transaction of the response still reads a
        # running campaign and makes another attempt or step due.
        await ledger.answer(claimed, answer, provider_message_id="AC1", provider_created_at=NOW)
    assert "pending" in {member.status for member in await ledger.recipients()}

    await complete_campaigns(committed_uow)

    assert sorted(member.status for member in await ledger.recipients()) == statuses
