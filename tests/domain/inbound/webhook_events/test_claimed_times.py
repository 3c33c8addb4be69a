"""The time that the provider claims for an event is used, but it is bounded by the receipt."""

import itertools
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    automatic_messages,
    flags,
    incoming,
    rows,
    store,
)
from tests.factories import make_line

from crm_api.domain.consent.models import hash_phone
from crm_api.platform.database import UnitOfWorkFactory

MINUTE = timedelta(minutes=1)
AHEAD = timedelta(hours=2)


@pytest_asyncio.fixture(autouse=True)
async def line(session: AsyncSession) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()


async def receive(
    session: AsyncSession, words: str, *, claimed: datetime, received: datetime
) -> None:
    payload = incoming(words, message_id=f"AC{words}{received}", createdAt=claimed.isoformat())
    payload["createdAt"] = claimed.isoformat()
    await store(session, payload, now=received)


async def test_start_dated_in_the_future_does_not_undo_a_later_stop(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, "START", claimed=NOW + AHEAD, received=NOW)
    await apply(new_uow)
    await receive(session, "STOP", claimed=NOW + MINUTE, received=NOW + MINUTE)

    await apply(new_uow, now=NOW + MINUTE)

    assert await flags(session) == ["opted_out"]


async def test_entry_stores_the_claimed_time_and_the_time_that_counts(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, "START", claimed=NOW + AHEAD, received=NOW)
    await receive(session, "STOP", claimed=NOW - AHEAD, received=NOW + MINUTE)

    await apply(new_uow, now=NOW + AHEAD)

    entries = await rows(
        session,
        "SELECT action, claimed_at, occurred_at, created_at FROM consent_entry ORDER BY action",
    )
    assert [tuple(entry.values()) for entry in entries] == [
        ("opt_in", NOW + AHEAD, NOW, NOW + AHEAD),
        ("opt_out", NOW - AHEAD, NOW - AHEAD, NOW + AHEAD),
    ]


MESSAGES = (
    ("START", NOW + AHEAD, NOW),
    ("STOP", NOW + MINUTE, NOW + 2 * MINUTE),
    ("START", NOW - AHEAD, NOW + 3 * MINUTE),
)


@pytest.mark.parametrize("order", list(itertools.permutations(MESSAGES)))
async def test_order_of_application_does_not_change_the_flags(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    order: tuple[tuple[str, datetime, datetime], ...],
) -> None:
    for words, claimed, received in order:
        await receive(session, words, claimed=claimed, received=received)
        await apply(new_uow, now=NOW + 5 * MINUTE)

    assert await flags(session) == ["opted_out"]


@pytest.mark.parametrize("first", ["START", "STOP"])
async def test_stop_wins_over_a_start_of_the_same_instant(
    session: AsyncSession, new_uow: UnitOfWorkFactory, first: str
) -> None:
    """Test a START and a STOP with the same future date and the same receipt, in either order."""
    for words in (first, {"START": "STOP", "STOP": "START"}[first]):
        await receive(session, words, claimed=NOW + AHEAD, received=NOW)
        await apply(new_uow)

    assert await flags(session) == ["opted_out"]


async def test_future_entry_of_an_earlier_release_does_not_undo_a_stop(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    entry = text(
        "INSERT INTO consent_entry (phone_hash, action, source, actor, occurred_at, created_at) "
        "VALUES (:phone_hash, 'opt_in', 'message', 'person', :ahead, :now)"
    )
    phone_hash = hash_phone(PERSON, APPLY_SETTINGS.secret)
    await session.execute(entry, {"phone_hash": phone_hash, "ahead": NOW + AHEAD, "now": NOW})
    await receive(session, "STOP", claimed=NOW + MINUTE, received=NOW + MINUTE)

    await apply(new_uow, now=NOW + MINUTE)

    assert await flags(session) == ["opted_out"]


async def test_message_dated_in_the_future_gets_the_time_of_its_receipt(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, "Yes", claimed=NOW + AHEAD, received=NOW)

    await apply(new_uow, now=NOW + MINUTE)

    message = (await rows(session, "SELECT occurred_at FROM activity"))[0]
    conversation = (
        await rows(session, "SELECT last_activity_at, last_incoming_at FROM conversation")
    )[0]
    assert {*message.values(), *conversation.values()} == {NOW}


async def test_opt_out_dated_in_the_future_is_confirmed(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, "stop texting me", claimed=NOW + 2 * AHEAD, received=NOW)

    await apply(new_uow)

    assert await flags(session) == ["opted_out"]
    assert [one["phone"] for one in await automatic_messages(session)] == [PERSON]
