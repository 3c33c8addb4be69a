"""Messages outside campaigns use the same claims, gate and recording as campaign messages."""

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts
from tests.domain.messaging.sends.test_recording import EARLIER_TRIES
from tests.factories import make_line, number
from tests.fakes import RecordingQueue
from tests.locks import blocked

from crm_api.domain.consent.legal_rules.rules import NO_RULES, load_rules
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends import queue as send_queue
from crm_api.domain.messaging.sends import queued_claim, record, settle
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

KINDS = list(SendKind)[1:]


async def _queue(
    ledger: Ledger,
    kind: SendKind = SendKind.MANUAL,
    *,
    phone: str = number(0),
    line: Line | None = None,
) -> Activity:
    async with ledger.new_uow() as uow:
        return await send_queue.queue_message(
            uow,
            line_id=(line or ledger.line).id,
            phone=phone,
            body="On our way.",
            kind=kind,
            contact_id=None,
            now=NOW,
        )


async def _claim(ledger: Ledger, seconds: float = 0) -> list[ClaimedAttempt]:
    async with ledger.new_uow() as uow:
        return await queued_claim.claim_queued(
            uow, limit=10, times=TIMES, rules=NO_RULES, now=after(seconds)
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_queued_message_is_claimed_and_sent(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue, kind: SendKind
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    activity = await _queue(ledger, kind)

    (claimed,) = await _claim(ledger)
    assert await ledger.gate([claimed]) == [claimed]
    await ledger.accept(claimed)

    attempt, message = await ledger.attempt(), await ledger.message()
    assert queue.names == [JobName.SEND_MESSAGES]
    assert (attempt.status, attempt.kind, attempt.activity_id) == ("sent", kind, activity.id)
    assert (message.status, message.openphone_id, message.origin) == ("sent", "AC1", kind)
    assert (claimed.phone, claimed.body, claimed.sender) == (
        number(0),
        "On our way.",
        "PNsandbox1",
    )


@pytest.mark.parametrize("kind", [SendKind.MANUAL, SendKind.TEST])
async def test_message_to_an_opted_out_number_fails_at_the_gate(
    new_uow: UnitOfWorkFactory, kind: SendKind
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, kind)
    await ledger.flag("opted_out")

    assert await ledger.gate(await _claim(ledger)) == []

    message = await ledger.message()
    assert (message.status, message.error_code) == ("failed", "recipient_opted_out")
    assert await _claim(ledger, 1000) == []


@pytest.mark.parametrize("kind", [SendKind.HELP, SendKind.CONFIRMATION])
async def test_help_and_confirmation_pass_an_opt_out(
    new_uow: UnitOfWorkFactory, kind: SendKind
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, kind)
    await ledger.flag("opted_out")

    batch = await _claim(ledger)

    assert await ledger.gate(batch) == batch


async def test_manual_message_to_a_held_number_passes_the_gate(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    await ledger.flag("opt_out_hold")

    batch = await _claim(ledger)

    assert await ledger.gate(batch) == batch


async def test_help_and_confirmation_are_claimed_before_manual_messages(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    for position in range(900):
        await _queue(ledger, phone=number(position))
    await _queue(ledger, SendKind.TEST, phone=number(900))
    await ledger.run("UPDATE activity SET send_after = :at", at=after(-60))
    await _queue(ledger, SendKind.HELP, phone=number(901))
    await _queue(ledger, SendKind.CONFIRMATION, phone=number(902))

    first = await _claim(ledger)

    assert [claimed.phone for claimed in first[:2]] == [number(901), number(902)]
    assert len(first) == 10


async def test_messages_for_a_busy_number_do_not_fill_the_batch(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    for _ in range(12):
        await _queue(ledger)
    await _queue(ledger, phone=number(1))

    claimed = [*await _claim(ledger), *await _claim(ledger)]

    assert [one.phone for one in claimed] == [number(0), number(1)]


async def test_queued_message_waits_for_an_open_attempt_of_its_number(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (open_attempt,) = await ledger.begin_calls()
    await _queue(ledger)

    assert await _claim(ledger) == []
    await ledger.accept(open_attempt)

    assert len(await _claim(ledger)) == 1


async def test_two_messages_to_one_number_are_sent_one_after_the_other(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    await _queue(ledger)

    (first,) = await _claim(ledger)
    assert await _claim(ledger) == []
    await ledger.gate([first])
    await ledger.accept(first)
    (second,) = await _claim(ledger)

    assert first.attempt_id != second.attempt_id


async def test_blocked_line_keeps_its_queued_messages(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    await ledger.run("UPDATE line SET status = 'blocked'")
    async with new_uow() as uow:
        await make_line(uow.session, phone_number_id="PNsandbox2", line_number="+16175550199")

    assert await _claim(ledger) == []

    await ledger.run("UPDATE line SET status = 'active'")
    assert len(await _claim(ledger)) == 1


async def test_message_that_the_gate_refuses_waits_a_minute(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    batch = await _claim(ledger)
    await ledger.run("UPDATE line SET status = 'blocked'")

    assert await ledger.gate(batch) == []

    await ledger.run("UPDATE line SET status = 'active'")
    message = await ledger.message()
    assert (message.status, message.error_code, message.send_after) == ("queued", None, after(60))
    assert await _claim(ledger, 59) == []
    assert len(await _claim(ledger, 60)) == 1


@pytest.mark.parametrize(
    "kind", [ResponseKind.LATER, ResponseKind.NOT_CONNECTED, ResponseKind.TOO_LATE]
)
async def test_message_that_was_not_sent_is_queued_again(
    new_uow: UnitOfWorkFactory, kind: ResponseKind
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    batch = await _claim(ledger)
    await ledger.gate(batch)

    await ledger.answer(batch[0], kind)

    assert (await ledger.message()).status == "queued"
    assert NOW <= (await ledger.message()).send_after <= after(30)
    assert len(await _claim(ledger, 30)) == 1


async def test_message_waits_longer_after_each_failed_call(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    for position in range(10):
        await _queue(ledger, phone=number(position))
    batch = await ledger.gate(await _claim(ledger))
    await ledger.run(EARLIER_TRIES, times=30, code="http_429", at=NOW, line=ledger.line.id)
    answer = SendResponse(kind=ResponseKind.LATER)

    async with new_uow() as uow:
        answered = [Answered(claimed=item, answer=answer) for item in batch]
        await record.record_responses(uow, answered, now=NOW)

    sent_after = [row.send_after for row in await ledger.messages()]
    assert after(240) < max(sent_after) <= after(3600)
    assert len(set(sent_after)) > 1


async def test_message_is_due_again_at_the_time_the_provider_gives(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    (claimed,) = await ledger.gate(await _claim(ledger))

    await ledger.answer(claimed, ResponseKind.LATER, retry_after_seconds=300.0)

    assert (await ledger.message()).send_after == after(300)


async def test_message_stopped_by_an_account_refusal_is_due_at_once(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    (claimed,) = await ledger.gate(await _claim(ledger))

    await ledger.answer(
        claimed, ResponseKind.ACCOUNT_REFUSED, scope="line", reason="no_credits", now=after(1)
    )

    message = await ledger.message()
    assert (message.status, message.send_after) == ("queued", after(1))
    assert await _claim(ledger, 2) == []


async def test_line_on_trial_sends_one_message_at_a_time_and_other_lines_send_all(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    async with new_uow() as uow:
        other = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )
    for position in range(3):
        await _queue(ledger, phone=number(position))
        await _queue(ledger, phone=number(10 + position), line=other)
    await ledger.run("UPDATE line SET is_probing = true WHERE id = :id", id=ledger.line.id)

    batch = await _claim(ledger)
    (probe,) = [item for item in batch if item.line_id == ledger.line.id]
    meanwhile = await _claim(ledger)
    await ledger.gate([probe])
    await ledger.accept(probe)
    rest = await _claim(ledger)

    assert (probe.is_probe, len(batch), meanwhile) == (True, 4, [])
    assert [item.is_probe for item in batch if item is not probe] == [False, False, False]
    assert [item.is_probe for item in rest] == [False, False]


async def test_unclear_reply_is_settled_like_any_other_message(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    batch = await _claim(ledger)
    await ledger.gate(batch)
    await ledger.answer(batch[0], ResponseKind.UNCLEAR, code="timeout")

    await ledger.look_up(message_facts(body="On our way.", at=after(1)), begun_at=after(100))

    message = await ledger.message()
    assert (message.status, message.openphone_id) == ("sent", "AC1")


async def test_reply_that_was_not_found_fails_and_is_not_sent_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    batch = await _claim(ledger)
    await ledger.gate(batch)
    await ledger.answer(batch[0], ResponseKind.UNCLEAR, code="timeout")

    await ledger.conclude_not_found()

    message = await ledger.message()
    assert (message.status, message.error_code) == ("failed", "not_found")
    assert await _claim(ledger, 2000) == []


async def _settle_as_resend(ledger: Ledger) -> None:
    """Queue a message, let its attempt end unclear, and let a user decide to send it again."""
    message = await _queue(ledger)
    (claimed,) = await _claim(ledger)
    await ledger.gate([claimed])
    await ledger.answer(claimed, ResponseKind.UNCLEAR, no_id=True)
    for seconds in (700, 800):
        await ledger.look_up(begun_at=after(seconds))
    async with ledger.new_uow() as uow:
        await settle.settle_message(
            uow, message_id=message.id, outcome="resend", actor="Dana", now=after(900)
        )


async def test_proof_after_a_users_decision_releases_the_claim_that_repeats_the_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _settle_as_resend(ledger)
    again = await _claim(ledger, 901)

    await ledger.report(message_facts("delivered", body="On our way.", at=after(1)), now=after(902))

    assert len(again) == 1
    assert await ledger.gate(again, now=after(903)) == []
    assert await _claim(ledger, 2000) == []
    assert (await ledger.message()).status == "delivered"


async def test_proof_during_the_claim_that_repeats_the_message_stops_the_claim(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow, people=0)
    await _settle_as_resend(ledger)
    async with committed_uow() as uow:
        again = await queued_claim.claim_queued(
            uow, limit=10, times=TIMES, rules=NO_RULES, now=after(901)
        )
        facts = message_facts("delivered", body="On our way.", at=after(1))
        reporting = await blocked(committed_db, ledger.report(facts, now=after(902)))
    await reporting

    assert len(again) == 1
    assert await ledger.gate(again, now=after(903)) == []
    assert await _claim(ledger, 2000) == []
    assert (await ledger.message()).status == "delivered"


async def test_claim_whose_lease_is_over_is_queued_again(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    await _claim(ledger)

    await ledger.expire(now=after(61))

    assert (await ledger.message()).status == "queued"
    assert len(await _claim(ledger, 62)) == 1


@pytest.mark.parametrize(("is_own_line", "leaves"), [(True, True), (False, False)])
async def test_test_message_waits_for_legal_hours_unless_it_goes_to_an_own_line(
    session: AsyncSession, new_uow: UnitOfWorkFactory, *, is_own_line: bool, leaves: bool
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    if is_own_line:
        await make_line(session, phone_number_id="PNother", line_number=number(0))
        await session.commit()
    await _queue(ledger, SendKind.TEST)
    night = NOW.replace(hour=5)

    async with new_uow() as uow:
        claimed = await queued_claim.claim_queued(
            uow, limit=10, times=TIMES, rules=load_rules("us"), now=night + timedelta(days=1)
        )

    assert bool(claimed) is leaves


async def test_message_is_not_sent_before_its_instant(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger)
    (claimed,) = await ledger.gate(await _claim(ledger))
    await ledger.answer(claimed, ResponseKind.LATER, retry_after_seconds=300.0)

    early = await _claim(ledger, 299)
    in_time = await _claim(ledger, 300)

    assert (early, len(in_time)) == ([], 1)


@pytest.mark.parametrize(
    ("kind", "lasts"), [(SendKind.CONFIRMATION, 5 * 60), (SendKind.HELP, 24 * 3600)]
)
async def test_help_and_confirmation_fail_if_they_are_late(
    new_uow: UnitOfWorkFactory, kind: SendKind, lasts: int
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, kind)
    late = lasts - TIMES.call.total_seconds()
    (claimed,) = await _claim(ledger, late - 1)
    not_after = (await ledger.attempt()).not_after

    assert await ledger.gate([claimed], now=after(late + 1)) == []

    message = await ledger.message()
    assert (message.status, not_after) == ("queued", after(lasts))
    assert await _claim(ledger, lasts + 600) == []
    message = await ledger.message()
    assert (message.status, message.error_code) == ("failed", queued_claim.TOO_LATE)
