"""A batch of events of one kind needs the same statements for any number of events."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.domain.inbound.webhook_events.support import APPLY_SETTINGS, incoming, rows, store
from tests.domain.messaging.sends.ledger import Ledger, after
from tests.domain.provider.openphone.samples import sample
from tests.factories import number

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

MANY = 24


@contextmanager
def counted_statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """Yield a list to which each statement that the block executes is appended."""
    seen: list[str] = []

    def record(_: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", record)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", record)


def message_event(ledger: Ledger, place: int, words: str, *, sender: str) -> dict[str, Any]:
    payload = incoming(words, message_id=f"ACin{place}", at=after(60))
    payload["data"]["context"] |= {
        "phoneNumberId": ledger.line.phone_number_id,
        "senderIdentifier": sender,
        "recipientIdentifiers": [ledger.line.number],
    }
    return payload


def reply(ledger: Ledger, place: int) -> dict[str, Any]:
    return message_event(ledger, place, "Yes, please", sender=number(place))


def new_sender(ledger: Ledger, place: int) -> dict[str, Any]:
    return message_event(ledger, place, "Who is this?", sender=number(500 + place))


def opt_out(ledger: Ledger, place: int) -> dict[str, Any]:
    return message_event(ledger, place, "Please take me off your list", sender=number(place))


def report(ledger: Ledger, place: int) -> dict[str, Any]:
    payload = sample("2026-03-30/message.delivered")
    payload["data"]["resource"] |= {"id": f"ACout{place}", "createdAt": after(1).isoformat()}
    payload["data"]["resource"].pop("updatedAt", None)
    payload["data"]["context"] |= {
        "phoneNumberId": ledger.line.phone_number_id,
        "senderIdentifier": ledger.line.number,
        "recipientIdentifiers": [number(place)],
    }
    return payload


def call(ledger: Ledger, place: int) -> dict[str, Any]:
    payload = sample("2026-03-30/call.ringing")
    payload["data"]["resource"] |= {"id": f"ACcall{place}", "createdAt": after(60).isoformat()}
    payload["data"]["context"]["phoneNumberId"] = ledger.line.phone_number_id
    payload["data"]["context"]["participants"] |= {
        "workspace": [ledger.line.number],
        "external": [number(place)],
    }
    return payload


# The most statements of a batch of each kind. The statements that claim the events and store their
# outcomes are included.
KINDS = [
    (reply, 22),
    (new_sender, 26),
    (opt_out, 38),
    (report, 18),
    (call, 20),
]


@pytest.mark.parametrize(("kind", "most"), KINDS)
async def test_statements_of_a_batch_do_not_grow_with_its_events(
    session: AsyncSession, engine: AsyncEngine, new_uow: UnitOfWorkFactory, kind: Any, most: int
) -> None:
    ledger = await Ledger.open(
        new_uow, people=2 * MANY, follow_ups=[{"after_hours": 24, "body": "Still there?"}]
    )
    for place, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"ACout{place}", now=after(1))

    async def statements_of(places: range) -> int:
        for place in places:
            payload = kind(ledger, place)
            await store(session, payload, provider_event_id=f"EV{place:03}", now=after(61))
        async with new_uow() as uow:
            with counted_statements(engine) as seen:
                await webhooks.apply_batch(
                    uow, limit=100, now=after(62), apply_settings=APPLY_SETTINGS
                )
        return len(seen)

    one = await statements_of(range(1))
    many = await statements_of(range(1, 1 + MANY))

    assert many <= one, kind.__name__
    assert many <= most, kind.__name__
    found = await rows(session, "SELECT DISTINCT status, last_error FROM webhook_event")
    assert [row["status"] for row in found] == ["processed"]


# `added` and `updated` are how many conversations a batch of one message inserts and updates.
@pytest.mark.parametrize(("kind", "added", "updated"), [(reply, 0, 1), (new_sender, 1, 0)])
async def test_message_and_its_conversation_are_written_once(
    session: AsyncSession, new_uow: UnitOfWorkFactory, kind: Any, added: int, updated: int
) -> None:
    ledger = await Ledger.open(new_uow, people=1)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed, "ACout0", now=after(1))
    await store(session, kind(ledger, 0), provider_event_id="EV0", now=after(61))

    async with new_uow() as uow:
        before = await _writes(uow)
        await webhooks.apply_batch(uow, limit=100, now=after(62), apply_settings=APPLY_SETTINGS)
        written = await _writes(uow) - before

    assert written == Counter(
        {"conversation added": added, "conversation updated": updated, "activity added": 1}
    )
    (message,) = await rows(
        session, "SELECT id, campaign_id FROM activity WHERE direction = 'incoming'"
    )
    assert message["campaign_id"] == (ledger.campaign.id if kind is reply else None)
    (event,) = await rows(session, "SELECT * FROM event WHERE type = 'message.received'")
    assert (event["subject_id"], event["campaign_id"]) == (message["id"], message["campaign_id"])
    (conversation,) = await rows(
        session,
        "SELECT state, waiting_since, last_incoming_at, last_activity_at FROM conversation "
        "WHERE last_incoming_at IS NOT NULL",
    )
    assert conversation == {
        "state": "waiting",
        "waiting_since": after(60),
        "last_incoming_at": after(60),
        "last_activity_at": after(60),
    }


async def _writes(uow: UnitOfWork) -> Counter[str]:
    found = await uow.session.execute(
        text(
            "SELECT CAST(substring(relname FROM '^[a-z]+') AS text) AS name,"
            " CAST(sum(n_tup_ins) AS integer) AS added, CAST(sum(n_tup_upd) AS integer) AS updated "
            "FROM pg_stat_xact_user_tables WHERE relname ~ '^(conversation|activity_[0-9_]+)$' "
            "GROUP BY 1"
        )
    )
    writes = Counter[str]()
    for one in found:
        writes |= {f"{one.name} added": one.added, f"{one.name} updated": one.updated}
    return writes
