"""The attempts of a recipient share one message row, unless two attempts are accepted.

The order in which the attempts end does not matter.
"""

from datetime import timedelta

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts
from tests.factories import number

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import AttemptStatus, SendKind
from crm_api.domain.messaging.sends import queue, queued_claim, settle
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

DAY = timedelta(days=1)


async def _read_messages(ledger: Ledger) -> list[tuple[str, str | None]]:
    """Return the status and the provider's id of each stored message."""
    return [(row.status, row.openphone_id) for row in await ledger.messages()]


async def _events(ledger: Ledger) -> list[tuple[str, str]]:
    rows = await ledger.rows(
        "SELECT subject_id, data ->> 'status' AS status FROM event "
        "WHERE type = 'message.status' ORDER BY transaction_id, id"
    )
    return [(str(row.subject_id), row.status) for row in rows]


@pytest.mark.parametrize(
    "kind", [ResponseKind.LATER, ResponseKind.NOT_CONNECTED, ResponseKind.TOO_LATE]
)
async def test_unsent_attempt_and_its_repeat_are_one_message(
    new_uow: UnitOfWorkFactory, kind: ResponseKind
) -> None:
    ledger = await Ledger.open(new_uow)
    (first,) = await ledger.begin_calls()
    await ledger.answer(first, kind, now=after(1))
    between = await ledger.message()

    (second,) = await ledger.begin_calls(now=NOW + DAY)
    during = await ledger.message()
    await ledger.accept(second, at=NOW + DAY, now=NOW + DAY)

    message = await ledger.message()
    assert (between.status, between.send_after) == ("queued", None)
    assert (during.status, during.id, during.error_code) == ("sending", between.id, None)
    assert (message.status, message.openphone_id, message.occurred_at) == ("sent", "AC1", NOW + DAY)
    assert {row.activity_id for row in await ledger.attempts()} == {message.id}
    assert (await ledger.recipient()).activity_id == message.id


async def test_repeat_moves_its_own_conversation_and_no_other_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    first, second = await ledger.begin_calls()
    await ledger.accept(first, now=after(1))
    await ledger.answer(second, ResponseKind.LATER, now=after(1))

    (again,) = await ledger.begin_calls(now=NOW + DAY)

    shown = {row.phone: row.status for row in await ledger.messages()}
    conversations = await ledger.rows("SELECT phone, last_activity_at FROM conversation")
    assert again.phone == second.phone
    assert shown == {first.phone: "sent", second.phone: "sending"}
    assert {tuple(row) for row in conversations} == {(first.phone, NOW), (second.phone, NOW + DAY)}


async def test_not_found_attempt_and_its_repeat_are_one_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    (second,) = await ledger.begin_calls(now=after(900))
    await ledger.accept(second, at=after(901), now=after(901))

    assert await _read_messages(ledger) == [("sent", "AC1")]
    (message,) = {row.activity_id for row in await ledger.attempts()}
    statuses = [status for subject, status in await _events(ledger) if subject == str(message)]
    assert statuses == ["unknown", "queued", "sent"]
    assert len({subject for subject, _ in await _events(ledger)}) == 1


@pytest.mark.parametrize("is_claimed", [False, True])
async def test_late_report_of_a_not_found_attempt_updates_its_message(
    new_uow: UnitOfWorkFactory,
    is_claimed: bool,  # noqa: FBT001 - a table's column
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    if is_claimed:
        await ledger.claim(now=after(900))

    found = await ledger.report(message_facts("delivered", at=after(1)), now=after(901))

    message = await ledger.message()
    assert (message.id, message.status, message.openphone_id) == (found, "delivered", "AC1")
    assert message.id == first.attempt_id
    assert (await ledger.recipient()).status == "delivered"


async def test_two_accepted_attempts_are_two_messages(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    (second,) = await ledger.begin_calls(now=after(900))

    await ledger.accept(first, "AC1", at=after(1), now=after(901))
    between = await _read_messages(ledger)
    await ledger.accept(second, "AC2", at=after(901), now=after(902))
    await ledger.report(message_facts("delivered", message_id="AC1", at=after(1)), now=after(903))
    await ledger.report(
        message_facts("undelivered", message_id="AC2", at=after(901)), now=after(904)
    )

    assert between == [("sent", "AC1")]
    assert sorted(await _read_messages(ledger), key=str) == [
        ("delivered", "AC1"),
        ("undelivered", "AC2"),
    ]
    one, other = await ledger.attempts()
    assert one.activity_id != other.activity_id


async def test_second_attempt_accepted_before_the_answer_to_the_first_keeps_the_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    (second,) = await ledger.begin_calls(now=after(900))

    await ledger.accept(second, "AC2", at=after(901), now=after(901))
    await ledger.accept(first, "AC1", at=after(1), now=after(902))

    rows = {row.openphone_id: row for row in await ledger.messages()}
    assert {name: row.status for name, row in rows.items()} == {"AC1": "sent", "AC2": "sent"}
    assert rows["AC1"].occurred_at == after(1)
    keys = await ledger.rows("SELECT openphone_id, activity_id FROM activity_key")
    assert {row.openphone_id: row.activity_id for row in keys} == {
        name: row.id for name, row in rows.items()
    }


async def test_late_answer_to_an_earlier_attempt_keeps_the_time_of_the_last_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    (second,) = await ledger.begin_calls(now=after(900))
    await ledger.accept(second, "AC2", at=after(901), now=after(901))

    await ledger.accept(first, "AC1", at=after(1), now=after(902))

    (conversation,) = await ledger.rows("SELECT last_outgoing_at FROM conversation")
    assert conversation.last_outgoing_at == after(901)


async def test_late_refusal_of_an_earlier_attempt_does_not_change_the_message_of_the_next(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    (second,) = await ledger.begin_calls(now=after(900))

    await ledger.answer(first, ResponseKind.REFUSED, code="http_400", now=after(901))
    during = await _read_messages(ledger)
    await ledger.answer(second, ResponseKind.LATER, now=after(902))

    assert during == [("sending", None)]
    assert (await ledger.recipient()).status == "failed"
    message = await ledger.message()
    assert (message.status, message.error_code) == ("failed", "http_400")


@pytest.mark.parametrize("order", ["match first", "answer first"])
async def test_answer_that_corrects_a_match_leaves_one_message(
    new_uow: UnitOfWorkFactory, order: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    (second,) = await ledger.begin_calls(now=after(605))
    if order == "match first":
        await ledger.report(
            message_facts("delivered", message_id="AC9", at=after(599)), now=after(606)
        )
    await ledger.accept(second, "AC2", at=after(606), now=after(607))

    shown = await _read_messages(ledger)
    assert ("sent", "AC2") in shown
    assert len(shown) == (2 if order == "match first" else 1)


async def test_resend_by_a_user_keeps_one_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE line SET resend_unclear = false")
    await ledger.make_unclear_attempt()
    await ledger.look_up(begun_at=after(700))
    assert await ledger.look_up(begun_at=after(800)) is AttemptStatus.PARKED
    recipient = await ledger.recipient()
    async with new_uow() as uow:
        await settle.settle_recipient(
            uow,
            campaign_id=ledger.campaign.id,
            contact_id=recipient.contact_id,
            outcome="resend",
            actor="key",
            now=after(900),
        )
    between = await _read_messages(ledger)
    (again,) = await ledger.begin_calls(now=after(2000))
    await ledger.accept(again, at=after(2001), now=after(2001))

    assert between == [("queued", None)]
    assert await _read_messages(ledger) == [("sent", "AC1")]


async def test_message_that_waits_for_a_repeat_fails_with_its_recipient(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.answer(claimed, ResponseKind.LATER, now=after(1))
    await ledger.flag("opted_out")
    async with new_uow() as uow:
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(2))

    message = await ledger.message()
    assert (message.status, message.error_code) == ("failed", "opted_out")
    assert (await ledger.recipient()).skipped_at == after(2)


async def test_message_without_a_call_is_deleted_with_its_claim(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.claim()
    await ledger.flag("opted_out")
    async with new_uow() as uow:
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(2))

    assert await _read_messages(ledger) == []
    assert [row.status for row in await ledger.attempts()] == ["released"]


async def test_held_recipient_keeps_its_message(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.claim()
    await ledger.flag("opt_out_hold")
    async with new_uow() as uow:
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(2))

    assert (await ledger.recipient()).status == "held"
    assert await _read_messages(ledger) == [("queued", None)]


async def test_waiting_message_of_a_campaign_is_not_claimed_from_the_message_queue(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.answer(claimed, ResponseKind.LATER, now=after(1))
    await ledger.run("UPDATE activity SET send_after = :now", now=NOW)

    async with new_uow() as uow:
        claimed_messages = await queued_claim.claim_queued(
            uow, limit=10, times=TIMES, rules=NO_RULES, now=after(60)
        )
    assert claimed_messages == []


async def test_recipient_with_a_new_number_gets_a_new_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.answer(claimed, ResponseKind.LATER, now=after(1))
    await ledger.run("UPDATE contact SET phone = :phone", phone=number(7))
    await ledger.run("UPDATE campaign_membership SET phone = :phone", phone=number(7))
    async with new_uow() as uow:
        await queue.queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(8),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=after(2),
        )

    (again,) = await ledger.begin_calls(now=NOW + DAY)
    await ledger.accept(again, at=NOW + DAY, now=NOW + DAY)

    shown = [(row.phone, row.status, row.error_code) for row in await ledger.messages()]
    assert shown == [
        (number(0), "failed", "number_changed"),
        (number(8), "queued", None),
        (number(7), "sent", None),
    ]
