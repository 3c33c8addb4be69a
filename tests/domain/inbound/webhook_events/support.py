"""Helpers that store webhook events, apply them, and read the resulting rows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.provider.openphone.samples import sample

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.inbound.webhook_events.models import WebhookEvent
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings

PROVIDER_LINE = "PNd81fYcQ2"
OWN_NUMBER = "+16175550100"
PERSON = "+16175550123"

APPLY_SETTINGS = ApplySettings(
    business_name="Granite Foundations",
    business_contact="+16175550100",
    secret=SECRET.encode(),
    retry_means=Settings.from_env({}).webhook_retry_means,
    times=SendTimes(
        lease=timedelta(seconds=60),
        call_start=timedelta(seconds=1),
        call_timeout=timedelta(seconds=15),
        grace=timedelta(seconds=600),
        look_gap=timedelta(seconds=60),
        skew=timedelta(seconds=2),
    ),
)


def mean_jitter() -> float:
    """Return the jitter that gives each wait its mean length."""
    return 0.5


def incoming(
    words: str, *, message_id: str = "AC1", at: datetime = NOW, **changes: Any
) -> dict[str, Any]:
    """Return the event of a message from the person, in the provider's API version 2026-03-30.

    Args:
        words: The body.
        message_id: The provider's id; the event's id is derived from it.
        at: When the message was written. With the real clock, pass ``clock.now()``.
        changes: Other values of the message.
    """
    payload = sample("2026-03-30/message.received", at=at)
    payload["id"] = f"EV{message_id}"
    payload["data"]["resource"] |= {
        "id": message_id,
        "text": words,
        "createdAt": at.isoformat(),
        **changes,
    }
    return payload


async def store(
    session: AsyncSession, payload: dict[str, Any], *, now: datetime = NOW, **values: Any
) -> WebhookEvent:
    """Store a received event in the way the webhook receiver does."""
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
    """Apply one batch of the due events; return their number."""
    async with new_uow() as uow:
        return await webhooks.apply_batch(
            uow, limit=100, now=now, apply_settings=APPLY_SETTINGS, jitter=mean_jitter
        )


async def receive_message(
    session: AsyncSession, new_uow: UnitOfWorkFactory, words: str, **changes: Any
) -> None:
    """Store the event of a message from the person, and apply the event."""
    await store(session, incoming(words, **changes))
    await apply(new_uow)


@asynccontextmanager
async def rolled_back(session: AsyncSession) -> AsyncIterator[None]:
    """Run the block, then roll back all changes that the sessions of the test made in it."""
    async with session.begin_nested() as attempt:
        # The savepoint is created with the first statement, and must exist before all other
        # statements.
        await session.execute(text("SELECT 1"))
        try:
            yield
        finally:
            await attempt.rollback()


async def rows(session: AsyncSession, query: str, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of a query, as they are in the database now."""
    found = await session.execute(text(query), values)
    return [dict(row) for row in found.mappings()]


async def statuses(session: AsyncSession) -> list[str]:
    """Return the statuses of the events, in order of receipt."""
    found = await rows(session, "SELECT status FROM webhook_event ORDER BY received_at, id")
    return [row["status"] for row in found]


async def automatic_messages(session: AsyncSession) -> list[dict[str, Any]]:
    """Return the messages that this service queued automatically."""
    return await rows(
        session,
        "SELECT origin, body, phone, status FROM activity "
        "WHERE direction = 'outgoing' AND origin <> 'provider' ORDER BY created_at, id",
    )


async def flags(session: AsyncSession) -> list[str]:
    """Return the flags on the person's number."""
    found = await rows(
        session,
        "SELECT flag_type FROM contact_flag WHERE phone = :phone ORDER BY flag_type",
        phone=PERSON,
    )
    return [row["flag_type"] for row in found]


def call_events() -> list[dict[str, Any]]:
    """Return the events of one call, in the provider's API version 2026-03-30."""
    names = "ringing menu.selected answered completed recording.completed summary.completed"
    listed = [*names.split(), "transcript.completed"]
    return [sample(f"2026-03-30/call.{name}") for name in listed]
