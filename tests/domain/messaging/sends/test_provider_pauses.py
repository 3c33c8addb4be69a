"""When a pause of the provider ends early, the postponed messages are due at once."""

from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.factories import number
from tests.fakes import RecordingQueue

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import provider_pauses, queue, queued_claim
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

PAUSE = 600.0


async def _begin(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await provider_pauses.begin_provider_pause(
            uow, Limiter(rate_per_second=8), seconds=PAUSE, asked_seconds=1e18, now=NOW
        )


async def _end(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await provider_pauses.end_provider_pause(uow, actor="test", now=after(5))


async def test_postponed_message_is_due_at_once_when_a_user_ends_the_pause(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    async with new_uow() as uow:
        await queue.queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=NOW,
        )
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)
    (claimed,) = await ledger.gate(batch)
    await ledger.answer(claimed, ResponseKind.LATER, retry_after_seconds=PAUSE)
    await _begin(new_uow)
    assert (await ledger.message()).send_after == after(PAUSE)

    await _end(new_uow)

    assert (await ledger.message()).send_after == after(5)


async def test_recipients_postponed_by_the_pause_are_due_at_once_and_others_keep_their_time(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    first, *_ = await ledger.begin_calls()
    await ledger.answer(first, ResponseKind.LATER, retry_after_seconds=PAUSE)
    await ledger.run(
        "UPDATE campaign_membership SET status = 'pending', due_at = :at WHERE id <> :id",
        at=after(60),
        id=first.membership_id,
    )
    await _begin(new_uow)

    await _end(new_uow)

    due = {row.phone: row.due_at for row in await ledger.recipients()}
    assert due.pop(first.phone) == after(5)
    assert set(due.values()) == {after(60)}


async def test_end_of_the_pause_requests_the_jobs_that_send(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    await _begin(new_uow)

    await _end(new_uow)

    assert {JobName.PROCESS_CAMPAIGN_QUEUE, JobName.SEND_MESSAGES} <= set(queue.names)
