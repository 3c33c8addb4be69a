from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.webhooks.support import (
    OWN_NUMBER,
    PROVIDER_LINE,
    incoming,
    rows,
    statuses,
    store,
    texts_out,
)
from tests.factories import make_line
from tests.fakes import RecordingQueue

from crm_api.db import UnitOfWork
from crm_api.domain.compliance.rules import NO_RULES
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.times import SendTimes
from crm_api.jobs import Job, JobName
from crm_api.settings import Settings
from crm_api.workers import webhooks
from crm_api.workers.deps import Deps

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""Due by any clock; the worker reads the real one."""


@pytest_asyncio.fixture
async def ctx(
    session: AsyncSession,
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> dict[str, Any]:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    deps = Deps(
        settings=settings,
        new_uow=new_uow,
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=8),
        times=SendTimes.from_settings(settings),
        rules=NO_RULES,
        secret=settings.require_secret_key(),
    )
    return {"deps": deps}


async def test_whole_backlog_is_applied_in_one_run(
    session: AsyncSession, ctx: dict[str, Any]
) -> None:
    for position in range(webhooks.BATCH + 5):
        await store(session, incoming(f"text {position}", message_id=f"AC{position}"), now=LONG_AGO)

    await webhooks.process_webhook_backlog(ctx)

    stored = await rows(session, "SELECT count(*) AS count FROM activity")
    assert set(await statuses(session)) == {"processed"}
    assert stored == [{"count": webhooks.BATCH + 5}]


async def test_second_run_changes_nothing(
    session: AsyncSession, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await store(session, incoming("take me off your list"), now=LONG_AGO)
    await webhooks.process_webhook_backlog(ctx)
    jobs = list(queue.jobs)

    await webhooks.process_webhook_backlog(ctx)

    assert len(await texts_out(session)) == 1
    assert queue.jobs == jobs


async def test_stopping_worker_leaves_the_rest_to_another(
    session: AsyncSession, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await store(session, incoming("hello"), now=LONG_AGO)
    ctx["deps"].stop()

    await webhooks.process_webhook_backlog(ctx)

    assert await statuses(session) == ["pending"]
    assert queue.jobs == [
        Job(name=JobName.PROCESS_WEBHOOK_BACKLOG, delay_seconds=webhooks.GO_ON_SECONDS)
    ]
