"""Helpers that store messages and calls with files, and read their fetches and files."""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PROVIDER_LINE,
    apply,
    incoming,
    rows,
    store,
)
from tests.domain.messaging.media.hosts import MediaHost
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_line

from crm_api.domain.kit.addresses import AddressPolicy
from crm_api.domain.messaging.media import fetching
from crm_api.domain.messaging.media.download import Downloader
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.platform.database import UnitOfWorkFactory


def half_jitter() -> float:
    """Return 0.5, so that the jitter halves every wait."""
    return 0.5


async def add_line(session: AsyncSession) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()


async def receive(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    *urls: str,
    message_id: str = "AC1",
    event_id: str | None = None,
    now: datetime = NOW,
) -> UUID:
    """Apply an event that reports a message with these pictures; return the id of the message.

    A second call with another ``event_id`` reports the same message again.
    """
    items = [{"url": url, "type": "image/png"} for url in urls]
    payload = incoming("a crack", message_id=message_id, media=items)
    await store(session, payload, now=now, provider_event_id=event_id or f"EV{message_id}")
    await apply(new_uow, now=now)
    [found] = await rows(session, "SELECT id FROM activity WHERE openphone_id = :id", id=message_id)
    activity_id: UUID = found["id"]
    return activity_id


async def receive_call(
    session: AsyncSession, new_uow: UnitOfWorkFactory, *, recording: str, voicemail: str
) -> UUID:
    """Apply two events of a call with a recording and a voicemail; return the call's id."""
    completed = sample("2026-03-30/call.recording.completed")
    completed["data"]["resource"]["recordings"][0]["url"] = recording
    await store(session, completed)
    await receive_voicemail(session, new_uow, voicemail)
    [found] = await rows(session, "SELECT id FROM activity WHERE kind = 'call'")
    activity_id: UUID = found["id"]
    return activity_id


async def receive_voicemail(
    session: AsyncSession, new_uow: UnitOfWorkFactory, url: str, *, event_id: str = "EVleft"
) -> None:
    """Apply the event that reports a voicemail of the call of ``receive_call``."""
    call_id = sample("2026-03-30/call.recording.completed")["data"]["resource"]["id"]
    voicemail = sample("2026-03-30/call.voicemail.completed")
    voicemail["data"]["resource"] |= {"callId": call_id, "recordingUrl": url}
    await store(session, voicemail, provider_event_id=event_id)
    await apply(new_uow)


async def fetches(session: AsyncSession) -> list[dict[str, Any]]:
    """Return every media fetch, oldest first."""
    return await rows(session, "SELECT * FROM media_fetch ORDER BY created_at, id")


async def fetch_due(
    new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path, *, now: datetime = NOW
) -> int:
    """Run the fetches that are due at ``now`` once, as a worker does; return their number."""
    store = MediaStore(folder)
    policy = AddressPolicy(loopback_ports={host.port})
    async with Downloader(policy, provider_url=host.url("")) as downloader:
        async with new_uow() as uow:
            claimed = await fetching.claim_fetches(uow, limit=100, now=now)
        for one in claimed:
            outcome = await fetching.fetch_file(one, downloader=downloader, store=store)
            async with new_uow() as uow:
                await fetching.record_fetch(uow, one, outcome, now=now, jitter=half_jitter)
    return len(claimed)


def objects(folder: Path) -> list[str]:
    """Return the names of the stored files, sorted."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
