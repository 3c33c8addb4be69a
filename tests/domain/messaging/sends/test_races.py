"""Locks, the order of locks and unique indexes decide races between two connections."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import BODY, TIMES, Ledger, after, message_facts
from tests.factories import make_line, number
from tests.locks import blocked

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import (
    claim_order,
    gate,
    matching,
    queue,
    queued_claim,
    report,
    settle,
)
from crm_api.domain.messaging.sends import record as recording
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory


async def _opt_out(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        uow.session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))
        await uow.session.flush()
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(1))


@pytest.mark.parametrize("caps", [{"line_limit": 3}, {"daily_limit": 3}])
async def test_claims_at_the_same_moment_never_exceed_the_cap(
    committed_uow: UnitOfWorkFactory, caps: dict[str, Any]
) -> None:
    ledger = await Ledger.open(committed_uow, people=20, **caps)

    batches = await asyncio.gather(*(ledger.claim(limit=2) for _ in range(6)))

    assert sum(len(batch) for batch in batches) == 3
    assert len(await ledger.attempts()) == 3


async def test_second_claim_counts_what_the_first_claim_took(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow, people=20, line_limit=3)

    async with committed_uow() as uow:
        first = await ledger.claim_in(uow, limit=3)
        waiting = await blocked(committed_db, ledger.claim(limit=3))

    assert (len(first.claimed), await waiting) == (3, [])


async def test_report_during_the_claim_that_repeats_its_message_stops_the_claim(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    async with committed_uow() as uow:
        result = await ledger.claim_in(uow, now=after(900))
        report = ledger.report(message_facts("delivered", at=after(1)), now=after(901))
        reporting = await blocked(committed_db, report)
    await reporting

    assert len(result.claimed) == 1
    assert await ledger.gate(result.claimed, now=after(902)) == []
    assert (await ledger.recipient()).status == "delivered"
    assert (await ledger.message()).status == "delivered"


async def test_claim_and_refusal_of_the_account_do_not_deadlock(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    first = await Ledger.open(committed_uow)
    second = await Ledger.open(committed_uow, line=first.line)
    (called,) = await first.begin_calls()
    refusals: list[asyncio.Future[None]] = []

    async def refuse(point: str) -> None:
        if point == "claim.locked":
            refusal = first.answer(
                called, ResponseKind.ACCOUNT_REFUSED, scope="line", reason="no_credits"
            )
            refusals.append(await blocked(committed_db, refusal))

    failpoints.set_hook(refuse)
    try:
        claimed = await second.claim()
    finally:
        failpoints.set_hook(None)

    await refusals[0]
    assert claimed == []
    assert [row.status for row in await first.rows("SELECT status FROM line")] == ["blocked"]


async def test_second_line_skips_a_number_that_the_first_line_claims(
    committed_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(committed_uow)
    async with committed_uow() as uow:
        line = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )
    second = await Ledger.open(committed_uow, line=line)

    async with committed_uow() as uow:
        first_claim = await first.claim_in(uow)
        # The first claim has locked the number, so the second claim skips it without waiting.
        assert await second.claim() == []

    assert len(first_claim.claimed) == 1
    assert await second.claim() == []
    assert len(await first.attempts()) == 1


async def test_two_lines_at_the_same_moment_make_one_attempt(
    committed_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(committed_uow, people=5)
    async with committed_uow() as uow:
        line = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )
    second = await Ledger.open(committed_uow, people=5, line=line)

    batches = await asyncio.gather(first.claim(), second.claim())

    phones = [item.phone for batch in batches for item in batch]
    assert len(phones) == len(set(phones))


async def test_campaign_and_reply_to_one_number_make_one_open_attempt(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)
    await _queue_reply(committed_uow, ledger)

    async with committed_uow() as uow:
        await ledger.claim_in(uow)
        waiting = await blocked(committed_db, _claim_reply(committed_uow))

    assert await waiting == []
    assert len(await ledger.attempts()) == 1


async def test_reply_that_one_worker_has_locked_is_skipped_by_the_other(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=0)
    await _queue_reply(committed_uow, ledger)

    async with committed_uow() as uow:
        first_claim = await queued_claim.claim_queued(
            uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW
        )
        async with asyncio.timeout(10):
            other = await _claim_reply(committed_uow)

    assert (len(first_claim), other) == (1, [])


async def test_opt_out_waits_for_an_open_claim_and_releases_it(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)

    async with committed_uow() as uow:
        claimed = (await ledger.claim_in(uow)).claimed
        waiting = await blocked(committed_db, _opt_out(committed_uow))
    await waiting

    assert (await ledger.attempt()).status == "released"
    assert (await ledger.recipient()).status == "skipped"
    assert await ledger.gate(claimed) == []


async def test_claim_that_read_before_the_opt_out_does_not_pass_the_gate(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)

    async with committed_uow() as uow:
        uow.session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))
        await uow.session.flush()
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(1))
        waiting = await blocked(committed_db, ledger.claim())
    batch = await waiting

    assert await ledger.gate(batch) == []
    assert (await ledger.recipient()).status == "skipped"


async def test_gate_that_waits_for_an_opt_out_lets_no_call_begin(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    """Test a gate that waits for an open opt-out. The opt-out releases the claim."""
    ledger = await Ledger.open(committed_uow)
    claimed = await ledger.claim()

    async with committed_uow() as uow:
        uow.session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))
        await uow.session.flush()
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(1))
        waiting = await blocked(committed_db, ledger.gate(claimed))

    assert await waiting == []
    assert (await ledger.attempt()).status == "released"


async def test_opt_out_after_the_gate_names_the_message(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)
    claimed = await ledger.claim()

    async with committed_uow() as uow:
        passed = await gate.pass_gate(uow, claimed, times=TIMES, now=NOW)
        waiting = await blocked(committed_db, _opt_out(committed_uow))
    await waiting

    assert passed == claimed
    assert (await ledger.attempt()).status == "calling"
    async with committed_uow() as uow:
        under_way = await sends.attempts_under_way(uow.session, phones=[number(0)])
        assert len(under_way[number(0)]) == 1


async def test_cancel_waits_for_an_open_claim_and_releases_it(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)

    async def cancel() -> None:
        async with committed_uow() as uow:
            await uow.session.execute(text("UPDATE campaign SET status = 'cancelled'"))
            await sends.withdraw_campaign(uow, campaign_id=ledger.campaign.id, now=after(1))

    async with committed_uow() as uow:
        await ledger.claim_in(uow)
        waiting = await blocked(committed_db, cancel())
    await waiting

    assert (await ledger.attempt()).status == "released"
    assert (await ledger.recipient()).status == "cancelled"


async def _queue_reply(new_uow: UnitOfWorkFactory, ledger: Ledger) -> None:
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


async def _set_busy(uow: UnitOfWork) -> None:
    """Lock the conversation with the person, as the transaction of a received message does."""
    await uow.session.execute(text("SELECT id FROM conversation FOR NO KEY UPDATE"))


async def _claim_reply(new_uow: UnitOfWorkFactory) -> list[claim_order.ClaimedAttempt]:
    async with new_uow() as uow:
        return await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)


async def test_opt_out_waits_for_an_open_claim_of_a_reply(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow, people=0)
    await _queue_reply(committed_uow, ledger)

    async with committed_uow() as uow:
        await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)
        waiting = await blocked(committed_db, _opt_out(committed_uow))
    await waiting

    assert (await ledger.attempt()).status == "released"
    assert (await ledger.message()).error_code == "recipient_opted_out"


@pytest.mark.parametrize("media", ["[]", '[{"media_id": "019acb00-0000-7000-8000-000000000001"}]'])
async def test_claim_of_a_message_that_must_fail_and_an_opt_out_do_not_deadlock(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine, media: str
) -> None:
    """Test a STOP that locked the conversation and waits for a message that the claim locked."""
    ledger = await Ledger.open(committed_uow, people=0)
    await _queue_reply(committed_uow, ledger)
    await ledger.run("UPDATE activity SET media = CAST(:media AS jsonb)", media=media)
    async with committed_uow() as uow:
        if media == "[]":
            uow.session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))

    async def stop() -> None:
        async with committed_uow() as uow:
            await _set_busy(uow)
            stopping.set()
            await claimed.wait()
            if media != "[]":
                uow.session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))
                await uow.session.flush()
            await sends.withdraw_numbers(uow, phones=[number(0)], now=after(1))

    stopping, claimed = asyncio.Event(), asyncio.Event()
    opt_out = asyncio.ensure_future(stop())
    await stopping.wait()
    async with asyncio.timeout(10), committed_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)
        claimed.set()
        await blocked(committed_db, opt_out)
    await opt_out

    assert batch == []
    assert (await ledger.message()).error_code == "recipient_opted_out"


async def test_release_of_a_claim_and_an_opt_out_do_not_deadlock(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    """Test that the release waits for the conversation, which it locks before the attempt.

    The opt-out has locked the conversation and then locks the attempt.
    """
    ledger = await Ledger.open(committed_uow, people=0)
    await _queue_reply(committed_uow, ledger)
    batch = await _claim_reply(committed_uow)
    async with committed_uow() as uow:
        uow.session.add(ContactFlag(phone=number(0), flag_type="opted_out", created_at=NOW))

    async def release() -> None:
        async with committed_uow() as uow:
            await gate.release_claims(uow, batch, reason="gate", now=after(1))

    async with committed_uow() as uow:
        await _set_busy(uow)
        releasing = await blocked(committed_db, release())
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(1))
    await releasing

    assert (await ledger.attempt()).status == "released"
    assert (await ledger.message()).error_code == "recipient_opted_out"


async def test_webhook_waits_for_an_open_record(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)
    (claimed,) = await ledger.begin_calls()
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id="AC1", provider_created_at=NOW
    )

    async with committed_uow() as uow:
        await recording.record_responses(uow, [Answered(claimed=claimed, answer=answer)], now=NOW)
        delivered = message_facts("delivered", updated_at=after(2))
        waiting = await blocked(committed_db, ledger.report(delivered, now=after(3)))

    assert await waiting == claimed.attempt_id
    assert (await ledger.attempt()).status == "delivered"
    assert (await ledger.message()).status == "delivered"
    assert (await ledger.recipient()).delivered_at == after(2)


async def test_claim_and_reports_lock_conversations_in_the_same_order(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    """Test that the claim locks conversations in the order of their numbers, as reports do.

    The recipient who is due first has the last number.
    """
    ledger = await Ledger.open(committed_uow, people=2)
    await ledger.run(
        "UPDATE campaign_membership SET due_at = due_at - interval '1 hour' WHERE phone = :phone",
        phone=number(1),
    )
    for position in range(2):
        await ledger.report(
            message_facts(message_id=f"AC{position}", phone=number(position), body="Hi")
        )

    async with committed_uow() as uow:
        for position in range(2):
            facts = message_facts(
                "sent", message_id=f"AC1{position}", phone=number(position), body="Hello"
            )
            await report.apply_report(
                uow, facts=facts, line_id=ledger.line.id, times=TIMES, now=after(1)
            )
            if position == 0:
                waiting = await blocked(committed_db, ledger.claim())

    assert {claimed.phone for claimed in await waiting} == {number(0), number(1)}


async def test_record_that_conflicts_with_an_open_webhook_succeeds_when_repeated(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    """Test a second recording after an IntegrityError, which also corrects wrong matches.

    The recorder does the same.
    """
    ledger = await Ledger.open(committed_uow)
    (claimed,) = await ledger.begin_calls()
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id="AC1", provider_created_at=NOW
    )
    batch = [Answered(claimed=claimed, answer=answer)]

    async def record() -> str:
        try:
            async with committed_uow() as uow:
                await recording.record_responses(uow, batch, now=NOW)
        except IntegrityError:
            async with committed_uow() as uow:
                await recording.record_and_correct_matches(uow, batch, now=NOW)
            return "second"
        return "first"

    async with committed_uow() as uow:
        await report.apply_report(
            uow,
            facts=message_facts("delivered", updated_at=after(2)),
            line_id=ledger.line.id,
            times=TIMES,
            now=after(3),
        )
        waiting = await blocked(committed_db, record())

    assert await waiting == "second"
    assert (await ledger.message()).status == "delivered"
    assert (await ledger.recipient()).status == "delivered"


async def test_same_report_received_at_the_same_moment_is_one_message(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=0)

    await asyncio.gather(*(ledger.report(message_facts("delivered", body=BODY)) for _ in range(5)))

    assert (await ledger.message()).status == "delivered"


async def test_report_and_look_up_at_the_same_moment_settle_once(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow)
    await ledger.make_unclear_attempt()
    async with committed_uow() as uow:
        (seen,) = await matching.list_unknown_attempts(uow, limit=10)

    async with committed_uow() as uow:
        await settle.conclude_look_up(
            uow,
            seen,
            settle.LookUp(begun_at=after(20), messages=[message_facts(at=after(1))]),
            times=TIMES,
            now=after(20),
        )
        delivered = message_facts("delivered", at=after(1), updated_at=after(2))
        waiting = await blocked(committed_db, ledger.report(delivered, now=after(21)))
    await waiting

    assert (await ledger.attempt()).status == "delivered"
    assert len(await ledger.messages()) == 1


async def test_settlers_at_the_same_moment_expire_each_lease_once(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=20)
    await ledger.claim(limit=10)
    await ledger.begin_calls(limit=10)

    expired = await asyncio.gather(*(ledger.expire(now=after(61)) for _ in range(4)))

    assert sum(expired) == 20
    states = sorted(row.status for row in await ledger.attempts())
    assert states == ["released"] * 10 + ["unknown"] * 10


async def test_two_workers_with_one_claim_pass_the_gate_once(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=5)
    batch = await ledger.claim()

    passed = await asyncio.gather(*(ledger.gate(batch) for _ in range(4)))

    assert sum(len(items) for items in passed) == 5
