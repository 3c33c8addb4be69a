"""A follow-up is due after the previous message; a reply, call, opt-out or cancellation ends it."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts, note_reply
from tests.domain.messaging.sends.test_races import _opt_out
from tests.factories import number
from tests.locks import blocked

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.replies import end_all_follow_ups
from crm_api.domain.messaging.sends.vocabulary import EndedBy
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts.schemas import ContactUpdate
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

STEPS: dict[str, Any] = {
    "follow_ups": [
        {"after_hours": 2, "body": "{{ first_name }}, did you see my text?"},
        {"after_hours": 1.5, "body": "Last word."},
    ]
}
LATER = NOW + timedelta(hours=2)


async def open_with_first_sent(new_uow: UnitOfWorkFactory, **values: Any) -> Ledger:
    ledger = await Ledger.open(new_uow, **(STEPS | values))
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed, now=after(1))
    return ledger


async def steps(ledger: Ledger) -> list[tuple[int, str, str | None]]:
    rows = await ledger.rows(
        "SELECT step, status, skip_reason FROM campaign_membership WHERE campaign_id = :id "
        "ORDER BY step",
        id=ledger.campaign.id,
    )
    return [(row.step, row.status, row.skip_reason) for row in rows]


async def store_answer(ledger: Ledger, why: EndedBy, *, at: Any = LATER) -> None:
    async with ledger.new_uow() as uow:
        await note_reply(uow, phone=number(0), line_id=ledger.line.id, at=at, times=TIMES, now=at)
        await end_all_follow_ups(uow, {number(0): at}, why=why, times=TIMES, now=at)


async def test_next_step_is_due_its_hours_after_the_previous_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)

    early = await ledger.claim(now=LATER - timedelta(seconds=1))
    (second,) = await ledger.begin_calls(now=LATER)
    await ledger.accept(second, "AC2", at=LATER, now=LATER)
    (third,) = await ledger.claim(now=LATER + timedelta(hours=1.5))

    assert early == []
    assert [second.body, third.body] == ["Ada, did you see my text?", "Last word."]
    assert [row[:2] for row in await steps(ledger)] == [(0, "sent"), (1, "sent"), (2, "sending")]


async def test_last_step_creates_no_next_step(new_uow: UnitOfWorkFactory) -> None:
    ledger = await open_with_first_sent(new_uow, follow_ups=STEPS["follow_ups"][:1])
    (second,) = await ledger.begin_calls(now=LATER)

    await ledger.accept(second, "AC2", at=LATER, now=LATER)

    assert [row[0] for row in await steps(ledger)] == [0, 1]


async def test_unclear_message_has_no_next_step_until_it_is_settled(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.make_unclear_attempt()
    before = await steps(ledger)

    await ledger.report(message_facts("delivered"), now=after(60))

    assert before == [(0, "unknown", None)]
    assert await steps(ledger) == [(0, "delivered", None), (1, "pending", None)]


async def test_delivery_report_does_not_create_the_next_step_twice(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)

    await ledger.report(message_facts("delivered", at=NOW), now=after(5))

    assert [row[0] for row in await steps(ledger)] == [0, 1]


async def test_failed_message_has_no_follow_up(new_uow: UnitOfWorkFactory) -> None:
    ledger = await open_with_first_sent(new_uow)

    await ledger.report(message_facts("undelivered", at=NOW), now=after(5))

    assert await steps(ledger) == [(0, "failed", None), (1, "skipped", "previous_failed")]
    assert await ledger.claim(now=LATER) == []


async def _report_in_order(ledger: Ledger, *order: str) -> None:
    (claimed,) = await ledger.begin_calls()
    for second, kind in enumerate(order, start=1):
        if kind == "response":
            await ledger.accept(claimed, now=after(second))
        else:
            await ledger.report(message_facts(kind, updated_at=after(1)), now=after(second))


@pytest.mark.parametrize("order", list(permutations(["response", "failed", "delivered"])))
async def test_follow_up_does_not_depend_on_the_order_of_reports(
    new_uow: UnitOfWorkFactory, order: tuple[str, ...]
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)

    await _report_in_order(ledger, *order)

    assert await steps(ledger) == [(0, "delivered", None), (1, "pending", None)]
    assert len(await ledger.claim(now=LATER)) == 1
    assert await ledger.claim(now=LATER) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("flag", "opted_out"),
        ("number", "previous_failed"),
        ("zone key", "previous_failed"),
        ("reply", "previous_failed"),
    ],
)
async def test_proof_of_a_failed_message_does_not_revive_a_follow_up_that_must_not_be_sent(
    new_uow: UnitOfWorkFactory, change: str, reason: str
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await _report_in_order(ledger, "response", "failed")
    if change == "flag":
        await ledger.flag("opted_out")
    elif change == "number":
        await ledger.run("UPDATE contact SET phone = :phone", phone=number(1))
    elif change == "zone key":
        await ledger.run("UPDATE contact SET zone_key = 'CA/America/Los_Angeles'")
    else:
        await store_answer(ledger, EndedBy.REPLY, at=after(3))

    await ledger.report(message_facts("delivered", updated_at=after(4)), now=after(4))

    assert await steps(ledger) == [(0, "delivered", None), (1, "skipped", reason)]


@pytest.mark.parametrize("why", list(EndedBy))
async def test_reply_skips_waiting_follow_ups(new_uow: UnitOfWorkFactory, why: EndedBy) -> None:
    ledger = await open_with_first_sent(new_uow)

    await store_answer(ledger, why, at=after(600))

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", why.value)]
    assert await ledger.claim(now=LATER) == []


async def change_number(ledger: Ledger) -> None:
    """Change the number of the only recipient."""
    recipient = (await ledger.recipients())[0]
    async with ledger.new_uow() as uow:
        await contact_changes.update_contact(
            uow, ContactUpdate(phone=number(1)), contact_id=recipient.contact_id, now=after(60)
        )


async def test_reply_from_a_new_number_skips_waiting_follow_ups(new_uow: UnitOfWorkFactory) -> None:
    ledger = await open_with_first_sent(new_uow)
    await change_number(ledger)

    async with new_uow() as uow:
        await end_all_follow_ups(uow, {number(1): LATER}, why=EndedBy.REPLY, times=TIMES, now=LATER)

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "replied")]


async def test_next_step_goes_to_the_new_number_after_an_unclear_attempt(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **STEPS)
    await ledger.make_unclear_attempt()
    await change_number(ledger)

    await ledger.look_up(message_facts(), begun_at=after(61))
    (second,) = await ledger.begin_calls(now=LATER)

    assert second.phone == number(1)


async def test_repeat_goes_to_the_new_number_after_an_attempt_that_was_not_found(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await change_number(ledger)

    await ledger.conclude_not_found()
    (again,) = await ledger.begin_calls(now=LATER)

    assert again.phone == number(1)


async def test_reply_releases_a_claimed_follow_up(new_uow: UnitOfWorkFactory) -> None:
    ledger = await open_with_first_sent(new_uow)
    (claimed,) = await ledger.claim(now=LATER)

    await store_answer(ledger, EndedBy.REPLY)

    assert await ledger.gate([claimed], now=LATER) == []
    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "replied")]


async def test_reply_before_the_answer_to_our_call_prevents_the_follow_up(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test a webhook of the reply that arrives before the response to our own call."""
    ledger = await Ledger.open(new_uow, **STEPS)
    (claimed,) = await ledger.begin_calls()

    await store_answer(ledger, EndedBy.REPLY, at=after(1))
    await ledger.accept(claimed, now=after(2))

    assert await steps(ledger) == [(0, "sent", None)]


async def test_message_older_than_the_campaign_ends_no_follow_up(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)

    await store_answer(ledger, EndedBy.REPLY, at=NOW - timedelta(hours=3))

    assert await steps(ledger) == [(0, "sent", None), (1, "pending", None)]


async def test_reply_to_a_follow_up_is_stored_at_every_sent_step(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)
    (second,) = await ledger.begin_calls(now=LATER)
    await ledger.accept(second, "AC2", at=LATER, now=LATER)

    await store_answer(ledger, EndedBy.REPLY, at=LATER + timedelta(minutes=5))

    rows = await ledger.rows("SELECT step, replied_at FROM campaign_membership ORDER BY step")
    assert [row.replied_at is not None for row in rows] == [True, True, False]


async def test_opt_out_skips_waiting_follow_ups(new_uow: UnitOfWorkFactory) -> None:
    ledger = await open_with_first_sent(new_uow)

    await _opt_out(new_uow)

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "opted_out")]


async def test_cancel_ends_waiting_follow_ups(new_uow: UnitOfWorkFactory) -> None:
    ledger = await open_with_first_sent(new_uow)

    async with new_uow() as uow:
        await campaigns.cancel_campaign(uow, campaign_id=ledger.campaign.id, now=after(60))

    assert [row[1] for row in await steps(ledger)] == ["sent", "cancelled"]


async def test_message_recorded_during_a_cancel_leaves_no_recipient_waiting(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test a message recorded by a transaction that still read a running campaign.

    The recorded message adds a waiting recipient. The next run of the job ends this recipient.
    """
    ledger = await open_with_first_sent(new_uow)
    await ledger.run(
        "UPDATE campaign SET status = 'cancelled', finished_at = :now WHERE id = :id",
        id=ledger.campaign.id,
        now=after(1),
    )

    async with new_uow() as uow:
        await complete_finished_campaigns(uow, now=after(60))

    assert [row[1] for row in await steps(ledger)] == ["sent", "cancelled"]


async def test_campaign_is_not_complete_while_a_follow_up_waits(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)
    async with new_uow() as uow:
        early = await complete_finished_campaigns(uow, now=after(60))

    await store_answer(ledger, EndedBy.REPLY, at=after(600))
    async with new_uow() as uow:
        done = await complete_finished_campaigns(uow, now=after(660))

    assert early == []
    assert done == [ledger.campaign.id]


async def test_reply_during_the_claim_stops_the_message_at_the_gate(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    """Test a reply that arrives while the claim of the follow-up is not committed.

    The reply releases the claim, or the gate refuses it.
    """
    ledger = await open_with_first_sent(committed_uow)

    async with committed_uow() as uow:
        claim = await ledger.claim_in(uow, now=LATER)
        waiting = await blocked(committed_db, store_answer(ledger, EndedBy.REPLY))
    await waiting

    assert len(claim.claimed) == 1
    assert await ledger.gate(claim.claimed, now=LATER) == []
    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "replied")]


async def test_claim_during_the_reply_stops_at_the_gate(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await open_with_first_sent(committed_uow)

    async def claim_follow_up() -> list[ClaimedAttempt]:
        return await ledger.claim(now=LATER)

    async with committed_uow() as uow:
        await end_all_follow_ups(uow, {number(0): LATER}, why=EndedBy.CALL, times=TIMES, now=LATER)
        waiting = await blocked(committed_db, claim_follow_up())
    claimed = await waiting

    assert await ledger.gate(claimed, now=LATER) == []
    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "called")]


async def test_follow_up_counts_against_the_daily_limit(new_uow: UnitOfWorkFactory) -> None:
    ledger = await open_with_first_sent(new_uow, daily_limit=1)

    same_day = await ledger.claim(now=LATER)
    next_day = await ledger.claim(now=NOW + timedelta(days=1))

    assert (len(same_day), len(next_day)) == (0, 1)


async def test_refused_follow_up_does_not_repeat_the_first_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow)
    (second,) = await ledger.begin_calls(now=LATER)

    await ledger.answer(second, ResponseKind.REFUSED, code="invalid_number", now=LATER)

    assert [row[1] for row in await steps(ledger)] == ["sent", "failed"]
