"""Opt-outs at the provider, landlines and invalid numbers are learned from failed messages."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.campaigns.audiences import (
    make_scheduled_campaign,
    read_recipients,
    store_audience,
)
from tests.domain.messaging.sends.ledger import BODY, TIMES, Ledger, after, message_facts
from tests.factories import make_campaign, make_member, number
from tests.fakes import RecordingQueue

from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.provider_stops import failure_learning
from crm_api.domain.messaging.sends import report as reports
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import JobName

KEY = SECRET.encode()


async def learn(new_uow: UnitOfWorkFactory, *, seconds: float = 100) -> int:
    """Evaluate all new failures; return how many phone numbers they concern."""
    count = 0
    while True:
        async with new_uow() as uow:
            if not await failure_learning.learn_from_next_number(
                uow, now=after(seconds), secret=KEY
            ):
                return count
        count += 1


async def fail(ledger: Ledger, code: str, *, message_id: str, seconds: float = 5) -> None:
    """Send the due message of a campaign, and report that the message failed with this code."""
    (claimed,) = await ledger.begin_calls(limit=1, now=after(seconds - 5))
    await ledger.accept(claimed, message_id, at=after(seconds - 4), now=after(seconds - 4))
    report = message_facts(
        "failed",
        message_id=message_id,
        phone=claimed.phone,
        at=after(seconds - 4),
        updated_at=after(seconds),
        error_code=code,
    )
    await ledger.report(report, now=after(seconds))


async def report_app_failure(
    ledger: Ledger, code: str, *, message_id: str, seconds: float = 5
) -> UUID:
    """Report that a message sent in the provider's app failed with this code."""
    report = message_facts(
        "failed",
        message_id=message_id,
        body="On my way.",
        at=after(seconds - 4),
        updated_at=after(seconds),
        error_code=code,
    )
    return await ledger.report(report, now=after(seconds))


async def flags(ledger: Ledger, position: int = 0) -> set[str]:
    rows = await ledger.rows(
        "SELECT flag_type FROM contact_flag WHERE phone = :phone", phone=number(position)
    )
    return {row.flag_type for row in rows}


async def entries(ledger: Ledger) -> Sequence[Row[Any]]:
    return await ledger.rows(
        "SELECT e.*, w.reason, w.evidence FROM consent_entry e "
        "LEFT JOIN consent_wording w ON w.entry_id = e.id ORDER BY e.id"
    )


async def next_campaign(ledger: Ledger, **values: Any) -> Ledger:
    """Add another running campaign to the first person, on the same line."""
    async with ledger.new_uow() as uow:
        made = await make_campaign(uow.session, line=ledger.line, bodies=(BODY,), now=NOW, **values)
        (found,) = await ledger.rows("SELECT id FROM contact WHERE phone = :p", p=number(0))
        person = await uow.session.get_one(Contact, found.id)
        await make_member(uow.session, campaign=made, contact=person, now=NOW)
    return Ledger(ledger.new_uow, ledger.line, made)


async def test_failure_by_the_providers_stop_list_opts_the_number_out(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await Ledger.open(new_uow)
    later = await next_campaign(ledger)
    await ledger.run("UPDATE campaign SET status = 'paused' WHERE id = :id", id=later.campaign.id)
    await fail(ledger, "21610", message_id="AC1")
    assert JobName.LEARN_FROM_FAILURES in queue.names

    assert await learn(new_uow) == 1
    assert await learn(new_uow) == 0

    assert await flags(ledger) == {"opted_out"}
    (entry,) = await entries(ledger)
    (message,) = await ledger.messages()
    assert (entry.action, entry.source, entry.actor) == ("opt_out", "provider", "provider")
    assert (entry.activity_id, entry.occurred_at) == (message.id, after(5))
    assert entry.evidence["error_code"] == "21610"
    assert entry.evidence["message_id"] == str(message.id)
    recipient = await later.recipient()
    assert (recipient.status, recipient.skip_reason) == ("skipped", "opted_out")


async def test_failure_reported_twice_appends_one_entry(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await fail(ledger, "21610", message_id="AC1")
    await learn(new_uow)
    again = message_facts("failed", updated_at=after(5), error_code="21610", at=after(1))

    await ledger.report(again, now=after(9))

    assert await learn(new_uow) == 0
    assert len(await entries(ledger)) == 1


async def test_refusal_with_the_stop_list_code_opts_the_number_out(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.answer(claimed, ResponseKind.REFUSED, http_status=400, code="21610")

    await learn(new_uow)

    assert await flags(ledger) == {"opted_out"}


async def test_failed_message_of_a_colleague_opts_the_number_out(
    new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await Ledger.open(new_uow)
    message_id = await report_app_failure(ledger, "21610", message_id="ACforeign")
    assert JobName.LEARN_FROM_FAILURES in queue.names

    await learn(new_uow)

    (entry,) = await entries(ledger)
    assert entry.activity_id == message_id
    assert await flags(ledger) == {"opted_out"}


async def test_old_failure_changes_nothing(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    old = message_facts(
        "failed",
        message_id="ACold",
        body="Hello",
        at=after(-400_000),
        updated_at=after(-400_000),
        error_code="21610",
    )
    async with new_uow() as uow:
        await reports.apply_report(
            uow, facts=old, line_id=ledger.line.id, times=TIMES, now=after(0)
        )

    assert await learn(new_uow) == 0


async def test_opt_in_after_the_failure_prevents_the_opt_out(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await fail(ledger, "21610", message_id="AC1")
    async with new_uow() as uow:
        await opt_in(uow, seconds=50)

    await learn(new_uow)

    assert await flags(ledger) == set()
    (stop,) = await ledger.rows("SELECT * FROM provider_stop")
    assert stop.failures == 1


async def opt_in(uow: UnitOfWork, *, seconds: float) -> None:
    await consent.opt_in(
        uow,
        phone=number(0),
        contact_id=None,
        source=ConsentSource.API,
        actor="a key",
        reason="the person called",
        now=after(seconds),
        secret=KEY,
    )


async def test_each_refusal_of_the_provider_is_counted(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    for position, seconds in enumerate((5, 8)):
        await report_app_failure(ledger, "21610", message_id=f"AC{position}", seconds=seconds)
    await learn(new_uow)
    await report_app_failure(ledger, "21610", message_id="AC2", seconds=20)

    await learn(new_uow)

    (stop,) = await ledger.rows("SELECT * FROM provider_stop")
    assert (stop.failures, stop.first_failed_at, stop.last_failed_at) == (3, after(5), after(20))


@pytest.mark.parametrize("code", ["30006", "21614"])
async def test_one_failure_marks_the_number_as_a_landline(
    new_uow: UnitOfWorkFactory, code: str
) -> None:
    ledger = await Ledger.open(new_uow)
    await fail(ledger, code, message_id="AC1")

    await learn(new_uow)

    (known,) = await ledger.rows("SELECT * FROM phone_lookup")
    assert (known.phone, known.line_type) == (number(0), "landline")
    assert known.source == "provider_failure"
    assert await flags(ledger) == set()


@pytest.mark.parametrize("code", ["30006", "21614"])
async def test_later_campaign_skips_a_landline_known_from_a_failure(
    session: AsyncSession, new_uow: UnitOfWorkFactory, code: str
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await fail(ledger, code, message_id="AC1")
    await learn(new_uow)
    contacts = list(await session.scalars(select(Contact)))
    later = await make_scheduled_campaign(session, contacts, ledger.line, skip_landlines=True)

    await store_audience(new_uow, later)

    rows = await read_recipients(session, later)
    shown = {phone: (row.status, row.skip_reason) for phone, row in rows.items()}
    assert shown == {number(0): ("skipped", "landline"), number(1): ("pending", None)}


@pytest.mark.parametrize("codes", [("30005", "30005"), ("30006", "30005"), ("21211", "21614")])
async def test_second_permanent_failure_makes_the_number_invalid(
    new_uow: UnitOfWorkFactory, codes: tuple[str, str]
) -> None:
    ledger = await Ledger.open(new_uow)
    await fail(ledger, codes[0], message_id="AC1")
    await learn(new_uow)
    assert await flags(ledger) == set()
    second = await next_campaign(ledger)
    await fail(second, codes[1], message_id="AC2", seconds=50)
    third = await next_campaign(ledger)

    await learn(new_uow)

    assert await flags(ledger) == {"invalid_number"}
    recipient = await third.recipient()
    assert (recipient.status, recipient.skip_reason) == ("skipped", "invalid_number")
    assert await third.claim(now=after(60)) == []
    (entry,) = await ledger.rows("SELECT * FROM audit_log WHERE action = 'mark_number_invalid'")
    assert entry.detail == {"failures": 2}


@pytest.mark.parametrize("code", ["30003", "30007", "30008", "0206400", "failed"])
async def test_other_failures_do_not_mark_the_number(new_uow: UnitOfWorkFactory, code: str) -> None:
    ledger = await Ledger.open(new_uow)
    await fail(ledger, code, message_id="AC1")
    second = await next_campaign(ledger)
    await fail(second, code, message_id="AC2", seconds=50)

    assert await learn(new_uow) == 0
    assert await flags(ledger) == set()
    assert await ledger.rows("SELECT * FROM phone_lookup") == []


async def test_removed_flag_is_set_again_only_after_two_more_failures(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    for position, code in enumerate(("30006", "30006")):
        await report_app_failure(ledger, code, message_id=f"AC{position}", seconds=5 + position)
    await learn(new_uow)
    recipient = await ledger.recipient()
    contact = f"/v1/contacts/{recipient.contact_id}"
    explain = f"/v1/campaigns/{ledger.campaign.id}/recipients/{recipient.contact_id}/explain"
    shown = (await client.get(contact)).json()
    explained = (await client.get(explain)).json()

    removed = await client.delete(f"{contact}/flags/invalid_number")
    after_removal = (await client.get(contact)).json()
    await report_app_failure(ledger, "30006", message_id="ACnext", seconds=200)
    await learn(new_uow, seconds=201)
    once = await flags(ledger)
    await report_app_failure(ledger, "30005", message_id="ACnext2", seconds=300)
    await learn(new_uow, seconds=301)

    assert (shown["flags"], shown["line_type"]) == (["invalid_number"], "landline")
    assert "invalid_number" in {stop["rule"] for stop in explained["stops"]}
    assert removed.status_code == 204
    assert (after_removal["flags"], after_removal["line_type"]) == ([], None)
    assert (once, await flags(ledger)) == (set(), {"invalid_number"})


async def test_invalid_number_flag_set_by_a_user_skips_the_recipient(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    recipient = await ledger.recipient()

    flagged = await client.post(
        f"/v1/contacts/{recipient.contact_id}/flags", json={"flag": "invalid_number"}
    )

    assert flagged.status_code == 201, flagged.text
    recipient = await ledger.recipient()
    assert (recipient.status, recipient.skip_reason) == ("skipped", "invalid_number")
