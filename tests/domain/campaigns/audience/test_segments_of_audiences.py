"""A segment as an audience or an exclusion. Stored recipients do not change with the segment."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import read_recipients
from tests.domain.messaging.sends.ledger import BUSINESS
from tests.factories import make_campaign, make_contact, make_line, make_list, number
from tests.locks import blocked

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.audience.storage import store_next_chunk
from crm_api.domain.campaigns.errors import EmptyAudienceError, InvalidCampaignError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.preview import service as previews
from crm_api.domain.campaigns.preview.schemas import PreviewRequest
from crm_api.domain.people.models.lists import Segment
from crm_api.domain.people.segments import service as segments
from crm_api.domain.people.segments.errors import SegmentInUseError
from crm_api.domain.people.segments.schemas import SegmentUpdate
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
VIP = {"field": "tags", "op": "contains", "value": "vip"}
HOT = {"field": "tags", "op": "contains", "value": "hot"}
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


async def make_contacts_with_tags(session: AsyncSession, *tags: list[str]) -> None:
    """Make one contact for each argument, with the tags of the argument."""
    for position, contact_tags in enumerate(tags):
        await make_contact(session, phone=number(position), tags=contact_tags)


async def make_segment(
    session: AsyncSession, filter_: dict[str, Any], name: str = "VIP"
) -> Segment:
    made = Segment(name=name, filter=filter_, created_at=NOW, updated_at=NOW)
    session.add(made)
    await session.flush()
    return made


async def make_campaign_to(
    session: AsyncSession, audience: dict[str, Any], **values: Any
) -> Campaign:
    """Store a draft with this audience; ``values`` may set another status."""
    campaign = await make_campaign(
        session,
        line=await make_line(session),
        audience=audience,
        **{"status": "draft", **values},
    )
    await session.commit()
    return campaign


async def store_and_read_positions(
    session: AsyncSession, new_uow: NewUow, campaign: Campaign, *, limit: int = 100
) -> list[int]:
    """Store the audience in chunks; return the position of each stored number.

    The position is the last four digits of the number.
    """
    async with new_uow() as uow:
        while await store_next_chunk(uow, campaign_id=campaign.id, limit=limit, now=NOW):
            pass
    rows = await read_recipients(session, campaign)
    return sorted(int(phone[-4:]) for phone in rows)


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_contacts_of_the_segment_become_recipients(
    session: AsyncSession, new_uow: NewUow, limit: int
) -> None:
    await make_contacts_with_tags(session, ["vip"], [], ["vip", "hot"], [], [], ["vip"])
    vip = await make_segment(session, VIP)
    campaign = await make_campaign_to(session, {"segment_id": str(vip.id)})

    async with new_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert await store_and_read_positions(session, new_uow, campaign, limit=limit) == [0, 2, 5]
    await session.refresh(campaign)
    assert campaign.recipients_total == 3


@pytest.mark.parametrize("limit", [1, 100])
async def test_contacts_of_excluded_segments_are_left_out(
    session: AsyncSession, new_uow: NewUow, limit: int
) -> None:
    await make_contacts_with_tags(session, ["vip"], [], ["vip", "hot"], ["hot"], ["cold"], ["vip"])
    vip, hot = await make_segment(session, VIP), await make_segment(session, HOT, "Hot")
    cold = await make_segment(session, HOT | {"value": "cold"}, "Cold")
    await session.commit()
    excluded = {"segment_ids": [str(hot.id), str(cold.id)]}
    by_segment = await make_campaign_to(
        session, {"segment_id": str(vip.id), "exclude": excluded}, status="scheduled"
    )

    assert await store_and_read_positions(session, new_uow, by_segment, limit=limit) == [0, 5]


async def test_contact_without_the_value_is_not_excluded(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = [
        await make_contact(session, phone=number(position), state=state)
        for position, state in enumerate(["MA", None, "FL"])
    ]
    homeowners = await make_list(session, contacts=contacts)
    rule = {"field": "state", "op": "eq", "value": "ma"}
    massachusetts = await make_segment(session, rule)
    audience = {
        "list_id": str(homeowners.id),
        "exclude": {"segment_ids": [str(massachusetts.id)]},
    }
    campaign = await make_campaign_to(session, audience, status="scheduled")

    assert await store_and_read_positions(session, new_uow, campaign) == [1, 2]


async def test_stored_recipients_do_not_change_with_the_segment(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await make_contacts_with_tags(session, ["vip"], [])
    vip = await make_segment(session, VIP)
    campaign = await make_campaign_to(session, {"segment_id": str(vip.id)}, status="scheduled")
    await store_and_read_positions(session, new_uow, campaign)

    async with new_uow() as uow:
        await segments.update_segment(uow, SegmentUpdate(filter=HOT), segment_id=vip.id, now=NOW)

    assert await store_and_read_positions(session, new_uow, campaign) == [0]


async def test_relative_times_count_from_the_start(session: AsyncSession, new_uow: NewUow) -> None:
    for position, hours in enumerate([23, 25]):
        await make_contact(session, phone=number(position), now=NOW - timedelta(hours=hours))
    rule = {"field": "created_at", "op": "within_last", "value": {"days": 1}}
    recent = await make_segment(session, rule)
    began = NOW - timedelta(hours=2)
    campaign = await make_campaign_to(
        session, {"segment_id": str(recent.id)}, status="scheduled", started_at=began
    )

    assert await store_and_read_positions(session, new_uow, campaign) == [0, 1]


async def test_preview_counts_the_contacts_of_the_segment(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await make_contacts_with_tags(session, ["vip"], [], ["vip", "hot"])
    vip, hot = await make_segment(session, VIP), await make_segment(session, HOT, "Hot")
    audience = {"segment_id": str(vip.id), "exclude": {"segment_ids": [str(hot.id)]}}
    campaign = await make_campaign_to(session, audience)

    async with new_uow() as uow:
        found = await previews.preview_campaign(
            uow, campaign_id=campaign.id, request=PreviewRequest(), business=BUSINESS, now=NOW
        )

    assert found.recipients.total == 1


async def test_start_without_recipients_is_refused(session: AsyncSession, new_uow: NewUow) -> None:
    await make_contacts_with_tags(session, [])
    vip = await make_segment(session, VIP)
    campaign = await make_campaign_to(session, {"segment_id": str(vip.id)})

    async with new_uow() as uow:
        with pytest.raises(EmptyAudienceError):
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)


async def test_start_is_refused_if_a_segment_names_an_unknown_list(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await make_contacts_with_tags(session, ["vip"])
    unknown_list = {"field": "lists", "op": "contains", "value": UNKNOWN_ID}
    vip, broken = (
        await make_segment(session, VIP),
        await make_segment(session, unknown_list, "Customers"),
    )
    audience = {"segment_id": str(vip.id), "exclude": {"segment_ids": [str(broken.id)]}}
    campaign = await make_campaign_to(session, audience)

    async with new_uow() as uow:
        with pytest.raises(InvalidCampaignError) as refused:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert [(fault.pointer, fault.code) for fault in refused.value.errors] == [
        ("/audience/exclude/segment_ids/0", "broken_segment")
    ]


@pytest.mark.parametrize("role", ["named", "excluded"])
@pytest.mark.parametrize(
    ("status", "is_refused"),
    [("draft", True), ("scheduled", True), ("completed", False), ("cancelled", False)],
)
async def test_segment_of_a_draft_or_scheduled_campaign_cannot_be_deleted(
    client: httpx.AsyncClient, session: AsyncSession, role: str, status: str, *, is_refused: bool
) -> None:
    vip = await make_segment(session, VIP)
    named = {"segment_id": str(vip.id)}
    excluded = {"contact_ids": [], "exclude": {"segment_ids": [UNKNOWN_ID, str(vip.id)]}}
    campaign = await make_campaign_to(
        session, named if role == "named" else excluded, status=status
    )

    response = await client.delete(f"/v1/segments/{vip.id}")

    if is_refused:
        assert response.status_code == 409
        problem = response.json()
        assert (problem["code"], problem["campaign_ids"]) == ("segment_in_use", [str(campaign.id)])
    else:
        assert response.status_code == 204


@pytest.mark.parametrize(
    ("status", "total", "is_refused"),
    [
        ("draft", None, False),
        ("scheduled", None, True),
        ("paused", None, True),
        ("scheduled", 3, False),
        ("cancelled", None, False),
    ],
)
async def test_filter_cannot_change_while_recipients_are_stored(
    client: httpx.AsyncClient,
    session: AsyncSession,
    status: str,
    total: int | None,
    *,
    is_refused: bool,
) -> None:
    vip = await make_segment(session, VIP)
    await make_campaign_to(
        session, {"segment_id": str(vip.id)}, status=status, recipients_total=total
    )
    path = f"/v1/segments/{vip.id}"

    changed = await client.patch(path, json={"filter": HOT})
    renamed = await client.patch(path, json={"name": "Best"})

    assert changed.status_code == (409 if is_refused else 200)
    assert renamed.status_code == 200


async def test_deletion_waits_for_a_start_that_uses_the_segment(
    committed_db: AsyncEngine, committed_uow: NewUow
) -> None:
    async with committed_uow() as uow:
        await make_contacts_with_tags(uow.session, ["vip"])
        vip = await make_segment(uow.session, VIP)
        campaign = await make_campaign(
            uow.session,
            line=await make_line(uow.session),
            audience={"segment_id": str(vip.id)},
            status="draft",
        )

    async def delete(segment_id: UUID) -> None:
        async with committed_uow() as uow:
            await segments.delete_segment(uow, segment_id=segment_id)

    async with committed_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)
        deletion = await blocked(committed_db, delete(vip.id))

    with pytest.raises(SegmentInUseError):
        await deletion
