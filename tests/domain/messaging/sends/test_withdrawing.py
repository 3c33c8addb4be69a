"""Opt-outs, holds and cancellations withdraw waiting and claimed messages."""

import pytest
from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.factories import number
from tests.fakes import RecordingQueue

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import queued_claim
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName


async def _withdraw(ledger: Ledger, flag: str = "opted_out") -> None:
    """Write the flag, then withdraw messages, in the order of a consent decision."""
    await ledger.flag(flag)
    async with ledger.new_uow() as uow:
        await sends.withdraw_numbers(uow, phones=[number(0)], now=after(1))


@pytest.mark.parametrize(
    ("flag", "status", "reason"),
    [
        ("opted_out", "skipped", "opted_out"),
        ("do_not_contact", "skipped", "do_not_contact"),
        ("opt_out_hold", "held", None),
    ],
)
@pytest.mark.parametrize("is_claimed", [False, True])
async def test_flag_withdraws_a_waiting_and_a_claimed_recipient(
    new_uow: UnitOfWorkFactory,
    flag: str,
    status: str,
    reason: str | None,
    is_claimed: bool,  # noqa: FBT001 - a table's column
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    batch = await ledger.claim() if is_claimed else []

    await _withdraw(ledger, flag)

    withdrawn, other = await ledger.recipients()
    assert (withdrawn.status, withdrawn.skip_reason, withdrawn.attempts) == (status, reason, 0)
    assert other.status == ("sending" if is_claimed else "pending")
    assert [item.phone for item in await ledger.gate(batch)] == [number(1)] * is_claimed


async def test_opt_out_does_not_stop_a_call_that_has_begun(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await _withdraw(ledger)

    assert (await ledger.attempt()).status == "calling"
    async with new_uow() as uow:
        found = await sends.attempts_under_way(uow.session, phones=[number(0)])
        (under_way,) = found[number(0)]
    assert under_way["attempt_id"] == str(claimed.attempt_id)
    assert under_way["campaign_id"] == str(ledger.campaign.id)
    await ledger.accept(claimed)
    assert (await ledger.recipient()).status == "sent"


async def test_opt_out_during_a_throttled_call_stops_its_repeat(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await _withdraw(ledger)

    await ledger.answer(claimed, ResponseKind.LATER)

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.skip_reason) == ("skipped", "opted_out")


async def test_released_hold_restores_the_recipient(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await Ledger.open(new_uow)
    await _withdraw(ledger, "opt_out_hold")
    await ledger.run("DELETE FROM contact_flag")

    async with new_uow() as uow:
        await sends.restore_held_recipients(uow, phones=[number(0)], now=after(2))

    assert (await ledger.recipient()).status == "pending"
    assert queue.names == [JobName.PROCESS_CAMPAIGN_QUEUE]


async def test_restored_number_that_is_opted_out_is_skipped(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await _withdraw(ledger, "opt_out_hold")
    await ledger.flag("opted_out")

    async with new_uow() as uow:
        await sends.restore_held_recipients(uow, phones=[number(0)], now=after(2))

    assert (await ledger.recipient()).status == "skipped"


@pytest.mark.parametrize(("status", "left_as"), [("paused", "pending"), ("cancelled", "cancelled")])
async def test_stopped_campaign_releases_its_claims(
    new_uow: UnitOfWorkFactory, status: str, left_as: str
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    other = await Ledger.open(new_uow, line=ledger.line)
    claimed = await ledger.claim(limit=2)
    await ledger.gate(claimed[:1])
    await ledger.run(
        "UPDATE campaign SET status = :status WHERE id = :id", status=status, id=ledger.campaign.id
    )

    async with new_uow() as uow:
        await sends.withdraw_campaign(uow, campaign_id=ledger.campaign.id, now=after(1))

    found = [row.status for row in await ledger.recipients()]
    assert found == ["sending", left_as, left_as]
    assert (await other.recipient()).status == "pending"
    assert await ledger.gate(claimed[1:]) == []


async def test_call_of_a_cancelled_campaign_is_recorded(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    first, second = await ledger.begin_calls()
    await ledger.run("UPDATE campaign SET status = 'cancelled'")
    async with new_uow() as uow:
        await sends.withdraw_campaign(uow, campaign_id=ledger.campaign.id, now=after(1))

    await ledger.accept(first)
    await ledger.answer(second, ResponseKind.LATER)

    assert [row.status for row in await ledger.recipients()] == ["sent", "cancelled"]


async def _queue(ledger: Ledger, kind: SendKind, *, phone: str = number(0)) -> None:
    async with ledger.new_uow() as uow:
        await queue_message(
            uow,
            line_id=ledger.line.id,
            phone=phone,
            body="On our way.",
            kind=kind,
            contact_id=None,
            now=NOW,
        )


@pytest.mark.parametrize("flag", ["opted_out", "do_not_contact"])
@pytest.mark.parametrize("kind", [SendKind.MANUAL, SendKind.TEST])
async def test_flag_fails_a_claimed_message_immediately(
    new_uow: UnitOfWorkFactory, kind: SendKind, flag: str
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, kind)
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)

    await _withdraw(ledger, flag)

    message = await ledger.message()
    assert (message.status, message.error_code) == ("failed", f"recipient_{flag}")
    assert await ledger.gate(batch) == []
    assert (await ledger.message()).status == "failed"


async def test_hold_does_not_withdraw_a_claimed_reply(new_uow: UnitOfWorkFactory) -> None:
    # The user answers a doubtful reply. The hold that the reply caused must allow this answer.
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, SendKind.MANUAL)
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)

    await _withdraw(ledger, "opt_out_hold")

    assert (await ledger.message()).status == "sending"
    assert await ledger.gate(batch) == batch


@pytest.mark.parametrize("flag", ["opted_out", "do_not_contact"])
@pytest.mark.parametrize("kind", [SendKind.MANUAL, SendKind.TEST])
async def test_flag_withdraws_a_message_that_waits_for_its_line(
    new_uow: UnitOfWorkFactory, kind: SendKind, flag: str
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, kind)
    await _queue(ledger, kind, phone=number(1))
    await ledger.run("UPDATE line SET status = 'blocked'")

    await _withdraw(ledger, flag)

    shown = [(row.status, row.error_code) for row in await ledger.messages()]
    assert shown == [("failed", f"recipient_{flag}"), ("queued", None)]
    await ledger.run("UPDATE line SET status = 'active'")
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)
    assert [claimed.phone for claimed in batch] == [number(1)]


async def test_flag_does_not_change_a_message_that_was_sent_before(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, SendKind.MANUAL)
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)
    (claimed,) = await ledger.gate(batch)
    await ledger.accept(claimed)

    await _withdraw(ledger)

    message = await ledger.message()
    assert (message.status, message.error_code) == ("sent", None)


@pytest.mark.parametrize("kind", [SendKind.HELP, SendKind.CONFIRMATION])
async def test_do_not_contact_withdraws_a_waiting_help_or_confirmation(
    new_uow: UnitOfWorkFactory, kind: SendKind
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, kind)

    await _withdraw(ledger, "do_not_contact")

    message = await ledger.message()
    assert (message.status, message.error_code) == ("failed", "recipient_do_not_contact")


@pytest.mark.parametrize("kind", [SendKind.HELP, SendKind.CONFIRMATION])
async def test_opt_out_does_not_withdraw_help_or_its_own_confirmation(
    new_uow: UnitOfWorkFactory, kind: SendKind
) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await _queue(ledger, kind)
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)

    await _withdraw(ledger)

    assert await ledger.gate(batch) == batch


async def _release(ledger: Ledger) -> None:
    """Remove the flag, then restore held recipients, in the order of a consent decision."""
    await ledger.run("DELETE FROM contact_flag")
    async with ledger.new_uow() as uow:
        await sends.restore_held_recipients(uow, phones=[number(0)], now=after(2))


async def test_recipient_stored_as_held_during_the_release_is_restored(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow)
    await ledger.flag("opt_out_hold")
    async with committed_uow() as uow:
        await uow.session.execute(text("UPDATE campaign_membership SET status = 'held'"))
        await _release(ledger)

    async with committed_uow() as uow:
        found = await sends.restore_recipients_without_hold(uow, limit=10, now=after(60))

    assert found == 1
    assert (await ledger.recipient()).status == "pending"


@pytest.mark.parametrize("campaign", ["scheduled", "running", "paused", "blocked"])
async def test_recipient_without_a_hold_is_derived_again(
    new_uow: UnitOfWorkFactory, campaign: str
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    await ledger.run("UPDATE campaign_membership SET status = 'held'")
    await ledger.run("UPDATE campaign SET status = :status", status=campaign)
    await ledger.flag("opt_out_hold")
    await ledger.flag("opted_out", phone=number(1))

    async with new_uow() as uow:
        found = await sends.restore_recipients_without_hold(uow, limit=10, now=after(60))

    assert found == 2
    shown = [(row.status, row.skip_reason) for row in await ledger.recipients()]
    assert shown == [("held", None), ("skipped", "opted_out"), ("pending", None)]


async def test_held_recipient_of_an_ended_campaign_is_not_derived_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    ended = await Ledger.open(new_uow, line=ledger.line)
    await ledger.run("UPDATE campaign_membership SET status = 'held' WHERE phone = :p", p=number(0))
    await ledger.run(
        "UPDATE campaign SET status = 'cancelled' WHERE id = :id", id=ended.campaign.id
    )

    async with new_uow() as uow:
        found = await sends.restore_recipients_without_hold(uow, limit=10, now=after(60))

    assert found == 1
    assert [row.status for row in await ledger.recipients()] == ["pending", "pending"]
    assert (await ended.recipient()).status == "held"
