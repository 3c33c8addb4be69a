"""Events applied late, twice or out of order give the same state as once and in order."""

import itertools
import random
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    call_events,
    incoming,
    rolled_back,
    rows,
)
from tests.domain.messaging.sends.ledger import Ledger, after
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_line, number

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.provider.openphone.wire import parse_event
from crm_api.platform.database import UnitOfWorkFactory

STATE_OF_CALLS = """
    SELECT openphone_id, status, rank, direction, phone, line_id, contact_id, conversation_id,
           user_id, call, occurred_at
      FROM activity ORDER BY openphone_id
"""


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


SHUFFLES, SEED = 40, 20261125


def orders(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return all rotations of the events, forwards and backwards, and some random orders.

    Each order ends with a repetition of its first event. Another test without a database checks
    that the merged data of a call's events is the same in every order.
    """
    shuffler = random.Random(SEED)  # noqa: S311 - the same orders in every run
    rotations = [events[start:] + events[:start] for start in range(len(events))]
    shuffled = [shuffler.sample(events, len(events)) for _ in range(SHUFFLES)]
    listed = [order for one in rotations for order in (one, one[::-1])] + shuffled
    return [order + order[:1] for order in listed]


async def test_events_of_a_call_give_the_same_row_in_any_order(
    session: AsyncSession, new_uow: UnitOfWorkFactory, line: Line
) -> None:
    states = []
    for order in orders(call_events()):
        async with rolled_back(session):
            for payload in order:
                async with new_uow() as uow:
                    await webhooks.apply_event(
                        uow, parse_event(payload), now=NOW, apply_settings=APPLY_SETTINGS
                    )
            found = await rows(session, STATE_OF_CALLS)
            for one in found:
                contact, conversation = one.pop("contact_id"), one.pop("conversation_id")
                assert contact is not None
                assert conversation is not None
            conversations = await rows(
                session,
                "SELECT last_activity_at, last_outgoing_at, openphone_id FROM conversation",
            )
            states.append((found, conversations))

    first = states[0]
    assert all(state == first for state in states)
    assert [(one["status"], one["phone"], one["line_id"]) for one in first[0]] == [
        ("answered", PERSON, line.id)
    ]


@pytest.mark.usefixtures("line")
async def test_reports_of_a_message_give_the_same_row_in_any_order(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    delivered = sample("2026-03-30/message.delivered")
    reports = [delivered, sample("legacy/message.delivered")]
    for kind in ("failed", "undelivered"):
        report = sample(f"2026-03-30/message.{kind}")
        report["data"]["resource"]["id"] = delivered["data"]["resource"]["id"]
        report["data"]["resource"]["createdAt"] = delivered["data"]["resource"]["createdAt"]
        report["data"]["context"]["recipientIdentifiers"] = [PERSON]
        reports.append(report)
    seen = []
    for order in itertools.permutations(reports):
        async with rolled_back(session):
            for payload in (*order, order[0]):
                async with new_uow() as uow:
                    await webhooks.apply_event(
                        uow, parse_event(payload), now=NOW, apply_settings=APPLY_SETTINGS
                    )
            seen += await rows(session, "SELECT status, direction, origin FROM activity")

    assert seen == [{"status": "delivered", "direction": "outgoing", "origin": "provider"}] * len(
        list(itertools.permutations(reports))
    )


STATE_OF_THE_PERSON = (
    """SELECT status, replied_at, opted_out_at, ended_by IS NOT NULL AS is_ended, delivered_at
         FROM campaign_membership ORDER BY step""",
    "SELECT status, reported_at, error_code FROM send_attempt ORDER BY created_at",
    """SELECT openphone_id, kind, direction, status, rank, body, occurred_at,
              campaign_id IS NOT NULL AS is_answer
         FROM activity WHERE origin <> 'confirmation' ORDER BY openphone_id""",
    "SELECT flag_type FROM contact_flag ORDER BY flag_type",
    "SELECT last_activity_at, last_outgoing_at, last_incoming_at FROM conversation",
    "SELECT phone FROM contact ORDER BY phone",
    "SELECT status FROM send_attempt WHERE kind = 'confirmation'",
)


def _events_of_a_person(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the events of two replies and a missed call, and two reports of our message.

    The second reply is an opt-out. The event that is applied first decides the reason for which the
    follow-up is skipped. So this reason may differ between two orders.
    """
    replies = []
    for position, words in enumerate(("Yes, please", "Please take me off your list")):
        payload = incoming(words, message_id=f"ACin{position}")
        payload["data"]["resource"]["createdAt"] = after(30 + 10 * position).isoformat()
        replies.append(payload)
    call = sample("2026-03-30/call.missed")
    call["createdAt"] = after(50).isoformat()
    call["data"]["resource"] |= dict.fromkeys(("createdAt", "updatedAt"), after(50).isoformat())
    reports = []
    for kind in ("delivered", "undelivered"):
        report = sample(f"2026-03-30/message.{kind}")
        report["data"]["resource"] |= {"id": "ACout", "createdAt": after(1).isoformat()}
        reports.append(report)
    events = [*replies, call, *reports]
    for payload in events:
        payload["data"]["context"]["phoneNumberId"] = ledger.line.phone_number_id
        if "senderIdentifier" in payload["data"]["context"]:
            is_ours = payload["type"] != "message.received"
            payload["data"]["context"] |= {
                "senderIdentifier": ledger.line.number if is_ours else number(0),
                "recipientIdentifiers": [number(0) if is_ours else ledger.line.number],
            }
    call["data"]["context"]["participants"] |= {
        "workspace": [ledger.line.number],
        "external": [number(0)],
    }
    return events


async def test_events_of_a_campaigns_recipient_give_the_same_state_in_any_order(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow, follow_ups=[{"after_hours": 24, "body": "Still there?"}])
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed, "ACout", now=after(1))
    states = []
    for order in itertools.permutations(_events_of_a_person(ledger)):
        async with rolled_back(session):
            for payload in (*order, order[0]):
                async with new_uow() as uow:
                    await webhooks.apply_event(
                        uow, parse_event(payload), now=after(60), apply_settings=APPLY_SETTINGS
                    )
            states.append([await rows(session, query) for query in STATE_OF_THE_PERSON])

    assert states[0][0][0]["replied_at"] == after(30)
    assert states[0][0][0]["status"] == "delivered"
    for place, parts in enumerate(zip(*states, strict=True)):
        different = [part for part in parts if part != parts[0]]
        assert (place, different[:1], parts[0]) == (place, [], parts[0])
