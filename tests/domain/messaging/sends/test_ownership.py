"""A report belongs to an attempt, a reply to a campaign; a late success releases a claim."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts, note_reply
from tests.factories import make_line, number
from tests.locks import blocked

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import queue, queued_claim, record
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory


async def _reply(ledger: Ledger, *, seconds: float, is_opt_out: bool = False) -> None:
    async with ledger.new_uow() as uow:
        await note_reply(
            uow,
            phone=number(0),
            line_id=ledger.line.id,
            at=after(seconds),
            times=TIMES,
            now=after(seconds),
            is_opt_out=is_opt_out,
        )


async def test_message_to_several_people_matches_no_attempt(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    await ledger.report(replace(message_facts("delivered"), to_numbers=(number(0), number(1))))

    assert (await ledger.attempt()).status == "unknown"
    assert sorted(row.origin for row in await ledger.messages()) == ["campaign", "provider"]


async def test_reply_on_another_line_belongs_to_no_campaign(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)
    async with new_uow() as uow:
        other = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )

    async with new_uow() as uow:
        tied = await note_reply(
            uow, phone=number(0), line_id=other.id, at=after(60), times=TIMES, now=after(60)
        )

    assert tied is None
    assert (await ledger.recipient()).replied_at is None


async def test_reply_after_a_manual_message_still_belongs_to_the_campaign(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)
    async with new_uow() as uow:
        await queue.queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=after(10),
        )
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(
            uow, limit=1, times=TIMES, rules=NO_RULES, now=after(10)
        )
    (reply,) = await ledger.gate(batch, now=after(11))
    await ledger.accept(reply, "AC2", at=after(12), now=after(12))

    await _reply(ledger, seconds=60)

    assert (await ledger.recipient()).replied_at == after(60)


async def test_first_opt_out_is_the_one_that_is_stored(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    await _reply(ledger, seconds=100, is_opt_out=True)
    await _reply(ledger, seconds=200, is_opt_out=True)

    recipient = await ledger.recipient()
    assert (recipient.replied_at, recipient.opted_out_at) == (after(100), after(100))


async def test_late_acceptance_without_an_id_releases_the_next_claim(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    second = await ledger.claim(now=after(900))

    await ledger.answer(first, ResponseKind.UNCLEAR, no_id=True, code="no_id", now=after(901))

    assert [row.status for row in await ledger.attempts()] == ["parked", "released"]
    assert (await ledger.recipient()).status == "unknown"
    assert await ledger.gate(second, now=after(902)) == []


async def test_status_is_derived_after_an_open_record_commits(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    """Test a late acceptance of the first attempt, stored while the second attempt's lease ends."""
    ledger = await Ledger.open(committed_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    await ledger.begin_calls(now=after(900))
    answer = SendResponse(kind=ResponseKind.ACCEPTED, provider_message_id="AC1")

    async with committed_uow() as uow:
        await record.record_responses(uow, [Answered(claimed=first, answer=answer)], now=after(901))
        waiting = await blocked(committed_db, ledger.expire(now=NOW + timedelta(seconds=1000)))
    await waiting

    assert [row.status for row in await ledger.attempts()] == ["sent", "unknown"]
    assert (await ledger.recipient()).status == "sent"
