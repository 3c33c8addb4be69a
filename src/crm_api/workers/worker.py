"""The worker process: arq with our functions, its schedule, and a loop around it.

arq's worker ends when Redis goes away; the loop starts another one, with back-off. Every function
is a cron function too, so that a lost nudge costs a minute at most.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from datetime import UTC
from functools import partial
from typing import Any, cast

import structlog
import uvloop
from arq.cron import CronJob, cron
from arq.worker import Function as ArqFunction
from arq.worker import Worker, func
from redis.exceptions import RedisError

from crm_api import clock, collector, telling
from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.compliance.loader import load_rules
from crm_api.domain.operations import circuits, heartbeats
from crm_api.domain.playground.following import follow_clock
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.times import SendTimes
from crm_api.jobs import JobName
from crm_api.mailing import open_mailer
from crm_api.postgres import WORK_SECONDS
from crm_api.provider import open_provider
from crm_api.settings import Settings
from crm_api.workers import (
    alerts,
    audiences,
    campaigns,
    clocks,
    consent,
    custom_fields,
    daily,
    do_not_contact,
    erasure,
    lookout,
    mail,
    media,
    merging,
    phone_validation,
    reconciliation,
    registration,
    sandbox_time,
    sends,
    tags,
    transfer,
    webhook_deliveries,
    webhook_health,
    webhooks,
)
from crm_api.workers.deps import Deps
from crm_api.workers.guarding import Function, guarded
from crm_api.workers.queue import (
    QUEUE_NAME,
    ArqJobQueue,
    deserialize,
    redis_settings,
    serialize,
)
from crm_api.workers.registration import CRON

log = structlog.get_logger()

FUNCTIONS: dict[JobName, Function] = {
    JobName.APPLY_CUSTOM_FIELDS: custom_fields.apply_custom_fields,
    JobName.CHANGE_TAGS: tags.change_tags,
    JobName.CHECK_WEBHOOK_HEALTH: webhook_health.check_webhook_health,
    JobName.DELIVER_WEBHOOKS: webhook_deliveries.deliver_webhooks,
    JobName.FETCH_MEDIA: media.fetch_media,
    JobName.FIND_DUPLICATES: merging.find_duplicates,
    JobName.LOOK_OUT: lookout.look_out,
    JobName.PROCESS_CAMPAIGN_QUEUE: campaigns.process_campaign_queue,
    JobName.PROCESS_WEBHOOK_BACKLOG: webhooks.process_webhook_backlog,
    JobName.RECONCILE_OPENPHONE: reconciliation.reconcile_openphone,
    JobName.RESOLVE_UNKNOWN_SENDS: sends.resolve_unknown_sends,
    JobName.RUN_DO_NOT_CONTACT: do_not_contact.run_do_not_contact,
    JobName.RUN_DAILY_TASKS: daily.run_daily_tasks,
    JobName.RUN_ERASURES: erasure.run_erasures,
    JobName.RUN_IMPORTS: transfer.run_imports,
    JobName.SEAL_CONSENT: consent.seal_consent,
    JobName.SEND_ALERTS: alerts.send_alerts,
    JobName.SEND_MAIL: mail.send_mail,
    JobName.SEND_MESSAGES: sends.send_messages,
    JobName.TRY_PROVIDER: alerts.try_provider,
    JobName.VALIDATE_PHONES: phone_validation.validate_phones,
    JobName.WRITE_AUDIENCES: audiences.write_audiences,
}
JOB_TIMEOUT_SECONDS = 90
"""At least 45 s of work, the longest call and 15 s (send-protocol, drain job)."""
FINISH_SECONDS = 10
"""What a run may take at the end beside the longest call, to record its answers."""
POLL_SECONDS = 0.1
SAID_WITHIN_SECONDS = 5.0
"""A database that hangs does not keep a worker from ending."""
BACK_OFF_SECONDS = (0.5, 10.0)
HEALTHY_AFTER_SECONDS = 60


def build_worker(
    settings: Settings, deps: Deps, functions: Mapping[JobName, Function] = FUNCTIONS
) -> Worker:
    """Build arq's worker: each function on its minute, and whenever it is nudged."""
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


def _nudged(name: JobName, function: Function) -> ArqFunction:
    # Apart from the cron function of the same work: arq keeps the id of a cron run for a minute,
    # and a nudge with the id of one that has just ended would wait for that.
    return func(
        cast("Any", guarded(name, function)),  # arq's protocol wants *args that no job takes
        name=name.value,
        timeout=JOB_TIMEOUT_SECONDS,
        keep_result=0,
        max_tries=1,
    )


def _cron(name: JobName, function: Function) -> CronJob:
    return cron(
        cast("Any", guarded(name, function, is_tick=True)),
        name=f"{CRON}{name.value}",
        second=0,
        run_at_startup=True,
        unique=True,
        timeout=JOB_TIMEOUT_SECONDS,
        keep_result=0,
        max_tries=1,
    )


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; calls that are under way end and are recorded first."""
    collector.tune()
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        deps = await _open(settings, stack)
        registration.require(build_worker(settings, deps), settings)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            deps.stop()
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await stack.enter_async_context(_telling(settings))
        await stack.enter_async_context(follow_clock(settings, deps.new_uow, hold=deps.hold))
        async with asyncio.TaskGroup() as tasks:
            always = [tasks.create_task(_beat(deps))]
            if settings.uses_sandbox:
                always.append(tasks.create_task(sandbox_time.keep_sandbox_in_time(deps)))
            await _serve_queue(settings, deps, stopping)
            for task in always:
                task.cancel()


def _telling(settings: Settings) -> AbstractAsyncContextManager[None]:
    return telling.telling(
        "worker",
        host=settings.host,
        port=settings.worker_metrics_port,
        socket=settings.worker_metrics_socket,
    )


async def _open(settings: Settings, stack: AsyncExitStack) -> Deps:
    rules = load_rules(settings.rules_name)
    engine = await stack.enter_async_context(
        open_engine(
            settings.require_database_url(),
            application="crm-api worker",
            statement_seconds=WORK_SECONDS,
        )
    )
    queue = ArqJobQueue(settings.require_redis_url())
    stack.push_async_callback(queue.close)
    provider = open_provider(settings)
    stack.push_async_callback(provider.aclose)
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


async def _serve_queue(settings: Settings, deps: Deps, stopping: asyncio.Event) -> None:
    wait = BACK_OFF_SECONDS[0]
    while not stopping.is_set():
        begun = time.monotonic()
        worker = build_worker(settings, deps)
        working = asyncio.create_task(worker.async_run())
        stopped = asyncio.create_task(stopping.wait())
        # The schedule is planned ahead: of a clock that was an hour ahead, for that hour.
        clock_set = asyncio.create_task(clocks.until_set())
        await asyncio.wait({working, stopped, clock_set}, return_when=asyncio.FIRST_COMPLETED)
        if clock_set.done():
            log.warning("this machine's clock was set; the schedule is planned anew")
        if stopping.is_set() or clock_set.done():
            await _finish(worker, settings)
        stopped.cancel()
        clock_set.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError):
            try:
                await working
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("Redis away; trying again", error=type(error).__name__, seconds=wait)
        with suppress(RedisError, OSError, TimeoutError, asyncio.CancelledError):
            await worker.close()
        if not stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), timeout=wait)
            was_healthy = time.monotonic() - begun > HEALTHY_AFTER_SECONDS
            wait = BACK_OFF_SECONDS[0] if was_healthy else min(wait * 2, BACK_OFF_SECONDS[1])


async def _finish(worker: Worker, settings: Settings) -> None:
    """Pick nothing more and let running jobs end; longer than the longest call."""
    worker.allow_pick_jobs = False
    running = list(worker.tasks.values())
    if running:
        await asyncio.wait(running, timeout=settings.call_timeout_seconds + FINISH_SECONDS)


async def _beat(deps: Deps) -> None:
    """Say again and again that this worker lives, and at its end that it was asked to stop."""
    worker = heartbeats.Worker(started_at=clock.now())
    try:
        while True:
            await _say(deps, partial(heartbeats.beat, worker=worker))
            await asyncio.sleep(heartbeats.HEARTBEAT_SECONDS)
    finally:
        if deps.is_stopping:
            await _say(deps, partial(heartbeats.stop, worker=worker))


async def _say(deps: Deps, say: Callable[..., Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(SAID_WITHIN_SECONDS), deps.new_uow() as uow:
            await say(uow, now=clock.now())
    except Exception as error:  # noqa: BLE001 - the edge of the process: the database is away
        log.warning("heartbeat not stored", error=type(error).__name__)
