import hashlib
import io
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET, UNKNOWN_ID
from tests.domain.messaging.media.hosts import PICTURE, SOUND, MediaHost, media_host, reply
from tests.domain.messaging.media.support import (
    add_line,
    fetch_due,
    fetches,
    objects,
    receive,
    receive_call,
    receive_voicemail,
)
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.media import service as links
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.models.media import Media
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import JobName
from crm_api.platform.settings import Settings

NO_KEY = {"Authorization": ""}
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n" + b" " * 300


@pytest_asyncio.fixture
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


@pytest.fixture
def store_file(session: AsyncSession, settings: Settings) -> Callable[..., Any]:
    """Return a function that stores a file as the worker does, and returns its API path."""

    async def put(content: bytes = PICTURE, content_type: str = "image/png") -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        store = MediaStore.from_settings(settings)
        await store.put(sha256, io.BytesIO(content), size_bytes=len(content))
        row = Media(
            sha256=sha256, content_type=content_type, size_bytes=len(content), created_at=NOW
        )
        session.add(row)
        await session.commit()
        return f"/v1/media/{row.id}"

    return put


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", f"/v1/media/{UNKNOWN_ID}", Scope.MESSAGES_READ),
        ("POST", f"/v1/media/{UNKNOWN_ID}/link", Scope.MESSAGES_READ),
        ("GET", "/v1/media-fetches", Scope.MESSAGES_READ),
        ("POST", "/v1/media-fetches/retry", Scope.OPERATIONS),
        ("POST", f"/v1/media-fetches/{UNKNOWN_ID}/retry", Scope.OPERATIONS),
    ],
)
async def test_key_and_scope_are_needed(
    client: httpx.AsyncClient,
    key_with: Callable[..., Any],
    method: str,
    path: str,
    scope: Scope,
) -> None:
    others = [one for one in Scope if one not in {scope, Scope.ADMIN}]

    without_key = await client.request(method, path, headers=NO_KEY)
    wrong = await client.request(method, path, headers=await key_with(*others))
    right = await client.request(method, path, headers=await key_with(scope))

    assert (without_key.status_code, wrong.status_code) == (401, 403)
    assert right.status_code in {200, 202, 404}


async def test_picture_is_returned_with_its_headers(
    client: httpx.AsyncClient, store_file: Callable[..., Any]
) -> None:
    path = await store_file()

    answer = await client.get(path)

    assert (answer.status_code, answer.content) == (200, PICTURE)
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-length"] == str(len(PICTURE))
    assert headers["etag"] == f'"{hashlib.sha256(PICTURE).hexdigest()}"'
    assert headers["cache-control"] == "private, no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("inline; filename=")
    assert headers["content-disposition"].endswith('.png"')
    assert "sandbox" in headers["content-security-policy"]


async def test_document_is_sent_as_a_download(
    client: httpx.AsyncClient, store_file: Callable[..., Any]
) -> None:
    pdf = await client.get(await store_file(PDF, "application/pdf"))
    card = await client.get(await store_file(b"BEGIN:VCARD\r\n", "text/vcard"))

    assert pdf.headers["content-disposition"].startswith("attachment;")
    assert card.headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=100-", 100, None), ("bytes=-10", -10, None),
     ("bytes=5-999999999", 5, None), ("bytes = 7 - 7", 7, 8), ("bytes=-999999999", 0, None)],
)  # fmt: skip
async def test_range_of_a_recording_is_returned(
    client: httpx.AsyncClient,
    store_file: Callable[..., Any],
    header: str,
    start: int,
    end: int | None,
) -> None:
    path = await store_file(SOUND, "audio/wav")

    answer = await client.get(path, headers={"Range": header})

    part = SOUND[start:end]
    first = SOUND.index(part) if start < 0 else start
    assert (answer.status_code, answer.content) == (206, part)
    content_range = f"bytes {first}-{first + len(part) - 1}/{len(SOUND)}"
    assert answer.headers["content-range"] == content_range
    assert answer.headers["content-length"] == str(len(part))


@pytest.mark.parametrize(
    "header", ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes=x-y", "lines=1-2", "bytes=1-2-3", ""]
)
async def test_header_without_one_valid_range_returns_the_complete_file(
    client: httpx.AsyncClient, store_file: Callable[..., Any], header: str
) -> None:
    answer = await client.get(await store_file(), headers={"Range": header})

    assert (answer.status_code, answer.content) == (200, PICTURE)


@pytest.mark.parametrize("header", [f"bytes={len(PICTURE)}-", "bytes=99999999-", "bytes=-0"])
async def test_range_after_the_end_is_refused(
    client: httpx.AsyncClient, store_file: Callable[..., Any], header: str
) -> None:
    answer = await client.get(await store_file(), headers={"Range": header})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(PICTURE)}"


async def test_file_in_the_client_cache_is_not_sent_again(
    client: httpx.AsyncClient, store_file: Callable[..., Any]
) -> None:
    path = await store_file()
    etag = (await client.get(path)).headers["etag"]

    same = await client.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
    other = await client.get(path, headers={"If-None-Match": '"other"'})
    rest = await client.get(path, headers={"If-Range": etag, "Range": "bytes=1-"})
    changed = await client.get(path, headers={"If-Range": '"other"', "Range": "bytes=1-"})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert (other.status_code, rest.status_code, changed.status_code) == (200, 206, 200)


async def test_unknown_file_and_missing_object_have_different_codes(
    client: httpx.AsyncClient, store_file: Callable[..., Any], settings: Settings
) -> None:
    path = await store_file()
    [name] = objects(settings.data_dir / "media")
    (settings.data_dir / "media" / name[:2] / name).unlink()

    unknown = await client.get(f"/v1/media/{new_id()}")
    missing = await client.get(path)

    assert (unknown.status_code, unknown.json()["code"]) == (404, "media_not_found")
    assert (missing.status_code, missing.json()["code"]) == (404, "media_object_missing")


async def test_link_opens_the_file_without_a_key(
    client: httpx.AsyncClient, store_file: Callable[..., Any], settings: Settings
) -> None:
    path = await store_file()

    made = (await client.post(f"{path}/link")).json()
    opened = await client.get(made["url"].removeprefix(settings.public_base_url), headers=NO_KEY)

    assert made["url"].startswith(f"{settings.public_base_url}{path}?")
    assert (opened.status_code, opened.content) == (200, PICTURE)
    assert opened.headers["referrer-policy"] == "no-referrer"


async def test_link_is_valid_for_the_requested_time(
    client: httpx.AsyncClient, store_file: Callable[..., Any]
) -> None:
    path = await store_file()
    before = int(clock.now().timestamp())

    usual = (await client.post(f"{path}/link")).json()
    longer = (await client.post(f"{path}/link", json={"expires_in_seconds": 3600})).json()
    forever = await client.post(f"{path}/link", json={"expires_in_seconds": 86_401})

    def seconds_valid(link: dict[str, str]) -> int:
        return int(httpx.URL(link["url"]).params["expires"]) - before

    assert 600 <= seconds_valid(usual) <= 610
    assert 3600 <= seconds_valid(longer) <= 3610
    assert forever.status_code == 422


async def test_expired_or_altered_link_is_refused_with_a_detail(
    client: httpx.AsyncClient, store_file: Callable[..., Any]
) -> None:
    path = await store_file()
    media_id = UUID(path.rpartition("/")[2])
    url, _ = links.make_media_link(
        SECRET.encode(),
        media_id=media_id,
        base_url="",
        seconds=600,
        now=clock.now() - timedelta(seconds=601),
    )
    expires = httpx.URL(url).params["expires"]

    over = await client.get(url, headers=NO_KEY)
    longer = await client.get(
        url.replace(f"expires={expires}", f"expires={int(expires) + 9000}"), headers=NO_KEY
    )
    half = await client.get(f"{path}?expires={expires}", headers=NO_KEY)
    # This request has a valid API key, but its link is invalid. It is still refused, so that the
    # client notices the fault of the link.
    with_key = await client.get(f"{path}?signature=x")

    assert (over.status_code, over.json()["code"]) == (403, "media_link_expired")
    assert (longer.status_code, longer.json()["code"]) == (403, "media_link_invalid")
    assert (half.status_code, with_key.status_code) == (403, 403)
    assert f"POST {path}/link" in over.json()["detail"]


async def test_link_to_an_unknown_file_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/media/{new_id()}/link")

    assert (answer.status_code, answer.json()["code"]) == (404, "media_not_found")


async def test_message_shows_the_state_of_each_file(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    await add_line(session)
    urls = (host.serve("/1", reply(PICTURE)), host.serve("/2", reply(b"<html>")))
    message_id = await receive(session, new_uow, *urls)

    before = (await client.get(f"/v1/messages/{message_id}")).json()
    await fetch_due(new_uow, host, settings.data_dir / "media")
    after = (await client.get(f"/v1/messages/{message_id}")).json()
    listed = await client.get(f"/v1/conversations/{after['conversation_id']}/messages")

    waiting = {"media_id": None, "status": "pending", "content_type": None, "size_bytes": None}
    assert [one["url"] for one in before["media"]] == list(urls)
    assert before["media"][0].items() >= waiting.items()
    kept, refused = after["media"]
    assert (kept["status"], kept["content_type"]) == ("stored", "image/png")
    assert (kept["size_bytes"], kept["url"], kept["type"]) == (len(PICTURE), urls[0], "image/png")
    assert (await client.get(f"/v1/media/{kept['media_id']}")).content == PICTURE
    assert (refused["status"], refused["error_code"]) == ("refused", "unsupported_type")
    assert refused["error"].startswith("The file is not stored, because it is not a picture")
    assert listed.json()["data"] == [after]


async def test_file_that_a_message_contains_twice_has_its_state_twice(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    await add_line(session)
    stored, missing = host.serve("/1", reply(PICTURE)), host.url("/missing")
    message_id = await receive(session, new_uow, stored, missing, stored, missing)

    before = (await client.get(f"/v1/messages/{message_id}")).json()["media"]
    await fetch_due(new_uow, host, settings.data_dir / "media")
    after = (await client.get(f"/v1/messages/{message_id}")).json()["media"]

    assert [one["status"] for one in before] == ["pending"] * 4
    assert [one["status"] for one in after] == ["stored", "failed"] * 2
    assert (after[2], after[3]) == (after[0], after[1])


async def test_file_fetched_from_a_newer_address_is_shown_with_its_message(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    """Prove that a file with several signed addresses is shown once.

    The provider may sign a new address for each event of the same message.
    """
    await add_line(session)
    new = host.serve("/new?sig=2", reply(PICTURE))
    for sig, url in enumerate(
        (
            host.url("/over?sig=1"),
            new,
            host.serve("/same?sig=3", reply(PICTURE)),
            host.url("/over?sig=4"),
        )
    ):
        message_id = await receive(session, new_uow, url, event_id=f"EV{sig}")

    await fetch_due(new_uow, host, settings.data_dir / "media")

    shown = (await client.get(f"/v1/messages/{message_id}")).json()["media"]
    assert len(await fetches(session)) == 4
    assert [(one["url"], one["status"]) for one in shown] == [
        (host.url("/over?sig=1"), "failed"),
        (new, "stored"),
    ]


async def test_call_shows_its_recording_and_voicemail(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    await add_line(session)
    call_id = await receive_call(
        session,
        new_uow,
        recording=host.serve("/r", reply(SOUND)),
        voicemail=host.serve("/v", reply(status=404)),
    )

    await fetch_due(new_uow, host, settings.data_dir / "media")

    call = (await client.get(f"/v1/calls/{call_id}")).json()
    listed = (await client.get("/v1/calls")).json()["data"]
    assert call["recording"] == call["recordings"][0]
    assert (call["recording"]["status"], call["recording"]["size_bytes"]) == ("stored", len(SOUND))
    assert call["recording"]["url"] == host.url("/r")
    assert call["recording"]["duration_seconds"] == 153
    assert (call["voicemail"]["status"], call["voicemail"]["error_code"]) == ("failed", "http_404")
    assert call["voicemail"]["transcript"].startswith("Hi, it is Dana")
    assert listed == [call]


async def test_voicemail_fetched_from_a_newer_address_is_shown(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    await add_line(session)
    old = host.url("/z-over")
    call_id = await receive_call(session, new_uow, recording=host.url("/r"), voicemail=old)
    new = host.serve("/a-new", reply(SOUND))
    await receive_voicemail(session, new_uow, new, event_id="EVagain")

    await fetch_due(new_uow, host, settings.data_dir / "media")

    voicemail = (await client.get(f"/v1/calls/{call_id}")).json()["voicemail"]
    assert (voicemail["url"], voicemail["status"]) == (new, "stored")
    assert voicemail["transcript"].startswith("Hi, it is Dana")


async def test_timeline_shows_the_same_files_as_messages_and_calls(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    await add_line(session)
    message_id = await receive(session, new_uow, host.serve("/1", reply(PICTURE)))
    sounds = {"recording": host.serve("/r", reply(SOUND)), "voicemail": host.url("/v")}
    call_id = await receive_call(session, new_uow, **sounds)
    await fetch_due(new_uow, host, settings.data_dir / "media")
    message = (await client.get(f"/v1/messages/{message_id}")).json()
    call = (await client.get(f"/v1/calls/{call_id}")).json()

    timeline = await client.get(f"/v1/contacts/{message['contact_id']}/timeline")

    items = {one["type"]: one for one in timeline.json()["data"]}
    assert items["message"]["media"] == message["media"]
    assert items["call"]["call"]["recordings"] == call["recordings"]
    assert items["call"]["call"]["voicemail"] == call["voicemail"]


async def test_fetches_are_listed_and_filtered(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await add_line(session)
    urls = [f"https://media.example.com/{position}" for position in range(3)]
    first = await receive(session, new_uow, *urls)
    await receive(session, new_uow, *urls[:1], message_id="AC2")
    await session.execute(
        text("UPDATE media_fetch SET status = 'dead', error_code = 'http_404' WHERE url LIKE '%2'")
    )
    await session.commit()

    async def found(**query: str) -> list[str]:
        answer = await client.get("/v1/media-fetches", params=query)
        return [one["url"][-1] for one in answer.json()["data"]]

    page = (await client.get("/v1/media-fetches", params={"limit": 3})).json()
    rest = await found(cursor=page["next_cursor"])
    assert len({one["id"] for one in page["data"]}) + len(rest) == 4
    assert sorted(await found(activity_id=str(first))) == ["0", "1", "2"]
    assert await found(status="dead") == ["2"]
    assert (await client.get("/v1/media-fetches", params={"status": "lost"})).status_code == 422


async def test_fetch_is_retried_on_request(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
) -> None:
    await add_line(session)
    await receive(session, new_uow, "https://media.example.com/1", "https://media.example.com/2")
    await session.execute(text("UPDATE media_fetch SET status = 'dead', error_code = 'timeout'"))
    await session.commit()
    queue.jobs.clear()
    one, _ = await fetches(session)

    first = await client.post(f"/v1/media-fetches/{one['id']}/retry")
    rest = await client.post("/v1/media-fetches/retry", json={"error_code": "timeout"})
    nothing = await client.post("/v1/media-fetches/retry")
    unknown = await client.post(f"/v1/media-fetches/{new_id()}/retry")

    assert (first.status_code, first.json()["status"]) == (202, "pending")
    assert (first.json()["attempts"], first.json()["error_code"]) == (0, None)
    assert (rest.json(), nothing.json()) == ({"retried": 1}, {"retried": 0})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "media_fetch_not_found")
    assert queue.names.count(JobName.FETCH_MEDIA) == 2


async def test_stored_file_is_not_fetched_again(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    await add_line(session)
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)))
    await fetch_due(new_uow, host, settings.data_dir / "media")
    [fetch] = await fetches(session)

    answer = await client.post(f"/v1/media-fetches/{fetch['id']}/retry")
    all_stored = await client.post("/v1/media-fetches/retry", json={"status": "stored"})

    assert all_stored.json() == {"retried": 0}
    assert (answer.status_code, answer.json()["code"]) == (409, "media_already_stored")
    assert answer.json()["media_id"] == str(fetch["media_id"])
