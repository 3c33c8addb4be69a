"""The breaker of a line: a refused account blocks the line, a success on trial unblocks it."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts
from tests.factories import make_line, number
from tests.fakes import RecordingQueue
from tests.locks import blocked

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import blocking, queued_claim
from crm_api.domain.messaging.sends import queue as send_queue
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

MINUTE = 60
TRIAL = 10 * MINUTE
"""Seconds from the block of a line to its trial, in which one message is tried."""


async def _refuse(ledger: Ledger, claimed: ClaimedAttempt, *, seconds: float = 0) -> None:
    await ledger.answer(
        claimed,
        ResponseKind.ACCOUNT_REFUSED,
        scope="line",
        reason="no_credits",
        http_status=402,
        now=after(seconds),
    )


async def _open_on_trial(ledger: Ledger, *, seconds: float) -> None:
    async with ledger.new_uow() as uow:
        await blocking.open_on_trial(uow, now=after(seconds))


async def _on_trial(new_uow: UnitOfWorkFactory, *, people: int = 4) -> Ledger:
    """Return a campaign whose line was blocked at the start and is now on trial."""
    ledger = await Ledger.open(new_uow, people=people)
    (claimed,) = await ledger.begin_calls(limit=1)
    await _refuse(ledger, claimed)
    await _open_on_trial(ledger, seconds=TRIAL)
    return ledger


async def _line(ledger: Ledger) -> Row[Any]:
    (row,) = await ledger.rows("SELECT * FROM line WHERE id = :id", id=ledger.line.id)
    return row


async def _alert(ledger: Ledger) -> Row[Any]:
    (row,) = await ledger.rows("SELECT *, count AS times FROM alert")
    return row


async def _probe(ledger: Ledger, *, seconds: float = TRIAL) -> ClaimedAttempt:
    (claimed,) = await ledger.begin_calls(now=after(seconds))
    return claimed


@pytest.mark.parametrize(
    ("blocks", "minutes"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 360), (2_000, 360)]
)
async def test_wait_of_a_refused_line_doubles_up_to_six_hours(
    new_uow: UnitOfWorkFactory, blocks: int, minutes: int
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE line SET probes = :blocks", blocks=blocks)
    (claimed,) = await ledger.begin_calls()

    await _refuse(ledger, claimed)

    line = await _line(ledger)
    assert (line.status, line.blocked_reason, line.blocked_at) == ("blocked", "no_credits", NOW)
    assert (line.probes, line.is_probing) == (blocks + 1, False)
    assert line.probe_at == NOW + timedelta(minutes=minutes)


async def test_alert_names_the_remedy_and_the_time_of_the_trial(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await _refuse(ledger, claimed)

    alert = await _alert(ledger)
    assert (alert.kind, alert.subject) == ("line_blocked", str(ledger.line.id))
    assert "no_credits" in alert.detail
    assert "At 2026-11-25 15:10 UTC the line sends one message" in alert.detail
    assert f"POST /v1/lines/{ledger.line.id}/unblock" in alert.detail


async def test_refusals_of_calls_under_way_do_not_lengthen_the_wait(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    first, *others = await ledger.begin_calls()

    await _refuse(ledger, first)
    for other in others:
        await _refuse(ledger, other, seconds=1)

    line = await _line(ledger)
    assert (line.probes, line.probe_at, line.blocked_at) == (1, after(TRIAL), NOW)
    assert (await _alert(ledger)).times == 1


async def test_line_goes_on_trial_when_its_wait_is_over_and_not_before(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await _refuse(ledger, claimed)
    queue.jobs.clear()
    await _open_on_trial(ledger, seconds=TRIAL - 1)
    early = (await _line(ledger)).status, list(queue.names)

    await _open_on_trial(ledger, seconds=TRIAL)

    line = await _line(ledger)
    assert early == ("blocked", [])
    assert (line.status, line.is_probing, line.probe_at) == ("active", True, after(TRIAL))
    assert queue.names == [JobName.SEND_MESSAGES]
    assert (await _alert(ledger)).resolved_at is None


async def test_line_without_a_trial_time_stays_blocked(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE line SET status = 'blocked', blocked_reason = 'restored'")

    await _open_on_trial(ledger, seconds=10**7)

    assert (await _line(ledger)).status == "blocked"


async def test_line_on_trial_takes_one_message_at_a_time(new_uow: UnitOfWorkFactory) -> None:
    ledger = await _on_trial(new_uow)

    probe = await _probe(ledger)

    assert probe.is_probe
    assert await ledger.claim(now=after(TRIAL)) == []


async def test_accepted_probe_closes_the_breaker(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await _on_trial(new_uow)
    probe = await _probe(ledger)
    queue.jobs.clear()

    await ledger.accept(probe, now=after(TRIAL + 1))

    line = await _line(ledger)
    assert (line.status, line.is_probing, line.probes, line.probe_at) == ("active", False, 0, None)
    assert (line.blocked_reason, line.blocked_at) == (None, None)
    assert (await _alert(ledger)).resolved_at == after(TRIAL + 1)
    (entry,) = await ledger.rows("SELECT * FROM audit_log")
    assert (entry.actor, entry.action, entry.subject) == ("worker", "reopen_line", str(line.id))
    assert entry.detail == {"reason": "no_credits", "blocks": 1}
    assert {JobName.PROCESS_CAMPAIGN_QUEUE, JobName.SEND_MESSAGES} <= set(queue.names)
    rest = await ledger.claim(now=after(TRIAL + 2))
    assert [item.is_probe for item in rest] == [False] * 3


async def test_refused_probe_blocks_for_longer(new_uow: UnitOfWorkFactory) -> None:
    ledger = await _on_trial(new_uow)
    probe = await _probe(ledger)

    await _refuse(ledger, probe, seconds=TRIAL)

    line, alert = await _line(ledger), await _alert(ledger)
    assert (line.status, line.is_probing, line.probes) == ("blocked", False, 2)
    assert line.probe_at == after(TRIAL + 20 * MINUTE)
    assert (alert.times, alert.resolved_at) == (2, None)
    assert await ledger.claim(now=after(TRIAL + 60)) == []
    assert {row.status for row in await ledger.recipients()} == {"pending"}


async def test_refused_recipient_does_not_change_the_trial_of_the_line(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await _on_trial(new_uow)
    probe = await _probe(ledger)

    await ledger.answer(probe, ResponseKind.REFUSED, code="0201400", now=after(TRIAL))

    line = await _line(ledger)
    assert (line.status, line.is_probing) == ("active", True)
    assert len(await ledger.claim(now=after(TRIAL + 60))) == 1


async def test_trial_waits_for_an_unclear_probe(new_uow: UnitOfWorkFactory) -> None:
    ledger = await _on_trial(new_uow)
    probe = await _probe(ledger)

    await ledger.answer(probe, ResponseKind.UNCLEAR, code="timeout", now=after(TRIAL))
    await _open_on_trial(ledger, seconds=TRIAL + 60)

    assert (await _line(ledger)).is_probing
    assert await ledger.claim(now=after(TRIAL + 60)) == []


async def test_unclear_probe_that_was_accepted_closes_the_breaker(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await _on_trial(new_uow)
    probe = await _probe(ledger)
    await ledger.answer(probe, ResponseKind.UNCLEAR, code="timeout", now=after(TRIAL))

    await ledger.look_up(
        message_facts(phone=probe.phone, at=after(TRIAL)), begun_at=after(TRIAL + 60)
    )
    await _open_on_trial(ledger, seconds=TRIAL + 61)

    line = await _line(ledger)
    assert (line.status, line.is_probing, line.probes) == ("active", False, 0)
    assert (await _alert(ledger)).resolved_at == after(TRIAL + 61)


async def test_acceptance_from_before_the_trial_does_not_close_the_breaker(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    refused, late, _ = await ledger.begin_calls()
    await _refuse(ledger, refused)
    await _open_on_trial(ledger, seconds=TRIAL)

    # The provider's clock may be ahead. The time of the call decides whether an acceptance belongs
    # to the trial.
    await ledger.accept(late, at=after(TRIAL + 1), now=after(TRIAL))
    await _open_on_trial(ledger, seconds=TRIAL + 60)

    assert (await _line(ledger)).is_probing


async def test_accepted_probe_does_not_unblock_a_line_that_was_blocked_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await _on_trial(new_uow)
    probe = await _probe(ledger)
    await ledger.run("UPDATE line SET status = 'blocked', is_probing = false")

    await ledger.accept(probe, now=after(TRIAL))

    assert (await _line(ledger)).status == "blocked"
    assert (await _alert(ledger)).resolved_at is None


async def test_refused_campaign_gets_no_trial_and_its_line_stays_active(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await ledger.answer(claimed, ResponseKind.ACCOUNT_REFUSED, scope="campaign", reason="content")
    await _open_on_trial(ledger, seconds=10**6)

    (campaign,) = await ledger.rows("SELECT * FROM campaign")
    line = await _line(ledger)
    assert (campaign.status, campaign.blocked_reason) == ("blocked", "content")
    assert (line.status, line.is_probing) == ("active", False)
    assert f"POST /v1/campaigns/{campaign.id}/resume" in (await _alert(ledger)).detail


async def test_manual_message_and_campaign_share_the_only_probe_of_a_trial(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow, people=2)
    await ledger.run("UPDATE line SET is_probing = true, probe_at = :now", now=NOW)
    async with committed_uow() as uow:
        await send_queue.queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(77),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=NOW,
        )

    async def claim_manual_message() -> list[ClaimedAttempt]:
        async with committed_uow() as uow:
            return await queued_claim.claim_queued(
                uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW
            )

    async with committed_uow() as uow:
        probe = (await ledger.claim_in(uow)).claimed
        waiting = await blocked(committed_db, claim_manual_message())

    assert (len(probe), await waiting) == (1, [])


async def test_trial_of_one_line_does_not_affect_other_lines(new_uow: UnitOfWorkFactory) -> None:
    await _on_trial(new_uow, people=1)
    async with new_uow() as uow:
        line = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )
    other = await Ledger.open(new_uow, people=4, line=line)

    batch = await other.begin_calls(now=after(TRIAL))

    assert [item.is_probe for item in batch] == [False] * 4


async def test_lock_trials_locks_only_requested_lines_on_trial(
    new_uow: UnitOfWorkFactory,
) -> None:
    async with new_uow() as uow:
        asked, not_asked, not_on_trial = [
            await make_line(
                uow.session,
                phone_number_id=f"PNsandbox{position}",
                line_number=f"+1617555019{position}",
                is_probing=position != 3,
            )
            for position in (1, 2, 3)
        ]

        trials = await blocking.lock_trials(uow, [asked.id, not_on_trial.id])

    assert not_asked.is_probing
    assert trials.lines == {asked.id}
