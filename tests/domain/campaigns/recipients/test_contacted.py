"""Each claim checks again who got a message before, or recently."""

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


async def both_written(new_uow: UnitOfWorkFactory, rule: str) -> tuple[Ledger, Ledger]:
    """Two campaigns to one person, both stored before either has sent."""
    first = await Ledger.open(new_uow)
    return first, await Ledger.open(new_uow, line=first.line, previously_contacted=rule)


async def send(ledger: Ledger, message_id: str = "AC1") -> None:
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed, message_id)


async def activity(ledger: Ledger, **values: Any) -> None:
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


async def state(ledger: Ledger) -> tuple[str, str | None]:
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
    ("rule", "left"),
    [("skip", ("skipped", "previously_contacted")), ("review", ("review", None))],
)
async def test_text_of_another_campaign_meanwhile_counts(
    new_uow: UnitOfWorkFactory, rule: str, left: tuple[str, str | None]
) -> None:
    first, second = await both_written(new_uow, rule)
    await send(first)

    claimed = await second.claim(now=after(60))

    assert (claimed, await state(second)) == ([], left)
    assert len(await second.attempts()) == 1


async def test_campaign_that_sends_anyway_puts_no_one_in_review(new_uow: UnitOfWorkFactory) -> None:
    first, second = await both_written(new_uow, "send")
    await send(first)

    assert len(await second.claim(now=after(60))) == 1


@pytest.mark.parametrize("origin", ["manual", "provider"])
async def test_text_by_a_person_meanwhile_counts(new_uow: UnitOfWorkFactory, origin: str) -> None:
    ledger = await Ledger.open(new_uow, previously_contacted="skip")
    await activity(ledger, origin=origin)

    assert (await ledger.claim(), await state(ledger)) == ([], ("skipped", "previously_contacted"))


async def test_flag_set_meanwhile_counts(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, previously_contacted="skip")
    await ledger.flag("recently_texted")

    assert (await ledger.claim(), await state(ledger)) == ([], ("skipped", "previously_contacted"))


@pytest.mark.parametrize(
    "values", [{"direction": "incoming"}, {"kind": "call"}, {"origin": "confirmation"}]
)
async def test_what_is_no_text_to_the_person_does_not_count(
    new_uow: UnitOfWorkFactory, values: dict[str, Any]
) -> None:
    ledger = await Ledger.open(new_uow, previously_contacted="skip")
    await activity(ledger, **values)

    assert len(await ledger.claim()) == 1


async def test_others_of_the_batch_are_claimed(new_uow: UnitOfWorkFactory) -> None:
    first = await Ledger.open(new_uow)
    second = await Ledger.open(new_uow, people=3, line=first.line, previously_contacted="skip")
    await send(first)

    claimed = await second.claim(now=after(60))

    assert sorted(one.phone for one in claimed) == [number(1), number(2)]


async def test_approval_holds_whatever_was_sent_before_and_after(
    new_uow: UnitOfWorkFactory,
) -> None:
    first, second = await both_written(new_uow, "review")
    await send(first)
    assert await second.claim(now=after(60)) == []

    await approve(second)

    assert len(await second.claim(now=after(60))) == 1


async def test_approval_outlasts_a_hold(new_uow: UnitOfWorkFactory) -> None:
    first, second = await both_written(new_uow, "review")
    await send(first)
    await second.claim(now=after(60))
    await second.flag("opt_out_hold")
    await approve(second)
    assert await state(second) == ("held", None)

    await second.run("DELETE FROM contact_flag")
    async with new_uow() as uow:
        await sends.restore_held_recipients(uow, phones=[number(0)], now=after(70))

    assert len(await second.claim(now=after(70))) == 1


async def test_person_released_from_a_hold_is_checked_again(new_uow: UnitOfWorkFactory) -> None:
    first, second = await both_written(new_uow, "skip")
    await send(first)
    await second.run(
        "UPDATE campaign_membership SET status = 'held' WHERE campaign_id = :id",
        id=second.campaign.id,
    )
    async with new_uow() as uow:
        await sends.restore_held_recipients(uow, phones=[number(0)], now=after(60))

    assert (await second.claim(now=after(60)), (await state(second))[0]) == ([], "skipped")


async def test_opt_out_between_lock_and_look_keeps_its_reason(new_uow: UnitOfWorkFactory) -> None:
    first, second = await both_written(new_uow, "review")
    await send(first)
    await second.run(
        "UPDATE campaign_membership SET status = 'skipped', skip_reason = 'opted_out' "
        "WHERE campaign_id = :id",
        id=second.campaign.id,
    )

    async with new_uow() as uow:
        aside = await claim.set_contacted_aside(
            uow.session,
            membership_ids=[(await second.recipient()).id],
            rule="review",
            now=after(60),
        )

    assert (aside, await state(second)) == (set(), ("skipped", "opted_out"))


async def test_own_first_text_does_not_stop_a_follow_up(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(
        new_uow, previously_contacted="skip", min_days_between=30, **FOLLOW_UP
    )
    await send(ledger)

    (claimed,) = await ledger.claim(now=LATER)

    assert claimed.body == "Did you see my text?"


async def test_text_by_a_person_starts_no_waiting_days(new_uow: UnitOfWorkFactory) -> None:
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


async def test_two_campaigns_that_start_together_text_a_person_once_in_the_days(
    new_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(new_uow, people=4, min_days_between=7)
    second = await Ledger.open(new_uow, people=4, line=first.line, min_days_between=7)

    got: list[str] = []
    for _ in range(4):
        for ledger in (first, second):
            for one in await ledger.begin_calls(limit=1):
                await ledger.accept(one, f"AC{len(got)}")
                got.append(one.phone)

    assert sorted(got) == [number(position) for position in range(4)]
