"""Each run of a job writes one log line with its request id; at level debug if it did nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
import structlog
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.contextvars import bound_contextvars
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps
from crm_api.workers.job_runs import JobFunction, one_at_a_time
from crm_api.workers.queue import ArqJobQueue
from crm_api.workers.worker import build_worker

Lines = list[MutableMapping[str, Any]]
SOON_SECONDS = 30.0


@pytest.fixture
def log_lines() -> Iterator[Lines]:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        yield lines


@pytest.fixture
def deps(
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> Deps:
    return make_deps(settings, new_uow, queue, provider)


def job(did: Mapping[str, object] | Exception | None) -> JobFunction:
    async def run(ctx: dict[str, Any]) -> Mapping[str, object] | None:  # noqa: ARG001 - signature of a job
        if isinstance(did, Exception):
            raise did
        return did

    return run


def runs(log_lines: Lines) -> Lines:
    return [line for line in log_lines if line["event"] == "job finished"]


async def test_run_that_a_request_caused_is_one_log_line_with_its_request_id(
    deps: Deps, log_lines: Lines
) -> None:
    nudged = one_at_a_time(JobName.SEND_MESSAGES, job({"did": "called 2"}))

    await nudged({"deps": deps}, {"request_id": "r-1"})

    line = runs(log_lines)[0]
    assert line.pop("duration_ms") >= 0
    assert len(line.pop("run_id")) == 36
    assert line == {
        "event": "job finished",
        "log_level": "info",
        "job": "send_messages",
        "request_id": "r-1",
        "result": "ok",
        "did": "called 2",
    }


@pytest.mark.parametrize(
    ("did", "level"),
    [(None, "debug"), ({"applied": 3}, "info"), (RuntimeError("away"), "error")],
    ids=["nothing", "something", "failed"],
)
async def test_scheduled_run_is_logged_at_info_only_if_it_did_something(
    deps: Deps, log_lines: Lines, did: Mapping[str, object] | Exception | None, level: str
) -> None:
    await one_at_a_time(JobName.SEND_MESSAGES, job(did))({"deps": deps})

    assert [line["log_level"] for line in runs(log_lines)] == [level]
    assert "request_id" not in runs(log_lines)[0]


async def test_stored_error_contains_no_personal_data(
    deps: Deps, log_lines: Lines, session: AsyncSession
) -> None:
    failing = job(RuntimeError("no line takes +16175550123"))

    await one_at_a_time(JobName.SEND_MESSAGES, failing)({"deps": deps})

    kept = await session.scalar(text("SELECT last_error FROM scheduled_job"))
    assert kept == "RuntimeError: no line takes +***23"
    assert runs(log_lines)[0]["result"] == "failed"


async def test_request_during_a_run_causes_the_next_run(deps: Deps) -> None:
    pushed: Lines = []
    began, may_end = asyncio.Event(), asyncio.Event()

    async def work(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
        began.set()
        await may_end.wait()

    class Queue(RecordingQueue):
        async def push(self, job: Job) -> None:
            pushed.append({"job": job.name, **structlog.contextvars.get_contextvars()})

    deps.queue = Queue()
    nudged = one_at_a_time(JobName.SEND_MESSAGES, work)
    working = asyncio.ensure_future(nudged({"deps": deps}, {"request_id": "r-1"}))
    await began.wait()
    for request_id in ("r-2", "r-3"):
        await nudged({"deps": deps}, {"request_id": request_id})
    may_end.set()
    await working

    assert pushed == [{"job": "send_messages", "request_id": "r-2"}]


# arq 0.28 calls the method `close`, which version 5 of the library redis has renamed.
@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
class TestThroughRedis:
    @pytest_asyncio.fixture
    async def queue_and_seen(
        self, settings: Settings, committed_uow: Callable[[], UnitOfWork], provider: OpenPhoneClient
    ) -> AsyncIterator[tuple[ArqJobQueue, asyncio.Queue[Any]]]:
        """Run a worker with two jobs; yield its queue, and a queue of the observed runs.

        The first job requests the second job, and later itself.
        """
        seen: asyncio.Queue[Any] = asyncio.Queue()
        queue = ArqJobQueue(settings.require_redis_url())
        async with Redis.from_url(settings.require_redis_url()) as redis:
            # Delete the jobs that a worker of another test has left.
            await redis.flushdb()

        async def record_cause(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
            bound = structlog.contextvars.get_contextvars()
            seen.put_nowait((bound["job"], bound.get("request_id")))
            if bound["job"] == JobName.SEND_MESSAGES and "request_id" in bound:
                await queue.push(Job(name=JobName.SEND_MAIL))
                await queue.push(Job(name=JobName.SEND_MESSAGES, delay_seconds=0.2))

        deps = make_deps(settings, committed_uow, queue, provider)
        names = (JobName.SEND_MESSAGES, JobName.SEND_MAIL)
        worker = build_worker(settings, deps, dict.fromkeys(names, record_cause))
        working = asyncio.create_task(worker.async_run())
        # At its start, the worker runs each job once.
        for _ in names:
            await asyncio.wait_for(seen.get(), SOON_SECONDS)
        yield queue, seen
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        # If a job is still running, `close` cancels the job and then raises CancelledError.
        with suppress(asyncio.CancelledError):
            await worker.close()
        await queue.close()

    async def test_nudge_passes_the_request_id_on_except_to_its_own_job(
        self, queue_and_seen: tuple[ArqJobQueue, asyncio.Queue[Any]]
    ) -> None:
        queue, seen = queue_and_seen

        with bound_contextvars(request_id="r-1"):
            await queue.push(Job(name=JobName.SEND_MESSAGES))
        seen_causes = [await asyncio.wait_for(seen.get(), SOON_SECONDS) for _ in range(3)]

        assert seen_causes[0] == ("send_messages", "r-1")
        assert sorted(seen_causes[1:], key=str) == [("send_mail", "r-1"), ("send_messages", None)]

    async def test_run_has_the_id_of_the_first_of_several_requests(
        self, queue_and_seen: tuple[ArqJobQueue, asyncio.Queue[Any]]
    ) -> None:
        queue, seen = queue_and_seen

        for request_id in ("r-1", "r-2"):
            with bound_contextvars(request_id=request_id):
                await queue.push(Job(name=JobName.SEND_MAIL))

        assert await asyncio.wait_for(seen.get(), SOON_SECONDS) == ("send_mail", "r-1")
