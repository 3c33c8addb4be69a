"""The status of a recipient with several attempts, or with an end before the response."""

from typing import Any

import pytest
from tests.domain.messaging.sends.ledger import Ledger, after, message_facts

from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.domain.messaging.sends import gate
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory


async def _open_not_found(
    new_uow: UnitOfWorkFactory, **values: Any
) -> tuple[Ledger, ClaimedAttempt]:
    """Open a campaign whose first attempt ends as not found; return campaign and attempt."""
    ledger = await Ledger.open(new_uow, **values)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    return ledger, first


@pytest.mark.parametrize(
    ("reported_as", "status"), [("delivered", "delivered"), ("undelivered", "failed")]
)
async def test_attempt_with_a_final_state_decides_if_two_attempts_are_accepted(
    new_uow: UnitOfWorkFactory, reported_as: str, status: str
) -> None:
    ledger, _ = await _open_not_found(new_uow)
    (second,) = await ledger.begin_calls(now=after(900))
    await ledger.accept(second, "AC2", at=after(901), now=after(901))

    await ledger.report(
        message_facts(reported_as, at=after(1), updated_at=after(2)), now=after(950)
    )

    recipient = await ledger.recipient()
    assert [row.status for row in await ledger.attempts()] == [status, "sent"]
    assert (recipient.status, recipient.provider_message_id) == (status, "AC1")


async def test_late_refusal_does_not_change_a_running_attempt(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _open_not_found(new_uow)
    (second,) = await ledger.begin_calls(now=after(900))

    await ledger.answer(first, ResponseKind.REFUSED, code="0201400", now=after(901))
    meanwhile = await ledger.recipient()
    await ledger.accept(second, "AC2", at=after(902), now=after(902))

    assert (meanwhile.status, meanwhile.error_code) == ("sending", None)
    assert (await ledger.recipient()).status == "sent"


async def test_refusal_counts_when_a_newer_claim_was_released(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _open_not_found(new_uow)
    batch = await ledger.claim(now=after(900))
    await ledger.answer(first, ResponseKind.REFUSED, code="0201400", now=after(901))

    async with new_uow() as uow:
        await gate.release_claims(uow, batch, reason="stopped", now=after(902))

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.error_code) == ("failed", "0201400")


async def test_late_answer_does_not_restore_a_skipped_recipient(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _open_not_found(new_uow, bodies=("Hi {{ first_name }}",))
    await ledger.run("UPDATE contact SET first_name = NULL")
    assert await ledger.claim(now=after(900)) == []

    await ledger.answer(first, ResponseKind.LATER, now=after(901))

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.skip_reason) == ("skipped", "missing_value")


async def test_late_answer_does_not_restore_a_recipient_of_an_ended_campaign(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger, first = await _open_not_found(new_uow, end_at=after(850))
    async with new_uow() as uow:
        await complete_finished_campaigns(uow, now=after(900))

    await ledger.answer(first, ResponseKind.LATER, now=after(901))

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.skip_reason) == ("cancelled", "campaign_ended")


async def test_late_answer_does_not_end_a_review(new_uow: UnitOfWorkFactory) -> None:
    ledger, first = await _open_not_found(new_uow, previously_contacted="review")
    await ledger.flag("recently_texted")
    assert await ledger.claim(now=after(900)) == []

    await ledger.answer(first, ResponseKind.LATER, now=after(901))

    assert (await ledger.recipient()).status == "review"


async def test_claim_without_a_call_does_not_count_as_an_attempt(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger, first = await _open_not_found(new_uow)
    await ledger.claim(now=after(900))

    await ledger.answer(first, ResponseKind.REFUSED, code="0201400", now=after(901))

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.attempts) == ("sending", 1)
