from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.media.hosts import OTHER_PICTURE, PICTURE, MediaHost, media_host, reply
from tests.domain.media.support import add_line, fetches, objects, receive
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps
from tests.workers.test_webhooks import LONG_AGO

from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.jobs import Job, JobName
from crm_api.settings import Settings
from crm_api.workers import media


@pytest_asyncio.fixture
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


@pytest_asyncio.fixture
async def ctx(
    session: AsyncSession,
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> dict[str, Any]:
    await add_line(session)
    return {"deps": make_deps(settings, new_uow, queue, provider)}


def at(ctx: dict[str, Any], host: MediaHost) -> dict[str, Any]:
    """A worker whose sandbox is this host."""
    settings = ctx["deps"].settings.model_copy(update={"openphone_base_url": host.url("")})
    return {"deps": replace(ctx["deps"], settings=settings)}


async def test_all_that_is_due_is_fetched_in_one_run(
    session: AsyncSession,
    ctx: dict[str, Any],
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    for position in range(media.AT_ONCE + 2):
        url = host.serve(f"/{position}", reply((PICTURE, OTHER_PICTURE)[position % 2]))
        await receive(session, new_uow, url, message_id=f"AC{position}", now=LONG_AGO)

    await media.fetch_media(at(ctx, host))
    once = len(host.requests)
    await media.fetch_media(at(ctx, host))

    assert {one["status"] for one in await fetches(session)} == {"stored"}
    assert len(objects(settings.data_dir / "media")) == 2
    assert len(host.requests) == once == media.AT_ONCE + 2


async def test_one_bad_file_does_not_hold_up_its_neighbours(
    session: AsyncSession,
    ctx: dict[str, Any],
    new_uow: UnitOfWorkFactory,
    host: MediaHost,
) -> None:
    urls = (
        host.serve("/1", reply(status=500), reply(PICTURE)),
        "http://169.254.169.254/latest/meta-data",
        host.serve("/3", reply(PICTURE)),
    )
    await receive(session, new_uow, *urls, now=LONG_AGO)

    await media.fetch_media(at(ctx, host))
    states = [(one["status"], one["error_code"]) for one in await fetches(session)]
    await session.execute(text("UPDATE media_fetch SET next_attempt_at = :at"), {"at": LONG_AGO})
    await session.commit()
    await media.fetch_media(at(ctx, host))

    assert states == [("failed", "http_500"), ("refused", "forbidden_address"), ("stored", None)]
    assert [one["status"] for one in await fetches(session)] == ["stored", "refused", "stored"]


async def test_real_provider_has_nothing_fetched_from_loopback(
    session: AsyncSession,
    ctx: dict[str, Any],
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)), now=LONG_AGO)
    real = Settings.model_validate(
        {
            **settings.model_dump(exclude_none=True),
            "openphone_base_url": host.url(""),
            "openphone_api_key": "a key",
            "openphone_webhook_secrets": "c2FuZGJveC1rZXk=",
        }
    )

    await media.fetch_media({"deps": replace(ctx["deps"], settings=real)})

    [fetch] = await fetches(session)
    assert (fetch["status"], fetch["error_code"]) == ("refused", "forbidden_port")
    assert host.requests == []


async def test_stopping_worker_leaves_the_rest_to_another(
    session: AsyncSession,
    ctx: dict[str, Any],
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    host: MediaHost,
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)), now=LONG_AGO)
    queue.jobs.clear()
    stopping = at(ctx, host)
    stopping["deps"].stop()

    await media.fetch_media(stopping)

    assert [one["status"] for one in await fetches(session)] == ["pending"]
    assert queue.jobs == [Job(name=JobName.FETCH_MEDIA, delay_seconds=media.GO_ON_SECONDS)]
