"""Reports of webhooks and lists, in any order, and the campaigns to which replies belong."""

import itertools
from datetime import timedelta

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import (
    BODY,
    TIMES,
    Ledger,
    after,
    message_facts,
    note_reply,
)
from tests.factories import make_line, number

from crm_api.domain.messaging.sends import record
from crm_api.domain.messaging.sends.ledger import reopen_parked
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.messaging.sends.report import apply_report
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory

SENT = message_facts("sent", updated_at=after(1))
FAILED = message_facts("failed", updated_at=after(2), error_code="30006")
UNDELIVERED = message_facts("undelivered", updated_at=after(3), error_code="30007")
DELIVERED = message_facts("delivered", updated_at=after(4))
EVENTS = {"sent": SENT, "failed": FAILED, "undelivered": UNDELIVERED, "delivered": DELIVERED}
ANSWER = "answer"
REPEATS = {"failed": 2, "delivered": 2, "answer": 2}


def _orders(*names: str) -> list[tuple[str, ...]]:
    repeated = [name for name in names for _ in range(REPEATS.get(name, 1))]
    return sorted(set(itertools.permutations(repeated)))


SEQUENCES = [
    *_orders(ANSWER, "sent", "delivered"),
    *_orders(ANSWER, "failed", "delivered"),
    *_orders(ANSWER, "failed", "undelivered"),
]
EXPECTED = {
    # Each value: status, code and report time of the attempt; status, code and rank of the message.
    "delivered": ("delivered", None, after(4), "delivered", None, 5),
    "failed": ("failed", "30006", after(2), "failed", "30006", 4),
}


@pytest.mark.parametrize("sequence", SEQUENCES, ids="-".join)
async def test_reports_in_any_order_give_one_result(
    new_uow: UnitOfWorkFactory, sequence: tuple[str, ...]
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    for name in sequence:
        if name == ANSWER:
            await ledger.accept(claimed, now=after(9))
        else:
            await ledger.report(EVENTS[name], now=after(9))

    attempt, message, recipient = (
        await ledger.attempt(),
        await ledger.message(),
        await ledger.recipient(),
    )
    outcome = "delivered" if "delivered" in sequence else "failed"
    found = (attempt.status, attempt.error_code, attempt.reported_at)
    assert (*found, message.status, message.error_code, message.rank) == EXPECTED[outcome]
    assert (attempt.provider_message_id, attempt.is_matched) == ("AC1", False)
    assert (recipient.status, recipient.sent_at, recipient.attempts) == (outcome, NOW, 1)
    assert recipient.delivered_at == (after(4) if outcome == "delivered" else None)


@pytest.mark.parametrize("sequence", _orders("sent", "failed", "delivered"), ids="-".join)
async def test_reports_of_a_foreign_message_in_any_order_give_one_result(
    new_uow: UnitOfWorkFactory, sequence: tuple[str, ...]
) -> None:
    ledger = await Ledger.open(new_uow, people=0)

    for name in sequence:
        await ledger.report(EVENTS[name], now=after(9))

    message = await ledger.message()
    assert (message.status, message.error_code, message.rank) == ("delivered", None, 5)
    assert (message.origin, message.updated_at) == ("provider", after(4))


@pytest.mark.parametrize("sequence", _orders("sent", "failed", "delivered"), ids="-".join)
async def test_reports_in_any_order_settle_an_unclear_attempt_alike(
    new_uow: UnitOfWorkFactory, sequence: tuple[str, ...]
) -> None:
    # The first report arrives while the call still runs. So its message is stored as foreign (sent
    # by no known attempt).
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.report(EVENTS[sequence[0]], now=after(5))
    await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout", now=after(6))

    for name in sequence[1:]:
        await ledger.report(EVENTS[name], now=after(9))

    attempt, message, recipient = (
        await ledger.attempt(),
        await ledger.message(),
        await ledger.recipient(),
    )
    assert (attempt.status, attempt.error_code, attempt.is_matched) == ("delivered", None, True)
    assert (message.status, message.rank, recipient.status) == ("delivered", 5, "delivered")
    assert recipient.delivered_at == after(4)


async def test_report_before_the_record_is_merged(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await ledger.report(DELIVERED)
    assert [row.origin for row in await ledger.messages()] == ["campaign", "provider"]
    await ledger.accept(claimed)

    message = await ledger.message()
    assert (message.id, message.origin, message.openphone_id) == (
        claimed.attempt_id,
        "campaign",
        "AC1",
    )
    assert (await ledger.recipient()).status == "delivered"


async def test_no_message_is_matched_while_the_call_runs(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()

    await ledger.report(DELIVERED)

    assert (await ledger.attempt()).status == "calling"


@pytest.mark.parametrize("state", ["unknown", "parked", "not_found"])
async def test_report_that_matches_exactly_one_attempt_settles_it(
    new_uow: UnitOfWorkFactory, state: str
) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.make_unclear_attempt()
    await ledger.run("UPDATE send_attempt SET status = :state", state=state)

    activity_id = await ledger.report(DELIVERED, now=after(50))

    attempt = await ledger.attempt()
    assert activity_id == claimed.attempt_id
    assert (attempt.status, attempt.is_matched) == ("delivered", True)
    assert (attempt.provider_message_id, attempt.accepted_at) == ("AC1", NOW)
    assert (await ledger.recipient()).status == "delivered"
    assert len(await ledger.messages()) == 1


async def test_report_after_not_found_releases_the_next_claim(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()
    second = await ledger.claim(now=after(900))

    await ledger.report(DELIVERED, now=after(901))

    assert await ledger.gate(second, now=after(902)) == []
    assert [row.status for row in await ledger.attempts()] == ["delivered", "released"]
    assert (await ledger.recipient()).status == "delivered"


NOT_MATCHING = {
    "another body": message_facts("delivered", body="Are you at home today?"),
    "another number": message_facts("delivered", phone=number(9)),
    "before the gate": message_facts("delivered", at=after(-2.001)),
    "after the window": message_facts("delivered", at=after(600.001)),
}


@pytest.mark.parametrize("facts", NOT_MATCHING.values(), ids=NOT_MATCHING.keys())
async def test_report_that_matches_no_attempt_is_foreign(
    new_uow: UnitOfWorkFactory, facts: MessageFacts
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    await ledger.report(facts, now=after(700))

    assert (await ledger.attempt()).status == "unknown"
    assert sorted(row.origin for row in await ledger.messages()) == ["campaign", "provider"]


@pytest.mark.parametrize("seconds", [-2, 600])
async def test_match_window_includes_its_bounds(new_uow: UnitOfWorkFactory, seconds: int) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    await ledger.report(message_facts("delivered", at=after(seconds)), now=after(700))

    assert (await ledger.attempt()).status == "delivered"


async def test_message_on_another_line_does_not_match(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    async with new_uow() as uow:
        other = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )

    async with new_uow() as uow:
        await apply_report(uow, facts=DELIVERED, line_id=other.id, times=TIMES, now=NOW)

    assert (await ledger.attempt()).status == "unknown"


async def test_report_that_matches_two_attempts_is_foreign(new_uow: UnitOfWorkFactory) -> None:
    first = await Ledger.open(new_uow)
    await first.make_unclear_attempt()
    await first.run("UPDATE send_attempt SET status = 'parked', called_at = :at", at=after(-300))
    second = await Ledger.open(new_uow, line=first.line)
    await second.run("UPDATE send_attempt SET called_at = :at", at=after(-601))
    await second.make_unclear_attempt()
    await second.run(
        "UPDATE send_attempt SET called_at = :at WHERE status = 'parked'", at=after(-300)
    )

    await second.report(DELIVERED)

    assert {row.status for row in await second.attempts()} == {"parked", "unknown"}
    assert {row.origin for row in await second.messages()} == {"campaign", "provider"}


@pytest.mark.parametrize(
    "body", [BODY.replace("'", "\u2019"), BODY + " ", BODY.replace(" ", "\u00a0")]
)
async def test_message_that_the_provider_re_encoded_matches(
    new_uow: UnitOfWorkFactory, body: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    await ledger.report(message_facts("delivered", body=body))

    assert (await ledger.attempt()).status == "delivered"


async def test_answer_takes_its_message_from_a_wrong_match(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test a response about a message that was matched to the wrong attempt.

    Two campaigns send one body to one number. The message of the second campaign was matched to the
    attempt of the first campaign.
    """
    first = await Ledger.open(new_uow)
    await first.make_unclear_attempt()
    await first.run("UPDATE send_attempt SET status = 'parked'")
    second = await Ledger.open(new_uow, line=first.line)
    await second.run("UPDATE send_attempt SET called_at = :at", at=after(-590))
    (claimed,) = await second.begin_calls(now=after(20))
    await second.report(message_facts("delivered", at=after(5), updated_at=after(6)), now=after(6))
    assert [row.status for row in await second.attempts()] == ["delivered", "calling"]
    answered = [
        Answered(
            claimed=claimed,
            answer=SendResponse(
                kind=ResponseKind.ACCEPTED,
                provider_message_id="AC1",
                provider_created_at=after(5),
            ),
        )
    ]

    async with new_uow() as uow:
        await record.record_and_correct_matches(uow, answered, now=after(21))

    old, new = await second.attempts()
    assert (new.status, new.provider_message_id, new.is_matched) == ("sent", "AC1", False)
    assert (old.status, old.provider_message_id, old.is_matched) == ("unknown", None, False)
    assert (await first.recipient()).status == "unknown"
    assert (await second.recipient()).status == "sent"
    assert {row.openphone_id for row in await second.messages()} == {None, "AC1"}
    (entry,) = await second.rows("SELECT * FROM audit_log")
    assert (entry.action, entry.subject) == ("correct_match", str(old.id))


async def test_attempt_with_a_wrong_match_stays_parked_beside_an_open_attempt(
    new_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(new_uow)
    await first.make_unclear_attempt()
    await first.report(message_facts("sent"), now=after(5))
    second = await Ledger.open(new_uow, line=first.line)
    (claimed,) = await second.begin_calls(now=after(700))
    await second.run("UPDATE send_attempt SET status = 'not_found' WHERE status = 'calling'")
    third = await Ledger.open(new_uow, line=first.line)
    await third.begin_calls(now=after(1000))
    answer = SendResponse(kind=ResponseKind.ACCEPTED, provider_message_id="AC1")

    async with new_uow() as uow:
        await record.record_and_correct_matches(
            uow, [Answered(claimed=claimed, answer=answer)], now=after(1001)
        )

    parked, *others = await third.attempts()
    assert [parked.status, *(row.status for row in others)] == ["parked", "sent", "calling"]
    assert (await first.recipient()).status == "unknown"
    (alert,) = await third.rows("SELECT * FROM alert WHERE kind = 'send_parked'")
    assert alert.subject == str(first.campaign.id)
    assert alert.context["reason"] == "match_corrected"
    assert alert.context["message_id"] == str(parked.activity_id)
    assert "was assigned to it belongs to another attempt" in alert.detail


async def test_only_the_earliest_parked_attempt_of_a_number_is_looked_up_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(new_uow)
    await first.make_unclear_attempt()
    await first.run("UPDATE send_attempt SET status = 'parked'")
    second = await Ledger.open(new_uow, line=first.line)
    await second.make_unclear_attempt(now=after(700))
    await second.run("UPDATE send_attempt SET status = 'parked'")
    third = await Ledger.open(new_uow, line=first.line)
    (claimed,) = await third.begin_calls(now=after(1400))
    await third.accept(claimed, now=after(1400))
    ids = [row.id for row in await third.attempts()]

    async with new_uow() as uow:
        await reopen_parked(uow.session, ids=ids, now=after(1500))

    assert [row.status for row in await third.attempts()] == ["unknown", "parked", "sent"]


async def test_match_that_is_looked_up_again_raises_no_alert(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.report(message_facts("sent"), now=after(5))
    second = await Ledger.open(new_uow, line=ledger.line)
    (claimed,) = await second.begin_calls(now=after(700))
    answer = SendResponse(kind=ResponseKind.ACCEPTED, provider_message_id="AC1")

    async with new_uow() as uow:
        await record.record_and_correct_matches(
            uow, [Answered(claimed=claimed, answer=answer)], now=after(701)
        )

    assert [row.status for row in await second.attempts()] == ["unknown", "sent"]
    assert await second.alerts() == set()


async def test_acceptance_without_an_id_after_not_found_raises_the_alert(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.make_unclear_attempt()
    await ledger.conclude_not_found()

    await ledger.answer(claimed, ResponseKind.UNCLEAR, no_id=True, now=after(900))

    assert (await ledger.attempt()).status == "parked"
    assert await ledger.alerts() == {"send_parked"}


async def test_answer_corrects_its_own_match(new_uow: UnitOfWorkFactory) -> None:
    """Test a response to our call after a user's identical message was matched to our attempt."""
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.make_unclear_attempt()
    await ledger.report(DELIVERED)

    await ledger.accept(claimed, "AC2", at=after(1), now=after(20))

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert (attempt.status, attempt.provider_message_id) == ("sent", "AC2")
    assert (attempt.is_matched, attempt.reported_at) == (False, None)
    assert (recipient.status, recipient.provider_message_id, recipient.delivered_at) == (
        "sent",
        "AC2",
        None,
    )


async def test_refusal_corrects_a_match(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.make_unclear_attempt()
    await ledger.report(DELIVERED)

    await ledger.answer(claimed, ResponseKind.REFUSED, code="0201400", now=after(20))

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert (attempt.status, attempt.provider_message_id) == ("refused", None)
    assert (recipient.status, recipient.error_code) == ("failed", "0201400")


async def _reply(
    ledger: Ledger, *, seconds: float, is_opt_out: bool = False, is_interested: bool = False
) -> bool:
    async with ledger.new_uow() as uow:
        campaign_id = await note_reply(
            uow,
            phone=number(0),
            line_id=ledger.line.id,
            at=after(seconds),
            times=TIMES,
            now=after(seconds),
            is_opt_out=is_opt_out,
            is_interested=is_interested,
        )
    return campaign_id == ledger.campaign.id


async def test_first_reply_belongs_to_its_campaign(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    assert await _reply(ledger, seconds=100)
    assert not (await ledger.recipient()).is_interested
    assert await _reply(ledger, seconds=150, is_interested=True)
    assert await _reply(ledger, seconds=200, is_opt_out=True)

    recipient = await ledger.recipient()
    assert (recipient.replied_at, recipient.opted_out_at) == (after(100), after(200))
    assert recipient.is_interested


@pytest.mark.parametrize("state", ["calling", "unknown", "parked", "sent", "failed", "delivered"])
async def test_reply_belongs_to_a_message_that_may_have_arrived(
    new_uow: UnitOfWorkFactory, state: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()
    await ledger.run("UPDATE send_attempt SET status = :state", state=state)

    assert await _reply(ledger, seconds=10)


@pytest.mark.parametrize("state", ["claimed", "released", "refused", "not_found"])
async def test_reply_does_not_belong_to_a_message_that_was_not_sent(
    new_uow: UnitOfWorkFactory, state: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()
    await ledger.run("UPDATE send_attempt SET status = :state", state=state)

    assert not await _reply(ledger, seconds=10)


@pytest.mark.parametrize(
    ("seconds", "is_tied"), [(-3, False), (-2, True), (72 * 3600 - 1, True), (72 * 3600, False)]
)
async def test_reply_belongs_to_a_campaign_within_three_days(
    new_uow: UnitOfWorkFactory,
    seconds: int,
    is_tied: bool,  # noqa: FBT001 - a table's column
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    assert await _reply(ledger, seconds=seconds) is is_tied


async def test_reply_belongs_to_the_newest_campaign(new_uow: UnitOfWorkFactory) -> None:
    old = await Ledger.open(new_uow)
    (claimed,) = await old.begin_calls()
    await old.accept(claimed)
    new = await Ledger.open(new_uow, line=old.line)
    (claimed,) = await new.begin_calls(now=NOW + timedelta(hours=1))
    await new.accept(claimed, "AC2")

    assert await _reply(new, seconds=7200)

    assert (await old.recipient()).replied_at is None
    assert (await new.recipient()).replied_at == after(7200)
