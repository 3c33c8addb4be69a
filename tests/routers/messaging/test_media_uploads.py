"""Tests of pictures that users upload and send."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import UNKNOWN_ID
from tests.domain.inbound.webhook_events.support import PERSON, rows
from tests.domain.messaging.media.hosts import PICTURE, SOUND
from tests.factories import make_line

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.media import uploads
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.people.erasure.progress import release_media
from crm_api.platform.database import UnitOfWorkFactory

MUCH_LATER = datetime.fromisoformat("2100-01-01T00:00:00Z")
SHA = hashlib.sha256(PICTURE).hexdigest()


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session)
    await session.commit()
    return line


async def upload(
    client: httpx.AsyncClient, content: bytes = PICTURE, **more: Any
) -> httpx.Response:
    return await client.post("/v1/media", files={"file": ("crack.png", content)}, **more)


async def send(client: httpx.AsyncClient, line: Line, *media_ids: str) -> httpx.Response:
    body = {"line_id": str(line.id), "to": PERSON, "body": "Like this?"}
    return await client.post("/v1/messages", json=body | {"media_ids": list(media_ids)})


async def test_same_picture_is_stored_once(client: httpx.AsyncClient) -> None:
    first, again = await upload(client), await upload(client)

    made = first.json()
    opened = await client.get(f"/v1/media/{made['id']}")
    assert (first.status_code, again.json()) == (201, made)
    assert (made["content_type"], made["size_bytes"]) == ("image/png", len(PICTURE))
    assert (opened.content, opened.headers["content-type"]) == (PICTURE, "image/png")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "media_file_missing"),
        (SOUND, 422, "media_type_not_sendable"),
        (b"<svg></svg>", 422, "media_type_not_sendable"),
        (b"%PDF-1.7\n" + b" " * 300, 422, "media_type_not_sendable"),
        (PICTURE + bytes(5 * 1024 * 1024), 413, "media_too_large"),
    ],
)
async def test_file_that_cannot_be_sent_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, content: bytes, status: int, code: str
) -> None:
    refused = await upload(client, content)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert await rows(session, "SELECT id FROM media") == []


async def test_form_without_a_file_is_refused(client: httpx.AsyncClient) -> None:
    empty = await client.post("/v1/media", files={"other": (None, "text")})
    json = await client.post("/v1/media", json={"file": "text"})

    assert (empty.status_code, empty.json()["code"]) == (422, "media_file_missing")
    assert json.status_code in {400, 415}


async def test_upload_needs_its_scope(
    client: httpx.AsyncClient, key_with: Callable[..., Awaitable[dict[str, str]]]
) -> None:
    reader = await key_with(Scope.MESSAGES_READ)

    assert (await upload(client, headers=reader)).status_code == 403


async def test_message_shows_its_pictures(client: httpx.AsyncClient, line: Line) -> None:
    made = (await upload(client)).json()

    sent = await send(client, line, made["id"], made["id"])

    read = (await client.get(f"/v1/messages/{sent.json()['id']}")).json()
    (shown,) = read["media"]
    assert (sent.status_code, sent.json()) == (202, read)
    assert (shown["media_id"], shown["status"]) == (made["id"], "stored")
    assert (shown["content_type"], shown["url"]) == ("image/png", f"/v1/media/{made['id']}")


async def test_unknown_picture_is_refused(
    client: httpx.AsyncClient, line: Line, session: AsyncSession
) -> None:
    made = (await upload(client)).json()

    refused = await send(client, line, made["id"], UNKNOWN_ID)

    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_media")
    assert [one["pointer"] for one in refused.json()["errors"]] == ["/media_ids/1"]
    assert await rows(session, "SELECT id FROM activity") == []


async def test_received_picture_cannot_be_forwarded_by_its_id(
    client: httpx.AsyncClient, line: Line, session: AsyncSession
) -> None:
    """Prove that only uploaded pictures can be sent by their id.

    Otherwise a caller who may send messages, but may not read them, could get received pictures.
    """
    made = (await upload(client)).json()
    await session.execute(uploads.FORGET_UPLOADS, {"before": MUCH_LATER, "limit": 1})
    await session.commit()

    assert (await send(client, line, made["id"])).json()["code"] == "unknown_media"


async def test_picture_is_refused_if_the_provider_cannot_send_it(
    client: httpx.AsyncClient, app: FastAPI, line: Line, session: AsyncSession
) -> None:
    made = (await upload(client)).json()
    state = app.state.crm
    text_only = state.settings.model_copy(update={"openphone_sends_media": False})
    app.state.crm = replace(state, settings=text_only)

    refused = await send(client, line, made["id"])

    assert (refused.status_code, refused.json()["code"]) == (422, "media_not_supported")
    assert refused.json()["errors"][0]["pointer"] == "/media_ids"
    assert await rows(session, "SELECT id FROM activity") == []


async def test_erasure_removes_the_pictures_of_a_person(
    client: httpx.AsyncClient, line: Line, session: AsyncSession
) -> None:
    sent = (await send(client, line, (await upload(client)).json()["id"])).json()

    freed = await release_media(session, contact_id=UUID(sent["contact_id"]), now=MUCH_LATER)

    assert freed == [SHA]
    assert await rows(session, "SELECT media_id FROM media_upload") == []


@pytest.mark.parametrize("is_sent", [False, True])
async def test_old_upload_is_deleted_unless_a_message_uses_it(
    *, client: httpx.AsyncClient, line: Line, new_uow: UnitOfWorkFactory, is_sent: bool
) -> None:
    made = (await upload(client)).json()
    if is_sent:
        await send(client, line, made["id"])

    async with new_uow() as uow:
        now = await uow.database_now()
        early = await uploads.forget_old_uploads(uow, now=now + timedelta(days=6))
        late = await uploads.forget_old_uploads(uow, now=now + timedelta(days=7, seconds=1))

    kept = await client.get(f"/v1/media/{made['id']}")
    assert early == (0, [])
    assert late == (1, [] if is_sent else [SHA])
    assert kept.status_code == (200 if is_sent else 404)
