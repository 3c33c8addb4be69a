"""Messages and calls with files, told by events, and what became of the files."""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.media.hosts import MediaHost
from tests.domain.openphone.samples import sample
from tests.domain.webhooks.support import OWN_NUMBER, PROVIDER_LINE, apply, incoming, rows, store
from tests.factories import make_line

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.addresses import AddressPolicy
from crm_api.domain.media import service as media
from crm_api.domain.media.download import Downloader
from crm_api.domain.media.store import MediaStore


def half() -> float:
    """A jitter that makes every wait half of the most."""
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
    """A text with these pictures, applied; the message's id. ``event_id`` tells of it again."""
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
    """A call with a recording and a voicemail, told by two events; the call's id."""
    told = sample("2026-03-30/call.recording.completed")
    told["data"]["resource"]["recordings"][0]["url"] = recording
    await store(session, told)
    await receive_voicemail(session, new_uow, voicemail)
    [found] = await rows(session, "SELECT id FROM activity WHERE kind = 'call'")
    activity_id: UUID = found["id"]
    return activity_id


async def receive_voicemail(
    session: AsyncSession, new_uow: UnitOfWorkFactory, url: str, *, event_id: str = "EVleft"
) -> None:
    """The voicemail of that call."""
    call_id = sample("2026-03-30/call.recording.completed")["data"]["resource"]["id"]
    left = sample("2026-03-30/call.voicemail.completed")
    left["data"]["resource"] |= {"callId": call_id, "recordingUrl": url}
    await store(session, left, provider_event_id=event_id)
    await apply(new_uow)


async def fetches(session: AsyncSession) -> list[dict[str, Any]]:
    """Every fetch, the first noted first."""
    return await rows(session, "SELECT * FROM media_fetch ORDER BY created_at, id")


async def fetch_due(
    new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path, *, now: datetime = NOW
) -> int:
    """Fetch what is due at this time once, as a worker would; how many there were."""
    store = MediaStore(folder)
    policy = AddressPolicy(loopback_ports={host.port})
    async with Downloader(policy, provider_url=host.url("")) as downloader:
        async with new_uow() as uow:
            claimed = await media.claim(uow, limit=100, now=now)
        for one in claimed:
            outcome = await media.bring(one, downloader=downloader, store=store)
            async with new_uow() as uow:
                await media.record(uow, one, outcome, now=now, jitter=half)
    return len(claimed)


def objects(folder: Path) -> list[str]:
    """The names of the stored objects."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
