"""Campaigns that skip landlines: in the stored audience, the preview and the explanation."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import (
    NewUow,
    make_contacts,
    make_scheduled_campaign,
    read_recipients,
    store_audience,
)
from tests.factories import make_campaign, make_line, make_list, number
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.errors import EmptyAudienceError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.people.models.phone_validation import PhoneLookup
from crm_api.platform.database import UnitOfWork

LANDLINE = ("skipped", "landline")


def make_lookup(position: int, line_type: str) -> PhoneLookup:
    """Return a look-up of the line type of a number, which expired 220 days ago."""
    return PhoneLookup(
        phone=number(position),
        line_type=line_type,
        source="lookup_service",
        checked_at=NOW - timedelta(days=400),
        expires_at=NOW - timedelta(days=220),
    )


async def schedule_to_mixed_line_types(session: AsyncSession, **values: Any) -> Campaign:
    """Schedule a campaign to five contacts with different line types.

    Four numbers are a landline, a mobile, a VoIP number and a number of unknown type. The fifth
    number was never looked up.
    """
    contacts = await make_contacts(session, 5)
    for position, line_type in enumerate(("landline", "mobile", "voip", "unknown")):
        session.add(make_lookup(position, line_type))
    return await make_scheduled_campaign(session, contacts, **values)


@pytest.mark.parametrize(("rule", "first"), [(True, LANDLINE), (False, ("pending", None))])
async def test_landlines_are_skipped_if_the_campaign_skips_them(
    session: AsyncSession, new_uow: NewUow, *, rule: bool, first: tuple[str, str | None]
) -> None:
    campaign = await schedule_to_mixed_line_types(session, skip_landlines=rule)

    assert await store_audience(new_uow, campaign) == 5

    rows = await read_recipients(session, campaign)
    assert (rows[number(0)].status, rows[number(0)].skip_reason) == first
    assert {rows[number(position)].status for position in range(1, 5)} == {"pending"}


@pytest.mark.parametrize(
    ("flag", "found"),
    [
        ("opted_out", ("skipped", "opted_out")),
        ("do_not_contact", ("skipped", "do_not_contact")),
        # After a release, a held recipient could get a message. A landline never gets one, so the
        # landline is the stored reason.
        ("opt_out_hold", LANDLINE),
    ],
)
async def test_opt_out_and_do_not_contact_have_priority_over_landline(
    session: AsyncSession, new_uow: NewUow, flag: str, found: tuple[str, str]
) -> None:
    campaign = await schedule_to_mixed_line_types(session, skip_landlines=True)
    session.add(ContactFlag(phone=number(0), flag_type=flag, created_at=NOW))
    await session.commit()

    await store_audience(new_uow, campaign)

    row = (await read_recipients(session, campaign))[number(0)]
    assert (row.status, row.skip_reason) == found


async def test_start_is_refused_if_all_recipients_are_landlines(
    session: AsyncSession, new_uow: Callable[[], UnitOfWork]
) -> None:
    homeowners = await make_list(session, contacts=await make_contacts(session, 1))
    session.add(make_lookup(0, "landline"))
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


async def test_preview_and_explanation_apply_skip_landlines(
    session: AsyncSession,
    new_uow: NewUow,
    client: httpx.AsyncClient,
    queue: RecordingQueue,
) -> None:
    campaign = await schedule_to_mixed_line_types(session, skip_landlines=True)

    shown = (await client.get(f"/v1/campaigns/{campaign.id}")).json()
    preview = (await client.post(f"/v1/campaigns/{campaign.id}/preview", json={})).json()
    await store_audience(new_uow, campaign)
    row = (await read_recipients(session, campaign))[number(0)]
    explained = await client.get(f"/v1/campaigns/{campaign.id}/recipients/{row.contact_id}/explain")

    assert shown["rules"]["skip_landlines"] is True
    assert preview["recipients"]["skipped"] == {"landline": 1}
    assert preview["recipients"]["would_be_texted"] == 4
    assert explained.json()["would_send_now"] is False
    assert explained.json()["rule"] == "landline"
    assert queue.jobs == []
