"""A recipient's status where it has several attempts, and where the world had decided before."""

from typing import Any

import pytest
from tests.domain.sends.ledger import Ledger, after, told

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.openphone.answers import AnswerKind
from crm_api.domain.sends import claiming
from crm_api.domain.sends.claiming import Claimed


async def _not_found(new_uow: UnitOfWorkFactory, **values: Any) -> tuple[Ledger, Claimed]:
    """A first try that was concluded not to have been accepted."""
    ledger = await Ledger.open(new_uow, **values)
    first = await ledger.unclear()
    await ledger.not_found()
    return ledger, first


@pytest.mark.parametrize(
    ("told_as", "status"), [("delivered", "delivered"), ("undelivered", "failed")]
)
async def test_of_two_accepted_tries_the_one_whose_end_is_known_counts(
    new_uow: UnitOfWorkFactory, told_as: str, status: str
) -> None:
    ledger, _ = await _not_found(new_uow)
    (second,) = await ledger.called(now=after(900))
    await ledger.accept(second, "AC2", at=after(901), now=after(901))

    await ledger.report(told(told_as, at=after(1), updated_at=after(2)), now=after(950))

    member = await ledger.member()
    assert [row.status for row in await ledger.attempts()] == [status, "sent"]
    assert (member.status, member.provider_message_id) == (status, "AC1")


async def test_late_refusal_leaves_a_try_under_way_what_it_is(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _not_found(new_uow)
    (second,) = await ledger.called(now=after(900))

    await ledger.answer(first, AnswerKind.REFUSED, code="0201400", now=after(901))
    meanwhile = await ledger.member()
    await ledger.accept(second, "AC2", at=after(902), now=after(902))

    assert (meanwhile.status, meanwhile.error_code) == ("sending", None)
    assert (await ledger.member()).status == "sent"


async def test_refusal_counts_when_a_newer_claim_was_released(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _not_found(new_uow)
    batch = await ledger.claim(now=after(900))
    await ledger.answer(first, AnswerKind.REFUSED, code="0201400", now=after(901))

    async with new_uow() as uow:
        await claiming.release(uow, batch, reason="stopped", now=after(902))

    member = await ledger.member()
    assert (member.status, member.error_code) == ("failed", "0201400")


async def test_late_answer_brings_nobody_back_who_was_skipped(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _not_found(new_uow, bodies=("Hi {{ first_name }}",))
    await ledger.run("UPDATE contact SET first_name = NULL")
    assert await ledger.claim(now=after(900)) == []

    await ledger.answer(first, AnswerKind.LATER, now=after(901))

    member = await ledger.member()
    assert (member.status, member.skip_reason) == ("skipped", "missing_value")


async def test_late_answer_brings_nobody_back_whose_campaign_has_ended(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger, first = await _not_found(new_uow, end_at=after(850))
    async with new_uow() as uow:
        await campaigns.complete_finished(uow, now=after(900))

    await ledger.answer(first, AnswerKind.LATER, now=after(901))

    member = await ledger.member()
    assert (member.status, member.skip_reason) == ("cancelled", "campaign_ended")


async def test_late_answer_takes_nobody_out_of_review(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _not_found(new_uow, previously_contacted="review")
    await ledger.flag("recently_texted")
    assert await ledger.claim(now=after(900)) == []

    await ledger.answer(first, AnswerKind.LATER, now=after(901))

    assert (await ledger.member()).status == "review"


async def test_claim_that_was_not_called_is_no_try(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _not_found(new_uow)
    await ledger.claim(now=after(900))

    await ledger.answer(first, AnswerKind.REFUSED, code="0201400", now=after(901))

    member = await ledger.member()
    assert (member.status, member.attempts) == ("sending", 1)
