"""Run the worker process: an arq worker with our job functions, restarted when it ends.

An arq worker ends when Redis becomes unreachable. After a wait, a new arq worker starts. The wait
grows with each failure. A lost nudge delays its work by at most a minute, because each job also
runs every minute.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, timedelta
from functools import partial
from typing import Any, cast

import structlog
import uvloop
from arq.cron import CronJob, cron
from arq.worker import Function as ArqFunction
from arq.worker import Worker, func
from redis.exceptions import RedisError

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts.mail import open_mailer
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.kit.backoff import Backoff
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.scheduled_jobs import heartbeats
from crm_api.domain.provider.openphone.client import open_provider
from crm_api.platform import clock, lifetimes, metrics_export
from crm_api.platform.clock_follower import follow_clock
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.jobs import JobName
from crm_api.platform.lifetimes import Lifetime
from crm_api.platform.postgres import WORK_SECONDS
from crm_api.platform.settings import Settings
from crm_api.workers import guards, sandbox_time, schedule
from crm_api.workers.deps import Deps
from crm_api.workers.job_runs import JobFunction, one_at_a_time
from crm_api.workers.queue import QUEUE_NAME, deserialize, open_queue, redis_settings, serialize
from crm_api.workers.schedule import CRON, FUNCTIONS, JOB_TIMEOUT_SECONDS, timeout_of

log = structlog.get_logger()

FINISH_SECONDS = 10
"""How many seconds the worker waits for running jobs at shutdown, in addition to the time of the
longest request to the provider. In this time, the jobs record the responses."""
POLL_SECONDS = 0.1
HEARTBEAT_TIMEOUT_SECONDS = 5.0
"""Timeout in seconds for storing a heartbeat. Without it, a database that does not respond could
block the shutdown."""
RESTARTS = Backoff(first=timedelta(seconds=0.5), longest=timedelta(seconds=10))
"""The waits before a new arq worker is started after the old one has ended."""
HEALTHY_AFTER_SECONDS = 60
"""If an arq worker has run for more than this number of seconds, the wait before the next restart
is the shortest wait again."""


def build_worker(
    settings: Settings, deps: Deps, functions: Mapping[JobName, JobFunction] = FUNCTIONS
) -> Worker:
    """Return an arq worker that runs each job every minute, and also on request.

    Args:
        settings: The settings of the process.
        deps: The objects that the jobs need.
        functions: The jobs, by name.
    """
    if settings.uses_sandbox:
        move = sandbox_time.TimeMover(functions)
        functions = {**functions, JobName.MOVE_SANDBOX_TIME: move}
    return Worker(
        functions=[_nudged(name, function) for name, function in functions.items()],
        cron_jobs=[_cron(name, function) for name, function in functions.items()],
        queue_name=QUEUE_NAME,
        redis_settings=redis_settings(settings.require_redis_url()),
        job_serializer=serialize,
        job_deserializer=deserialize,
        ctx={"deps": deps},
        handle_signals=False,
        max_jobs=20,
        job_timeout=JOB_TIMEOUT_SECONDS,
        keep_result=0,
        max_tries=1,
        poll_delay=POLL_SECONDS,
        health_check_interval=10,
        timezone=UTC,
        log_results=False,
    )


def _nudged(name: JobName, function: JobFunction) -> ArqFunction:
    # Each job is registered in arq under two different names: one for its scheduled runs, and one
    # for the runs that a nudge requests (a request in Redis to run the job soon). The reason: after
    # a scheduled run, arq locks the id of the run for a minute. With only one name, arq would treat
    # a requested run as a scheduled run and lock its id too.
    return func(
        # The cast is needed, because arq's type expects a function with *args.
        cast("Any", one_at_a_time(name, function)),
        name=name.value,
        timeout=timeout_of(name),
        keep_result=0,
        max_tries=1,
    )


def _cron(name: JobName, function: JobFunction) -> CronJob:
    return cron(
        cast("Any", one_at_a_time(name, function, is_tick=True)),
        name=f"{CRON}{name.value}",
        second=0,
        run_at_startup=True,
        unique=True,
        timeout=timeout_of(name),
        keep_result=0,
        max_tries=1,
    )


def run(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT; then let running jobs end, within a time limit."""
    lifetimes.tune_garbage_collection()
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    async with Lifetime() as life:
        deps = await _open(settings, life)
        schedule.require_schedule(build_worker(settings, deps), settings)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            deps.stop()
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await life.open(_metrics_endpoint(settings))
        await life.open(follow_clock(settings, deps.new_uow, hold=deps.pause))
        async with asyncio.TaskGroup() as tasks:
            always = [tasks.create_task(_beat(deps))]
            if settings.uses_sandbox:
                always.append(tasks.create_task(sandbox_time.keep_sandbox_in_time(deps)))
            await serve_queue(settings, deps, stopping)
            for task in always:
                task.cancel()


def _metrics_endpoint(settings: Settings) -> AbstractAsyncContextManager[None]:
    return metrics_export.export_metrics(
        "worker",
        host=settings.host,
        port=settings.worker_metrics_port,
        socket=settings.worker_metrics_socket,
    )


async def _open(settings: Settings, life: Lifetime) -> Deps:
    rules = load_rules(settings.rules_name)
    engine = await life.open(
        open_engine(
            settings.require_database_url(),
            application="crm-api worker",
            statement_seconds=WORK_SECONDS,
        )
    )
    queue = await life.open(open_queue(settings.require_redis_url()))
    provider = await life.open(open_provider(settings))
    sessions = session_factory(engine)
    return Deps(
        settings=settings,
        new_uow=lambda: UnitOfWork(sessions, queue),
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=settings.openphone_rate_per_second),
        times=SendTimes.from_settings(settings),
        rules=rules,
        secret=settings.require_secret_key(),
        circuit=circuits.PROVIDER,
        mailer=open_mailer(settings),
    )


async def serve_queue(settings: Settings, deps: Deps, stopping: asyncio.Event) -> None:
    """Run arq workers, one after the other, until ``stopping`` is set."""
    attempt = 1
    while not stopping.is_set():
        begun = time.monotonic()
        wait = RESTARTS.wait(attempt).total_seconds()
        worker = build_worker(settings, deps)
        working = asyncio.create_task(worker.async_run())
        stopped = asyncio.create_task(stopping.wait())
        # arq plans its next runs by the clock of the machine. If this clock is set back by an hour,
        # arq would run no scheduled job for an hour. So when the clock is set, a new arq worker is
        # started.
        clock_set = asyncio.create_task(guards.wait_until_clock_is_set())
        await asyncio.wait({working, stopped, clock_set}, return_when=asyncio.FIRST_COMPLETED)
        was_clock_set = clock_set.done()
        if was_clock_set:
            log.warning("schedule restarted because the system clock changed")
        if stopping.is_set() or was_clock_set:
            await _finish(worker, settings)
        stopped.cancel()
        clock_set.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError):
            try:
                await working
            except (RedisError, OSError, TimeoutError) as error:
                log.warning(
                    "Redis unreachable; worker will restart",
                    error=type(error).__name__,
                    wait_seconds=wait,
                )
        with suppress(RedisError, OSError, TimeoutError, asyncio.CancelledError):
            await worker.close()
        if was_clock_set:
            # Before the clock was set, arq may have queued runs for minutes that are now in the
            # future. arq queues only one run of a job for each minute. So in these minutes, it
            # would not run the job again. The queue is cleared to prevent this.
            async with open_queue(settings.require_redis_url()) as queue:
                await queue.clear()
        if not stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), timeout=wait)
            was_healthy = time.monotonic() - begun > HEALTHY_AFTER_SECONDS
            attempt = 1 if was_healthy else attempt + 1


async def _finish(worker: Worker, settings: Settings) -> None:
    """Start no more jobs; wait until the running jobs have ended or a time limit is reached."""
    worker.allow_pick_jobs = False
    worker.cron_jobs = []
    running = list(worker.tasks.values())
    if running:
        await asyncio.wait(running, timeout=settings.call_timeout_seconds + FINISH_SECONDS)


async def _beat(deps: Deps) -> None:
    """Store heartbeats of this worker periodically; at a normal shutdown, store that it stopped."""
    worker = heartbeats.WorkerProcess(started_at=clock.now())
    try:
        while True:
            await _store_heartbeat(deps, partial(heartbeats.store_heartbeat, worker=worker))
            await asyncio.sleep(heartbeats.HEARTBEAT_SECONDS)
    finally:
        if deps.is_stopping:
            await _store_heartbeat(deps, partial(heartbeats.store_worker_stop, worker=worker))


async def _store_heartbeat(deps: Deps, store: Callable[..., Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(HEARTBEAT_TIMEOUT_SECONDS), deps.new_uow() as uow:
            await store(uow, now=clock.now())
    except Exception as error:  # noqa: BLE001 - the worker must go on without the database
        log.warning("heartbeat not stored", error=type(error).__name__)
