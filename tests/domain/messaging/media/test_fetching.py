import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import apply, incoming, rows, store
from tests.domain.messaging.media.hosts import (
    OTHER_PICTURE,
    PICTURE,
    SOUND,
    MediaHost,
    in_chunks,
    media_host,
    reply,
)
from tests.domain.messaging.media.support import (
    add_line,
    fetch_due,
    fetches,
    half_jitter,
    objects,
    receive,
    receive_call,
)
from tests.fakes import RecordingQueue

from crm_api.domain.alerts import service as alerts
from crm_api.domain.messaging.media import fetching
from crm_api.domain.messaging.media import service as media
from crm_api.domain.messaging.media.errors import FetchError
from crm_api.domain.messaging.media.fetching import ClaimedFetch
from crm_api.domain.messaging.models.media import FetchStatus
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

SHA = hashlib.sha256(PICTURE).hexdigest()
WAITS = (1, 4, 16, 64, 256, 360)
"""Minutes between the attempts to fetch a file, if the jitter is 0.5."""


@pytest_asyncio.fixture(autouse=True)
async def _line(session: AsyncSession) -> None:
    await add_line(session)


@pytest_asyncio.fixture
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "media"


async def test_files_of_an_event_are_queued_in_its_transaction(
    session: AsyncSession, new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    items = [
        {"url": "https://media.example.com/1", "type": "image/jpeg"},
        {"url": "https://media.example.com/2", "type": "video/3gpp"},
        {"url": "https://media.example.com/3"},
        {"url": "https://media.example.com/1", "type": "image/jpeg"},
    ]
    await store(session, incoming("", media=items))

    await apply(new_uow)

    queued = await fetches(session)
    assert [(one["kind"], one["url"][-1], one["status"]) for one in queued] == [
        ("picture", "1", "pending"),
        ("other", "2", "pending"),
        ("other", "3", "pending"),
    ]
    assert JobName.FETCH_MEDIA in queue.names


async def test_malformed_media_do_not_stop_their_event_or_other_files(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    malformed: list[Any] = [
        None,
        7,
        [],
        "https://media.example.com/bare",
        {"url": 5},
        {"url": None},
        {"url": ["https://media.example.com/nested"]},
        {"type": "image/png"},
        {"url": "javascript:alert(1)", "type": 9},
        {"url": "", "type": "image/png"},
        {"url": "https://media.example.com/good", "type": "IMAGE/PNG"},
    ]
    await store(session, incoming("", media=malformed))

    await apply(new_uow)

    urls = {one["url"] for one in await fetches(session)}
    [message] = await rows(session, "SELECT status FROM webhook_event")
    assert message["status"] == "processed"
    assert urls >= {"https://media.example.com/bare", "https://media.example.com/good"}
    assert all(isinstance(url, str) and url for url in urls)


async def test_failed_event_queues_no_file(
    session: AsyncSession, new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    payload = incoming("", media=[{"url": "https://media.example.com/1"}])
    payload["data"]["context"] |= {"phoneNumberId": "PNunknown", "recipientIdentifiers": []}
    await store(session, payload)

    await apply(new_uow)

    assert await fetches(session) == []
    assert JobName.FETCH_MEDIA not in queue.names


async def test_event_received_twice_queues_its_file_once(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for delivery in ("EV1", "EV2"):
        payload = incoming("", media=[{"url": "https://media.example.com/1"}])
        await store(session, payload, provider_event_id=delivery)
        await apply(new_uow)

    assert len(await fetches(session)) == 1


async def test_files_of_our_own_messages_are_not_fetched(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    payload = incoming("", media=[{"url": "https://media.example.com/1"}])
    payload["type"] = "message.delivered"
    payload["data"]["resource"] |= {"direction": "outgoing", "status": "delivered"}
    context = payload["data"]["context"]
    ours, theirs = context["recipientIdentifiers"], context["senderIdentifier"]
    context |= {"senderIdentifier": ours[0], "recipientIdentifiers": [theirs]}
    await store(session, payload)

    await apply(new_uow)

    assert await fetches(session) == []


async def test_address_longer_than_an_index_entry_is_stored(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, "https://media.example.com/" + "x" * 9000)

    await fetch_due(new_uow, host, folder)

    [fetch] = await fetches(session)
    assert (fetch["status"], fetch["error_code"]) == ("refused", "bad_address")


async def test_picture_is_stored_by_its_hash(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE, content_type="text/html")))

    await fetch_due(new_uow, host, folder)

    [fetch] = await fetches(session)
    [stored] = await rows(session, "SELECT * FROM media")
    assert (fetch["status"], fetch["media_id"]) == ("stored", stored["id"])
    assert (stored["sha256"], stored["content_type"]) == (SHA, "image/png")
    assert stored["size_bytes"] == len(PICTURE)
    assert (folder / SHA[:2] / SHA).read_bytes() == PICTURE
    assert await fetch_due(new_uow, host, folder, now=NOW + timedelta(days=9)) == 0


async def test_same_picture_from_two_people_is_stored_once(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)), message_id="AC1")
    await receive(
        session,
        new_uow,
        host.serve("/2", in_chunks(PICTURE)),
        host.serve("/3", reply(OTHER_PICTURE)),
        message_id="AC2",
    )

    await fetch_due(new_uow, host, folder)

    one, same, other = await fetches(session)
    assert one["media_id"] == same["media_id"] != other["media_id"]
    assert len(await rows(session, "SELECT id FROM media")) == 2
    assert len(objects(folder)) == 2


async def test_recording_and_voicemail_of_a_call_are_stored(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive_call(
        session,
        new_uow,
        recording=host.serve("/r", reply(SOUND)),
        voicemail=host.serve("/v", reply(b"ID3\x03\0\0\0\0\0\x21" + b"\0" * 99)),
    )

    await fetch_due(new_uow, host, folder)

    found = await rows(
        session,
        "SELECT f.kind, m.content_type FROM media_fetch f JOIN media m ON m.id = f.media_id "
        "ORDER BY f.kind",
    )
    assert [tuple(one.values()) for one in found] == [
        ("recording", "audio/wav"),
        ("voicemail", "audio/mpeg"),
    ]


@pytest.mark.parametrize(
    "case",
    [
        (reply(b"<html>Please sign in</html>", content_type="image/png"), "unsupported_type"),
        (reply(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "unsupported_type"),
        (reply(PICTURE, length=10 * 1024 * 1024 + 1), "too_large"),
        (reply(status=302, location="http://10.0.0.1/"), "forbidden_address"),
    ],
)
async def test_unacceptable_file_is_refused_and_not_fetched_again(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    host: MediaHost,
    folder: Path,
    case: tuple[bytes, str],
) -> None:
    answer, code = case
    await receive(session, new_uow, host.serve("/1", answer))

    await fetch_due(new_uow, host, folder)

    [fetch] = await fetches(session)
    assert (fetch["status"], fetch["error_code"]) == ("refused", code)
    assert fetch["last_error"].endswith(".")
    assert objects(folder) == []
    assert await fetch_due(new_uow, host, folder, now=NOW + timedelta(days=9)) == 0


async def test_recording_may_be_larger_than_a_picture(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    large = SOUND + b"\0" * 11 * 1024 * 1024
    await receive_call(
        session,
        new_uow,
        recording=host.serve("/r", reply(large)),
        voicemail=host.serve("/v", reply(SOUND, length=25 * 1024 * 1024 + 1)),
    )

    await fetch_due(new_uow, host, folder)

    outcomes = {one["kind"]: (one["status"], one["error_code"]) for one in await fetches(session)}
    assert outcomes == {"recording": ("stored", None), "voicemail": ("refused", "too_large")}


async def test_file_is_stored_by_the_next_attempt_after_the_host_recovers(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(status=500), reply(PICTURE)))

    await fetch_due(new_uow, host, folder)
    [failed] = await fetches(session)
    early = await fetch_due(new_uow, host, folder, now=NOW + timedelta(seconds=59))
    await fetch_due(new_uow, host, folder, now=NOW + timedelta(seconds=60))

    [fetch] = await fetches(session)
    assert (failed["status"], failed["error_code"]) == ("failed", "http_500")
    assert failed["next_attempt_at"] == NOW + timedelta(minutes=1)
    assert early == 0
    assert (fetch["status"], fetch["error_code"], fetch["attempts"]) == ("stored", None, 2)


async def test_file_that_stays_missing_is_dead_after_the_last_attempt_with_an_alert(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(status=404)))
    now, waits = NOW, []

    for _ in range(fetching.MOST_ATTEMPTS - 1):
        await fetch_due(new_uow, host, folder, now=now)
        [fetch] = await fetches(session)
        waits.append((fetch["next_attempt_at"] - now) / timedelta(minutes=1))
        now = fetch["next_attempt_at"]
    assert await rows(session, "SELECT 1 FROM alert") == []
    await fetch_due(new_uow, host, folder, now=now)

    [fetch] = await fetches(session)
    [alert] = await rows(session, "SELECT kind, subject, detail, count FROM alert")
    assert tuple(waits) == WAITS
    assert (fetch["status"], fetch["error_code"]) == ("dead", "http_404")
    assert (alert["kind"], alert["subject"], alert["count"]) == ("media_fetch_dead", "http_404", 1)
    assert "404" in alert["detail"]
    assert host.url("") not in alert["detail"]
    assert await fetch_due(new_uow, host, folder, now=now + timedelta(days=9)) == 0


async def test_jitter_is_a_random_fraction() -> None:
    assert 0 <= fetching.random_fraction() < 1


async def test_file_is_fetched_again_after_the_store_was_unreachable(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("no directory")
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)))

    await fetch_due(new_uow, host, tmp_path / "full")
    [failed] = await fetches(session)
    await fetch_due(new_uow, host, tmp_path / "media", now=NOW + timedelta(minutes=2))

    [fetch] = await fetches(session)
    assert (failed["status"], failed["error_code"]) == ("failed", "media_store_unavailable")
    assert fetch["status"] == "stored"


class Crashed(BaseException):
    """Raised at a failpoint (a named step of the code), to simulate the end of the process."""


async def test_object_stored_before_a_crash_is_used_by_the_next_attempt(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    async def crash(step: str) -> None:
        if step == "media.stored":
            raise Crashed

    await receive(session, new_uow, host.serve("/1", reply(PICTURE)))

    failpoints.set_hook(crash)
    try:
        with pytest.raises(Crashed):
            await fetch_due(new_uow, host, folder)
    finally:
        failpoints.set_hook(None)
    [after_the_crash] = await fetches(session)
    orphan = (folder / SHA[:2] / SHA).stat()
    during_the_lease = await fetch_due(new_uow, host, folder, now=NOW + timedelta(seconds=119))
    assert await rows(session, "SELECT 1 FROM media") == []
    await fetch_due(new_uow, host, folder, now=NOW + fetching.LEASE)

    [fetch] = await fetches(session)
    assert after_the_crash["status"] == "pending"
    assert during_the_lease == 0
    assert (fetch["status"], fetch["attempts"]) == ("stored", 2)
    assert objects(folder) == [SHA]
    assert (folder / SHA[:2] / SHA).stat().st_ino == orphan.st_ino


async def test_file_that_crashes_every_worker_is_dead(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)))
    now = NOW
    for _ in range(fetching.MOST_ATTEMPTS):
        async with new_uow() as uow:
            assert len(await fetching.claim_fetches(uow, limit=8, now=now)) == 1
        now += fetching.LEASE

    await fetch_due(new_uow, host, folder, now=now)

    [fetch] = await fetches(session)
    assert (fetch["status"], fetch["error_code"]) == ("dead", "gave_up")
    assert host.requests == []


async def fail(new_uow: UnitOfWorkFactory, claimed: ClaimedFetch) -> None:
    """Record that a worker's attempt to fetch the file failed."""
    async with new_uow() as uow:
        error = FetchError("http_500", "The host answers 500.")
        await fetching.record_fetch(uow, claimed, error, now=NOW, jitter=half_jitter)


async def test_failure_recorded_after_the_lease_changes_nothing(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, new_uow, "https://media.example.com/1")
    async with new_uow() as uow:
        [late] = await fetching.claim_fetches(uow, limit=8, now=NOW)
    async with new_uow() as uow:
        await fetching.claim_fetches(uow, limit=8, now=NOW + fetching.LEASE)
    before = await fetches(session)

    await fail(new_uow, late)
    await fail(new_uow, replace(late, attempts=fetching.MOST_ATTEMPTS))

    assert await fetches(session) == before
    assert await rows(session, "SELECT 1 FROM alert") == []


async def test_failure_recorded_after_a_manual_retry_does_not_change_the_stored_file(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)))
    async with new_uow() as uow:
        [late] = await fetching.claim_fetches(uow, limit=8, now=NOW)
    async with new_uow() as uow:
        await media.retry_fetch(uow, fetch_id=late.id, now=NOW)
    await fetch_due(new_uow, host, folder)

    await fail(new_uow, late)

    [fetch] = await fetches(session)
    assert (fetch["status"], fetch["attempts"]) == ("stored", late.attempts)


async def test_internal_error_is_recorded_with_its_file(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    async def raise_defect(step: str) -> None:
        if step == "media.stored":
            raise ZeroDivisionError

    await receive(session, new_uow, host.serve("/1", reply(PICTURE)))

    failpoints.set_hook(raise_defect)
    try:
        await fetch_due(new_uow, host, folder)
    finally:
        failpoints.set_hook(None)

    [fetch] = await fetches(session)
    assert (fetch["status"], fetch["error_code"]) == ("failed", "internal_error")
    assert fetch["last_error"] == "The download failed with an internal error (ZeroDivisionError)."


async def test_manual_retry_resets_the_attempts_and_resolves_the_alert(
    session: AsyncSession, new_uow: UnitOfWorkFactory, host: MediaHost, folder: Path
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)))
    await session.execute(
        text(
            f"UPDATE media_fetch SET attempts = {fetching.MOST_ATTEMPTS - 1}"
        )  # one attempt remains
    )
    await session.commit()
    host.replies["/1"] = [reply(status=404), reply(PICTURE)]
    await fetch_due(new_uow, host, folder)
    [dead] = await fetches(session)

    async with new_uow() as uow:
        await media.retry_fetch(uow, fetch_id=dead["id"], now=NOW)
    await fetch_due(new_uow, host, folder)

    [fetch] = await fetches(session)
    [alert] = await rows(session, "SELECT resolved_at FROM alert")
    assert (dead["status"], fetch["status"], fetch["attempts"]) == ("dead", "stored", 1)
    assert alert["resolved_at"] == NOW


async def test_retry_of_a_status_and_error_takes_only_these_files(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, new_uow, *(f"https://media.example.com/{i}" for i in range(4)))
    for url, status, code in (
        ("0", "dead", "http_404"),
        ("1", "dead", "timeout"),
        ("2", "refused", "too_large"),
        ("3", "failed", "http_404"),
    ):
        await session.execute(
            text("UPDATE media_fetch SET status = :s, error_code = :c WHERE url LIKE :u"),
            {"s": status, "c": code, "u": f"%/{url}"},
        )
    for code in ("http_404", "timeout"):
        async with new_uow() as uow:
            await alerts.raise_alert(
                uow, kind=fetching.DEAD_FETCH, subject=code, detail="x", now=NOW
            )
    await session.commit()

    async def resolved_alerts() -> list[str]:
        query = "SELECT subject FROM alert WHERE resolved_at IS NOT NULL ORDER BY subject"
        return [row["subject"] for row in await rows(session, query)]

    async def retry(status: FetchStatus, code: str | None = None) -> int:
        async with new_uow() as uow:
            return await media.retry_fetches(uow, status=status, error_code=code, now=NOW)

    assert await retry(FetchStatus.DEAD, "http_404") == 1
    assert await resolved_alerts() == ["http_404"]
    assert await retry(FetchStatus.DEAD) == 1
    assert await resolved_alerts() == ["http_404", "timeout"]
    states = {one["url"][-1]: one["status"] for one in await fetches(session)}
    assert states == {"0": "pending", "1": "pending", "2": "refused", "3": "failed"}
