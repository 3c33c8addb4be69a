"""Create, change, delete and list drafts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import ids, make_campaign, make_contact, make_line, make_list, number

from crm_api.domain.campaigns.campaign_detail import CampaignDetail, read_campaign
from crm_api.domain.campaigns.campaign_list import CampaignFilter, list_campaigns
from crm_api.domain.campaigns.drafts import service as drafts
from crm_api.domain.campaigns.errors import (
    CampaignNotEditableError,
    CampaignNotFoundError,
    InvalidCampaignError,
)
from crm_api.domain.campaigns.schemas import CampaignCreate, CampaignUpdate
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
UNKNOWN_ID = UUID("00000000-0000-7000-8000-000000000000")


def make_request(line_id: UUID, list_id: UUID, /, **changes: Any) -> CampaignCreate:
    return CampaignCreate.model_validate(
        {
            "name": "Autumn check",
            "line_id": line_id,
            "audience": {"list_id": list_id},
            "variants": [{"name": "A", "body": "Hi {{ first_name }}", "weight": 100}],
            **changes,
        }
    )


async def create_draft(session: AsyncSession, new_uow: NewUow, **changes: Any) -> CampaignDetail:
    line = await make_line(session)
    contact = await make_contact(session)
    homeowners = await make_list(session, contacts=[contact])
    await session.commit()
    async with new_uow() as uow:
        return await drafts.create_campaign(
            uow, make_request(line.id, homeowners.id, **changes), now=NOW
        )


async def list_faults(
    session: AsyncSession, new_uow: NewUow, **changes: Any
) -> list[tuple[str, str]]:
    with pytest.raises(InvalidCampaignError) as caught:
        await create_draft(session, new_uow, **changes)
    return [(fault.pointer, fault.code) for fault in caught.value.errors]


async def test_draft_keeps_its_content(session: AsyncSession, new_uow: NewUow) -> None:
    detail = await create_draft(session, new_uow, pacing={"mode": "even", "daily_limit": 40})

    assert detail.campaign.status == "draft"
    assert detail.campaign.daily_limit == 40
    assert detail.campaign.recipients_total is None
    assert [(row.position, row.name, row.weight) for row in detail.variants] == [(0, "A", 100)]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {
                "variants": [
                    {"name": "A", "body": "x", "weight": 60},
                    {"name": "B", "body": "y", "weight": 60},
                ]
            },
            ("/variants", "weights"),
        ),
        (
            {
                "variants": [
                    {"name": "A", "body": "x", "weight": 50},
                    {"name": "A", "body": "y", "weight": 50},
                ]
            },
            ("/variants/1/name", "duplicate_name"),
        ),
        (
            {"variants": [{"name": "A", "body": "Hi {{ nope }}", "weight": 100}]},
            ("/variants/0/body", "unknown_variable"),
        ),
        (
            {"variants": [{"name": "A", "body": "Hi {{ first_name", "weight": 100}]},
            ("/variants/0/body", "template_syntax"),
        ),
        (
            {
                "variants": [{"name": "A", "body": "x" * 1590, "weight": 100}],
                "rules": {"opt_out_footer": "Reply STOP to end"},
            },
            ("/variants/0/body", "string_too_long"),
        ),
        (
            {"schedule": {"window": {"start": "18:00", "end": "09:00"}}},
            ("/schedule/window", "window"),
        ),
        (
            {"schedule": {"window": {"start": "09:00", "end": "09:00"}}},
            ("/schedule/window", "window"),
        ),
        (
            {
                "schedule": {
                    "start_at": "2026-12-02T10:00:00Z",
                    "end_at": "2026-12-01T10:00:00Z",
                }
            },
            ("/schedule/end_at", "end_at"),
        ),
        (
            {"pacing": {"mode": "burst", "batch_size": 5}},
            ("/pacing/batch_interval_minutes", "missing"),
        ),
        ({"audience": {"segment_id": UNKNOWN_ID}}, ("/audience/segment_id", "unknown_segment")),
        ({"line_id": UNKNOWN_ID}, ("/line_id", "unknown_line")),
        ({"audience": {"list_id": UNKNOWN_ID}}, ("/audience/list_id", "unknown_list")),
        (
            {"audience": {"contact_ids": [UNKNOWN_ID]}},
            ("/audience/contact_ids/0", "unknown_contact"),
        ),
    ],
)
async def test_fault_is_reported_with_its_pointer(
    session: AsyncSession, new_uow: NewUow, changes: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert await list_faults(session, new_uow, **changes) == [fault]


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ({"start_at": NOW - timedelta(minutes=5, seconds=1)}, ("/schedule/start_at", "passed")),
        ({"end_at": NOW}, ("/schedule/end_at", "passed")),
    ],
)
async def test_date_that_has_passed_is_refused(
    session: AsyncSession, new_uow: NewUow, schedule: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert await list_faults(session, new_uow, schedule=schedule) == [fault]


async def test_start_time_of_five_minutes_ago_is_accepted(
    session: AsyncSession, new_uow: NewUow
) -> None:
    schedule = {"start_at": NOW - timedelta(minutes=5), "end_at": NOW + timedelta(seconds=1)}

    detail = await create_draft(session, new_uow, schedule=schedule)

    assert detail.campaign.start_at == schedule["start_at"]


async def test_draft_with_a_past_start_can_be_changed_but_not_to_a_past_start(
    session: AsyncSession, new_uow: NewUow
) -> None:
    detail = await create_draft(session, new_uow, schedule={"start_at": NOW})
    later = NOW + timedelta(days=2)

    async def change(**changes: Any) -> None:
        body = CampaignUpdate.model_validate(changes)
        async with new_uow() as uow:
            await drafts.update_campaign(uow, campaign_id=detail.campaign.id, body=body, now=later)

    await change(name="Winter check")
    with pytest.raises(InvalidCampaignError) as caught:
        await change(schedule={"start_at": NOW})
    await change(schedule={"start_at": None})

    assert [fault.pointer for fault in caught.value.errors] == ["/schedule/start_at"]


async def test_unknown_exclusions_are_refused(session: AsyncSession, new_uow: NewUow) -> None:
    contact = await make_contact(session, phone=number(7))
    deleted = await make_contact(session, phone=number(8), deleted_at=NOW)
    audience = {
        "contact_ids": [contact.id],
        "exclude": {"list_id": UNKNOWN_ID, "contact_ids": [contact.id, deleted.id]},
    }

    assert await list_faults(session, new_uow, audience=audience) == [
        ("/audience/exclude/list_id", "unknown_list"),
        ("/audience/exclude/contact_ids/1", "unknown_contact"),
    ]


async def test_all_faults_are_reported_at_once(session: AsyncSession, new_uow: NewUow) -> None:
    found = await list_faults(
        session,
        new_uow,
        line_id=UNKNOWN_ID,
        variants=[{"name": "A", "body": "{{ nope }}", "weight": 10}],
    )

    assert [pointer for pointer, _ in found] == ["/variants", "/variants/0/body", "/line_id"]


async def test_change_keeps_omitted_fields(session: AsyncSession, new_uow: NewUow) -> None:
    detail = await create_draft(
        session,
        new_uow,
        schedule={"days": ["mon", "tue"], "window": {"start": "10:00", "end": "16:00"}},
        rules={"min_days_between": 30},
    )
    body = CampaignUpdate.model_validate(
        {
            "name": "Winter check",
            "schedule": {"window": {"end": "17:30"}},
            "rules": {"max_attempts": 2},
        }
    )

    async with new_uow() as uow:
        changed = await drafts.update_campaign(
            uow, campaign_id=detail.campaign.id, body=body, now=NOW
        )

    row = changed.campaign
    assert row.name == "Winter check"
    assert row.days == ["mon", "tue"]
    assert (str(row.window_start), str(row.window_end)) == ("10:00:00", "17:30:00")
    assert (row.min_days_between, row.max_attempts) == (30, 2)
    assert [variant.body for variant in changed.variants] == ["Hi {{ first_name }}"]


async def test_change_may_clear_an_optional_value(session: AsyncSession, new_uow: NewUow) -> None:
    detail = await create_draft(session, new_uow, rules={"opt_out_footer": "STOP to end"})
    body = CampaignUpdate.model_validate({"rules": {"opt_out_footer": None}})

    async with new_uow() as uow:
        changed = await drafts.update_campaign(
            uow, campaign_id=detail.campaign.id, body=body, now=NOW
        )

    assert changed.campaign.opt_out_footer is None


async def test_change_replaces_the_variants(session: AsyncSession, new_uow: NewUow) -> None:
    detail = await create_draft(session, new_uow)
    body = CampaignUpdate.model_validate(
        {
            "variants": [
                {"name": "B", "body": "One", "weight": 30},
                {"name": "A", "body": "Two", "weight": 70},
            ]
        }
    )

    async with new_uow() as uow:
        changed = await drafts.update_campaign(
            uow, campaign_id=detail.campaign.id, body=body, now=NOW
        )

    assert [(row.name, row.weight) for row in changed.variants] == [("B", 30), ("A", 70)]


async def test_change_is_checked_together_with_unchanged_fields(
    session: AsyncSession, new_uow: NewUow
) -> None:
    detail = await create_draft(
        session, new_uow, schedule={"window": {"start": "10:00", "end": "16:00"}}
    )
    body = CampaignUpdate.model_validate({"schedule": {"window": {"start": "16:00"}}})

    with pytest.raises(InvalidCampaignError):
        async with new_uow() as uow:
            await drafts.update_campaign(uow, campaign_id=detail.campaign.id, body=body, now=NOW)


@pytest.mark.parametrize("status", ["scheduled", "running", "paused", "completed", "cancelled"])
async def test_only_a_draft_can_be_changed_or_deleted(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status=status)
    await session.commit()
    body = CampaignUpdate.model_validate({"pacing": {"daily_limit": 5}})

    with pytest.raises(CampaignNotEditableError):
        async with new_uow() as uow:
            await drafts.update_campaign(uow, campaign_id=campaign.id, body=body, now=NOW)
    with pytest.raises(CampaignNotEditableError):
        async with new_uow() as uow:
            await drafts.delete_campaign(uow, campaign_id=campaign.id)


async def test_deleted_draft_is_not_found(session: AsyncSession, new_uow: NewUow) -> None:
    detail = await create_draft(session, new_uow)

    async with new_uow() as uow:
        await drafts.delete_campaign(uow, campaign_id=detail.campaign.id)

    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await read_campaign(uow, campaign_id=detail.campaign.id)


async def test_unknown_draft_is_not_found(new_uow: NewUow) -> None:
    body = CampaignUpdate.model_validate({"name": "Other"})

    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await drafts.update_campaign(uow, campaign_id=UNKNOWN_ID, body=body, now=NOW)
    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await drafts.delete_campaign(uow, campaign_id=UNKNOWN_ID)


async def test_list_is_newest_first_paged_and_filtered_by_status(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    rows = [await make_campaign(session, line=line, name=str(n), status="draft") for n in range(3)]
    running = await make_campaign(session, line=line, status="running")
    await session.commit()

    async with new_uow() as uow:
        no_filter = CampaignFilter()
        first = await list_campaigns(uow, no_filter, cursor=None, limit=3)
        second = await list_campaigns(uow, no_filter, cursor=first.next_cursor, limit=3)
        running_only = await list_campaigns(
            uow, CampaignFilter(status=CampaignStatus.RUNNING), cursor=None, limit=3
        )

    newest = sorted([*ids(*rows), running.id], reverse=True)
    assert [one.detail.campaign.id for one in [*first.data, *second.data]] == newest
    assert second.next_cursor is None
    assert [one.detail.campaign.id for one in running_only.data] == [running.id]
