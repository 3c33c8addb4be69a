"""Which follow-ups end after a reply, a failure or a cancellation, and which do not."""

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts
from tests.domain.messaging.sends.test_follow_ups import (
    LATER,
    STEPS,
    open_with_first_sent,
    steps,
    store_answer,
)
from tests.factories import number
from tests.locks import blocked

from crm_api.domain.messaging.sends import record
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.messaging.sends.replies import end_all_follow_ups
from crm_api.domain.messaging.sends.vocabulary import EndedBy
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory


async def test_reply_does_not_stop_a_first_message_that_is_to_be_repeated(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()

    await store_answer(ledger, EndedBy.CALL, at=after(850))

    assert await steps(ledger) == [(0, "pending", None)]
    batch = await ledger.claim(now=after(900))
    assert await ledger.gate(batch, now=after(900)) == batch


async def test_reply_does_not_release_a_claimed_first_message(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    batch = await ledger.claim(now=after(900))

    await store_answer(ledger, EndedBy.CALL, at=after(901))

    assert await steps(ledger) == [(0, "sending", None)]
    assert await ledger.gate(batch, now=after(902)) == batch


async def test_reply_removes_the_message_of_a_claimed_follow_up_at_once(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)
    await ledger.claim(now=LATER)

    await store_answer(ledger, EndedBy.REPLY)

    assert [row.status for row in await ledger.attempts()] == ["sent", "released"]
    assert [row.status for row in await ledger.messages()] == ["sent"]
    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "replied")]


async def test_reply_of_one_person_does_not_end_the_follow_up_of_another(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2, **STEPS)
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"AC{position}", now=after(1))
    await ledger.run(
        "UPDATE campaign_membership SET due_at = :at WHERE step = 1 AND phone = :phone",
        at=LATER + timedelta(minutes=1),
        phone=number(1),
    )
    (second,) = await ledger.begin_calls(now=LATER)
    await ledger.accept(second, "AC2", at=LATER, now=LATER)

    await store_answer(ledger, EndedBy.REPLY, at=LATER + timedelta(seconds=30))

    (other,) = await ledger.begin_calls(now=LATER + timedelta(minutes=1))
    assert (second.phone, other.phone) == (number(0), number(1))


async def test_first_message_released_after_a_reply_waits_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    await ledger.claim(now=after(900))
    await store_answer(ledger, EndedBy.CALL, at=after(901))

    await ledger.expire(now=after(1000))

    assert await steps(ledger) == [(0, "pending", None)]


@pytest.mark.parametrize("kind", [ResponseKind.LATER, ResponseKind.NOT_CONNECTED])
async def test_reply_after_a_call_that_sent_nothing_does_not_end_the_follow_up(
    new_uow: UnitOfWorkFactory, kind: ResponseKind
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    (claimed,) = await ledger.begin_calls()
    await ledger.answer(claimed, kind)

    await store_answer(ledger, EndedBy.REPLY, at=after(20))
    (again,) = await ledger.begin_calls(now=after(60))
    await ledger.accept(again, at=after(61), now=after(61))

    assert await steps(ledger) == [(0, "sent", None), (1, "pending", None)]


async def test_message_recorded_after_a_cancel_creates_no_next_step(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    (claimed,) = await ledger.begin_calls()
    await ledger.run("UPDATE campaign SET status = 'cancelled', finished_at = :now", now=after(1))

    await ledger.accept(claimed, now=after(2))

    assert await steps(ledger) == [(0, "sent", None)]


async def test_late_failure_does_not_change_a_follow_up_that_was_sent(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)
    (second,) = await ledger.begin_calls(now=LATER)
    await ledger.accept(second, "AC2", at=LATER, now=LATER)

    await ledger.report(message_facts("undelivered", at=NOW), now=LATER + timedelta(minutes=1))

    assert await steps(ledger) == [
        (0, "failed", None),
        (1, "sent", None),
        (2, "pending", None),
    ]


ENDINGS = [EndedBy.REPLY, EndedBy.CALL]


async def _end(ledger: Ledger, why: EndedBy) -> None:
    async with ledger.new_uow() as uow:
        await end_all_follow_ups(uow, {number(0): after(2)}, why=why, times=TIMES, now=after(2))


@pytest.mark.parametrize("why", ENDINGS)
async def test_reply_during_the_record_ends_the_step_that_the_record_creates(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine, why: EndedBy
) -> None:
    ledger = await Ledger.open(committed_uow, **STEPS)
    (claimed,) = await ledger.begin_calls()
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id="AC1", provider_created_at=NOW
    )

    async with committed_uow() as uow:
        await record.record_responses(uow, [Answered(claimed=claimed, answer=answer)], now=after(1))
        waiting = await blocked(committed_db, _end(ledger, why))
    await waiting

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", why.value)]
    assert await ledger.claim(now=LATER) == []


@pytest.mark.parametrize("why", ENDINGS)
async def test_record_during_a_reply_creates_no_next_step(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine, why: EndedBy
) -> None:
    ledger = await Ledger.open(committed_uow, **STEPS)
    (claimed,) = await ledger.begin_calls()

    async with committed_uow() as uow:
        await end_all_follow_ups(uow, {number(0): after(1)}, why=why, times=TIMES, now=after(1))
        waiting = await blocked(committed_db, ledger.accept(claimed, now=after(2)))
    await waiting

    assert await steps(ledger) == [(0, "sent", None)]


@pytest.mark.parametrize("why", ENDINGS)
async def test_step_whose_earlier_step_was_answered_is_not_claimed(
    new_uow: UnitOfWorkFactory, why: EndedBy
) -> None:
    # Only the first step has ``ended_by``, so only the claim's own check can stop the second step.
    ledger = await open_with_first_sent(new_uow)
    await ledger.run("UPDATE campaign_membership SET ended_by = :why WHERE step = 0", why=why)

    assert await ledger.claim(now=LATER) == []

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", why.value)]


@pytest.mark.parametrize("why", ENDINGS)
async def test_step_whose_earlier_step_was_answered_does_not_pass_the_gate(
    new_uow: UnitOfWorkFactory, why: EndedBy
) -> None:
    ledger = await open_with_first_sent(new_uow)
    batch = await ledger.claim(now=LATER)
    await ledger.run("UPDATE campaign_membership SET ended_by = :why WHERE step = 0", why=why)

    assert await ledger.gate(batch, now=LATER) == []

    assert len(batch) == 1
    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", why.value)]
