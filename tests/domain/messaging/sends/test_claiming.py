"""Which recipients are claimed: due times, time zones, flags, caps, other campaigns."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import BODY, TIMES, Ledger, after, message_facts
from tests.factories import make_contact, make_line, make_member, number

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import claim, queued_claim, usage
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

SUPPRESSING = ["opted_out", "opt_out_hold", "do_not_contact"]


async def test_due_recipient_is_claimed_with_its_body(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)

    (claimed,) = await ledger.claim()

    attempt, recipient, message = (
        await ledger.attempt(),
        await ledger.recipient(),
        await ledger.message(),
    )
    assert (attempt.status, attempt.phone, attempt.body) == ("claimed", number(0), BODY)
    assert (attempt.id, attempt.token) == (claimed.attempt_id, claimed.token)
    assert attempt.lease_until == NOW + TIMES.lease
    assert (recipient.status, recipient.attempts) == ("sending", 0)
    assert (message.id, message.status, message.origin, message.body) == (
        attempt.id,
        "sending",
        "campaign",
        BODY,
    )


async def test_body_is_rendered_with_footer(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(
        new_uow, bodies=("Hi {{ first_name }}",), opt_out_footer="Reply STOP to opt out"
    )

    (claimed,) = await ledger.claim()

    assert claimed.body == "Hi Ada\nReply STOP to opt out"
    assert (await ledger.attempt()).body == claimed.body


async def test_missing_value_skips_only_that_recipient(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=2, bodies=("Hi {{ first_name }}",))
    await ledger.run("UPDATE contact SET first_name = NULL WHERE phone = :phone", phone=number(0))

    claimed = await ledger.claim()

    without_value, other = await ledger.recipients()
    assert [item.phone for item in claimed] == [number(1)]
    assert (without_value.status, without_value.skip_reason) == ("skipped", "missing_value")
    assert other.status == "sending"


async def test_recipient_who_is_not_due_waits(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE campaign_membership SET due_at = :at", at=after(10))

    assert await ledger.claim(now=after(9)) == []
    assert len(await ledger.claim(now=after(10))) == 1


async def test_closed_zone_is_not_claimed(new_uow: UnitOfWorkFactory) -> None:
    # 10:00 in New York is 7:00 in Seattle, where the window is not open yet.
    ledger = await Ledger.open(new_uow, people=1, timezone="recipient")
    async with new_uow() as uow:
        west = await make_contact(
            uow.session, phone=number(40_000), zone_key="WA/America/Los_Angeles"
        )
        campaign = await uow.session.merge(ledger.campaign)
        await make_member(uow.session, campaign=campaign, contact=west)

    assert [item.phone for item in await ledger.claim()] == [number(0)]
    assert [item.phone for item in await ledger.claim(now=NOW + timedelta(hours=3))] == [
        number(40_000)
    ]


async def test_zone_that_closes_before_the_call_could_end_is_closed(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    closes = datetime(2026, 11, 25, 23, 0, tzinfo=UTC)

    assert await ledger.claim(now=closes - TIMES.call) == []
    assert len(await ledger.claim(now=closes - TIMES.call - timedelta(seconds=1))) == 1
    assert (await ledger.attempt()).not_after == closes


@pytest.mark.parametrize("flag", SUPPRESSING)
async def test_suppressed_number_is_not_claimed(new_uow: UnitOfWorkFactory, flag: str) -> None:
    # The flag is written without a withdrawal of messages. This happens while an audience is being
    # stored.
    ledger = await Ledger.open(new_uow, people=2)
    await ledger.flag(flag)

    claimed = await ledger.claim()

    recipient = (await ledger.recipients())[0]
    assert [item.phone for item in claimed] == [number(1)]
    assert recipient.status == ("held" if flag == "opt_out_hold" else "skipped")
    assert recipient.skip_reason == (None if flag == "opt_out_hold" else flag)


@pytest.mark.parametrize("flag", SUPPRESSING)
async def test_expired_flag_does_not_stop_the_claim(new_uow: UnitOfWorkFactory, flag: str) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.flag(flag, expires_at=NOW)

    assert len(await ledger.claim()) == 1


async def test_other_flag_does_not_stop_the_claim(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.flag("office_number")

    assert len(await ledger.claim()) == 1


@pytest.mark.parametrize("status", ["paused", "blocked", "cancelled", "completed"])
async def test_order_made_before_the_campaign_stopped_claims_no_recipient(
    new_uow: UnitOfWorkFactory, status: str
) -> None:
    ledger = await Ledger.open(new_uow)
    async with new_uow() as uow:
        order = await ledger.order(uow)
        assert order is not None
        await ledger.run("UPDATE campaign SET status = :status", status=status)
        async with new_uow() as other:
            result = await claim.claim_recipients(other, order, limit=10, times=TIMES, now=NOW)

    assert result.claimed == []
    assert (await ledger.recipient()).status == "pending"


async def test_order_made_before_a_variant_was_stopped_is_planned_again(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, bodies=("A", "B"))
    async with new_uow() as uow:
        old = await ledger.order(uow)
    assert old is not None
    await ledger.run("UPDATE campaign_variant SET stopped_at = :now WHERE position = 0", now=NOW)

    async with new_uow() as uow:
        result = await claim.claim_recipients(uow, old, limit=10, times=TIMES, now=NOW)
    (claimed,) = await ledger.claim()

    assert (result.claimed, result.is_stale) == ([], True)
    assert claimed.body == "B"


async def test_blocked_line_claims_no_recipient(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE line SET status = 'blocked'")

    assert await ledger.claim() == []


@pytest.mark.parametrize(("of_line", "of_campaign"), [(3, 125), (125, 3)])
async def test_cap_is_never_exceeded(
    new_uow: UnitOfWorkFactory, of_line: int, of_campaign: int
) -> None:
    ledger = await Ledger.open(new_uow, people=5, line_limit=of_line, daily_limit=of_campaign)

    assert len(await ledger.claim(limit=2)) == 2
    assert len(await ledger.claim(limit=2)) == 1
    assert await ledger.claim(limit=2) == []


async def test_cap_of_the_line_counts_its_other_campaign(new_uow: UnitOfWorkFactory) -> None:
    first = await Ledger.open(new_uow, people=2, line_limit=3)
    second = await Ledger.open(new_uow, people=6, line=first.line, name="Second")
    assert len(await first.claim()) == 2
    await second.run(
        "DELETE FROM campaign_membership WHERE campaign_id = :id AND phone IN (:one, :two)",
        id=second.campaign.id,
        one=number(0),
        two=number(1),
    )

    assert len(await second.claim()) == 1
    assert await second.claim() == []


async def test_recipients_that_cannot_be_claimed_do_not_use_the_cap(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3, bodies=("Hi {{ first_name }}",), line_limit=1)
    await ledger.run("UPDATE contact SET first_name = NULL WHERE phone <> :phone", phone=number(2))

    found = []
    for _ in range(4):
        async with new_uow() as uow:
            result = await ledger.claim_in(uow)
        found.append((len(result.claimed), result.is_exhausted))

    assert found[:3] == [(0, False), (0, False), (1, True)]


CAP_COUNTS = {
    "claimed": 1,
    "calling": 1,
    "unknown": 1,
    "parked": 1,
    "not_found": 1,
    "sent": 1,
    "failed": 1,
    "delivered": 1,
    "refused": 0,
    "released": 0,
}


@pytest.mark.parametrize(("status", "counted"), CAP_COUNTS.items())
async def test_cap_counts_every_message_that_may_have_been_accepted(
    new_uow: UnitOfWorkFactory, status: str, counted: int
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()
    accepted = NOW if status in {"sent", "failed", "delivered"} else None

    await ledger.run(
        "UPDATE send_attempt SET status = :status, accepted_at = :at", status=status, at=accepted
    )

    async with new_uow() as uow:
        used = await usage.count_campaign_sent_today(
            uow.session,
            campaign_id=ledger.campaign.id,
            line_id=ledger.line.id,
            times=TIMES,
            now=NOW,
        )
    assert used == (counted, counted)


@pytest.mark.parametrize(
    ("accepted_at", "today", "counted"),
    [
        # The line's day begins at 05:00 UTC.
        (datetime(2026, 11, 25, 4, 59, 59, tzinfo=UTC), NOW, 0),
        (datetime(2026, 11, 25, 5, 0, tzinfo=UTC), NOW, 1),
        (datetime(2026, 11, 26, 4, 59, 59, tzinfo=UTC), NOW, 1),
        (datetime(2026, 11, 26, 5, 0, tzinfo=UTC), NOW, 0),
    ],
)
async def test_accepted_message_counts_on_the_providers_day_in_the_lines_time_zone(
    new_uow: UnitOfWorkFactory, accepted_at: datetime, today: datetime, counted: int
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.run("UPDATE send_attempt SET called_at = :at", at=accepted_at)

    await ledger.accept(claimed, at=accepted_at, now=accepted_at)

    async with new_uow() as uow:
        used = await usage.count_sent_today(
            uow.session, line_ids=[ledger.line.id], times=TIMES, now=today
        )
    assert used == {ledger.line.id: counted}


@pytest.mark.parametrize("status", ["parked", "not_found"])
async def test_unclear_message_counts_on_every_day_its_window_touches(
    new_uow: UnitOfWorkFactory, status: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()
    midnight = datetime(2026, 11, 26, 5, 0, tzinfo=UTC)
    counts = {}

    for minutes in (-11, -5, 5):
        called = midnight + timedelta(minutes=minutes)
        await ledger.run(
            "UPDATE send_attempt SET status = :status, called_at = :at, created_at = :at",
            status=status,
            at=called,
        )
        for day in (midnight - timedelta(hours=1), midnight + timedelta(hours=1)):
            async with new_uow() as uow:
                used = await usage.count_sent_today(
                    uow.session, line_ids=[ledger.line.id], times=TIMES, now=day
                )
            counts[minutes, day < midnight] = used[ledger.line.id]

    assert counts == {
        (-11, True): 1,
        (-11, False): 0,
        (-5, True): 1,
        (-5, False): 1,
        (5, True): 0,
        (5, False): 1,
    }


async def test_recipient_whose_number_has_an_open_attempt_waits(new_uow: UnitOfWorkFactory) -> None:
    first = await Ledger.open(new_uow)
    async with new_uow() as uow:
        other_line = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )
    second = await Ledger.open(new_uow, line=other_line)
    await first.claim()

    assert await second.claim() == []

    (recipient,) = await second.recipients()
    assert (recipient.status, recipient.due_at > NOW) == ("pending", True)


@pytest.mark.parametrize("status", ["claimed", "calling", "unknown"])
async def test_index_refuses_a_second_open_attempt_for_a_number(
    new_uow: UnitOfWorkFactory, status: str
) -> None:
    first = await Ledger.open(new_uow)
    second = await Ledger.open(new_uow, line=first.line)
    await first.begin_calls()
    await first.run("UPDATE send_attempt SET status = :status", status=status)

    assert await second.claim() == []
    assert len(await first.attempts()) == 1


@pytest.mark.parametrize("kept_by", ["parked", "matched"])
async def test_parked_or_matched_attempt_blocks_its_number_until_its_window_ends(
    new_uow: UnitOfWorkFactory, kept_by: str
) -> None:
    first = await Ledger.open(new_uow)
    second = await Ledger.open(new_uow, line=first.line)
    await first.make_unclear_attempt()
    if kept_by == "matched":
        await first.report(message_facts("delivered"))
    else:
        await first.run("UPDATE send_attempt SET status = 'parked'")

    assert await second.claim(now=after(599)) == []
    assert len(await second.claim(now=after(660))) == 1


async def test_number_messaged_by_another_campaign_waits_the_minimum_days(
    new_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(new_uow)
    second = await Ledger.open(new_uow, line=first.line, min_days_between=3)
    (claimed,) = await first.begin_calls()
    await first.accept(claimed)

    assert await second.claim(now=NOW + timedelta(days=2, hours=23)) == []
    assert len(await second.claim(now=NOW + timedelta(days=3, hours=1))) == 1


@pytest.mark.parametrize("kind", [ResponseKind.REFUSED, ResponseKind.LATER])
async def test_message_that_was_not_sent_starts_no_waiting_days(
    new_uow: UnitOfWorkFactory, kind: ResponseKind
) -> None:
    first = await Ledger.open(new_uow)
    second = await Ledger.open(new_uow, line=first.line, min_days_between=3)
    (claimed,) = await first.begin_calls()
    await first.answer(claimed, kind)

    assert len(await second.claim(now=after(100))) == 1


async def test_manual_message_counts_against_the_cap_but_is_not_stopped_by_it(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2, line_limit=1)
    for position in (5, 6):
        async with new_uow() as uow:
            await queue_message(
                uow,
                line_id=ledger.line.id,
                phone=number(position),
                body="On our way.",
                kind=SendKind.MANUAL,
                contact_id=None,
                now=NOW,
            )
        async with new_uow() as uow:
            batch = await queued_claim.claim_queued(
                uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW
            )
        assert len(batch) == 1

    assert await ledger.claim() == []


async def test_claim_returns_whether_more_recipients_may_be_claimed(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3)

    async with new_uow() as uow:
        first = await ledger.claim_in(uow, limit=2)
    async with new_uow() as uow:
        second = await ledger.claim_in(uow, limit=2)

    assert (len(first.claimed), first.is_exhausted) == (2, False)
    assert (len(second.claimed), second.is_exhausted) == (1, True)
