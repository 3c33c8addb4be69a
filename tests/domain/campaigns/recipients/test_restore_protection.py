"""A campaign of a restored backup continues without people who got a message since the backup."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.errors import AudienceLostError, NotReconciledError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.sends.vocabulary import PauseReason
from crm_api.platform.database import UnitOfWorkFactory

MADE_AT = NOW - timedelta(hours=5)


async def make_paused_campaign(session: AsyncSession, **values: Any) -> Campaign:
    """Make a paused campaign with four waiting people.

    The first person got a message a day before the backup, the second person at the instant of the
    backup, the third person an hour ago, and the fourth person none. The third person waits for a
    follow-up.
    """
    line = await make_line(session)
    evidence = {
        "sentence": "Restored.",
        "backup_made_at": format_instant(MADE_AT),
        "restored_at": format_instant(NOW),
    }
    campaign = await make_campaign(
        session,
        line=line,
        status="paused",
        **{"paused_reason": PauseReason.RESTORED, "paused_evidence": evidence, **values},
    )
    for position, (step, texted_at) in enumerate(
        [(0, MADE_AT - timedelta(days=1)), (0, MADE_AT), (1, NOW - timedelta(hours=1)), (0, None)]
    ):
        person = await make_contact(session, phone=number(position))
        await make_member(session, campaign=campaign, contact=person, step=step)
        session.add(
            Conversation(
                line_id=line.id,
                phone=person.phone,
                last_activity_at=NOW,
                last_outgoing_at=texted_at,
                created_at=NOW,
            )
        )
    await session.commit()
    return campaign


async def add_reconciliation_run(session: AsyncSession, **values: Any) -> None:
    run = {
        "trigger": "manual",
        "status": "completed",
        "since": MADE_AT - timedelta(days=1),
        "until": NOW,
        "created_at": NOW,
        **values,
    }
    session.add(ReconciliationRun(**run))
    await session.commit()


async def read_members(session: AsyncSession) -> list[tuple[str, str | None]]:
    found = await session.execute(
        text("SELECT status, skip_reason FROM campaign_membership ORDER BY phone")
    )
    return [(row.status, row.skip_reason) for row in found]


async def test_person_with_a_message_since_the_backup_goes_to_review(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    campaign = await make_paused_campaign(session)
    await add_reconciliation_run(session)

    async with new_uow() as uow:
        detail = await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert detail.campaign.status == "running"
    assert detail.campaign.paused_reason is None
    assert await read_members(session) == [
        ("pending", None),
        ("review", None),
        ("skipped", "texted_since_backup"),
        ("pending", None),
    ]


@pytest.mark.parametrize(
    "run",
    [
        {"status": "running"},
        {"status": "failed"},
        {"until": NOW - timedelta(seconds=1)},
        {"since": MADE_AT + timedelta(seconds=1)},
    ],
    ids=["still running", "failed", "ended before the restore", "began after the backup"],
)
async def test_campaign_stays_paused_until_the_time_since_the_backup_is_reconciled(
    session: AsyncSession, new_uow: UnitOfWorkFactory, run: dict[str, Any]
) -> None:
    campaign = await make_paused_campaign(session)
    await add_reconciliation_run(session, **run)

    with pytest.raises(NotReconciledError, match="POST /v1/reconciliation-runs"):
        async with new_uow() as uow:
            await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert {status for status, _ in await read_members(session)} == {"pending"}
    await session.refresh(campaign)
    assert campaign.status == "paused"


async def test_campaign_with_an_incomplete_audience_cannot_be_resumed(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    campaign = await make_paused_campaign(session)
    await session.execute(text("UPDATE campaign SET recipients_total = NULL"))
    await add_reconciliation_run(session)

    with pytest.raises(AudienceLostError, match="clone"):
        async with new_uow() as uow:
            await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    async with new_uow() as uow:
        cancelled = await campaigns.cancel_campaign(uow, campaign_id=campaign.id, now=NOW)
    assert cancelled.campaign.status == "cancelled"


async def test_campaign_paused_for_another_reason_is_not_changed(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    campaign = await make_paused_campaign(session, paused_reason="opt_out_rate", paused_evidence={})

    async with new_uow() as uow:
        await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert {status for status, _ in await read_members(session)} == {"pending"}
