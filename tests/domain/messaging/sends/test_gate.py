"""The provider is called only for a claim that passed the gate, and only by the token's holder."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.factories import number

from crm_api.domain.messaging.sends import gate
from crm_api.platform.database import UnitOfWorkFactory


async def test_claim_passes_the_gate_and_its_age_begins(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.claim()

    passed = await ledger.gate(batch, now=after(5))

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert passed == batch
    assert (attempt.status, attempt.called_at) == ("calling", after(5))
    assert attempt.lease_until == after(5) + TIMES.lease
    assert (recipient.status, recipient.attempts) == ("sending", 0)


@pytest.mark.parametrize(
    ("what", "left_as"),
    [
        ("UPDATE campaign SET status = 'paused'", "pending"),
        ("UPDATE campaign SET status = 'blocked'", "pending"),
        ("UPDATE campaign SET status = 'cancelled'", "cancelled"),
        ("UPDATE line SET status = 'blocked'", "pending"),
    ],
)
async def test_claim_of_a_stopped_campaign_or_line_does_not_pass(
    new_uow: UnitOfWorkFactory, what: str, left_as: str
) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.claim()
    await ledger.run(what)

    passed = await ledger.gate(batch)

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert passed == []
    assert (attempt.status, attempt.called_at, attempt.token) == ("released", None, None)
    assert (recipient.status, recipient.attempts) == (left_as, 0)
    shown = [row.status for row in await ledger.messages()]
    assert shown == (["queued"] if left_as == "pending" else [])


@pytest.mark.parametrize(
    ("flag", "left_as", "reason"),
    [
        ("opted_out", "skipped", "opted_out"),
        ("opt_out_hold", "held", None),
        ("do_not_contact", "skipped", "do_not_contact"),
    ],
)
async def test_flag_written_after_the_claim_stops_the_call(
    new_uow: UnitOfWorkFactory, flag: str, left_as: str, reason: str | None
) -> None:
    # Only the flag is written, so only the check of the gate itself can stop the call.
    ledger = await Ledger.open(new_uow, people=2)
    batch = await ledger.claim()
    await ledger.flag(flag)

    passed = await ledger.gate(batch)

    stopped, other = await ledger.recipients()
    assert [item.phone for item in passed] == [number(1)]
    assert (stopped.status, stopped.skip_reason, stopped.attempts) == (left_as, reason, 0)
    assert other.status == "sending"


async def test_claim_whose_lease_is_over_does_not_pass(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.claim()

    assert await ledger.gate(batch, now=NOW + TIMES.lease) == []
    assert (await ledger.attempt()).status == "released"
    assert (await ledger.recipient()).status == "pending"


async def test_claim_passes_until_its_lease_is_over(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.claim()

    assert len(await ledger.gate(batch, now=NOW + TIMES.lease - timedelta(milliseconds=1))) == 1


@pytest.mark.parametrize(("margin", "passes"), [(0, 1), (1, 0)])
async def test_call_must_end_before_the_latest_instant(
    new_uow: UnitOfWorkFactory, margin: int, passes: int
) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.claim()
    not_after = NOW + TIMES.call - timedelta(milliseconds=margin)
    await ledger.run("UPDATE send_attempt SET not_after = :at", at=not_after)

    assert len(await ledger.gate(batch)) == passes


async def test_claim_with_a_foreign_token_does_not_pass_and_is_not_released(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (own_claim,) = await ledger.claim()
    foreign_claim = replace(own_claim, token=uuid4())

    assert await ledger.gate([foreign_claim]) == []

    assert (await ledger.attempt()).status == "claimed"
    assert (await ledger.recipient()).status == "sending"
    assert await ledger.gate([own_claim]) == [own_claim]


async def test_claim_passes_the_gate_once(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.begin_calls()

    assert await ledger.gate(batch, now=after(1)) == []

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.called_at) == ("calling", NOW)


async def test_slow_worker_does_not_call_a_recipient_that_another_worker_claimed(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    late_batch = await ledger.claim()
    await ledger.expire(now=after(61))
    next_batch = await ledger.claim(now=after(62))

    assert await ledger.gate(late_batch, now=after(63)) == []
    assert await ledger.gate(next_batch, now=after(63)) == next_batch


@pytest.mark.parametrize("at", [after(1), after(100)])
async def test_released_claim_may_be_claimed_again_and_counts_as_no_attempt(
    new_uow: UnitOfWorkFactory, at: datetime
) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.claim()

    async with new_uow() as uow:
        await gate.release_claims(uow, batch, reason="stopped", now=at)

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.attempts) == ("pending", 0)
    assert len(await ledger.claim(now=at)) == 1


async def test_call_that_has_begun_cannot_be_released(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.begin_calls()

    async with new_uow() as uow:
        await gate.release_claims(uow, batch, reason="stopped", now=after(1))

    assert (await ledger.attempt()).status == "calling"
    assert (await ledger.recipient()).status == "sending"
