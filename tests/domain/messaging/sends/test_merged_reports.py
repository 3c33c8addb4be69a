"""A response or a look-up takes over the message that an earlier report stored as foreign.

A foreign message is a message that no known attempt sent.
"""

import pytest
from sqlalchemy.exc import IntegrityError
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger, after, message_facts
from tests.domain.messaging.sends.test_reports import FAILED, UNDELIVERED

from crm_api.domain.messaging.sends import record
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory


@pytest.mark.parametrize(("first", "second"), [(FAILED, UNDELIVERED), (UNDELIVERED, FAILED)])
async def test_earlier_of_two_failures_is_merged_in_either_order(
    new_uow: UnitOfWorkFactory, first: MessageFacts, second: MessageFacts
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.report(first, now=after(5))
    await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout", now=after(6))

    await ledger.report(second, now=after(9))

    attempt, message = await ledger.attempt(), await ledger.message()
    assert (attempt.status, attempt.error_code) == ("failed", "30006")
    assert attempt.reported_at == after(2)
    assert (message.status, message.error_code) == ("failed", "30006")


async def test_answer_does_not_take_the_message_of_another_answer(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test two responses with the same message id: the first attempt keeps the message."""
    ledger = await Ledger.open(new_uow, people=2)
    first, second = await ledger.begin_calls()
    await ledger.accept(first, "AC1")
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id="AC1", provider_created_at=NOW
    )

    with pytest.raises(IntegrityError):
        async with new_uow() as uow:
            await record.record_and_correct_matches(
                uow, [Answered(claimed=second, answer=answer)], now=after(1)
            )

    owner, other = await ledger.attempts()
    assert (owner.status, owner.provider_message_id) == ("sent", "AC1")
    assert (other.status, other.provider_message_id) == ("calling", None)


async def test_report_changes_only_the_attempt_whose_answer_named_the_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    first, second = await ledger.begin_calls()
    await ledger.accept(first, "AC1")
    await ledger.answer(second, ResponseKind.UNCLEAR, code="timeout")

    await ledger.report(message_facts("delivered", phone=first.phone, updated_at=after(3)))

    found = {row.phone: row.status for row in await ledger.attempts()}
    assert found == {first.phone: "delivered", second.phone: "unknown"}
