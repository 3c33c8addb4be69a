"""Checks that the claim makes itself, although the plan or the gate makes them too."""

from datetime import datetime, timedelta

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.domain.messaging.sends.test_follow_ups import LATER, open_with_first_sent
from tests.factories import number

from crm_api.domain.consent.legal_rules.rules import NO_RULES, load_rules
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import claim, queue, queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt, ClaimOrder
from crm_api.platform.database import UnitOfWorkFactory

EARLY = datetime.fromisoformat("2026-11-27T14:30:00Z")
"""09:30 in New York, 06:30 in Los Angeles, two days after ``NOW``."""


async def _order(ledger: Ledger) -> ClaimOrder:
    async with ledger.new_uow() as uow:
        order = await ledger.order(uow)
    assert order is not None
    return order


async def _claim(ledger: Ledger, order: ClaimOrder) -> list[ClaimedAttempt]:
    async with ledger.new_uow() as uow:
        return (await claim.claim_recipients(uow, order, limit=10, times=TIMES, now=NOW)).claimed


async def test_deleted_contact_is_not_claimed(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await ledger.run(
        "UPDATE contact SET deleted_at = :now WHERE phone = :phone", now=NOW, phone=number(0)
    )

    claimed = await ledger.claim()

    deleted, other = await ledger.recipients()
    assert [item.phone for item in claimed] == [number(1)]
    assert (deleted.status, deleted.skip_reason) == ("skipped", "contact_deleted")
    assert other.status == "sending"


async def test_recipient_who_is_not_due_is_not_claimed_with_one_who_is_due(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await ledger.run(
        "UPDATE campaign_membership SET due_at = :at WHERE phone = :phone",
        at=after(1),
        phone=number(0),
    )

    assert [item.phone for item in await ledger.claim()] == [number(1)]
    assert [item.phone for item in await ledger.claim(now=after(1))] == [number(0)]


@pytest.mark.parametrize("status", ["review", "held", "skipped", "cancelled", "failed"])
async def test_only_pending_recipients_are_claimed(new_uow: UnitOfWorkFactory, status: str) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await ledger.run(
        "UPDATE campaign_membership SET status = :status WHERE phone = :phone",
        status=status,
        phone=number(0),
    )

    claimed = await ledger.claim()

    assert [item.phone for item in claimed] == [number(1)]
    assert (await ledger.recipients())[0].status == status


async def test_order_made_before_the_line_was_blocked_claims_no_recipient(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    order = await _order(ledger)
    await ledger.run("UPDATE line SET status = 'blocked'")

    assert await _claim(ledger, order) == []
    assert (await ledger.recipient()).status == "pending"


async def test_first_message_of_a_campaign_starts_no_waiting_days_for_its_follow_up(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_with_first_sent(new_uow, min_days_between=30)

    (second,) = await ledger.claim(now=LATER)

    assert second.body == "Ada, did you see my text?"


async def test_recipient_due_longest_is_claimed_first_over_all_zones(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    places = ["MA/America/New_York", "FL/America/New_York", "MA/America/New_York"]
    await ledger.run("UPDATE campaign SET zone_keys = :places", places=places[:2])
    for position, place in enumerate(places):
        await ledger.run(
            "UPDATE campaign_membership SET due_at = :at, zone_key = :place WHERE phone = :phone",
            at=NOW - timedelta(minutes=position),
            place=place,
            phone=number(position),
        )
        await ledger.run(
            "UPDATE contact SET zone_key = :place WHERE phone = :phone",
            place=place,
            phone=number(position),
        )

    claimed = [await ledger.claim(limit=1) for _ in range(3)]

    assert [item.phone for batch in claimed for item in batch] == [number(2), number(1), number(0)]


async def test_recipient_with_an_old_zone_key_is_claimed_in_the_hours_of_the_contact(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2, timezone="recipient")
    ledger.rules = load_rules("us")
    await ledger.run(
        "UPDATE contact SET zone_key = 'CA/America/Los_Angeles' WHERE phone = :phone",
        phone=number(0),
    )

    claimed = await ledger.claim(now=EARLY)

    moved, _ = await ledger.recipients()
    (campaign,) = await ledger.rows("SELECT zone_keys FROM campaign")
    assert [item.phone for item in claimed] == [number(1)]
    assert (moved.status, moved.zone_key) == ("pending", "CA/America/Los_Angeles")
    assert sorted(campaign.zone_keys) == ["CA/America/Los_Angeles", "MA/America/New_York"]
    assert len(await ledger.claim(now=EARLY + timedelta(hours=3))) == 1


async def test_manual_message_does_not_count_against_the_frequency_cap(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, frequency_cap={"texts": 1, "days": 7})
    async with new_uow() as uow:
        await queue.queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=NOW,
        )
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)
    (reply,) = await ledger.gate(batch)
    await ledger.accept(reply)

    assert len(await ledger.claim(now=after(60))) == 1
