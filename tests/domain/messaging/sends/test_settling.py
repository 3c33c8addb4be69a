"""Attempts whose lease is over, look-ups at the provider, and the conclusions from look-ups."""

from datetime import timedelta
from typing import Literal

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts

from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import matching, settle
from crm_api.domain.messaging.sends.settle import NotParkedError
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

UNKNOWN, NOT_FOUND, PARKED = AttemptStatus.UNKNOWN, AttemptStatus.NOT_FOUND, AttemptStatus.PARKED
OTHER_TEXT = "Are you at home on Tuesday?"


async def test_claim_whose_lease_is_over_is_released(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.claim()

    assert await ledger.expire(now=after(60)) == 0
    assert await ledger.expire(now=after(60.001)) == 1

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert (attempt.status, attempt.token, attempt.called_at) == ("released", None, None)
    assert (recipient.status, recipient.attempts) == ("pending", 0)
    assert (await ledger.message()).status == "queued"


async def test_call_whose_lease_is_over_is_unknown(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()

    assert await ledger.expire(now=after(61)) == 1

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert (attempt.status, attempt.called_at) == ("unknown", NOW)
    assert (recipient.status, recipient.attempts) == ("unknown", 1)
    assert (await ledger.message()).status == "unknown"
    assert await ledger.claim(now=after(5000)) == []


async def test_call_within_its_lease_is_not_changed(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    batch = await ledger.claim()
    await ledger.gate(batch, now=after(30))

    assert await ledger.expire(now=after(90)) == 0
    assert (await ledger.attempt()).status == "calling"
    assert await ledger.expire(now=after(90.001)) == 1


async def test_claim_of_a_cancelled_campaign_ends_cancelled(new_uow: UnitOfWorkFactory) -> None:
    # The campaign was cancelled during the claim, and the worker that held the claim has ended.
    ledger = await Ledger.open(new_uow)
    await ledger.claim()
    await ledger.run("UPDATE campaign SET status = 'cancelled'")

    await ledger.expire(now=after(61))

    assert (await ledger.recipient()).status == "cancelled"


@pytest.mark.parametrize(("flag", "status"), [("opted_out", "skipped"), ("opt_out_hold", "held")])
async def test_status_after_two_empty_look_ups_depends_on_the_flags(
    new_uow: UnitOfWorkFactory, flag: str, status: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.flag(flag)

    await ledger.conclude_not_found()

    assert (await ledger.recipient()).status == status


@pytest.mark.parametrize(
    ("status", "becomes"),
    [("sent", "sent"), ("delivered", "delivered"), ("undelivered", "failed")],
)
@pytest.mark.parametrize("age", [1, 599, 601, 5000])
async def test_found_message_settles_the_attempt_at_any_age(
    new_uow: UnitOfWorkFactory, status: str, becomes: str, age: int
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    found = await ledger.look_up(message_facts(status, at=after(1)), begun_at=after(age))

    attempt, recipient = await ledger.attempt(), await ledger.recipient()
    assert (found.value, attempt.is_matched) == (becomes, True)
    assert (attempt.provider_message_id, attempt.accepted_at) == ("AC1", after(1))
    assert recipient.status == becomes


async def test_empty_look_up_counts_only_after_the_grace(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    for begun in (100, 300, 600):
        assert await ledger.look_up(begun_at=after(begun)) is UNKNOWN
        assert (await ledger.attempt()).nil_at is None

    assert await ledger.look_up(begun_at=after(600.001)) is UNKNOWN
    assert (await ledger.attempt()).nil_at == after(600.001)


async def test_not_found_needs_two_empty_look_ups_a_gap_apart(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    assert await ledger.look_up(begun_at=after(700)) is UNKNOWN
    assert await ledger.look_up(begun_at=after(759.999)) is UNKNOWN
    assert (await ledger.attempt()).nil_at == after(700)
    assert await ledger.look_up(begun_at=after(760)) is NOT_FOUND

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.attempts) == ("pending", 1)
    assert (await ledger.message()).status == "queued"


async def test_age_counts_from_the_gate_not_from_the_failure(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout", now=after(15))

    assert await ledger.look_up(begun_at=after(601)) is UNKNOWN

    assert (await ledger.attempt()).nil_at == after(601)


async def test_two_settlers_at_the_same_moment_count_as_one_look_up(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    async with new_uow() as uow:
        (seen,) = await matching.list_unknown_attempts(uow, limit=10)

    assert await ledger.conclude(seen, begun_at=after(700)) is UNKNOWN
    assert await ledger.conclude(seen, begun_at=after(900)) is UNKNOWN

    assert (await ledger.attempt()).status == "unknown"


@pytest.mark.parametrize("answer", [ResponseKind.REFUSED, ResponseKind.ACCEPTED])
async def test_stale_look_up_changes_nothing(
    new_uow: UnitOfWorkFactory, answer: ResponseKind
) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.make_unclear_attempt()
    await ledger.look_up(begun_at=after(700))
    async with new_uow() as uow:
        (seen,) = await matching.list_unknown_attempts(uow, limit=10)
    await ledger.answer(claimed, answer, provider_message_id="AC1", now=after(800))
    before = (await ledger.attempt()).status

    await ledger.conclude(seen, begun_at=after(801))

    assert (await ledger.attempt()).status == before
    assert (await ledger.recipient()).status == {"sent": "sent", "refused": "failed"}[before]


async def test_stale_look_up_does_not_override_a_late_acceptance_without_an_id(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.expire(now=after(61))
    await ledger.look_up(begun_at=after(700))
    async with new_uow() as uow:
        (seen,) = await matching.list_unknown_attempts(uow, limit=10)
    await ledger.answer(claimed, ResponseKind.UNCLEAR, no_id=True, code="no_id", now=after(800))

    await ledger.conclude(seen, begun_at=after(801))

    assert (await ledger.attempt()).status == "parked"
    assert (await ledger.recipient()).status == "unknown"


async def test_message_listed_late_is_found_by_the_second_look_up(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.look_up(begun_at=after(700))

    found = await ledger.look_up(message_facts(at=after(1)), begun_at=after(760))

    assert found is AttemptStatus.SENT
    assert (await ledger.recipient()).status == "sent"


async def test_different_message_in_the_window_parks_the_attempt(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    other = message_facts(body=OTHER_TEXT, at=after(1))

    assert await ledger.look_up(other, begun_at=after(300)) is UNKNOWN
    assert await ledger.look_up(other, begun_at=after(601)) is PARKED

    assert (await ledger.attempt()).status == "parked"
    assert (await ledger.recipient()).status == "unknown"
    assert (await ledger.message()).status == "unknown"
    assert await ledger.alerts() == {"send_parked"}
    assert await ledger.claim(now=after(5000)) == []


async def test_several_equal_messages_park_the_attempt(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    two = (message_facts(at=after(1)), message_facts(message_id="AC2", at=after(2)))

    assert await ledger.look_up(*two, begun_at=after(300)) is UNKNOWN
    assert await ledger.look_up(*two, begun_at=after(601)) is PARKED


async def test_equal_message_is_found_beside_a_different_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    both = (
        message_facts(at=after(1)),
        message_facts(message_id="AC2", at=after(2), body=OTHER_TEXT),
    )

    assert await ledger.look_up(*both, begun_at=after(300)) is AttemptStatus.SENT
    assert (await ledger.attempt()).provider_message_id == "AC1"


OUTSIDE = {
    "incoming": message_facts(direction="incoming", at=after(1)),
    "before the gate": message_facts(at=after(-2.001)),
    "after the window": message_facts(at=after(600.001)),
}


@pytest.mark.parametrize("facts", OUTSIDE.values(), ids=OUTSIDE.keys())
async def test_message_outside_the_window_is_not_a_candidate(
    new_uow: UnitOfWorkFactory, facts: MessageFacts
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    assert await ledger.look_up(facts, begun_at=after(700)) is UNKNOWN
    assert await ledger.look_up(facts, begun_at=after(800)) is NOT_FOUND


@pytest.mark.parametrize("seconds", [-2, 600])
async def test_message_on_the_edge_of_the_window_is_a_candidate(
    new_uow: UnitOfWorkFactory, seconds: int
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    assert (
        await ledger.look_up(message_facts(at=after(seconds)), begun_at=after(700))
        is AttemptStatus.SENT
    )


async def test_message_of_another_attempt_is_not_a_candidate(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test that the message of an answered attempt is not matched to another attempt."""
    first = await Ledger.open(new_uow)
    (claimed,) = await first.begin_calls()
    await first.accept(claimed)
    second = await Ledger.open(new_uow, line=first.line)
    await second.make_unclear_attempt(now=after(1))

    assert await second.look_up(message_facts(at=after(0.5)), begun_at=after(700)) is UNKNOWN
    assert await second.look_up(message_facts(at=after(0.5)), begun_at=after(800)) is NOT_FOUND


async def test_message_stored_as_foreign_is_found_although_the_list_lacks_it(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test a webhook that arrived during the call, before the worker crashed."""
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()
    await ledger.report(message_facts("delivered", at=after(1), updated_at=after(2)))
    await ledger.expire(now=after(61))

    found = await ledger.look_up(begun_at=after(700))

    message = await ledger.message()
    assert found is AttemptStatus.DELIVERED
    assert (await ledger.recipient()).status == "delivered"
    assert (message.origin, message.openphone_id, message.status) == (
        "campaign",
        "AC1",
        "delivered",
    )


@pytest.mark.parametrize(("stored", "listed"), [("failed", "delivered"), ("delivered", "failed")])
async def test_delivery_reported_by_either_source_makes_the_message_delivered(
    new_uow: UnitOfWorkFactory, stored: str, listed: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()
    await ledger.report(message_facts(stored, at=after(1), updated_at=after(2)))
    await ledger.expire(now=after(61))

    await ledger.look_up(
        message_facts(listed, at=after(1), updated_at=after(3)), begun_at=after(70)
    )

    assert (await ledger.attempt()).status == "delivered"
    assert (await ledger.recipient()).status == "delivered"
    assert (await ledger.message()).status == "delivered"


async def test_acceptance_without_an_id_is_parked_and_never_not_found(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt(no_id=True)

    assert await ledger.look_up(begun_at=after(700)) is UNKNOWN
    assert await ledger.look_up(begun_at=after(800)) is PARKED
    assert (await ledger.recipient()).status == "unknown"


async def test_message_of_an_acceptance_without_an_id_is_found(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt(no_id=True)

    assert await ledger.look_up(message_facts(at=after(1)), begun_at=after(5)) is AttemptStatus.SENT


async def test_attempt_of_a_line_without_resend_is_parked_and_not_concluded(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE line SET resend_unclear = false")
    await ledger.make_unclear_attempt()

    assert await ledger.look_up(begun_at=after(700)) is UNKNOWN
    assert await ledger.look_up(begun_at=after(800)) is PARKED
    assert await ledger.alerts() == {"send_parked"}
    assert await ledger.claim(now=after(5000)) == []


async def test_empty_look_up_does_not_count_while_the_list_lags(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    for begun in (700, 800, 900):
        assert await ledger.look_up(begun_at=after(begun), list_lags=True) is UNKNOWN
    assert (await ledger.attempt()).nil_at is None

    assert await ledger.look_up(begun_at=after(1000)) is UNKNOWN
    assert await ledger.look_up(begun_at=after(1100), list_lags=True) is UNKNOWN
    assert await ledger.look_up(begun_at=after(1200)) is NOT_FOUND


async def test_found_message_counts_although_the_list_lags(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    found = await ledger.look_up(message_facts(at=after(1)), begun_at=after(700), list_lags=True)

    assert found is AttemptStatus.SENT


@pytest.mark.parametrize(
    ("age", "is_canary"), [(149, False), (151, True), (86_399, True), (86_401, False)]
)
async def test_canary_is_a_known_message_older_than_a_quarter_of_the_grace(
    new_uow: UnitOfWorkFactory,
    age: int,
    is_canary: bool,  # noqa: FBT001 - a table's column
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    async with new_uow() as uow:
        found = await settle.find_canary(uow, line_id=ledger.line.id, times=TIMES, now=after(age))

    assert (found is not None) is is_canary


async def test_matched_message_is_not_a_canary(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.report(message_facts("delivered"))

    async with new_uow() as uow:
        found = await settle.find_canary(uow, line_id=ledger.line.id, times=TIMES, now=after(300))

    assert found is None


async def test_unknown_attempts_are_looked_up_in_turn(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    for claimed in await ledger.begin_calls():
        await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout")
    async with new_uow() as uow:
        (first,) = await matching.list_unknown_attempts(uow, limit=1)

    await ledger.conclude(first, begun_at=after(10))

    async with new_uow() as uow:
        order = [row.id for row in await matching.list_unknown_attempts(uow, limit=10)]
    assert order[-1] == first.id


async def test_failed_look_up_concludes_nothing_and_is_repeated_after_the_others(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    for claimed in await ledger.begin_calls():
        await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout")
    async with new_uow() as uow:
        first, second = await matching.list_unknown_attempts(uow, limit=10)

    async with new_uow() as uow:
        await settle.postpone_look_up(uow, first, now=after(700))

    async with new_uow() as uow:
        order = [row.id for row in await matching.list_unknown_attempts(uow, limit=10)]
    assert order == [second.id, first.id]
    assert {(row.status, row.nil_at) for row in await ledger.attempts()} == {("unknown", None)}


async def _parked(new_uow: UnitOfWorkFactory) -> Ledger:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await ledger.look_up(message_facts(body=OTHER_TEXT, at=after(1)), begun_at=after(601))
    return ledger


@pytest.mark.parametrize(
    ("outcome", "attempt_status", "recipient_status", "tries"),
    [
        ("sent", "sent", "sent", 1),
        ("resend", "released", "pending", 0),
        ("failed", "refused", "failed", 1),
    ],
)
async def test_user_settles_a_parked_attempt(
    new_uow: UnitOfWorkFactory,
    outcome: Literal["sent", "resend", "failed"],
    attempt_status: str,
    recipient_status: str,
    tries: int,
) -> None:
    ledger = await _parked(new_uow)
    contact_id = (await ledger.recipient()).contact_id

    async with new_uow() as uow:
        await settle.settle_recipient(
            uow,
            campaign_id=ledger.campaign.id,
            contact_id=contact_id,
            outcome=outcome,
            actor="Dana",
            now=after(3600),
        )

    recipient = await ledger.recipient()
    assert (await ledger.attempt()).status == attempt_status
    assert (recipient.status, recipient.attempts) == (recipient_status, tries)
    (entry,) = await ledger.rows("SELECT * FROM audit_log")
    assert (entry.actor, entry.action) == ("Dana", "settle_send")


async def _settle_by_user(
    ledger: Ledger, outcome: Literal["sent", "resend", "failed"], *, seconds: float = 900
) -> None:
    async with ledger.new_uow() as uow:
        await settle.settle_recipient(
            uow,
            campaign_id=ledger.campaign.id,
            contact_id=(await ledger.recipient()).contact_id,
            outcome=outcome,
            actor="Dana",
            now=after(seconds),
        )


@pytest.mark.parametrize("outcome", ["sent", "resend", "failed"])
async def test_proof_after_a_users_decision_counts(
    new_uow: UnitOfWorkFactory, outcome: Literal["sent", "resend", "failed"]
) -> None:
    ledger = await _parked(new_uow)
    await _settle_by_user(ledger, outcome)

    await ledger.report(message_facts("delivered", at=after(2)), now=after(910))

    assert await ledger.claim(now=after(2000)) == []
    assert (await ledger.recipient()).status == "delivered"
    assert (await ledger.message()).status == "delivered"


async def test_proof_after_a_users_decision_releases_the_claim_that_repeats_the_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await _parked(new_uow)
    await _settle_by_user(ledger, "resend")
    again = await ledger.claim(now=after(2000))

    await ledger.report(message_facts("delivered", at=after(2)), now=after(2001))

    assert len(again) == 1
    assert await ledger.gate(again, now=after(2002)) == []
    assert (await ledger.recipient()).status == "delivered"


async def test_report_during_another_call_does_not_change_a_users_decision(
    new_uow: UnitOfWorkFactory,
) -> None:
    # The report is about the call that runs. The attempt that the user settled has the same body.
    ledger = await _parked(new_uow)
    await _settle_by_user(ledger, "sent")
    other = await Ledger.open(new_uow, line=ledger.line)
    (calling,) = await other.begin_calls(now=after(590))

    await ledger.report(message_facts("delivered", at=after(591)), now=after(592))
    await other.accept(calling, at=after(591), now=after(593))

    assert [row.status for row in await ledger.attempts()] == ["sent", "delivered"]


async def test_attempt_settled_as_sent_counts_on_the_day_of_its_call(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await _parked(new_uow)
    tomorrow = NOW + timedelta(days=1)

    async with new_uow() as uow:
        await settle.settle_recipient(
            uow,
            campaign_id=ledger.campaign.id,
            contact_id=(await ledger.recipient()).contact_id,
            outcome="sent",
            actor="Dana",
            now=tomorrow,
        )

    assert (await ledger.recipient()).sent_at == NOW


async def test_user_cannot_settle_an_attempt_that_is_not_parked(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    with pytest.raises(NotParkedError):
        async with new_uow() as uow:
            await settle.settle_recipient(
                uow,
                campaign_id=ledger.campaign.id,
                contact_id=(await ledger.recipient()).contact_id,
                outcome="resend",
                actor="Dana",
                now=after(10),
            )

    assert (await ledger.attempt()).status == "unknown"
