"""What an answer, a failure or a cancel ends of a follow-up, and what it leaves alone."""

from datetime import timedelta

import pytest
from tests.conftest import NOW
from tests.domain.sends.ledger import Ledger, after, told
from tests.domain.sends.test_follow_ups import LATER, STEPS, answers, first_sent, steps

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.answers import AnswerKind
from crm_api.domain.sends.service import EndedBy


async def test_answer_leaves_a_first_text_that_is_to_be_repeated(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.unclear()
    await ledger.not_found()

    await answers(ledger, EndedBy.CALL, at=after(850))

    assert await steps(ledger) == [(0, "pending", None)]
    batch = await ledger.claim(now=after(900))
    assert await ledger.gate(batch, now=after(900)) == batch


async def test_answer_does_not_take_back_a_claimed_first_text(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.unclear()
    await ledger.not_found()
    batch = await ledger.claim(now=after(900))

    await answers(ledger, EndedBy.CALL, at=after(901))

    assert await steps(ledger) == [(0, "sending", None)]
    assert await ledger.gate(batch, now=after(902)) == batch


async def test_claimed_follow_up_is_taken_back_at_once(new_uow: UnitOfWorkFactory) -> None:
    ledger = await first_sent(new_uow)
    await ledger.claim(now=LATER)

    await answers(ledger, EndedBy.REPLY)

    assert [row.status for row in await ledger.attempts()] == ["sent", "released"]
    assert [row.status for row in await ledger.texts()] == ["sent", "released"]
    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "replied")]


async def test_first_text_given_back_after_an_answer_waits_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.unclear()
    await ledger.not_found()
    await ledger.claim(now=after(900))
    await answers(ledger, EndedBy.CALL, at=after(901))

    await ledger.expire(now=after(1000))

    assert await steps(ledger) == [(0, "pending", None)]


@pytest.mark.parametrize("kind", [AnswerKind.LATER, AnswerKind.NOT_CONNECTED])
async def test_message_after_a_call_that_sent_nothing_is_no_answer(
    new_uow: UnitOfWorkFactory, kind: AnswerKind
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    (claimed,) = await ledger.called()
    await ledger.answer(claimed, kind)

    await answers(ledger, EndedBy.REPLY, at=after(20))
    (again,) = await ledger.called(now=after(60))
    await ledger.accept(again, at=after(61), now=after(61))

    assert await steps(ledger) == [(0, "sent", None), (1, "pending", None)]


async def test_text_recorded_after_a_cancel_makes_no_next_step(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    (claimed,) = await ledger.called()
    await ledger.run("UPDATE campaign SET status = 'cancelled', finished_at = :now", now=after(1))

    await ledger.accept(claimed, now=after(2))

    assert await steps(ledger) == [(0, "sent", None)]


async def test_late_failure_leaves_a_follow_up_that_was_sent(new_uow: UnitOfWorkFactory) -> None:
    ledger = await first_sent(new_uow)
    (second,) = await ledger.called(now=LATER)
    await ledger.accept(second, "AC2", at=LATER, now=LATER)

    await ledger.report(told("undelivered", at=NOW), now=LATER + timedelta(minutes=1))

    assert await steps(ledger) == [
        (0, "failed", None),
        (1, "sent", None),
        (2, "pending", None),
    ]
