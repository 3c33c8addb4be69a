"""Pictures are sent with their message, even when the message is sent again."""

import dataclasses
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import number
from tests.workers.drain import open_ledger

from crm_api.dev.sandbox.app import Sandbox
from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.domain.messaging.media import service as links
from crm_api.domain.messaging.media import uploads
from crm_api.domain.messaging.media.fetching import StoredFile
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.queue import NewMessage, queue_messages
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.workers.deps import Deps
from crm_api.workers.messaging import send_messages

PICTURES = [
    StoredFile(sha256=digit * 64, content_type="image/png", size_bytes=100) for digit in "ab"
]


async def _queue(ledger: Ledger, files: Sequence[StoredFile]) -> list[UUID]:
    now = clock.now()
    async with ledger.new_uow() as uow:
        ids = [await uploads.store_upload(uow, file, caller_id=new_id(), now=now) for file in files]
        media = await uploads.describe_uploads(uow, ids, is_supported=True, now=now)
        message = NewMessage(
            line_id=ledger.line.id,
            phone=number(0),
            body="Like this?",
            kind=SendKind.MANUAL,
            contact_id=None,
            media=media,
        )
        (row,) = await queue_messages(uow, [message], now=now)
        await uploads.attach_files(uow, activity_id=row.id, media_ids=ids, now=now)
    return ids


def _sent(sandbox: Sandbox) -> list[tuple[str, list[str]]]:
    """Return the body and the picture URLs of each message that the provider accepted."""
    return [
        (one.text, [item["url"] for item in one.media]) for one in sandbox.workspace.store.ordered
    ]


@pytest.mark.parametrize("fault", [None, FaultKind.THROTTLED, FaultKind.RESET_BEFORE])
async def test_message_is_sent_with_its_pictures(
    *,
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    sandbox: Sandbox,
    fault: FaultKind | None,
) -> None:
    deps: Deps = ctx["deps"]
    ledger = await open_ledger(committed_uow, people=0)
    ids = await _queue(ledger, PICTURES)
    if fault is not None:
        failing = Fault(kind=fault, on=FaultScope.SEND, count=1)
        sandbox.workspace.faults.active.append(failing)
        await send_messages(ctx)
        assert _sent(sandbox) == []
        async with committed_uow() as uow:
            await uow.session.execute(
                text("UPDATE send_attempt SET status = 'released' WHERE status = 'unknown'")
            )
            await uow.session.execute(
                text("UPDATE activity SET status = 'queued', send_after = :now"),
                {"now": clock.now()},
            )
            await uow.session.execute(text("DELETE FROM rate_limit"))

    await send_messages(ctx)

    ((words, urls),) = _sent(sandbox)
    assert words == "Like this?"
    for media_id, url in zip(ids, urls, strict=True):
        path, _, query = url.partition("?")
        assert path == f"{deps.settings.public_base_url}/v1/media/{media_id}"
        expires, signature = (part.partition("=")[2] for part in query.split("&"))
        links.check_media_link(
            deps.secret,
            media_id=media_id,
            expires=expires,
            signature=signature,
            now=clock.now(),
        )


async def test_message_fails_if_the_provider_can_no_longer_send_its_pictures(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    await _queue(ledger, PICTURES)
    deps: Deps = ctx["deps"]
    text_only = deps.settings.model_copy(update={"openphone_sends_media": False})

    await send_messages({"deps": dataclasses.replace(deps, settings=text_only)})

    row = await ledger.message()
    assert (row.status, row.error_code) == ("failed", "media_not_supported")
    assert _sent(sandbox) == []
