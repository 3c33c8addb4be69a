from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.messaging.media.hosts import OTHER_PICTURE, PICTURE, MediaHost, media_host, reply
from tests.domain.messaging.media.support import add_line, fetches, objects, receive
from tests.fakes import RecordingQueue
from tests.workers.inbound.test_webhooks import LONG_AGO

from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers import messaging


@pytest.fixture
def job_uow(new_uow: UnitOfWorkFactory) -> UnitOfWorkFactory:
    return new_uow


@pytest_asyncio.fixture
async def ctx(ctx: dict[str, Any], session: AsyncSession) -> dict[str, Any]:
    await add_line(session)
    return ctx


@pytest_asyncio.fixture
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


def with_sandbox_at(ctx: dict[str, Any], host: MediaHost) -> dict[str, Any]:
    """Return a job context whose settings use this host as the sandbox of the provider."""
    settings = ctx["deps"].settings.model_copy(update={"openphone_base_url": host.url("")})
    return {"deps": replace(ctx["deps"], settings=settings)}


async def test_all_due_files_are_fetched_in_one_run(
    session: AsyncSession,
    ctx: dict[str, Any],
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    host: MediaHost,
) -> None:
    for position in range(messaging.AT_ONCE + 2):
        url = host.serve(f"/{position}", reply((PICTURE, OTHER_PICTURE)[position % 2]))
        await receive(session, new_uow, url, message_id=f"AC{position}", now=LONG_AGO)

    await messaging.fetch_media(with_sandbox_at(ctx, host))
    once = len(host.requests)
    await messaging.fetch_media(with_sandbox_at(ctx, host))

    assert {one["status"] for one in await fetches(session)} == {"stored"}
    assert len(objects(settings.data_dir / "media")) == 2
    assert len(host.requests) == once == messaging.AT_ONCE + 2


async def test_failing_file_does_not_delay_the_others(
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

    await messaging.fetch_media(with_sandbox_at(ctx, host))
    states = [(one["status"], one["error_code"]) for one in await fetches(session)]
    await session.execute(text("UPDATE media_fetch SET next_attempt_at = :at"), {"at": LONG_AGO})
    await session.commit()
    await messaging.fetch_media(with_sandbox_at(ctx, host))

    assert states == [("failed", "http_500"), ("refused", "forbidden_address"), ("stored", None)]
    assert [one["status"] for one in await fetches(session)] == ["stored", "refused", "stored"]


async def test_no_file_is_fetched_from_loopback_with_the_real_provider(
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

    await messaging.fetch_media({"deps": replace(ctx["deps"], settings=real)})

    [fetch] = await fetches(session)
    assert (fetch["status"], fetch["error_code"]) == ("refused", "forbidden_port")
    assert host.requests == []


async def test_stopping_worker_leaves_the_files_to_another_run(
    session: AsyncSession,
    ctx: dict[str, Any],
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    host: MediaHost,
) -> None:
    await receive(session, new_uow, host.serve("/1", reply(PICTURE)), now=LONG_AGO)
    queue.jobs.clear()
    stopping = with_sandbox_at(ctx, host)
    stopping["deps"].stop()

    await messaging.fetch_media(stopping)

    assert [one["status"] for one in await fetches(session)] == ["pending"]
    assert queue.jobs == [Job(name=JobName.FETCH_MEDIA, delay_seconds=messaging.NEXT_FETCH_SECONDS)]
