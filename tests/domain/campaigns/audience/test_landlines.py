"""Campaigns that skip landlines: in the stored audience, the preview and the explanation."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import NewUow, people, recipients, scheduled, written
from tests.factories import make_campaign, make_line, make_list, number
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.errors import EmptyAudienceError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.people.models.phone_validation import PhoneLookup
from crm_api.platform.database import UnitOfWork

LANDLINE = ("skipped", "landline")


def looked_up(position: int, line_type: str) -> PhoneLookup:
    """A look-up of last year, due for renewal."""
    return PhoneLookup(
        phone=number(position),
        line_type=line_type,
        source="lookup_service",
        checked_at=NOW - timedelta(days=400),
        expires_at=NOW - timedelta(days=220),
    )


async def scene(session: AsyncSession, **values: Any) -> Campaign:
    """Five people: a landline, a mobile, VoIP, one unknown, one not looked up."""
    contacts = await people(session, 5)
    for position, line_type in enumerate(("landline", "mobile", "voip", "unknown")):
        session.add(looked_up(position, line_type))
    return await scheduled(session, contacts, **values)


@pytest.mark.parametrize(("rule", "first"), [(True, LANDLINE), (False, ("pending", None))])
async def test_landlines_are_skipped_where_the_campaign_says_so(
    session: AsyncSession, new_uow: NewUow, *, rule: bool, first: tuple[str, str | None]
) -> None:
    campaign = await scene(session, skip_landlines=rule)

    assert await written(new_uow, campaign) == 5

    rows = await recipients(session, campaign)
    assert (rows[number(0)].status, rows[number(0)].skip_reason) == first
    assert {rows[number(position)].status for position in range(1, 5)} == {"pending"}


@pytest.mark.parametrize(
    ("flag", "found"),
    [
        ("opted_out", ("skipped", "opted_out")),
        ("do_not_contact", ("skipped", "do_not_contact")),
        # After a release of the hold a message would be sent, but a landline never receives one.
        ("opt_out_hold", LANDLINE),
    ],
)
async def test_landline_among_other_reasons(
    session: AsyncSession, new_uow: NewUow, flag: str, found: tuple[str, str]
) -> None:
    campaign = await scene(session, skip_landlines=True)
    session.add(ContactFlag(phone=number(0), flag_type=flag, created_at=NOW))
    await session.commit()

    await written(new_uow, campaign)

    row = (await recipients(session, campaign))[number(0)]
    assert (row.status, row.skip_reason) == found


async def test_start_to_landlines_alone_is_refused(
    session: AsyncSession, new_uow: Callable[[], UnitOfWork]
) -> None:
    homeowners = await make_list(session, contacts=await people(session, 1))
    session.add(looked_up(0, "landline"))
    campaign = await make_campaign(
        session,
        line=await make_line(session),
        status="draft",
        audience={"list_id": str(homeowners.id)},
        skip_landlines=True,
    )
    await session.commit()

    with pytest.raises(EmptyAudienceError):
        async with new_uow() as uow:
            await campaigns.start_campaign(uow, campaign_id=campaign.id, now=NOW)


async def test_preview_and_explanation_know_the_rule(
    session: AsyncSession,
    new_uow: NewUow,
    client: httpx.AsyncClient,
    queue: RecordingQueue,
) -> None:
    campaign = await scene(session, skip_landlines=True)

    shown = (await client.get(f"/v1/campaigns/{campaign.id}")).json()
    preview = (await client.post(f"/v1/campaigns/{campaign.id}/preview", json={})).json()
    await written(new_uow, campaign)
    row = (await recipients(session, campaign))[number(0)]
    explained = await client.get(f"/v1/campaigns/{campaign.id}/recipients/{row.contact_id}/explain")

    assert shown["rules"]["skip_landlines"] is True
    assert preview["recipients"]["skipped"] == {"landline": 1}
    assert preview["recipients"]["would_be_texted"] == 4
    assert explained.json()["would_send_now"] is False
    assert explained.json()["rule"] == "landline"
    assert queue.jobs == []
