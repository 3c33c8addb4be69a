"""Events applied in one batch leave the same rows as events applied one by one."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PROVIDER_LINE,
    apply,
    call_events,
    incoming,
    mean_jitter,
    rolled_back,
    rows,
    store,
)
from tests.domain.messaging.sends.ledger import Ledger, after
from tests.domain.provider.openphone.samples import sample, sample_names
from tests.factories import make_contact, make_line, number
from tests.locks import blocked

from crm_api.domain.inbound.webhook_events import effects
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.messaging.sends import record
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.provider.openphone.facts import ProviderEvent, bound_event
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.domain.provider.openphone.wire import CURRENT_TYPES, parse_event
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

STATE = (
    """SELECT a.openphone_id, a.kind, a.direction, a.origin, a.status, a.rank, a.phone, a.body,
              a.media, a.user_id, a.call, a.occurred_at, a.error_code, c.phone AS contact,
              a.campaign_id, t.phone AS talk
         FROM activity a LEFT JOIN contact c ON c.id = a.contact_id
         LEFT JOIN conversation t ON t.id = a.conversation_id
        ORDER BY a.openphone_id, a.phone, a.body""",
    """SELECT phone, openphone_id, last_activity_at, last_outgoing_at, last_incoming_at
         FROM conversation ORDER BY phone""",
    "SELECT phone, source FROM contact ORDER BY phone",
    "SELECT phone, flag_type FROM contact_flag ORDER BY phone, flag_type",
    "SELECT action, source, actor, occurred_at FROM consent_entry ORDER BY occurred_at",
    """SELECT phone, step, status, replied_at, opted_out_at, ended_by, delivered_at, error_code
         FROM campaign_membership ORDER BY phone, step""",
    "SELECT phone, status, reported_at, error_code FROM send_attempt ORDER BY phone, kind",
    "SELECT provider_event_id, status, attempts, error_code FROM webhook_event ORDER BY 1",
    "SELECT kind, count FROM alert ORDER BY kind",
    "SELECT kind, url FROM media_fetch ORDER BY url",
)
REPLIES = (
    "Yes, please",
    "Take me off your list",
    "START",
    "HELP",
    "ok",
    "can you stop by tomorrow?",
    "STOP",
)


async def state(session: AsyncSession) -> list[list[dict[str, Any]]]:
    return [await rows(session, query) for query in STATE]


async def apply_in_batches(new_uow: UnitOfWorkFactory, size: int) -> None:
    """Apply due events in batches of ``size``."""
    taken = 1
    while taken:
        async with new_uow() as uow:
            taken = await webhooks.apply_batch(
                uow, limit=size, now=after(3600), apply_settings=APPLY_SETTINGS, jitter=mean_jitter
            )


async def state_after(
    session: AsyncSession, new_uow: UnitOfWorkFactory, size: int
) -> list[list[dict[str, Any]]]:
    async with rolled_back(session):
        await apply_in_batches(new_uow, size)
        return await state(session)


def differing_rows(one: list[list[dict[str, Any]]], other: list[list[dict[str, Any]]]) -> list[Any]:
    """Return the rows that differ between two states."""
    found: list[Any] = []
    for first, second in zip(one, other, strict=True):
        if first != second and not [row for row in first if row not in second]:
            found.append((first, second))
        found += [row for row in first if row not in second]
        found += [row for row in second if row not in first]
    return found


async def test_batch_of_all_samples_leaves_the_same_rows_as_one_by_one(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    for position, name in enumerate(sample_names()):
        payload = sample(name)
        event = payload if "type" in payload else payload["object"]
        kind = CURRENT_TYPES.get(event["type"], event["type"])
        await store(session, payload, provider_event_id=f"EV{position:03}", type=kind)

    alone = await state_after(session, new_uow, 1)
    together = await state_after(session, new_uow, 100)
    in_between = await state_after(session, new_uow, 7)

    assert differing_rows(alone, together) == []
    assert differing_rows(alone, in_between) == []
    assert alone[0]


@pytest.mark.parametrize("seed", range(6))
async def test_batch_of_a_busy_campaign_leaves_the_same_rows_as_one_by_one(
    session: AsyncSession, new_uow: UnitOfWorkFactory, seed: int
) -> None:
    """Test double deliveries, several replies of a person, unreadable events, unknown senders."""
    chance = random.Random(seed)  # noqa: S311 - the same events in every run
    ledger = await Ledger.open(
        new_uow, people=6, follow_ups=[{"after_hours": 24, "body": "Still there?"}]
    )
    await make_contact(session, phone=number(9))
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"ACout{position}", now=after(1))
    events = [_reply_event(ledger, chance, place) for place in range(25)]
    events += [_report_event(ledger, chance, place) for place in range(15)]
    events += [_call_event(ledger, chance, event) for event in call_events()]
    events += [_unreadable_event(place) for place in range(2)]
    chance.shuffle(events)
    for place, payload in enumerate(events):
        at = after(60 + place)
        await store(session, payload, provider_event_id=f"EV{place:03}", now=at)

    alone = await state_after(session, new_uow, 1)
    together = await state_after(session, new_uow, 100)

    assert differing_rows(alone, together) == []
    assert len(alone[4]) >= 1


async def test_batch_of_opt_outs_and_a_start_leaves_the_same_confirmations_as_one_by_one(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    for place, words in enumerate(("Take me off your list", "START", "stop texting me")):
        at = after(place)
        await store(session, incoming(words, message_id=f"AC{place}", at=at), now=at)

    alone = await state_after(session, new_uow, 1)
    together = await state_after(session, new_uow, 100)

    confirmations = [row["status"] for row in alone[0] if row["origin"] == "confirmation"]
    assert sorted(confirmations) == ["failed", "queued"]
    assert differing_rows(alone, together) == []


def _reply_event(ledger: Ledger, chance: random.Random, place: int) -> dict[str, Any]:
    # Some replies are delivered twice, with two event ids.
    payload = incoming(chance.choice(REPLIES), message_id=f"ACin{place - place % 8 % 2}")
    payload["data"]["resource"]["createdAt"] = after(100 + place - place % 8 % 2).isoformat()
    payload["data"]["context"] |= {
        "phoneNumberId": ledger.line.phone_number_id,
        "senderIdentifier": number(chance.randrange(10)) if place % 8 % 2 == 0 else number(0),
        "recipientIdentifiers": [ledger.line.number],
    }
    return payload


def _report_event(ledger: Ledger, chance: random.Random, place: int) -> dict[str, Any]:
    payload = sample(f"2026-03-30/message.{chance.choice(['delivered', 'undelivered', 'failed'])}")
    person = chance.randrange(6)
    message_id = f"ACout{person}" if place % 5 else f"ACapp{place}"
    payload["data"]["resource"] |= {"id": message_id, "createdAt": after(1).isoformat()}
    payload["data"]["resource"].pop("updatedAt", None)
    payload["data"]["context"] |= {
        "phoneNumberId": ledger.line.phone_number_id,
        "senderIdentifier": ledger.line.number,
        "recipientIdentifiers": [number(person)],
    }
    return payload


def _call_event(ledger: Ledger, chance: random.Random, payload: dict[str, Any]) -> dict[str, Any]:
    payload["data"]["context"]["phoneNumberId"] = ledger.line.phone_number_id
    payload["data"]["context"]["participants"] |= {
        "workspace": [ledger.line.number],
        "external": [number(3)],
    }
    if chance.random() < 0.3:
        payload["data"]["context"].pop("participants")
    return payload


def _unreadable_event(place: int) -> dict[str, Any]:
    return {"type": "message.received", "data": {"resource": {"id": f"ACpoison{place}"}}}


async def test_concurrent_workers_lose_no_event_of_the_same_people(
    committed_db: AsyncEngine, committed_uow: Callable[[], UnitOfWork]
) -> None:
    """Test workers that lock the same rows in different orders; a conflicting event is retried."""
    chance = random.Random(4)  # noqa: S311 - the same events in every run
    ledger = await Ledger.open(
        committed_uow, people=6, follow_ups=[{"after_hours": 24, "body": "Still there?"}]
    )
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"ACout{position}", now=after(1))
    events = [_reply_event(ledger, chance, 2 * place) for place in range(60)]
    events += [_report_event(ledger, chance, 5 * place + 1) for place in range(120)]
    events += [_call_event(ledger, chance, event) for _ in range(3) for event in call_events()]
    chance.shuffle(events)
    async with async_sessionmaker(committed_db)() as session:
        for place, payload in enumerate(events):
            at = after(60 + place)
            await store(session, payload, provider_event_id=f"EV{place:03}", now=at)

    async def work() -> None:
        taken = 1
        while taken:
            async with committed_uow() as uow:
                taken = await webhooks.apply_batch(
                    uow,
                    limit=20,
                    now=after(3600),
                    apply_settings=APPLY_SETTINGS,
                    jitter=mean_jitter,
                )

    await asyncio.gather(*(work() for _ in range(4)))
    async with committed_uow() as uow:
        await webhooks.apply_batch(uow, limit=500, now=after(3700), apply_settings=APPLY_SETTINGS)

    async with async_sessionmaker(committed_db)() as session:
        found = await rows(session, "SELECT status, last_error FROM webhook_event")
        messages = await rows(session, "SELECT id FROM activity WHERE direction = 'incoming'")
        finals = await rows(
            session, "SELECT DISTINCT status FROM send_attempt WHERE kind = 'campaign'"
        )
    assert [row for row in found if row["status"] != "processed"] == []
    assert len(messages) == 60 + 1
    assert {row["status"] for row in finals} <= {"delivered", "failed", "sent"}


async def test_batches_lock_their_conversations_in_one_order(
    committed_db: AsyncEngine, committed_uow: UnitOfWorkFactory
) -> None:
    """Test two batches: the numbers of one batch ascend, those of the other batch descend."""
    async with committed_uow() as uow:
        await make_line(uow.session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)

    async def apply_messages(*messages: ProviderEvent) -> None:
        async with committed_uow() as other:
            await effects.apply_facts(other, messages, now=NOW, apply_settings=APPLY_SETTINGS)

    await apply_messages(_message_from(0, "AC1"), _message_from(1, "AC2"))
    async with committed_uow() as uow:
        await effects.apply_facts(
            uow, [_message_from(0, "AC3")], now=NOW, apply_settings=APPLY_SETTINGS
        )
        waiting = await blocked(
            committed_db, apply_messages(_message_from(1, "AC4"), _message_from(0, "AC5"))
        )
        await effects.apply_facts(
            uow, [_message_from(1, "AC6")], now=NOW, apply_settings=APPLY_SETTINGS
        )
    await waiting

    async with async_sessionmaker(committed_db)() as session:
        messages = await rows(session, "SELECT openphone_id AS id FROM activity ORDER BY 1")
    assert [one["id"] for one in messages] == [f"AC{place}" for place in range(1, 7)]


def _message_from(person: int, message_id: str) -> ProviderEvent:
    payload = incoming("Yes, please", message_id=message_id)
    payload["data"]["context"]["senderIdentifier"] = number(person)
    return bound_event(parse_event(payload), received_at=NOW)


async def test_batch_does_not_deadlock_with_the_recording_of_answers(
    committed_db: AsyncEngine, committed_uow: UnitOfWorkFactory
) -> None:
    """Test a batch with a reply of one person and a report about a message to another person."""
    ledger = await Ledger.open(committed_uow, people=2)
    first, second = await ledger.begin_calls()
    await ledger.accept(second, "ACout2", at=after(5), now=after(5))
    reply = incoming("Yes, please", message_id="ACin1")
    report = sample("2026-03-30/message.delivered")
    report["data"]["resource"] |= {"id": "ACout2", "createdAt": after(5).isoformat()}
    for payload, sender, receiver in (
        (reply, first.phone, ledger.line.number),
        (report, ledger.line.number, second.phone),
    ):
        payload["data"]["context"] |= {
            "phoneNumberId": ledger.line.phone_number_id,
            "senderIdentifier": sender,
            "recipientIdentifiers": [receiver],
        }
    batch = [bound_event(parse_event(one), received_at=after(9)) for one in (reply, report)]

    async def apply_the_batch() -> None:
        async with committed_uow() as uow:
            await effects.apply_facts(uow, batch, now=after(9), apply_settings=APPLY_SETTINGS)

    async def record_responses() -> None:
        async with committed_uow() as uow:
            answers = [_accepted(first, "ACout1"), _accepted(second, "ACout2")]
            await record.record_responses(uow, answers, now=after(9))

    async with committed_uow() as uow:
        lock = text("SELECT 1 FROM conversation WHERE phone = :phone FOR UPDATE")
        await uow.session.execute(lock, {"phone": first.phone})
        applying = await blocked(committed_db, apply_the_batch())
        recording = await blocked(committed_db, record_responses(), waiters=2)
    await asyncio.gather(applying, recording)

    found = await ledger.rows("SELECT status FROM send_attempt ORDER BY status")
    assert [row.status for row in found] == ["delivered", "sent"]


def _accepted(claimed: ClaimedAttempt, message_id: str) -> record.Answered:
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id=message_id, provider_created_at=after(2)
    )
    return record.Answered(claimed=claimed, answer=answer)


async def test_events_of_an_unknown_line_fail_alone_in_a_full_batch(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    bad = {7, 8, 63}
    for position in range(100):
        payload = incoming(f"text {position}", message_id=f"AC{position}")
        if position in bad:
            payload["data"]["context"] |= {"phoneNumberId": "PNnobody", "recipientIdentifiers": []}
        at = NOW + timedelta(microseconds=position)
        await store(session, payload, provider_event_id=f"EV{position:03}", now=at)

    taken = await apply(new_uow, now=NOW + timedelta(seconds=1))

    failed = await rows(
        session,
        "SELECT provider_event_id AS id, error_code FROM webhook_event "
        "WHERE status <> 'processed' ORDER BY 1",
    )
    assert taken == 100
    assert failed == [
        {"id": f"EV{position:03}", "error_code": "line_unknown"} for position in sorted(bad)
    ]
    assert len(await rows(session, "SELECT id FROM activity")) == 97


async def test_message_repeated_in_a_batch_is_one_opt_out_with_one_confirmation(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    for name in ("EV1", "EV2", "EV3"):
        payload = incoming("Take me off your list", message_id="AC1")
        await store(session, payload, provider_event_id=name)

    await apply(new_uow)

    assert len(await rows(session, "SELECT id FROM activity WHERE direction = 'incoming'")) == 1
    assert len(await rows(session, "SELECT id FROM consent_entry")) == 1
    assert len(await rows(session, "SELECT id FROM activity WHERE origin = 'confirmation'")) == 1


async def test_opt_outs_of_a_batch_release_claimed_attempts(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    ledger = await Ledger.open(new_uow, people=3, line=line)
    batch = await ledger.claim()
    for place in range(2):
        values: dict[str, Any] = {"from": number(place), "at": NOW}
        await store(session, incoming("STOP", message_id=f"ACstop{place}", **values))

    await apply(new_uow)

    states = [(one.status, one.skip_reason) for one in await ledger.recipients()]
    assert states == [("skipped", "opted_out"), ("skipped", "opted_out"), ("sending", None)]
    assert [one.phone for one in await ledger.gate(batch)] == [number(2)]
