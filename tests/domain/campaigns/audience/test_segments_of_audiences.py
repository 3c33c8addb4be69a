"""A segment as an audience, or excluded from one: evaluated at the start, then frozen."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import recipients
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


async def people(session: AsyncSession, *tags: list[str]) -> None:
    """The n-th person has the n-th tags."""
    for place, own in enumerate(tags):
        await make_contact(session, phone=number(place), tags=own)


async def segment(session: AsyncSession, filter_: dict[str, Any], name: str = "VIP") -> Segment:
    made = Segment(name=name, filter=filter_, created_at=NOW, updated_at=NOW)
    session.add(made)
    await session.flush()
    return made


async def to(session: AsyncSession, audience: dict[str, Any], **values: Any) -> Campaign:
    """Store a draft to this audience; ``values`` may set another status."""
    campaign = await make_campaign(
        session,
        line=await make_line(session),
        audience=audience,
        **{"status": "draft", **values},
    )
    await session.commit()
    return campaign


async def written(
    session: AsyncSession, new_uow: NewUow, campaign: Campaign, *, limit: int = 100
) -> list[int]:
    """Store the audience in chunks; return the positions of the numbers."""
    async with new_uow() as uow:
        while await store_next_chunk(uow, campaign_id=campaign.id, limit=limit, now=NOW):
            pass
    rows = await recipients(session, campaign)
    return sorted(int(phone[-4:]) for phone in rows)


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_people_of_the_segment_are_the_recipients(
    session: AsyncSession, new_uow: NewUow, limit: int
) -> None:
    await people(session, ["vip"], [], ["vip", "hot"], [], [], ["vip"])
    vip = await segment(session, VIP)
    campaign = await to(session, {"segment_id": str(vip.id)})

    async with new_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert await written(session, new_uow, campaign, limit=limit) == [0, 2, 5]
    await session.refresh(campaign)
    assert campaign.recipients_total == 3


@pytest.mark.parametrize("limit", [1, 100])
async def test_people_of_excluded_segments_are_left_out(
    session: AsyncSession, new_uow: NewUow, limit: int
) -> None:
    await people(session, ["vip"], [], ["vip", "hot"], ["hot"], ["cold"], ["vip"])
    vip, hot = await segment(session, VIP), await segment(session, HOT, "Hot")
    cold = await segment(session, HOT | {"value": "cold"}, "Cold")
    await session.commit()
    excluded = {"segment_ids": [str(hot.id), str(cold.id)]}
    by_segment = await to(
        session, {"segment_id": str(vip.id), "exclude": excluded}, status="scheduled"
    )

    assert await written(session, new_uow, by_segment, limit=limit) == [0, 5]


async def test_exclusion_does_not_swallow_those_of_whom_nothing_is_known(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contacts = [
        await make_contact(session, phone=number(place), state=state)
        for place, state in enumerate(["MA", None, "FL"])
    ]
    homeowners = await make_list(session, contacts=contacts)
    rule = {"field": "state", "op": "eq", "value": "ma"}
    massachusetts = await segment(session, rule)
    audience = {
        "list_id": str(homeowners.id),
        "exclude": {"segment_ids": [str(massachusetts.id)]},
    }
    campaign = await to(session, audience, status="scheduled")

    assert await written(session, new_uow, campaign) == [1, 2]


async def test_recipients_stay_who_they_were_at_the_start(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await people(session, ["vip"], [])
    vip = await segment(session, VIP)
    campaign = await to(session, {"segment_id": str(vip.id)}, status="scheduled")
    await written(session, new_uow, campaign)

    async with new_uow() as uow:
        await segments.update_segment(uow, SegmentUpdate(filter=HOT), segment_id=vip.id, now=NOW)

    assert await written(session, new_uow, campaign) == [0]


async def test_distances_are_counted_from_the_start(session: AsyncSession, new_uow: NewUow) -> None:
    for place, hours in enumerate([23, 25]):
        await make_contact(session, phone=number(place), now=NOW - timedelta(hours=hours))
    rule = {"field": "created_at", "op": "within_last", "value": {"days": 1}}
    new = await segment(session, rule)
    began = NOW - timedelta(hours=2)
    campaign = await to(session, {"segment_id": str(new.id)}, status="scheduled", started_at=began)

    assert await written(session, new_uow, campaign) == [0, 1]


async def test_preview_counts_the_people_of_the_segment(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await people(session, ["vip"], [], ["vip", "hot"])
    vip, hot = await segment(session, VIP), await segment(session, HOT, "Hot")
    audience = {"segment_id": str(vip.id), "exclude": {"segment_ids": [str(hot.id)]}}
    campaign = await to(session, audience)

    async with new_uow() as uow:
        found = await previews.preview_campaign(
            uow, campaign_id=campaign.id, request=PreviewRequest(), business=BUSINESS, now=NOW
        )

    assert found.recipients.total == 1


async def test_start_without_recipients_is_refused(session: AsyncSession, new_uow: NewUow) -> None:
    await people(session, [])
    vip = await segment(session, VIP)
    campaign = await to(session, {"segment_id": str(vip.id)})

    async with new_uow() as uow:
        with pytest.raises(EmptyAudienceError):
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)


async def test_start_is_refused_when_a_list_of_the_rules_is_gone(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await people(session, ["vip"])
    lost = {"field": "lists", "op": "contains", "value": UNKNOWN_ID}
    vip, left_out = await segment(session, VIP), await segment(session, lost, "Customers")
    audience = {"segment_id": str(vip.id), "exclude": {"segment_ids": [str(left_out.id)]}}
    campaign = await to(session, audience)

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
async def test_segment_of_a_campaign_that_has_yet_to_begin_cannot_be_removed(
    client: httpx.AsyncClient, session: AsyncSession, role: str, status: str, *, is_refused: bool
) -> None:
    vip = await segment(session, VIP)
    named = {"segment_id": str(vip.id)}
    excluded = {"contact_ids": [], "exclude": {"segment_ids": [UNKNOWN_ID, str(vip.id)]}}
    campaign = await to(session, named if role == "named" else excluded, status=status)

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
async def test_rules_do_not_change_while_recipients_are_written_down_by_them(
    client: httpx.AsyncClient,
    session: AsyncSession,
    status: str,
    total: int | None,
    *,
    is_refused: bool,
) -> None:
    vip = await segment(session, VIP)
    await to(session, {"segment_id": str(vip.id)}, status=status, recipients_total=total)
    path = f"/v1/segments/{vip.id}"

    changed = await client.patch(path, json={"filter": HOT})
    renamed = await client.patch(path, json={"name": "Best"})

    assert changed.status_code == (409 if is_refused else 200)
    assert renamed.status_code == 200


async def test_removal_waits_for_the_start_that_names_it(
    committed_db: AsyncEngine, committed_uow: NewUow
) -> None:
    async with committed_uow() as uow:
        await people(uow.session, ["vip"])
        vip = await segment(uow.session, VIP)
        campaign = await make_campaign(
            uow.session,
            line=await make_line(uow.session),
            audience={"segment_id": str(vip.id)},
            status="draft",
        )

    async def remove(segment_id: UUID) -> None:
        async with committed_uow() as uow:
            await segments.delete_segment(uow, segment_id=segment_id)

    async with committed_uow() as uow:
        await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)
        removal = await blocked(committed_db, remove(vip.id))

    with pytest.raises(SegmentInUseError):
        await removal
