"""Late, twice and out of order gives the same state as once and in order."""

import itertools
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.openphone.samples import sample
from tests.domain.webhooks.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    RECEPTION,
    call_events,
    rows,
)
from tests.factories import make_line

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.lines.models import Line
from crm_api.domain.openphone.wire import parse_event
from crm_api.domain.webhooks import service as webhooks

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


def orders(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Every rotation, forwards and backwards, the first one again at the end."""
    turned = [events[start:] + events[:start] for start in range(len(events))]
    return [order + order[:1] for one in turned for order in (one, one[::-1])]


async def test_events_of_a_call_give_the_same_row_in_any_order(
    session: AsyncSession, new_uow: UnitOfWorkFactory, line: Line
) -> None:
    states = []
    for order in orders(call_events()):
        async with session.begin_nested() as attempt:
            for payload in order:
                async with new_uow() as uow:
                    await webhooks.apply_event(
                        uow, parse_event(payload), now=NOW, reception=RECEPTION
                    )
            found = await rows(session, STATE_OF_CALLS)
            for one in found:
                contact, talk = one.pop("contact_id"), one.pop("conversation_id")
                assert contact is not None
                assert talk is not None
            talks = await rows(session, "SELECT last_activity_at, openphone_id FROM conversation")
            states.append((found, talks))
            await attempt.rollback()

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
        async with session.begin_nested() as attempt:
            for payload in (*order, order[0]):
                async with new_uow() as uow:
                    await webhooks.apply_event(
                        uow, parse_event(payload), now=NOW, reception=RECEPTION
                    )
            seen += await rows(session, "SELECT status, direction, origin FROM activity")
            await attempt.rollback()

    assert seen == [{"status": "delivered", "direction": "outgoing", "origin": "provider"}] * len(
        list(itertools.permutations(reports))
    )
