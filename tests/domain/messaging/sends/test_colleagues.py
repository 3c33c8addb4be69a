"""A message that a colleague sent in the provider's app is not matched to our unclear attempt."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Row
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger, after, message_facts
from tests.domain.messaging.sends.test_recorder import record_responses

from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import matching
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory

OURS, COLLEAGUE = "USours", "UScolleague"


async def _learn(ledger: Ledger, user_id: str = OURS) -> None:
    async with ledger.new_uow() as uow:
        await matching.learn_own_user(uow, line_id=ledger.line.id, user_id=user_id)


async def _alerts(ledger: Ledger) -> Sequence[Row[tuple[str]]]:
    return await ledger.rows("SELECT * FROM alert WHERE kind = 'send_parked'")


async def test_our_provider_user_is_learned_from_the_answer_to_a_send(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow)
    (claimed,) = await ledger.begin_calls()
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id="AC1", provider_user_id=OURS
    )

    await record_responses(committed_uow, [Answered(claimed=claimed, answer=answer)])

    (line,) = await ledger.rows("SELECT own_user_id FROM line")
    assert line.own_user_id == OURS


async def test_different_message_of_a_colleague_is_not_a_candidate(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await _learn(ledger)
    await ledger.make_unclear_attempt()
    other = message_facts(message_id="ACother", body="See you on Monday.", user_id=COLLEAGUE)

    first = await ledger.look_up(other, begun_at=after(700))
    second = await ledger.look_up(other, begun_at=after(800))

    assert (first, second) == (AttemptStatus.UNKNOWN, AttemptStatus.NOT_FOUND)
    assert await _alerts(ledger) == []


async def test_stored_message_of_a_colleague_is_not_a_candidate(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await _learn(ledger)
    await ledger.make_unclear_attempt()
    await ledger.report(message_facts(message_id="ACother", body="See you.", user_id=COLLEAGUE))

    await ledger.conclude_not_found()

    assert await _alerts(ledger) == []


async def test_equal_message_of_a_colleague_parks_the_attempt(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await _learn(ledger)
    await ledger.make_unclear_attempt()
    same = message_facts(message_id="ACsame", user_id=COLLEAGUE)
    await ledger.report(same)

    result = await ledger.look_up(same, begun_at=after(700))

    assert result is AttemptStatus.PARKED
    attempt = await ledger.attempt()
    assert (attempt.provider_message_id, attempt.error_code) == (None, "same_text_by_colleague")
    (alert,) = await _alerts(ledger)
    assert "a colleague sent the same text" in alert.detail
    assert "not known yet" not in alert.detail


async def test_our_message_is_found_beside_an_equal_message_of_a_colleague(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await _learn(ledger)
    await ledger.make_unclear_attempt()

    result = await ledger.look_up(
        message_facts(message_id="ACcolleague", user_id=COLLEAGUE),
        message_facts(message_id="ACours", user_id=OURS),
        begun_at=after(100),
    )

    assert result is AttemptStatus.SENT
    assert (await ledger.attempt()).provider_message_id == "ACours"


@pytest.mark.parametrize("user_id", [None, COLLEAGUE])
async def test_alert_says_that_our_user_is_not_known(
    new_uow: UnitOfWorkFactory, user_id: str | None
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    other = message_facts(message_id="ACother", body="See you on Monday.", user_id=user_id)

    result = await ledger.look_up(other, begun_at=after(700))

    assert result is AttemptStatus.PARKED
    (alert,) = await _alerts(ledger)
    assert "is not known yet" in alert.detail
    assert str(ledger.campaign.id) in alert.detail


async def test_message_without_a_user_still_parks_the_attempt(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await _learn(ledger)
    await ledger.make_unclear_attempt()

    result = await ledger.look_up(
        message_facts(message_id="ACrewritten", body="Hi there.", at=NOW), begun_at=after(700)
    )

    assert result is AttemptStatus.PARKED
