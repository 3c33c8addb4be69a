"""Events as rows, and what they leave behind."""

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.openphone.samples import sample

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.sends.times import SendTimes
from crm_api.domain.webhooks import service as webhooks
from crm_api.domain.webhooks.models import WebhookEvent
from crm_api.domain.webhooks.reception import Reception

PROVIDER_LINE = "PNd81fYcQ2"
OWN_NUMBER = "+16175550100"
PERSON = "+16175550123"

RECEPTION = Reception(
    business_name="Granite Foundations",
    business_contact="+16175550100",
    secret=SECRET.encode(),
    times=SendTimes(
        lease=timedelta(seconds=60),
        call_start=timedelta(seconds=1),
        call_timeout=timedelta(seconds=15),
        grace=timedelta(seconds=600),
        look_gap=timedelta(seconds=60),
        skew=timedelta(seconds=2),
    ),
)


def half() -> float:
    """A jitter that makes every wait its mean."""
    return 0.5


def incoming(words: str, *, message_id: str = "AC1", **changes: Any) -> dict[str, Any]:
    """A text from the person, as the 2026-03-30 hooks tell it."""
    payload = copy.deepcopy(sample("2026-03-30/message.received"))
    payload["id"] = f"EV{message_id}"
    payload["createdAt"] = NOW.isoformat()
    payload["data"]["resource"] |= {
        "id": message_id,
        "text": words,
        "createdAt": NOW.isoformat(),
        **changes,
    }
    return payload


async def store(
    session: AsyncSession, payload: dict[str, Any], *, now: datetime = NOW, **values: Any
) -> WebhookEvent:
    """Put an event into the ledger, as the intake would."""
    event = WebhookEvent(
        provider_event_id=values.pop("provider_event_id", payload.get("id", "EVnone")),
        scheme="2026-03-30",
        type=values.pop("type", payload.get("type", "unknown")),
        status=values.pop("status", "pending"),
        attempts=values.pop("attempts", 0),
        next_attempt_at=now,
        received_at=now,
        payload=payload,
        **values,
    )
    session.add(event)
    await session.commit()
    return event


async def apply(new_uow: UnitOfWorkFactory, *, now: datetime = NOW) -> int:
    """Apply what is due, and no more than once."""
    async with new_uow() as uow:
        return await webhooks.apply_batch(uow, limit=100, now=now, reception=RECEPTION, jitter=half)


async def hear(
    session: AsyncSession, new_uow: UnitOfWorkFactory, words: str, **changes: Any
) -> None:
    """Receive a text from the person, and apply it."""
    await store(session, incoming(words, **changes))
    await apply(new_uow)


@asynccontextmanager
async def undone(session: AsyncSession) -> AsyncIterator[None]:
    """Undo at the end whatever any session of the test does within the block."""
    async with session.begin_nested() as attempt:
        # The savepoint is made by the first statement, and is to come before all others.
        await session.execute(text("SELECT 1"))
        try:
            yield
        finally:
            await attempt.rollback()


async def rows(session: AsyncSession, query: str, **values: Any) -> list[dict[str, Any]]:
    """Fetch rows as they are in the database now."""
    found = await session.execute(text(query), values)
    return [dict(row) for row in found.mappings()]


async def statuses(session: AsyncSession) -> list[str]:
    """The ledger's statuses, the first received first."""
    found = await rows(session, "SELECT status FROM webhook_event ORDER BY received_at, id")
    return [row["status"] for row in found]


async def texts_out(session: AsyncSession) -> list[dict[str, Any]]:
    """The texts that this service put on their way by itself."""
    return await rows(
        session,
        "SELECT origin, body, phone, status FROM activity "
        "WHERE direction = 'outgoing' AND origin <> 'provider' ORDER BY created_at, id",
    )


async def flags(session: AsyncSession) -> list[str]:
    """The flags on the person's number."""
    found = await rows(
        session,
        "SELECT flag_type FROM contact_flag WHERE phone = :phone ORDER BY flag_type",
        phone=PERSON,
    )
    return [row["flag_type"] for row in found]


def call_events() -> list[dict[str, Any]]:
    """What the 2026-03-30 hooks tell of one call."""
    names = "ringing menu.selected answered completed recording.completed summary.completed"
    listed = [*names.split(), "transcript.completed"]
    return [sample(f"2026-03-30/call.{name}") for name in listed]
