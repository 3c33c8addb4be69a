"""A test message of a campaign: which values it shows, and to which number it is refused."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import NewUow
from tests.domain.messaging.sends.ledger import BUSINESS
from tests.factories import make_campaign, make_contact, make_line, number

from crm_api.domain.campaigns.errors import NotOwnNumberError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.preview.schemas import TrialRequest
from crm_api.domain.campaigns.preview.test_send import send_test_message
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.consent.models import ContactFlag

OWN = "+16175550101"


async def send_trial(
    session: AsyncSession, new_uow: NewUow, campaign: Campaign, **request: Any
) -> str | None:
    await make_line(session, phone_number_id="PNsandbox2", line_number=OWN)
    await session.commit()
    async with new_uow() as uow:
        message = await send_test_message(
            uow,
            campaign_id=campaign.id,
            request=TrialRequest(to=OWN, **request),
            business=BUSINESS,
            rules=NO_RULES,
            now=NOW,
        )
    assert (message.phone, message.contact_id, message.campaign_id) == (OWN, None, None)
    assert (message.origin, message.status) == ("test", "queued")
    return message.body


async def test_trial_uses_the_first_contact_with_all_values(
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

    assert await send_trial(session, new_uow, campaign, variant="V1") == "B {{ phone }}"


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

    assert await send_trial(session, new_uow, campaign) == text


async def test_trial_to_the_sending_line_is_refused(session: AsyncSession, new_uow: NewUow) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    await session.commit()

    with pytest.raises(NotOwnNumberError):
        async with new_uow() as uow:
            await send_test_message(
                uow,
                campaign_id=campaign.id,
                request=TrialRequest(to=line.number),
                business=BUSINESS,
                rules=NO_RULES,
                now=NOW,
            )
