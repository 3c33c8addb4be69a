"""Both webhook systems of the provider deliver the same message or call, as during a migration."""

import itertools
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PROVIDER_LINE,
    apply,
    automatic_messages,
    flags,
    rolled_back,
    rows,
    statuses,
    store,
)
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_line

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.provider.openphone.wire import parse_event
from crm_api.platform.database import UnitOfWorkFactory

RECEIVED = [
    "2026-03-30/message.received",
    "legacy/message.received",
    "legacy/variants/v4-documented.message.received",
]
DELIVERED = [
    "2026-03-30/message.delivered",
    "legacy/message.delivered",
    "legacy/variants/v3-app.message.delivered",
]
STATE = """
    SELECT a.openphone_id, a.status, a.rank, a.direction, a.phone, a.body, a.media, a.user_id,
           a.call, a.occurred_at, c.phone AS contact, t.openphone_id AS conversation,
           t.last_activity_at
      FROM activity a LEFT JOIN contact c ON c.id = a.contact_id
      LEFT JOIN conversation t ON t.id = a.conversation_id
     ORDER BY a.openphone_id
"""


@pytest_asyncio.fixture(autouse=True)
async def _line(session: AsyncSession) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()


async def state_after(
    session: AsyncSession, new_uow: UnitOfWorkFactory, events: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Apply these events, roll back, and return the rows that the events left."""
    async with rolled_back(session):
        for payload in events:
            async with new_uow() as uow:
                await webhooks.apply_event(
                    uow, parse_event(payload), now=NOW, apply_settings=APPLY_SETTINGS
                )
        return await rows(session, STATE)


def _differences(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the values that differ between two states of one row each, by column."""
    (first,), (second,) = one, other
    return {name: (first[name], second[name]) for name in first if first[name] != second[name]}


@pytest.mark.parametrize("names", [RECEIVED, DELIVERED], ids=["received", "delivered"])
async def test_message_delivered_by_several_systems_is_one_row_in_any_order(
    session: AsyncSession, new_uow: UnitOfWorkFactory, names: list[str]
) -> None:
    deliveries = [sample(name) for name in names]
    for payload in deliveries:
        content = payload["data"].get("resource", payload["data"].get("object"))
        content["body" if "body" in content else "text"] = "The same text"
    assert (
        len(
            {
                payload["data"].get("resource", payload["data"].get("object"))["id"]
                for payload in deliveries
            }
        )
        == 1
    )

    states = [
        await state_after(session, new_uow, [*order, order[0]])
        for order in itertools.permutations(deliveries)
    ]

    assert len(states[0]) == 1
    for state in states[1:]:
        assert _differences(states[0], state) == {}


async def test_call_delivered_by_both_systems_is_one_row_in_either_order(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    kinds = ["ringing", "completed", "recording.completed", "summary.completed"]
    kinds.append("transcript.completed")
    dated = [sample(f"2026-03-30/call.{kind}") for kind in kinds]
    legacy = [sample(f"legacy/call.{kind}") for kind in kinds]
    alternating = [event for pair in zip(dated, legacy, strict=True) for event in pair]

    states = [
        await state_after(session, new_uow, order)
        for order in (
            dated + legacy,
            legacy + dated,
            alternating,
            alternating[::-1],
            legacy[::-1] + dated,
        )
    ]

    assert len(states[0]) == 1
    for state in states[1:]:
        assert _differences(states[0], state) == {}
    assert len(states[0][0]["call"]["recordings"]) == 1


async def test_opt_out_delivered_by_both_systems_is_recorded_and_confirmed_once(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    dated, legacy = sample("2026-03-30/message.received"), sample("legacy/message.received")
    for content in (dated["data"]["resource"], legacy["data"]["object"]):
        content |= {"text": "Please remove me from your list", "createdAt": NOW.isoformat()}
    await store(session, legacy)
    await store(session, dated)

    await apply(new_uow)

    assert await statuses(session) == ["processed", "processed"]
    assert await flags(session) == ["opted_out"]
    assert len(await rows(session, "SELECT id FROM consent_entry")) == 1
    assert len(await automatic_messages(session)) == 1


async def test_value_that_only_one_system_sends_is_kept(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    legacy_only = await state_after(session, new_uow, [sample("legacy/call.completed")])
    both = await state_after(
        session,
        new_uow,
        [sample("legacy/call.completed"), sample("2026-03-30/call.menu.selected")],
    )

    assert "menu" not in legacy_only[0]["call"]
    assert both[0]["call"]["menu"]
    assert both[0]["call"]["answered_by"] == legacy_only[0]["call"]["answered_by"]
