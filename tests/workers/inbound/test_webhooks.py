from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PROVIDER_LINE,
    automatic_messages,
    incoming,
    rows,
    statuses,
    store,
)
from tests.factories import make_line
from tests.fakes import RecordingQueue

from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.workers import inbound

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""Time of receipt of the events.

The worker uses the real clock. By this clock, the time is in the past, so the events are due.
"""


@pytest.fixture
def job_uow(new_uow: UnitOfWorkFactory) -> UnitOfWorkFactory:
    return new_uow


@pytest_asyncio.fixture
async def line_ctx(ctx: dict[str, Any], session: AsyncSession) -> dict[str, Any]:
    """Store a line of the company; return the context of a job."""
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return ctx


async def test_whole_backlog_is_applied_in_one_run(
    session: AsyncSession, line_ctx: dict[str, Any]
) -> None:
    for position in range(inbound.BATCH + 5):
        await store(session, incoming(f"text {position}", message_id=f"AC{position}"), now=LONG_AGO)

    await inbound.process_webhook_backlog(line_ctx)

    stored = await rows(session, "SELECT count(*) AS count FROM activity")
    assert set(await statuses(session)) == {"processed"}
    assert stored == [{"count": inbound.BATCH + 5}]


async def test_batches_are_larger_while_more_events_wait(
    session: AsyncSession, line_ctx: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound, "BATCH", 2)
    monkeypatch.setattr(inbound, "LARGE_BATCH", 4)
    for position in range(9):
        await store(session, incoming(f"text {position}", message_id=f"AC{position}"), now=LONG_AGO)
    sizes: list[int] = []

    def note(_: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "SKIP LOCKED" in statement:
            sizes.append(parameters[-1])

    event.listen(Engine, "before_cursor_execute", note)
    await inbound.process_webhook_backlog(line_ctx)
    event.remove(Engine, "before_cursor_execute", note)

    assert sizes == [2, 4, 4, 2]
    assert set(await statuses(session)) == {"processed"}


async def test_second_run_changes_nothing(
    session: AsyncSession, line_ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    sent_at = clock.now()
    await store(session, incoming("take me off your list", at=sent_at), now=sent_at)
    await inbound.process_webhook_backlog(line_ctx)
    jobs = list(queue.jobs)

    await inbound.process_webhook_backlog(line_ctx)

    assert len(await automatic_messages(session)) == 1
    assert queue.jobs == jobs


async def test_stopping_worker_leaves_the_events_to_another_run(
    session: AsyncSession, line_ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await store(session, incoming("hello"), now=LONG_AGO)
    line_ctx["deps"].stop()

    await inbound.process_webhook_backlog(line_ctx)

    assert await statuses(session) == ["pending"]
    assert queue.jobs == [
        Job(name=JobName.PROCESS_WEBHOOK_BACKLOG, delay_seconds=inbound.NEXT_BATCH_SECONDS)
    ]


@pytest.mark.parametrize("error", [timedelta(hours=-2), timedelta(hours=2)], ids=["slow", "fast"])
async def test_stop_is_applied_at_once_and_dated_by_the_database_despite_a_wrong_worker_clock(
    session: AsyncSession, line_ctx: dict[str, Any], error: timedelta
) -> None:
    sent_at = datetime.now(UTC)
    await store(session, incoming("STOP", createdAt=sent_at.isoformat()), now=sent_at)
    clock.move(error)
    try:
        await inbound.process_webhook_backlog(line_ctx)
    finally:
        clock.move(timedelta(0))

    (entry,) = await rows(session, "SELECT action, occurred_at, created_at FROM consent_entry")
    assert (entry["action"], entry["occurred_at"]) == ("opt_out", sent_at)
    assert sent_at <= entry["created_at"] <= datetime.now(UTC)
