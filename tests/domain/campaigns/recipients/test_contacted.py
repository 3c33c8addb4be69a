"""Each claim checks again whether a person got a message before, or recently."""

from datetime import timedelta
from typing import Any

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger, after
from tests.factories import number

from crm_api.domain.campaigns.recipients import review
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends import claim
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWorkFactory

FOLLOW_UP: dict[str, Any] = {"follow_ups": [{"after_hours": 2, "body": "Did you see my text?"}]}
LATER = NOW + timedelta(hours=2)


async def store_two_campaigns(new_uow: UnitOfWorkFactory, rule: str) -> tuple[Ledger, Ledger]:
    """Store two campaigns to one person, and send nothing yet.

    ``rule`` is the second campaign's rule for people who got a message before.
    """
    first = await Ledger.open(new_uow)
    return first, await Ledger.open(new_uow, line=first.line, previously_contacted=rule)


async def send_message(ledger: Ledger, message_id: str = "AC1") -> None:
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed, message_id)


async def add_activity(ledger: Ledger, **values: Any) -> None:
    person = await ledger.recipient()
    async with ledger.new_uow() as uow:
        uow.session.add(
            Activity(
                contact_id=person.contact_id,
                phone=person.phone,
                status="delivered",
                occurred_at=NOW,
                created_at=NOW,
                updated_at=NOW,
                **({"kind": "message", "direction": "outgoing", "origin": "provider"} | values),
            )
        )


async def read_state(ledger: Ledger) -> tuple[str, str | None]:
    member = await ledger.recipient()
    return member.status, member.skip_reason


async def approve(ledger: Ledger) -> None:
    async with ledger.new_uow() as uow:
        await review.review_recipients(
            uow,
            campaign_id=ledger.campaign.id,
            decision="approve",
            contact_ids=None,
            actor="Grace",
            now=after(60),
        )


@pytest.mark.parametrize(
    ("rule", "state"),
    [("skip", ("skipped", "previously_contacted")), ("review", ("review", None))],
)
async def test_message_of_another_campaign_before_the_claim_counts(
    new_uow: UnitOfWorkFactory, rule: str, state: tuple[str, str | None]
) -> None:
    first, second = await store_two_campaigns(new_uow, rule)
    await send_message(first)

    claimed = await second.claim(now=after(60))

    assert (claimed, await read_state(second)) == ([], state)
    assert len(await second.attempts()) == 1


async def test_campaign_with_the_rule_send_claims_contacted_people(
    new_uow: UnitOfWorkFactory,
) -> None:
    first, second = await store_two_campaigns(new_uow, "send")
    await send_message(first)

    assert len(await second.claim(now=after(60))) == 1


@pytest.mark.parametrize("origin", ["manual", "provider"])
async def test_message_by_a_user_before_the_claim_counts(
    new_uow: UnitOfWorkFactory, origin: str
) -> None:
    ledger = await Ledger.open(new_uow, previously_contacted="skip")
    await add_activity(ledger, origin=origin)

    assert (await ledger.claim(), await read_state(ledger)) == (
        [],
        ("skipped", "previously_contacted"),
    )


async def test_flag_set_before_the_claim_counts(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, previously_contacted="skip")
    await ledger.flag("recently_texted")

    assert (await ledger.claim(), await read_state(ledger)) == (
        [],
        ("skipped", "previously_contacted"),
    )


@pytest.mark.parametrize(
    "values", [{"direction": "incoming"}, {"kind": "call"}, {"origin": "confirmation"}]
)
async def test_activity_that_is_not_a_message_to_the_person_does_not_count(
    new_uow: UnitOfWorkFactory, values: dict[str, Any]
) -> None:
    ledger = await Ledger.open(new_uow, previously_contacted="skip")
    await add_activity(ledger, **values)

    assert len(await ledger.claim()) == 1


async def test_other_recipients_of_the_batch_are_claimed(new_uow: UnitOfWorkFactory) -> None:
    first = await Ledger.open(new_uow)
    second = await Ledger.open(new_uow, people=3, line=first.line, previously_contacted="skip")
    await send_message(first)

    claimed = await second.claim(now=after(60))

    assert sorted(one.phone for one in claimed) == [number(1), number(2)]


async def test_approved_recipient_is_claimed_despite_earlier_messages(
    new_uow: UnitOfWorkFactory,
) -> None:
    first, second = await store_two_campaigns(new_uow, "review")
    await send_message(first)
    assert await second.claim(now=after(60)) == []

    await approve(second)

    assert len(await second.claim(now=after(60))) == 1


async def test_approval_is_kept_after_a_hold(new_uow: UnitOfWorkFactory) -> None:
    first, second = await store_two_campaigns(new_uow, "review")
    await send_message(first)
    await second.claim(now=after(60))
    await second.flag("opt_out_hold")
    await approve(second)
    assert await read_state(second) == ("held", None)

    await second.run("DELETE FROM contact_flag")
    async with new_uow() as uow:
        await sends.restore_held_recipients(uow, phones=[number(0)], now=after(70))

    assert len(await second.claim(now=after(70))) == 1


async def test_person_released_from_a_hold_is_checked_again(new_uow: UnitOfWorkFactory) -> None:
    first, second = await store_two_campaigns(new_uow, "skip")
    await send_message(first)
    await second.run(
        "UPDATE campaign_membership SET status = 'held' WHERE campaign_id = :id",
        id=second.campaign.id,
    )
    async with new_uow() as uow:
        await sends.restore_held_recipients(uow, phones=[number(0)], now=after(60))

    assert (await second.claim(now=after(60)), (await read_state(second))[0]) == ([], "skipped")


async def test_opt_out_between_lock_and_check_keeps_its_reason(new_uow: UnitOfWorkFactory) -> None:
    first, second = await store_two_campaigns(new_uow, "review")
    await send_message(first)
    await second.run(
        "UPDATE campaign_membership SET status = 'skipped', skip_reason = 'opted_out' "
        "WHERE campaign_id = :id",
        id=second.campaign.id,
    )

    async with new_uow() as uow:
        set_aside = await claim.set_contacted_aside(
            uow.session,
            membership_ids=[(await second.recipient()).id],
            rule="review",
            now=after(60),
        )

    assert (set_aside, await read_state(second)) == (set(), ("skipped", "opted_out"))


async def test_first_message_of_the_campaign_does_not_stop_its_follow_up(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(
        new_uow, previously_contacted="skip", min_days_between=30, **FOLLOW_UP
    )
    await send_message(ledger)

    (claimed,) = await ledger.claim(now=LATER)

    assert claimed.body == "Did you see my text?"


async def test_message_by_a_user_does_not_start_min_days_between(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, min_days_between=30)
    await ledger.run(
        "INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status, "
        "called_at, accepted_at, created_at, updated_at) VALUES (uuid_v7(), 'manual', :line, "
        "uuid_v7(), :phone, 'On our way.', 'delivered', :now, :now, :now, :now)",
        line=ledger.line.id,
        phone=number(0),
        now=NOW,
    )

    assert len(await ledger.claim(now=after(60))) == 1


async def test_person_gets_one_message_from_two_campaigns_within_min_days_between(
    new_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(new_uow, people=4, min_days_between=7)
    second = await Ledger.open(new_uow, people=4, line=first.line, min_days_between=7)

    messaged: list[str] = []
    for _ in range(4):
        for ledger in (first, second):
            for one in await ledger.begin_calls(limit=1):
                await ledger.accept(one, f"AC{len(messaged)}")
                messaged.append(one.phone)

    assert sorted(messaged) == [number(position) for position in range(4)]
