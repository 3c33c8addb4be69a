"""The provider's responses are stored at attempts, recipients, messages and lines."""

from datetime import timedelta
from typing import Any

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger, after, message_facts
from tests.factories import number

from crm_api.domain.messaging.sends import record
from crm_api.domain.messaging.sends.ledger import AttemptOutcome, write_to_ledger
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory

EARLIER_TRIES = """
    INSERT INTO send_attempt (id, kind, membership_id, campaign_id, line_id, activity_id, phone,
        body, status, error_code, called_at, created_at, updated_at)
    SELECT uuid_v7(), a.kind, a.membership_id, a.campaign_id, a.line_id, a.activity_id, a.phone,
           a.body, 'released', :code, CAST(:at AS timestamptz), :at, :at
    FROM send_attempt a, generate_series(1, :times) WHERE a.line_id = :line"""
NOT_SENT = [ResponseKind.LATER, ResponseKind.NOT_CONNECTED, ResponseKind.TOO_LATE]


async def test_accepted_message_is_sent_at_the_time_of_the_providers_clock(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await ledger.accept(claimed, at=after(0.5), now=after(1))

    attempt, recipient, message = (
        await ledger.attempt(),
        await ledger.recipient(),
        await ledger.message(),
    )
    assert (attempt.status, attempt.provider_message_id) == ("sent", "AC1")
    assert (attempt.accepted_at, attempt.is_matched) == (after(0.5), False)
    assert (attempt.token, attempt.lease_until) == (None, None)
    assert (recipient.status, recipient.provider_message_id) == ("sent", "AC1")
    assert (recipient.sent_at, recipient.attempts) == (after(0.5), 1)
    assert (message.status, message.openphone_id, message.rank) == ("sent", "AC1", 3)
    assert message.occurred_at == after(0.5)


async def test_accepted_message_without_a_time_counts_from_the_record(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await ledger.accept(claimed, at=None, now=after(1))

    assert (await ledger.attempt()).accepted_at == after(1)


async def test_message_with_one_attempt_is_stored_by_the_statement_of_its_attempt(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test that a message with one attempt needs no further statement.

    Only a message that several attempts share needs more statements.
    """
    ledger = await Ledger.open(new_uow, people=2)
    outcomes = [
        AttemptOutcome(attempt_id=claimed.attempt_id, status="sent", message_id=claimed.phone)
        for claimed in await ledger.begin_calls()
    ]

    async with new_uow() as uow:
        changed = await write_to_ledger(uow.session, outcomes, send_after=NOW, now=NOW)

    assert [(one.status, one.is_to_show) for one in changed] == [("sent", False)] * 2


async def test_refused_recipient_fails_with_the_code(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await ledger.answer(claimed, ResponseKind.REFUSED, http_status=400, code="0201400")

    recipient, message = await ledger.recipient(), await ledger.message()
    assert (await ledger.attempt()).status == "refused"
    assert (recipient.status, recipient.error_code, recipient.attempts) == ("failed", "0201400", 1)
    assert (message.status, message.error_code) == ("failed", "0201400")
    assert await ledger.claim(now=after(1000)) == []


@pytest.mark.parametrize("kind", NOT_SENT)
async def test_call_that_certainly_sent_nothing_is_repeated_and_does_not_count(
    new_uow: UnitOfWorkFactory, kind: ResponseKind
) -> None:
    ledger = await Ledger.open(new_uow, max_attempts=1)
    (claimed,) = await ledger.begin_calls()

    await ledger.answer(claimed, kind)

    recipient = await ledger.recipient()
    assert (await ledger.attempt()).status == "released"
    assert (recipient.status, recipient.attempts) == ("pending", 0)
    assert NOW <= recipient.due_at <= after(30)
    assert (await ledger.message()).status == "queued"
    assert len(await ledger.claim(now=after(30))) == 1


async def test_recipient_is_not_due_before_the_retry_after_of_the_provider(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await ledger.answer(claimed, ResponseKind.LATER, retry_after_seconds=300.0)

    assert (await ledger.recipient()).due_at == after(300)


async def _postpone(ledger: Ledger, *, before: int, code: str) -> list[float]:
    """Postpone all recipients after ``before`` earlier calls each; return the waits in seconds."""
    batch = await ledger.begin_calls()
    await ledger.run(
        EARLIER_TRIES, times=before, code=code, at=NOW - timedelta(hours=1), line=ledger.line.id
    )
    answer = SendResponse(kind=ResponseKind.NOT_CONNECTED)
    async with ledger.new_uow() as uow:
        await record.record_responses(
            uow, [Answered(claimed=item, answer=answer) for item in batch], now=NOW
        )
    return [(row.due_at - NOW).total_seconds() for row in await ledger.recipients()]


async def test_recipients_postponed_together_are_not_due_together(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=10)

    waits = await _postpone(ledger, before=0, code="")

    assert len(set(waits)) > 1
    assert 0 <= min(waits) <= max(waits) <= 30


# The floor is at most a fifteenth of the longest wait. The probability that all ten waits are below
# the floor is less than 2 ** -39.
@pytest.mark.parametrize(("before", "floor", "longest"), [(5, 60, 960), (30, 240, 3600)])
async def test_each_wait_is_longer_than_the_previous_one_up_to_an_hour(
    new_uow: UnitOfWorkFactory, before: int, floor: int, longest: int
) -> None:
    ledger = await Ledger.open(new_uow, people=10)

    waits = await _postpone(ledger, before=before, code="not_connected")

    assert floor < max(waits) <= longest


async def test_account_refusal_does_not_lengthen_the_back_off(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=10)

    waits = await _postpone(ledger, before=30, code="account_refused")

    assert max(waits) <= 30


async def test_recipients_stopped_by_an_account_refusal_are_due_at_once(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    refused, later = await ledger.begin_calls()
    answers = [
        Answered(
            claimed=refused,
            answer=SendResponse(
                kind=ResponseKind.ACCOUNT_REFUSED, scope="line", reason="no_credits"
            ),
        ),
        Answered(
            claimed=later, answer=SendResponse(kind=ResponseKind.LATER, retry_after_seconds=300.0)
        ),
    ]

    async with new_uow() as uow:
        await record.record_responses(uow, answers, now=after(5))

    found = {row.phone: row.due_at for row in await ledger.recipients()}
    assert found == {refused.phone: NOW, later.phone: after(305)}


@pytest.mark.parametrize(
    ("scope", "reason", "line_status", "campaign_status"),
    [
        ("line", "no_credits", "blocked", "running"),
        ("campaign", "content", "active", "blocked"),
    ],
)
async def test_account_refusal_stops_the_other_claims_and_loses_no_recipient(
    new_uow: UnitOfWorkFactory, scope: str, reason: str, line_status: str, campaign_status: str
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    first, *others = await ledger.claim()
    await ledger.gate([first])

    await ledger.answer(
        first,
        ResponseKind.ACCOUNT_REFUSED,
        scope=scope,
        reason=reason,
        http_status=402,
        code="0200402",
    )

    (line,) = await ledger.rows("SELECT * FROM line")
    (campaign,) = await ledger.rows("SELECT * FROM campaign")
    assert (line.status, campaign.status) == (line_status, campaign_status)
    assert reason in {line.blocked_reason, campaign.blocked_reason}
    assert await ledger.alerts() == {f"{scope}_blocked"}
    assert await ledger.gate(others) == []
    assert {(row.status, row.attempts) for row in await ledger.recipients()} == {("pending", 0)}
    assert await ledger.claim(now=after(100)) == []


async def test_batch_of_account_refusals_raises_one_alert(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    batch = await ledger.begin_calls()
    answer = SendResponse(
        kind=ResponseKind.ACCOUNT_REFUSED, scope="line", reason="no_credits", http_status=402
    )

    async with new_uow() as uow:
        await record.record_responses(
            uow, [Answered(claimed=item, answer=answer) for item in batch], now=NOW
        )

    (alert,) = await ledger.rows("SELECT kind, count AS times, subject FROM alert")
    assert (alert.kind, alert.times, alert.subject) == ("line_blocked", 1, str(ledger.line.id))


async def test_unclear_attempt_is_unknown_and_not_claimed_again(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)

    await ledger.make_unclear_attempt()

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert (attempt.status, attempt.error_code) == ("unknown", "timeout")
    assert (recipient.status, recipient.attempts) == ("unknown", 1)
    assert (await ledger.message()).status == "unknown"
    assert await ledger.claim(now=after(5000)) == []


async def test_acceptance_without_an_id_is_unknown_and_marked(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)

    await ledger.make_unclear_attempt(no_id=True)

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.has_no_id) == ("unknown", True)


@pytest.mark.parametrize("state", ["unknown", "parked", "not_found", "released"])
async def test_late_acceptance_is_stored_in_every_state(
    new_uow: UnitOfWorkFactory, state: str
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.expire(now=after(61))
    await ledger.run(
        "UPDATE send_attempt SET status = :state, token = NULL, lease_until = NULL", state=state
    )

    await ledger.accept(claimed, now=after(62))

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert (attempt.status, attempt.provider_message_id) == ("sent", "AC1")
    assert (recipient.status, recipient.attempts) == ("sent", 1)


async def test_late_acceptance_after_not_found_releases_the_next_claim(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    second = await ledger.claim(now=after(900))
    assert len(second) == 1

    await ledger.accept(first, now=after(901))

    old, new = await ledger.attempts()
    assert (old.status, new.status) == ("sent", "released")
    assert (await ledger.recipient()).status == "sent"
    assert [row.status for row in await ledger.messages()] == ["sent"]
    assert await ledger.gate(second, now=after(902)) == []


async def test_late_acceptance_does_not_release_a_call_that_has_begun(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    first = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    await ledger.begin_calls(now=after(900))

    await ledger.accept(first, now=after(901))

    assert [row.status for row in await ledger.attempts()] == ["sent", "calling"]
    assert (await ledger.recipient()).status == "sent"


@pytest.mark.parametrize("state", ["unknown", "parked", "not_found"])
async def test_late_refusal_is_stored_in_every_state(
    new_uow: UnitOfWorkFactory, state: str
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.expire(now=after(61))
    await ledger.run("UPDATE send_attempt SET status = :state", state=state)

    await ledger.answer(claimed, ResponseKind.REFUSED, code="0201400", now=after(62))

    assert (await ledger.attempt()).status == "refused"
    assert (await ledger.recipient()).status == "failed"


@pytest.mark.parametrize(
    "state", ["sent", "delivered", "refused", "released", "not_found", "parked"]
)
async def test_late_time_out_changes_nothing(new_uow: UnitOfWorkFactory, state: str) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.run("UPDATE send_attempt SET status = :state", state=state)

    await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout", now=after(20))

    assert (await ledger.attempt()).status == state


async def test_late_time_out_does_not_change_a_delivered_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.expire(now=after(61))
    await ledger.report(message_facts("delivered", updated_at=after(2)), now=after(62))

    await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout", now=after(63))

    assert (await ledger.attempt()).status == "delivered"
    assert (await ledger.recipient()).status == "delivered"
    assert (await ledger.message()).status == "delivered"


@pytest.mark.parametrize(
    ("state", "becomes"), [("unknown", "unknown"), ("not_found", "parked"), ("parked", "parked")]
)
async def test_late_acceptance_without_an_id_is_stored(
    new_uow: UnitOfWorkFactory, state: str, becomes: str
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.expire(now=after(61))
    await ledger.run("UPDATE send_attempt SET status = :state", state=state)

    await ledger.answer(claimed, ResponseKind.UNCLEAR, no_id=True, code="no_id", now=after(62))

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.has_no_id) == (becomes, True)
    assert (await ledger.recipient()).status == "unknown"


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (ResponseKind.ACCEPTED, {"provider_message_id": "AC1", "provider_created_at": NOW}),
        (ResponseKind.REFUSED, {"code": "0201400"}),
        (ResponseKind.LATER, {}),
        (ResponseKind.NOT_CONNECTED, {}),
        (ResponseKind.TOO_LATE, {}),
        (ResponseKind.ACCOUNT_REFUSED, {"scope": "line", "reason": "no_credits"}),
        (ResponseKind.UNCLEAR, {"code": "timeout"}),
    ],
)
async def test_answer_recorded_twice_is_recorded_once(
    new_uow: UnitOfWorkFactory, kind: ResponseKind, answer: dict[str, Any]
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.answer(claimed, kind, **answer)
    once = (
        (await ledger.attempt()).status,
        (await ledger.recipient()).status,
        (await ledger.recipient()).attempts,
        (await ledger.message()).status,
    )

    await ledger.answer(claimed, kind, **answer)

    assert once == (
        (await ledger.attempt()).status,
        (await ledger.recipient()).status,
        (await ledger.recipient()).attempts,
        (await ledger.message()).status,
    )


async def test_repeated_record_does_not_replace_a_later_report(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)
    await ledger.report(message_facts("undelivered", error_code="30007", updated_at=after(3)))

    await ledger.accept(claimed)

    attempt, message = await ledger.attempt(), await ledger.message()
    assert (attempt.status, attempt.error_code) == ("failed", "30007")
    assert (message.status, message.error_code, message.rank) == ("undelivered", "30007", 4)
    assert (await ledger.recipient()).error_code == "30007"


async def test_recipient_fails_when_its_attempts_are_used_up(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, max_attempts=1)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()

    recipient = await ledger.recipient()

    assert (recipient.status, recipient.error_code, recipient.attempts) == ("failed", "gave_up", 1)
    assert await ledger.claim(now=after(5000)) == []


@pytest.mark.parametrize(
    ("flag", "status", "reason"),
    [("opted_out", "skipped", "opted_out"), ("opt_out_hold", "held", None)],
)
async def test_recipient_stopped_by_another_rule_does_not_fail_for_used_up_attempts(
    new_uow: UnitOfWorkFactory, flag: str, status: str, reason: str | None
) -> None:
    ledger = await Ledger.open(new_uow, max_attempts=1)
    await ledger.make_unclear_attempt()
    await ledger.flag(flag)
    await ledger.conclude_not_found()

    recipient = await ledger.recipient()

    assert (recipient.status, recipient.skip_reason, recipient.error_code) == (status, reason, None)


async def test_not_found_counts_as_an_attempt_and_may_be_sent_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, max_attempts=2)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()

    recipient = await ledger.recipient()

    assert (recipient.status, recipient.attempts) == ("pending", 1)
    assert len(await ledger.claim(now=after(900))) == 1


async def test_answers_of_a_batch_are_recorded_together(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    first, second, third = await ledger.begin_calls()
    answers = [
        Answered(
            claimed=first,
            answer=SendResponse(kind=ResponseKind.ACCEPTED, provider_message_id="AC1"),
        ),
        Answered(claimed=second, answer=SendResponse(kind=ResponseKind.REFUSED, code="0201400")),
        Answered(claimed=third, answer=SendResponse(kind=ResponseKind.UNCLEAR, code="timeout")),
    ]

    async with new_uow() as uow:
        await record.record_responses(uow, answers, now=NOW)

    found = {row.phone: row.status for row in await ledger.recipients()}
    assert found == {number(0): "sent", number(1): "failed", number(2): "unknown"}
