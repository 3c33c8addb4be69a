"""A replay is safe: an event that is applied a second time changes no row."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PROVIDER_LINE,
    apply,
    incoming,
    statuses,
    store,
)
from tests.domain.messaging.sends.ledger import Ledger, after
from tests.domain.provider.openphone.samples import sample, sample_names
from tests.factories import make_line, number

from crm_api.domain.all_tables import metadata
from crm_api.domain.inbound.webhook_events.stored_events import EventSelection, replay_events
from crm_api.domain.provider.openphone.wire import CURRENT_TYPES, parse_event
from crm_api.platform.database import UnitOfWorkFactory

OPERATIONAL_TABLES = {"webhook_event", "audit_log", "scheduled_job", "rate_limit"}
"""Tables about the operation of the service: events, audit log, jobs and rate limits."""
REPLIES = (
    "Yes, Tuesday works",
    "take me off your list",
    "START",
    "HELP",
    "can you stop by?",
    "STOP",
    "no more messages please, maybe",
)


async def business_rows(session: AsyncSession) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table that is not operational."""
    found = {}
    for name in sorted(set(metadata.tables) - OPERATIONAL_TABLES):
        listed = await session.execute(text(f'SELECT t.*, t::text AS whole FROM "{name}" t'))
        found[name] = sorted((dict(row) for row in listed.mappings()), key=lambda row: row["whole"])
    return found


async def replay_all(session: AsyncSession, new_uow: UnitOfWorkFactory) -> None:
    """Replay every event a day later, and apply the events that become due."""
    later = NOW + timedelta(days=1)
    async with new_uow() as uow:
        await replay_events(uow, EventSelection(), actor="test", now=later)
    while await apply(new_uow, now=later + timedelta(hours=1)):
        pass
    assert set(await statuses(session)) <= {"processed", "ignored"}


async def test_replaying_every_sample_changes_no_row(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    for position, name in enumerate(sample_names()):
        payload = sample(name)
        event = payload if "type" in payload else payload["object"]
        kind = CURRENT_TYPES.get(event["type"], event["type"])
        await store(session, payload, provider_event_id=f"EV{position}", type=kind)
    await apply(new_uow)
    before = await business_rows(session)

    await replay_all(session, new_uow)

    assert await business_rows(session) == before
    assert before["activity"]


@pytest.mark.parametrize("turns", [1, 2])
async def test_replaying_the_replies_and_reports_of_a_campaign_changes_no_row(
    session: AsyncSession, new_uow: UnitOfWorkFactory, turns: int
) -> None:
    people = len(REPLIES)
    ledger = await Ledger.open(
        new_uow, people=people, follow_ups=[{"after_hours": 24, "body": "Still there?"}]
    )
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"ACout{position}", now=after(1))
    for position, words in enumerate(REPLIES):
        await _store_reply(session, ledger, position, words)
        await _store_report(session, ledger, position)
    await apply(new_uow, now=after(60))
    before = await business_rows(session)

    for _ in range(turns):
        await replay_all(session, new_uow)

    assert await business_rows(session) == before
    assert len(before["consent_entry"]) >= 3


async def _store_reply(session: AsyncSession, ledger: Ledger, position: int, words: str) -> None:
    payload = incoming(words, message_id=f"ACin{position}")
    payload["data"]["context"] |= {
        "phoneNumberId": ledger.line.phone_number_id,
        "senderIdentifier": number(position),
        "recipientIdentifiers": [ledger.line.number],
    }
    payload["data"]["resource"]["createdAt"] = after(30 + position).isoformat()
    await store(session, payload, now=after(30 + position))


async def _store_report(session: AsyncSession, ledger: Ledger, position: int) -> None:
    kind = ("delivered", "undelivered", "failed")[position % 3]
    payload = sample(f"2026-03-30/message.{kind}")
    payload["id"] = f"EVreport{position}"
    payload["data"]["resource"] |= {"id": f"ACout{position}", "createdAt": after(1).isoformat()}
    payload["data"]["context"] |= {
        "phoneNumberId": ledger.line.phone_number_id,
        "recipientIdentifiers": [number(position)],
    }
    assert parse_event(payload).message is not None
    await store(session, payload, now=after(20))
