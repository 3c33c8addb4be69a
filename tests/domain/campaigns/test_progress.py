"""The audience written down, campaigns begun, ended and completed."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.sends.ledger import Ledger
from tests.factories import ids, make_campaign, make_contact, make_line, make_list, number
from tests.locks import blocked

from crm_api.db import UnitOfWork
from crm_api.domain.activity.models import Activity
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.models import Campaign, CampaignMembership, CampaignVariant
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.contacts.models import Contact
from crm_api.domain.lines.models import Line
from crm_api.domain.openphone.answers import AnswerKind
from crm_api.domain.operations.models import Alert, AuditEntry

NewUow = Callable[[], UnitOfWork]


async def scheduled(
    session: AsyncSession, contacts: list[Contact], line: Line | None = None, **values: Any
) -> Campaign:
    line = line or await make_line(session)
    values.setdefault("audience", {"contact_ids": [str(contact.id) for contact in contacts]})
    campaign = await make_campaign(session, line=line, status="scheduled", **values)
    await session.commit()
    return campaign


async def written(new_uow: NewUow, campaign: Campaign) -> int:
    """Write its audience down, which is one chunk; 0 when there is nothing to write."""
    async with new_uow() as uow:
        chunk = await campaigns.write_chunk(uow, campaign_id=campaign.id, now=NOW)
    assert chunk is None or chunk.is_whole
    return 0 if chunk is None else chunk.people


async def recipients(session: AsyncSession, campaign: Campaign) -> dict[str, CampaignMembership]:
    rows = await session.scalars(
        select(CampaignMembership)
        .where(CampaignMembership.campaign_id == campaign.id)
        .execution_options(populate_existing=True)
    )
    return {row.phone: row for row in rows}


async def people(session: AsyncSession, count: int) -> list[Contact]:
    return [await make_contact(session, phone=number(n)) for n in range(count)]


async def test_audience_is_written_down_once(session: AsyncSession, new_uow: NewUow) -> None:
    contacts = await people(session, 2)
    contacts[1].zone_key = "TX/America/Chicago"
    campaign = await scheduled(session, contacts)

    first, second = await written(new_uow, campaign), await written(new_uow, campaign)

    await session.refresh(campaign)
    rows = await recipients(session, campaign)
    assert (first, second) == (2, 0)
    assert campaign.status == "scheduled"
    assert campaign.recipients_total == 2
    assert campaign.zone_keys == ["MA/America/New_York", "TX/America/Chicago"]
    assert {(row.status, row.step, row.due_at) for row in rows.values()} == {("pending", 0, NOW)}
    assert rows[number(1)].zone_key == "TX/America/Chicago"
    assert rows[number(1)].id.version == 7


async def test_two_workers_write_one_audience(committed_uow: NewUow) -> None:
    async with committed_uow() as uow:
        campaign = await scheduled(uow.session, await people(uow.session, 20))

    totals = await asyncio.gather(*(written(committed_uow, campaign) for _ in range(3)))

    assert sorted(totals) == [0, 0, 20]
    async with committed_uow() as uow:
        assert len(await recipients(uow.session, campaign)) == 20


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("opted_out", "skipped", "opted_out"),
        ("do_not_contact", "skipped", "do_not_contact"),
        ("opt_out_hold", "held", None),
        ("office_number", "pending", None),
        ("recently_texted", "pending", None),
    ],
)
async def test_flagged_number_is_kept_with_its_reason(
    session: AsyncSession, new_uow: NewUow, kind: str, status: str, reason: str | None
) -> None:
    contacts = await people(session, 2)
    session.add(ContactFlag(phone=number(0), flag_type=kind, created_at=NOW))
    campaign = await scheduled(session, contacts)

    total = await written(new_uow, campaign)

    rows = await recipients(session, campaign)
    assert total == 2
    assert (rows[number(0)].status, rows[number(0)].skip_reason) == (status, reason)
    assert rows[number(1)].status == "pending"


async def test_opt_out_wins_over_other_flags(session: AsyncSession, new_uow: NewUow) -> None:
    contacts = await people(session, 1)
    for kind in ("opt_out_hold", "do_not_contact", "opted_out"):
        session.add(ContactFlag(phone=number(0), flag_type=kind, created_at=NOW))
    campaign = await scheduled(session, contacts)

    await written(new_uow, campaign)

    assert (await recipients(session, campaign))[number(0)].skip_reason == "opted_out"


async def test_deleted_and_excluded_contacts_get_no_row(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await people(session, 5)
    contacts[1].deleted_at = NOW
    homeowners = await make_list(session, contacts=contacts)
    neighbours = await make_list(session, name="Neighbours", contacts=[contacts[2]])
    audience = {
        "list_id": str(homeowners.id),
        "exclude": {"list_id": str(neighbours.id), "contact_ids": [str(contacts[3].id)]},
    }
    campaign = await scheduled(session, contacts, audience=audience)

    await written(new_uow, campaign)

    assert sorted(await recipients(session, campaign)) == [number(0), number(4)]


async def test_same_contact_twice_is_one_recipient(session: AsyncSession, new_uow: NewUow) -> None:
    (contact,) = await people(session, 1)
    audience = {"contact_ids": [str(contact.id), str(contact.id)]}
    campaign = await scheduled(session, [], audience=audience)

    assert await written(new_uow, campaign) == 1


@pytest.mark.parametrize(
    ("rule", "status", "reason"),
    [
        ("send", "pending", None),
        ("skip", "skipped", "previously_contacted"),
        ("review", "review", None),
    ],
)
async def test_people_texted_before_follow_the_rule(
    session: AsyncSession, new_uow: NewUow, rule: str, status: str, reason: str | None
) -> None:
    line = await make_line(session)
    contacts = await people(session, 5)
    earlier = await make_campaign(session, line=line, status="completed")
    session.add_all(_earlier_texts(earlier, contacts))
    session.add(ContactFlag(phone=number(3), flag_type="recently_texted", created_at=NOW))
    campaign = await scheduled(session, contacts, line, previously_contacted=rule)

    await written(new_uow, campaign)

    rows = await recipients(session, campaign)
    texted = [(rows[number(n)].status, rows[number(n)].skip_reason) for n in (0, 2, 3)]
    assert texted == [(status, reason)] * 3
    assert [rows[number(n)].status for n in (1, 4)] == ["pending", "pending"]


def _earlier_texts(earlier: Campaign, contacts: list[Contact]) -> list[Any]:
    """The first was sent to, the second was not, the third got a text from a person."""
    common = {"campaign_id": earlier.id, "zone_key": "x", "due_at": NOW}
    stamps = {"created_at": NOW, "updated_at": NOW}
    first, second, third = contacts[:3]
    return [
        CampaignMembership(
            contact_id=first.id, phone=first.phone, status="sent", sent_at=NOW, **common, **stamps
        ),
        CampaignMembership(
            contact_id=second.id, phone=second.phone, status="failed", **common, **stamps
        ),
        Activity(
            kind="message",
            direction="outgoing",
            origin="provider",
            contact_id=third.id,
            phone=third.phone,
            status="delivered",
            occurred_at=NOW,
            **stamps,
        ),
    ]


async def test_variants_follow_their_weights_and_stay(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await people(session, 400)
    campaign = await scheduled(session, contacts, bodies=("A", "B", "C", "D"))
    line = await session.get_one(Line, campaign.line_id)
    twin = await scheduled(session, contacts, line, bodies=("A", "B"))

    await written(new_uow, campaign)
    await written(new_uow, twin)

    rows = await recipients(session, campaign)
    counts = Counter(row.variant for row in rows.values())
    other = await recipients(session, twin)
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(70 <= count <= 130 for count in counts.values())
    assert {row.variant for row in other.values()} == {0, 1}
    # The same people are split anew in another campaign.
    assert len({(rows[phone].variant, other[phone].variant) for phone in rows}) == 8


async def test_variant_without_weight_gets_nobody(session: AsyncSession, new_uow: NewUow) -> None:
    contacts = await people(session, 50)
    campaign = await scheduled(session, contacts, bodies=("A", "B"))
    variants = await variants_of(session, campaign)
    variants[0].weight, variants[1].weight = 0, 100
    await session.commit()

    await written(new_uow, campaign)

    assert {row.variant for row in (await recipients(session, campaign)).values()} == {1}


async def variants_of(session: AsyncSession, campaign: Campaign) -> list[CampaignVariant]:
    statement = (
        select(CampaignVariant)
        .where(CampaignVariant.campaign_id == campaign.id)
        .order_by(CampaignVariant.position)
    )
    return list(await session.scalars(statement))


async def test_what_waits_to_be_written_is_listed(session: AsyncSession, new_uow: NewUow) -> None:
    waiting = await scheduled(session, await people(session, 1))
    line = await session.get_one(Line, waiting.line_id)
    await make_campaign(session, line=line, status="draft")
    await make_campaign(session, line=line, status="scheduled", recipients_total=0)
    await session.commit()

    async with new_uow() as uow:
        found = await campaigns.list_unwritten(uow)

    assert list(found) == [waiting.id]


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
async def test_campaign_begins_when_written_and_due(
    session: AsyncSession, new_uow: NewUow, values: dict[str, Any], *, begins: bool
) -> None:
    campaign = await scheduled(session, [], **values)

    async with new_uow() as uow:
        begun = await campaigns.begin_due(uow, now=NOW)

    await session.refresh(campaign)
    assert begun == ([campaign.id] if begins else [])
    assert campaign.status == ("running" if begins else "scheduled")


MISSED: dict[str, Any] = {
    "recipients_total": 3,
    "started_at": NOW - timedelta(days=9),
    "start_at": NOW - timedelta(hours=24, seconds=1),
}


async def begun_at(new_uow: NewUow, now: datetime = NOW) -> list[UUID]:
    async with new_uow() as uow:
        return await campaigns.begin_due(uow, now=now)


async def alerts(session: AsyncSession) -> list[Alert]:
    statement = select(Alert).execution_options(populate_existing=True)
    return list(await session.scalars(statement))


async def test_start_that_was_missed_waits_for_a_person(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await scheduled(session, [], **MISSED)
    timely = await scheduled(session, [], await session.get_one(Line, campaign.line_id))
    timely.recipients_total = 1
    await session.commit()

    begun = await begun_at(new_uow)

    await session.refresh(campaign)
    (alert,) = await alerts(session)
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
    assert alert.detail == f"The campaign 'Autumn check' paused itself: {evidence['sentence']}"
    assert alert.resolved_at is None
    assert (entry.actor, entry.action, entry.subject) == (
        "worker",
        "pause_campaign",
        str(campaign.id),
    )


async def test_start_at_once_can_be_missed_too(session: AsyncSession, new_uow: NewUow) -> None:
    await scheduled(session, [], **(MISSED | {"start_at": None}))

    assert await begun_at(new_uow) == []


async def test_missed_start_of_what_has_ended_tells_another_way_on(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await scheduled(session, [], **MISSED, end_at=NOW)

    await begun_at(new_uow)

    await session.refresh(campaign)
    assert "clone it with other dates" in (campaign.paused_evidence or {})["sentence"]


async def test_missed_start_is_told_once(committed_uow: NewUow, committed_db: AsyncEngine) -> None:
    async with committed_uow() as uow:
        campaign = await scheduled(uow.session, [], **MISSED)

    async with committed_uow() as uow:
        await campaigns.begin_due(uow, now=NOW)
        second = await blocked(committed_db, begun_at(committed_uow))

    assert await second == []
    async with committed_uow() as uow:
        (alert,) = await alerts(uow.session)
        assert (alert.subject, alert.count) == (str(campaign.id), 1)


async def test_resume_starts_what_was_missed(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await scheduled(session, [], **MISSED)
    await begun_at(new_uow)

    async with new_uow() as uow:
        detail = await campaigns.resume(uow, campaign_id=campaign.id, now=NOW)

    (alert,) = await alerts(session)
    assert detail.campaign.status == "running"
    assert (detail.campaign.paused_reason, detail.campaign.paused_evidence) == (None, None)
    assert alert.resolved_at == NOW


async def test_resume_before_the_audience_is_written_is_no_missed_start(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = await people(session, 1)
    campaign = await scheduled(session, contacts, **(MISSED | {"recipients_total": None}))
    async with new_uow() as uow:
        await campaigns.pause(uow, campaign_id=campaign.id, now=NOW)
        detail = await campaigns.resume(uow, campaign_id=campaign.id, now=NOW)
    assert detail.campaign.status == "scheduled"

    await written(new_uow, campaign)

    assert await begun_at(new_uow, NOW + timedelta(minutes=1)) == [campaign.id]


async def with_recipients(session: AsyncSession, *statuses: str, **values: Any) -> Campaign:
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


async def completed(new_uow: NewUow) -> list[UUID]:
    async with new_uow() as uow:
        return await campaigns.complete_finished(uow, now=NOW)


async def test_campaign_completes_when_nobody_waits(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await with_recipients(session, "sent", "delivered", "failed", "skipped", "cancelled")

    found = await completed(new_uow)

    await session.refresh(campaign)
    assert found == ids(campaign)
    assert (campaign.status, campaign.finished_at) == ("completed", NOW)
    assert await completed(new_uow) == []


@pytest.mark.parametrize("status", ["pending", "review", "held", "sending", "unknown"])
async def test_open_recipient_keeps_the_campaign_open(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    await with_recipients(session, "sent", status)

    assert await completed(new_uow) == []


@pytest.mark.parametrize("status", ["scheduled", "paused", "blocked", "cancelled"])
async def test_only_a_running_campaign_completes(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    await with_recipients(session, "sent", status=status)

    assert await completed(new_uow) == []


async def test_end_cancels_who_waits_and_completes(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await with_recipients(session, "sent", "pending", "review", "held", end_at=NOW)

    found = await completed(new_uow)

    rows = await recipients(session, campaign)
    assert found == ids(campaign)
    assert [rows[number(n)].status for n in range(4)] == ["sent", *["cancelled"] * 3]
    assert rows[number(1)].skip_reason == "campaign_ended"


@pytest.mark.parametrize("status", ["scheduled", "paused", "blocked"])
async def test_end_waits_for_a_campaign_that_stands_still(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    campaign = await with_recipients(session, "pending", status=status, end_at=NOW)

    await completed(new_uow)

    assert (await recipients(session, campaign))[number(0)].status == "pending"


async def test_call_under_way_keeps_an_ended_campaign_open(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await with_recipients(session, "pending", "sending", end_at=NOW)

    assert await completed(new_uow) == []


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [(AnswerKind.LATER, ["cancelled"]), (AnswerKind.ACCEPTED, ["cancelled", "sent"])],
)
async def test_answer_recorded_during_a_cancel_leaves_nobody_waiting(
    committed_uow: NewUow, answer: AnswerKind, statuses: list[str]
) -> None:
    ledger = await Ledger.open(committed_uow, follow_ups=[{"after_hours": 24, "body": "Still?"}])
    (claimed,) = await ledger.called()
    async with committed_uow() as cancelling:
        await campaigns.cancel(cancelling, campaign_id=ledger.campaign.id, now=NOW)
        # It still sees a running campaign: one more try, or the next step, seems due.
        await ledger.answer(claimed, answer, provider_message_id="AC1", provider_created_at=NOW)
    assert "pending" in {member.status for member in await ledger.members()}

    await completed(committed_uow)

    assert sorted(member.status for member in await ledger.members()) == statuses


async def test_statistics_can_be_refreshed(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await campaigns.refresh_statistics(uow)
