"""A deleted contact gets no more messages, even if a message is already claimed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.campaigns.templates.message_composer import MessageComposer
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends import claim, gate
from crm_api.domain.messaging.sends.claim_order import ClaimOrder
from crm_api.domain.messaging.sends.pacing import Burst
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

CLOSES_AT = datetime(2026, 11, 25, 23, 0, tzinfo=NOW.tzinfo)


async def test_claimed_message_of_a_deleted_contact_is_skipped(
    session: AsyncSession, new_uow: Callable[[], UnitOfWork], settings: Settings
) -> None:
    contact = await make_contact(session)
    campaign = await make_campaign(session, line=await make_line(session))
    recipient = await make_member(session, campaign=campaign, contact=contact)
    await session.commit()
    times = SendTimes.from_settings(settings)
    order = ClaimOrder(
        campaign_id=campaign.id,
        line_id=campaign.line_id,
        open_zones={recipient.zone_key: CLOSES_AT},
        daily_limit=10,
        min_days_between=None,
        pacing=Burst(size=10, interval=timedelta(minutes=1)),
        compose=MessageComposer(
            variants=[
                {
                    "body": "Hello from {{ line.name }}, {{ first_name }}",
                    "weight": 100,
                    "is_stopped": False,
                }
            ],
            follow_ups=[],
            footer=None,
            business=Business(name=None, contact=None),
        ),
    )
    async with new_uow() as uow:
        claimed = (await claim.claim_recipients(uow, order, limit=5, times=times, now=NOW)).claimed
    async with new_uow() as uow:
        await contact_changes.delete_contact(uow, contact_id=contact.id, now=NOW)

    async with new_uow() as uow:
        passed = await gate.pass_gate(uow, claimed, times=times, now=NOW)
    async with new_uow() as uow:
        await gate.release_claims(uow, claimed, reason="gate", now=NOW)

    await session.refresh(recipient)
    assert len(claimed) == 1
    assert passed == []
    assert (recipient.status, recipient.skip_reason) == ("skipped", "contact_deleted")
