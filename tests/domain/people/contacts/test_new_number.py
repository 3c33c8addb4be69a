"""The recipients of a contact when the contact gets a new number, or moves."""

from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.campaigns.audiences import make_scheduled_campaign
from tests.domain.messaging.sends.ledger import BODY, Ledger, after
from tests.domain.messaging.sends.test_follow_ups import STEPS
from tests.domain.people.deduplication.people import merge, read_ids
from tests.factories import make_contact, make_line, make_member, number
from tests.locks import blocked

from crm_api.domain.campaigns.audience.storage import store_next_chunk
from crm_api.domain.campaigns.lifecycle import begin_due_campaigns
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.messaging.sends import record
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import recipients
from crm_api.domain.people.contacts.schemas import ContactUpdate
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory

US = load_rules("us")
EARLY = datetime.fromisoformat("2026-11-27T14:30:00Z")
"""09:30 in New York, 06:30 in Los Angeles, two days after ``NOW``."""
WEST = "CA,MA/America/Los_Angeles,America/New_York"
"""Zone key of a number of Massachusetts whose owner lives in California."""


async def _change(new_uow: UnitOfWorkFactory, now: datetime = NOW, **values: Any) -> None:
    """Change the contact with the first number."""
    async with new_uow() as uow:
        found = text("SELECT id FROM contact WHERE phone = :phone")
        contact_id = await uow.session.scalar(found, {"phone": number(0)})
        await contact_changes.update_contact(
            uow, ContactUpdate(**values), contact_id=contact_id, now=now
        )


async def _move_as_an_import(new_uow: UnitOfWorkFactory, now: datetime) -> None:
    async with new_uow() as uow:
        await uow.session.execute(text("UPDATE contact SET zone_key = :west"), {"west": WEST})
        await recipients.copy_zone_keys(uow.session, phones=[number(0)], now=now)


async def test_hold_of_the_old_number_does_not_apply_to_the_new_number(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.flag("opt_out_hold")
    before = await ledger.recipient()
    async with new_uow() as uow:
        await sends.withdraw_numbers(uow, phones=[before.phone], now=NOW)
    held = await ledger.recipient()

    async with new_uow() as uow:
        await contact_changes.update_contact(
            uow,
            ContactUpdate(phone="+16175550177"),
            contact_id=before.contact_id,
            now=after(60),
        )

    member = await ledger.recipient()
    assert held.status == "held"
    assert (member.status, member.phone) == ("pending", "+16175550177")


async def test_contact_that_moves_while_the_audience_is_stored_keeps_its_hours(
    committed_uow: UnitOfWorkFactory,
) -> None:
    async with committed_uow() as uow:
        contact = await make_contact(uow.session, phone=number(0))
        line = await make_line(uow.session)
        campaign = await make_scheduled_campaign(
            uow.session, [contact], line, started_at=NOW, timezone="recipient", bodies=(BODY,)
        )
    ledger = Ledger(committed_uow, line, campaign)
    ledger.rules = US

    async with committed_uow() as uow:
        await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
        await _change(committed_uow, address={"state": "CA"})
    async with committed_uow() as uow:
        await begin_due_campaigns(uow, now=NOW)

    assert await ledger.claim(now=EARLY) == []
    assert len(await ledger.claim(now=EARLY + timedelta(hours=3))) == 1


async def test_follow_up_stored_while_an_import_moves_the_contact_keeps_its_hours(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    ledger = await Ledger.open(committed_uow, timezone="recipient", **STEPS)
    ledger.rules = US
    (claimed,) = await ledger.begin_calls()
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id="AC1", provider_created_at=NOW
    )

    async with committed_uow() as uow:
        await record.record_responses(uow, [Answered(claimed=claimed, answer=answer)], now=after(1))
        moving = await blocked(committed_db, _move_as_an_import(committed_uow, after(3)))
    await moving

    assert await ledger.claim(now=EARLY) == []
    assert len(await ledger.claim(now=EARLY + timedelta(hours=3))) == 1


@pytest.mark.parametrize(
    ("change", "phone", "zone_key"),
    [
        ({"address": {"state": "CA"}}, number(0), WEST),
        ({"timezone": "America/Los_Angeles"}, number(0), "MA/America/Los_Angeles"),
        ({"phone": "+14155550177"}, "+14155550177", "CA/America/Los_Angeles"),
        ({"phone": number(9)}, number(9), "MA/America/New_York"),
    ],
)
async def test_changed_contact_releases_its_claim(
    new_uow: UnitOfWorkFactory, change: dict[str, Any], phone: str, zone_key: str
) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.claim()

    await _change(new_uow, after(1), **change)

    member = await ledger.recipient()
    assert await ledger.gate(claimed, now=after(2)) == []
    assert (member.status, member.phone, member.zone_key) == ("pending", phone, zone_key)
    assert [one.phone for one in await ledger.claim(now=after(60))] == [phone]


async def test_contact_that_an_import_moves_releases_its_claim(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.claim()

    await _move_as_an_import(new_uow, after(1))

    member = await ledger.recipient()
    assert await ledger.gate(claimed, now=after(2)) == []
    assert (member.status, member.zone_key) == ("pending", WEST)


async def test_change_without_a_new_place_or_number_keeps_the_claim(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.claim()

    await _change(new_uow, after(1), first_name="Grace", address={"state": "MA"})

    assert await ledger.gate(claimed, now=after(2)) == claimed


async def test_released_recipient_whose_new_number_is_in_the_campaign_is_skipped(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.claim()
    async with new_uow() as uow:
        other = await make_contact(uow.session, phone=number(1))
        await make_member(uow.session, campaign=ledger.campaign, contact=other)
        other.phone = number(2)

    await _change(new_uow, after(1), phone=number(1))

    first, second = await ledger.recipients()
    assert (first.phone, first.status, first.skip_reason) == (
        number(0),
        "skipped",
        "duplicate_number",
    )
    assert (second.phone, second.status) == (number(1), "pending")


async def test_call_that_has_begun_is_not_released(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.begin_calls()

    await _change(new_uow, after(1), address={"state": "CA"})

    assert (await ledger.attempt()).status == "calling"
    assert (await ledger.recipient()).zone_key == WEST


async def _delete(new_uow: UnitOfWorkFactory, position: int) -> None:
    ids = await read_ids(new_uow)
    async with new_uow() as uow:
        await contact_changes.delete_contact(uow, contact_id=ids[number(position)], now=NOW)


async def _change_number(new_uow: UnitOfWorkFactory, old: int, new: int) -> None:
    ids = await read_ids(new_uow)
    async with new_uow() as uow:
        await contact_changes.update_contact(
            uow, ContactUpdate(phone=number(new)), contact_id=ids[number(old)], now=after(60)
        )


@pytest.mark.parametrize("how", ["deleted", "merged"])
async def test_number_of_a_recipient_that_got_no_message_is_free(
    new_uow: UnitOfWorkFactory, how: Literal["deleted", "merged"]
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    if how == "deleted":
        await _delete(new_uow, 1)
    else:
        await merge(new_uow, 0, 1)

    await _change_number(new_uow, 0, 1)

    claimed = await ledger.claim(now=after(120))
    assert [one.phone for one in claimed] == [number(1)]
    reasons = {"deleted": "contact_deleted", "merged": "merged"}
    (skipped,) = [row for row in await ledger.recipients() if row.status == "skipped"]
    assert (skipped.phone, skipped.skip_reason) == (number(0), reasons[how])


async def test_recipient_under_way_takes_a_number_that_got_no_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await _delete(new_uow, 1)
    (claimed,) = await ledger.begin_calls()
    await _change_number(new_uow, 0, 1)
    await ledger.answer(claimed, ResponseKind.LATER, now=after(61))

    again = await ledger.claim(now=after(7200))

    assert [one.phone for one in again] == [number(1)]


async def test_number_that_may_have_got_the_message_gets_it_only_once(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    both = await ledger.begin_calls()
    for claimed in both:
        await ledger.answer(claimed, ResponseKind.LATER)
    await _delete(new_uow, 1)

    await _change_number(new_uow, 0, 1)

    assert await ledger.claim(now=after(7200)) == []
    assert {row.skip_reason for row in await ledger.recipients()} == {
        "contact_deleted",
        "duplicate_number",
    }


async def test_recipient_is_not_stuck_if_its_new_number_got_the_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    ours, other = sorted(await ledger.begin_calls(), key=lambda one: one.phone)
    await ledger.accept(other)
    await _delete(new_uow, 1)
    await _change_number(new_uow, 0, 1)
    await ledger.answer(ours, ResponseKind.LATER, now=after(61))

    claimed = await ledger.claim(now=after(7200))

    assert claimed == []
    states = {(row.phone, row.status, row.skip_reason) for row in await ledger.recipients()}
    assert states == {
        (number(0), "skipped", "duplicate_number"),
        (number(1), "sent", None),
    }


async def test_change_of_the_number_while_the_audience_is_stored_does_not_lose_the_message(
    committed_uow: UnitOfWorkFactory,
) -> None:
    async with committed_uow() as uow:
        ada = await make_contact(uow.session, phone=number(0))
        line = await make_line(uow.session)
        campaign = await make_scheduled_campaign(
            uow.session, [ada], line, started_at=NOW, bodies=(BODY,)
        )
    ledger = Ledger(committed_uow, line, campaign)
    async with committed_uow() as uow:
        await store_next_chunk(uow, campaign_id=campaign.id, now=NOW)
        await _change_number(committed_uow, 0, 5)
    async with committed_uow() as uow:
        await begin_due_campaigns(uow, now=NOW)

    claimed = await ledger.claim(now=after(3600))

    assert [one.phone for one in claimed] == [number(5)]


async def test_recipient_with_an_old_number_gets_the_number_and_zone_key_of_its_contact(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run(
        "UPDATE contact SET phone = :phone, zone_key = 'FL/America/New_York'", phone=number(5)
    )

    first = await ledger.claim(now=after(60))
    second = await ledger.claim(now=after(120))

    assert [one.phone for one in first + second] == [number(5)]
    (campaign,) = await ledger.rows("SELECT zone_keys FROM campaign")
    assert "FL/America/New_York" in campaign.zone_keys


async def test_recipient_whose_contact_no_longer_exists_is_skipped(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("DELETE FROM contact")

    assert await ledger.claim(now=after(60)) == []

    recipient = await ledger.recipient()
    assert (recipient.status, recipient.skip_reason) == ("skipped", "contact_deleted")


async def test_two_recipients_of_one_person_without_a_number_send_one_message(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    ids = await read_ids(new_uow)
    await ledger.run(
        "UPDATE contact SET phone = 'changing ' || id, deleted_at = :now, merged_into = :to "
        "WHERE id = :id",
        now=NOW,
        to=ids[number(0)],
        id=ids[number(1)],
    )
    await ledger.run(
        "UPDATE contact SET phone = :new WHERE phone = :old", old=number(0), new=number(5)
    )

    claimed = await ledger.claim(now=after(60))

    assert [one.phone for one in claimed] == [number(5)]
    assert {row.skip_reason for row in await ledger.recipients()} == {None, "duplicate_number"}
