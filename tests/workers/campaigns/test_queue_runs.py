"""Tests of the queue job: when a run ends, and for which time it requests the next run."""

from typing import Any

import httpx
from tests.domain.messaging.sends.test_pace_of_claims import EVEN
from tests.factories import make_contact, make_line, make_member, number
from tests.fakes import RecordingQueue
from tests.workers.drain import far_from_midnight, make_deps, open_ledger

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName
from crm_api.platform.settings import Settings
from crm_api.workers.campaigns import TICK_SECONDS, _ClaimSource, process_campaign_queue
from crm_api.workers.deps import TimeLimit


def _accept(_: httpx.Request) -> httpx.Response:
    return httpx.Response(202, json={"data": {"id": "AC1"}})


def _provider() -> OpenPhoneClient:
    return OpenPhoneClient(
        base_url="http://provider.test", api_key="key", transport=httpx.MockTransport(_accept)
    )


async def test_run_requests_the_next_run_for_when_the_pace_allows_a_message(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    # In this time zone, at least six hours are left until midnight. With the pacing `even`, the
    # campaign spreads its daily limit of 5,000 messages over these hours. So it waits some seconds
    # between two messages.
    async with committed_uow() as uow:
        line = await make_line(uow.session, daily_limit=5000, timezone=far_from_midnight())
    ledger = await open_ledger(committed_uow, people=2, line=line, **(EVEN | {"daily_limit": 5000}))

    async with _provider() as provider:
        ctx: dict[str, Any] = {"deps": make_deps(settings, committed_uow, queue, provider)}
        await process_campaign_queue(ctx)

    (pace,) = await ledger.rows("SELECT next_at FROM campaign_pace")
    asked = [job for job in queue.jobs if job.name is JobName.PROCESS_CAMPAIGN_QUEUE]
    assert sorted(row.status for row in await ledger.recipients()) == ["pending", "sent"]
    assert 0 < asked[-1].delay_seconds < TICK_SECONDS
    assert asked[-1].delay_seconds <= (pace.next_at - clock.now()).total_seconds() + 5


async def test_run_at_its_time_limit_claims_no_more_and_is_not_done(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    await open_ledger(committed_uow, people=2)

    async with _provider() as provider:
        deps = make_deps(settings, committed_uow, queue, provider)
        source = _ClaimSource(deps, TimeLimit(deps))
        in_time = await source.claim_more(1)
        deps.works_for_seconds = 0.0
        too_late = await source.claim_more(1)

    assert (len(in_time), too_late, source.is_done) == (1, [], False)


async def test_claims_alternate_between_the_campaigns(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    first = await open_ledger(committed_uow, people=3)
    second = await open_ledger(committed_uow, line=first.line)
    now = clock.now()
    async with committed_uow() as uow:
        campaign = await uow.session.merge(second.campaign)
        for position in range(10, 13):
            person = await make_contact(uow.session, phone=number(position), now=now)
            await make_member(uow.session, campaign=campaign, contact=person, now=now)
    await second.run(
        "DELETE FROM campaign_membership WHERE campaign_id = :id AND phone = :phone",
        id=second.campaign.id,
        phone=number(0),
    )

    async with _provider() as provider:
        deps = make_deps(settings, committed_uow, queue, provider)
        source = _ClaimSource(deps, TimeLimit(deps))
        claimed = [item for _ in range(4) for item in await source.claim_more(1)]

    one, other = (item.campaign_id for item in claimed[:2])
    assert one != other
    assert [item.campaign_id for item in claimed] == [one, other, one, other]
