"""Copies of campaigns, and texts that try one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.sends.ledger import BUSINESS
from tests.factories import make_campaign, make_contact, make_line, number

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import cloning, trial
from crm_api.domain.campaigns.content import CampaignDetail
from crm_api.domain.campaigns.errors import CampaignNotFoundError, NotOwnNumberError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.schemas import TrialRequest
from crm_api.domain.consent.models import ContactFlag
from crm_api.ids import new_id

NewUow = Callable[[], UnitOfWork]
OWN = "+16175550101"
HOUR = timedelta(hours=1)


async def cloned(new_uow: NewUow, campaign: Campaign, **values: Any) -> CampaignDetail:
    async with new_uow() as uow:
        return await cloning.clone(
            uow, campaign_id=campaign.id, now=NOW, **{"name": None, **values}
        )


async def test_copy_of_a_running_campaign_begins_anew(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(
        session,
        line=line,
        bodies=("One", "Two"),
        opt_out_footer="STOP ends it",
        recipients_total=7,
        zone_keys=["MA/America/New_York"],
        started_at=NOW - HOUR,
        paused_reason="too many failures",
        previously_contacted="review",
    )
    await session.commit()

    copy = await cloned(new_uow, campaign)

    assert copy.campaign.id != campaign.id
    assert copy.campaign.status == "draft"
    assert copy.campaign.recipients_total is None
    assert copy.campaign.zone_keys == []
    assert copy.campaign.started_at is None
    assert copy.campaign.paused_reason is None
    assert copy.campaign.created_at == NOW
    assert copy.campaign.opt_out_footer == "STOP ends it"
    assert copy.campaign.previously_contacted == "review"
    assert [(one.name, one.body, one.weight) for one in copy.variants] == [
        ("V0", "One", 50),
        ("V1", "Two", 50),
    ]


@pytest.mark.parametrize(
    ("start_at", "end_at", "kept"),
    [
        (NOW - HOUR, NOW + HOUR, (None, NOW + HOUR)),
        (NOW - 2 * HOUR, NOW - HOUR, (None, None)),
        (NOW + HOUR, NOW + 2 * HOUR, (NOW + HOUR, NOW + 2 * HOUR)),
        (None, NOW, (None, None)),
    ],
)
async def test_dates_that_have_passed_are_left_out(
    session: AsyncSession, new_uow: NewUow, start_at: Any, end_at: Any, kept: Any
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, start_at=start_at, end_at=end_at)
    await session.commit()

    copy = await cloned(new_uow, campaign)

    assert (copy.campaign.start_at, copy.campaign.end_at) == kept


async def test_name_of_a_copy_stays_within_its_length(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, name="x" * 200)
    await session.commit()

    copy = await cloned(new_uow, campaign)
    named = await cloned(new_uow, campaign, name="Winter")

    assert copy.campaign.name == "x" * 193 + " (copy)"
    assert named.campaign.name == "Winter"


async def test_unknown_campaign_has_no_copy(new_uow: NewUow) -> None:
    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await cloning.clone(uow, campaign_id=new_id(), name=None, now=NOW)


async def tried(
    session: AsyncSession, new_uow: NewUow, campaign: Campaign, **request: Any
) -> str | None:
    await make_line(session, phone_number_id="PNsandbox2", line_number=OWN)
    await session.commit()
    async with new_uow() as uow:
        message = await trial.send(
            uow,
            campaign_id=campaign.id,
            request=TrialRequest(to=OWN, **request),
            business=BUSINESS,
            now=NOW,
        )
    assert (message.phone, message.contact_id, message.campaign_id) == (OWN, None, None)
    assert (message.origin, message.status) == ("test", "queued")
    return message.body


async def test_trial_takes_the_first_of_the_audience_who_has_all_values(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session)
    people = [
        await make_contact(session, phone=number(n), first_name=name)
        for n, name in enumerate(["Opted", None, "{{ phone }}", "Dora"])
    ]
    session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))
    audience = {"contact_ids": [str(one.id) for one in people]}
    bodies = ("A {{ first_name }}", "B {{ first_name }}")
    campaign = await make_campaign(session, line=line, bodies=bodies, audience=audience)

    assert await tried(session, new_uow, campaign, variant="V1") == "B {{ phone }}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("Hi {{ first_name }}, {{ attributes.owner }}", "Hi [first_name], [owner]"),
        ("{{ attributes.price | divided_by: attributes.price }} $", "1 $"),
        ("No values, {{ business.name }}", "No values, Granite Foundations"),
    ],
)
async def test_trial_without_an_audience_shows_the_names_of_values(
    session: AsyncSession, new_uow: NewUow, body: str, text: str
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, bodies=(body,))

    assert await tried(session, new_uow, campaign) == text


async def test_trial_does_not_go_to_the_line_itself(session: AsyncSession, new_uow: NewUow) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    await session.commit()

    with pytest.raises(NotOwnNumberError):
        async with new_uow() as uow:
            await trial.send(
                uow,
                campaign_id=campaign.id,
                request=TrialRequest(to=line.number),
                business=BUSINESS,
                now=NOW,
            )
