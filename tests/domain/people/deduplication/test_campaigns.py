"""Merges move recipients. No recipient is lost, and no step is sent twice or after a STOP."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW, SECRET
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.domain.people.deduplication.people import merge, read_ids, read_recipients, unmerge
from tests.factories import make_contact, make_member, number
from tests.locks import blocked

from crm_api.domain.campaigns.audience import reading
from crm_api.domain.campaigns.audience.selection import AudienceSettings
from crm_api.domain.campaigns.campaign_detail import require_campaign
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.sends import attempt_insertion
from crm_api.domain.messaging.sends.claim_order import PlannedAttempt
from crm_api.domain.messaging.sends.replies import end_all_follow_ups
from crm_api.domain.messaging.sends.vocabulary import EndedBy
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

FOLLOW_UP: dict[str, Any] = {"follow_ups": [{"after_hours": 2, "body": "Did you see my text?"}]}
LATER = NOW + timedelta(hours=3)


async def make_campaign_to(new_uow: UnitOfWorkFactory, *positions: int, **values: Any) -> Ledger:
    """Make three contacts, and a campaign to the contacts at ``positions``."""
    ledger = await Ledger.open(new_uow, people=0, **values)
    async with new_uow() as uow:
        known = [
            await make_contact(uow.session, phone=number(position), zone_key=f"MA/zone{position}")
            for position in range(3)
        ]
        campaign = await uow.session.get(Campaign, ledger.campaign.id)
        assert campaign is not None
        for position in positions:
            await make_member(uow.session, campaign=campaign, contact=known[position])
    return ledger


async def opt_out(new_uow: UnitOfWorkFactory, phone: str) -> None:
    async with new_uow() as uow:
        await consent.opt_out(
            uow,
            phone=phone,
            contact_id=None,
            source=ConsentSource.MESSAGE,
            actor="person",
            reason="stop",
            now=NOW,
            secret=SECRET.encode(),
        )


async def test_waiting_recipient_of_a_duplicate_moves_to_the_primarys_number(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await make_campaign_to(new_uow, 1)

    await merge(new_uow, 0, 1)

    assert await read_recipients(ledger) == [(0, "n0", "n0", "pending", None)]
    async with new_uow() as uow:
        campaign = await require_campaign(uow.session, campaign_id=ledger.campaign.id)
    assert len(campaign.zone_keys) == 2  # the zone key of the primary contact was added
    assert campaign.recipients_total == 1


async def test_the_duplicates_recipient_is_skipped_if_the_primarys_one_waits_too(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)

    await merge(new_uow, 0, 1)

    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "pending", None),
        (0, "n1", "n1", "skipped", "merged"),
    ]
    assert [claimed.phone for claimed in await ledger.begin_calls()] == [number(0)]


async def test_only_one_of_two_waiting_duplicates_continues(new_uow: UnitOfWorkFactory) -> None:
    ledger = await make_campaign_to(new_uow, 1, 2)

    await merge(new_uow, 0, 1, 2)

    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "pending", None),
        (0, "n2", "n2", "skipped", "merged"),
    ]


async def test_waiting_primary_is_skipped_if_the_duplicate_got_the_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await ledger.run(
        "UPDATE campaign_membership SET due_at = :later WHERE phone = :phone",
        later=after(60),
        phone=number(0),
    )
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    await merge(new_uow, 0, 1)

    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "skipped", "merged"),
        (0, "n1", "n1", "sent", None),
    ]
    assert await ledger.begin_calls(now=after(120)) == []


async def test_a_claim_is_withdrawn_and_moves_to_the_primary(new_uow: UnitOfWorkFactory) -> None:
    ledger = await make_campaign_to(new_uow, 1)
    await ledger.run("UPDATE contact SET zone_key = 'MA/America/New_York'")
    await ledger.run(
        "UPDATE campaign_membership SET zone_key = 'MA/America/New_York'",
    )
    await ledger.run("UPDATE campaign SET zone_keys = '{MA/America/New_York}'")
    (claimed,) = await ledger.claim()

    await merge(new_uow, 0, 1)

    assert await ledger.gate([claimed]) == []
    assert await read_recipients(ledger) == [(0, "n0", "n0", "pending", None)]
    assert [again.phone for again in await ledger.begin_calls(now=after(60))] == [number(0)]


async def test_recipient_being_sent_to_stays_with_its_attempt(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await ledger.run(
        "UPDATE campaign_membership SET due_at = :later WHERE phone = :phone",
        later=after(60),
        phone=number(0),
    )
    (claimed,) = await ledger.begin_calls()

    await merge(new_uow, 0, 1)
    before = await read_recipients(ledger)
    await ledger.accept(claimed)

    assert before == [
        (0, "n0", "n0", "skipped", "merged"),
        (0, "n1", "n1", "sending", None),
    ]
    assert (await read_recipients(ledger))[1] == (0, "n1", "n1", "sent", None)


@pytest.mark.parametrize("is_of_primary", [False, True])
async def test_an_unclear_attempt_is_not_repeated_if_the_other_number_got_the_message(
    new_uow: UnitOfWorkFactory, *, is_of_primary: bool
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    unclear = await ledger.make_unclear_attempt()
    position = int(unclear.phone == number(1))
    (other,) = await ledger.begin_calls(limit=1)
    await ledger.accept(other)

    await merge(new_uow, *((position, 1 - position) if is_of_primary else (1 - position, position)))
    await ledger.conclude_not_found()

    row = next(one for one in await ledger.recipients() if one.phone == unclear.phone)
    assert (row.status, row.skip_reason) == ("skipped", "merged")
    assert await ledger.begin_calls(now=after(900)) == []


async def test_an_unclear_attempt_of_the_only_track_is_repeated_at_the_primarys_number(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    async with new_uow() as uow:
        await make_contact(uow.session, phone=number(1))
    await ledger.make_unclear_attempt()

    await merge(new_uow, 1, 0)
    before = await read_recipients(ledger)
    await ledger.conclude_not_found()

    assert before == [(0, "n1", "n1", "unknown", None)]
    assert [claimed.phone for claimed in await ledger.begin_calls(now=after(900))] == [number(1)]


async def test_follow_ups_continue_at_the_primarys_number(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, **FOLLOW_UP)
    async with new_uow() as uow:
        await make_contact(uow.session, phone=number(1))
    (claimed,) = await ledger.begin_calls()

    await merge(new_uow, 1, 0)
    await ledger.accept(claimed)

    assert await read_recipients(ledger) == [
        (0, "n1", "n1", "sent", None),
        (1, "n1", "n1", "pending", None),
    ]
    assert [one.phone for one in await ledger.begin_calls(now=LATER)] == [number(1)]


async def test_the_furthest_track_continues(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=2, **FOLLOW_UP)
    for claimed in await ledger.begin_calls():
        await ledger.accept(claimed, f"AC{claimed.phone}")
    await ledger.run(
        "UPDATE campaign_membership SET due_at = :late WHERE phone = :phone AND step = 1",
        late=LATER + timedelta(days=1),
        phone=number(0),
    )
    (second,) = await ledger.begin_calls(now=LATER)
    await ledger.accept(second, "ACsecond", at=LATER, now=LATER)

    await merge(new_uow, 0, 1, now=LATER)

    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "sent", None),
        (0, "n1", "n1", "sent", None),
        (1, "n0", "n0", "skipped", "merged"),
        (1, "n1", "n1", "sent", None),
    ]


@pytest.mark.parametrize("replies_from", [0, 1])
async def test_a_reply_from_either_number_ends_the_follow_ups(
    new_uow: UnitOfWorkFactory, replies_from: int
) -> None:
    ledger = await Ledger.open(new_uow, **FOLLOW_UP)
    async with new_uow() as uow:
        await make_contact(uow.session, phone=number(1))
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)
    await merge(new_uow, 1, 0)

    async with new_uow() as uow:
        await end_all_follow_ups(
            uow,
            {number(replies_from): after(60)},
            why=EndedBy.REPLY,
            times=TIMES,
            now=after(60),
        )

    assert (await read_recipients(ledger))[1] == (1, "n1", "n1", "skipped", "replied")


@pytest.mark.parametrize("stops", [0, 1])
async def test_a_stop_from_either_number_skips_the_recipient(
    new_uow: UnitOfWorkFactory, stops: int
) -> None:
    ledger = await make_campaign_to(new_uow, 1)
    await merge(new_uow, 0, 1)

    await opt_out(new_uow, number(stops))

    assert await read_recipients(ledger) == [(0, "n0", "n0", "skipped", "opted_out")]


async def test_message_to_a_duplicate_counts_as_previous_contact(
    new_uow: UnitOfWorkFactory,
) -> None:
    first = await Ledger.open(new_uow)
    (claimed,) = await first.begin_calls()
    await first.accept(claimed)
    second = await Ledger.open(new_uow, people=0, line=first.line, previously_contacted="skip")
    async with new_uow() as uow:
        other = await make_contact(uow.session, phone=number(1))
        campaign = await uow.session.get(Campaign, second.campaign.id)
        assert campaign is not None
        await make_member(uow.session, campaign=campaign, contact=other)
    await merge(new_uow, 1, 0)

    claimed_now = await second.claim()

    assert claimed_now == []
    assert (await second.recipient()).skip_reason == "previously_contacted"


async def test_audiences_replace_merged_ids_by_the_primary(new_uow: UnitOfWorkFactory) -> None:
    await make_campaign_to(new_uow)
    ids = await read_ids(new_uow)
    await merge(new_uow, 0, 1)

    async def count_recipients(audience: dict[str, Any]) -> int:
        async with new_uow() as uow:
            counted = await reading.count_audience(
                uow.session,
                AudienceSettings(
                    audience=audience, previously_contacted="send", skip_landlines=False
                ),
                now=NOW,
            )
        return sum(counted.values())

    old, other = str(ids[number(1)]), str(ids[number(2)])
    assert await count_recipients({"contact_ids": [old]}) == 1
    assert await count_recipients({"contact_ids": [old, str(ids[number(0)])]}) == 1
    all_ids = [str(one) for one in ids.values()]
    assert await count_recipients({"contact_ids": all_ids, "exclude": {"contact_ids": [old]}}) == 1
    assert await count_recipients({"contact_ids": [other], "exclude": {"contact_ids": [old]}}) == 1


async def test_a_recipient_skipped_before_its_lock_is_not_claimed(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    member = await ledger.recipient()
    await ledger.run("UPDATE campaign_membership SET status = 'skipped', skip_reason = 'merged'")

    async with new_uow() as uow:
        inserted = await attempt_insertion.insert_attempts(
            uow.session,
            [
                PlannedAttempt(
                    attempt_id=new_id(),
                    membership_id=member.id,
                    contact_id=member.contact_id,
                    phone=member.phone,
                    body="Hi",
                    variant=0,
                    not_after=LATER,
                    max_recent=None,
                    recent_hours=None,
                    segments=1,
                    carrier="unknown",
                )
            ],
            cap_texts=None,
            cap_hours=None,
            campaign_id=ledger.campaign.id,
            line_id=ledger.line.id,
            token=new_id(),
            lease_until=after(60),
            min_days=None,
            grace=600.0,
            now=NOW,
        )

    assert inserted == []


async def test_a_merge_waits_for_a_claim_and_withdraws_it(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow, people=2)
    async with committed_uow() as uow:
        claimed = (await ledger.claim_in(uow)).claimed
        merging = await blocked(committed_db, merge(committed_uow, 0, 1))
    await merging

    assert len(claimed) == 2
    assert await ledger.gate(claimed) == []
    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "pending", None),
        (0, "n1", "n1", "skipped", "merged"),
    ]


async def test_undo_returns_a_waiting_recipient(new_uow: UnitOfWorkFactory) -> None:
    ledger = await make_campaign_to(new_uow, 1)
    made = await merge(new_uow, 0, 1)

    await unmerge(new_uow, made)

    assert await read_recipients(ledger) == [(0, "n1", "n1", "pending", None)]


async def test_recipient_sent_to_since_the_merge_stays_with_the_primary(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, **FOLLOW_UP)
    async with new_uow() as uow:
        await make_contact(uow.session, phone=number(1))
    made = await merge(new_uow, 1, 0)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    await unmerge(new_uow, made)

    assert await read_recipients(ledger) == [
        (0, "n1", "n1", "sent", None),
        (1, "n1", "n1", "pending", None),
    ]


async def test_undo_returns_a_track_with_its_later_steps(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, **FOLLOW_UP)
    async with new_uow() as uow:
        await make_contact(uow.session, phone=number(1))
    (claimed,) = await ledger.begin_calls()
    made = await merge(new_uow, 1, 0)
    await ledger.accept(claimed)

    await unmerge(new_uow, made)

    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "sent", None),
        (1, "n0", "n0", "pending", None),
    ]


async def test_an_opt_out_since_the_merge_applies_after_its_undo(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await make_campaign_to(new_uow, 1)
    made = await merge(new_uow, 0, 1)
    await opt_out(new_uow, number(0))

    await unmerge(new_uow, made)

    assert await read_recipients(ledger) == [(0, "n1", "n1", "skipped", "opted_out")]


async def test_undo_returns_the_skipped_message_of_the_duplicate(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    made = await merge(new_uow, 0, 1)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    await unmerge(new_uow, made)

    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "sent", None),
        (0, "n1", "n1", "pending", None),
    ]
    assert [one.phone for one in await ledger.claim(now=LATER)] == [number(1)]


async def test_undo_returns_the_skipped_message_to_the_review(new_uow: UnitOfWorkFactory) -> None:
    ledger = await make_campaign_to(new_uow, 0, 1)
    await ledger.run("UPDATE campaign_membership SET status = 'review'")
    made = await merge(new_uow, 0, 1)

    await unmerge(new_uow, made)

    assert {row.status for row in await ledger.recipients()} == {"review"}


async def test_undo_does_not_return_a_skipped_message_that_a_stop_forbids(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await make_campaign_to(new_uow, 0, 1)
    made = await merge(new_uow, 0, 1)
    await opt_out(new_uow, number(1))

    await unmerge(new_uow, made)

    assert await read_recipients(ledger) == [
        (0, "n0", "n0", "skipped", "opted_out"),
        (0, "n1", "n1", "skipped", "opted_out"),
    ]


async def test_undo_returns_no_message_before_a_later_one(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=2, **FOLLOW_UP)
    (first,) = await ledger.begin_calls(limit=1)
    await ledger.accept(first)
    made = await merge(new_uow, 1, 0)
    (second,) = await ledger.begin_calls(now=LATER)
    await ledger.accept(second, "AC2", at=LATER, now=LATER)

    await unmerge(new_uow, made)

    assert [first.phone, second.phone] == [number(0), number(1)]
    assert (0, "n1", "n1", "skipped", "merged") in await read_recipients(ledger)


async def test_undo_returns_no_message_that_another_duplicate_of_the_person_got(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    for position, claimed in enumerate(await ledger.begin_calls(limit=2)):
        await ledger.accept(claimed, f"AC{position}")
    made = await merge(new_uow, 2, 0)
    await merge(new_uow, 2, 1)

    await unmerge(new_uow, made)

    assert (0, "n2", "n2", "skipped", "merged") in await read_recipients(ledger)


async def test_undo_of_a_merge_of_an_earlier_release_leaves_skipped_messages(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await make_campaign_to(new_uow, 0, 1)
    made = await merge(new_uow, 0, 1)
    await ledger.run("UPDATE contact_merge SET snapshot = snapshot - 'skipped'")

    await unmerge(new_uow, made)

    assert (0, "n1", "n1", "skipped", "merged") in await read_recipients(ledger)
