"""Run job functions: one run at a time per job and process, with a stored result and a log line."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from opentelemetry.trace import SpanKind
from structlog.contextvars import bound_contextvars

from crm_api.domain.monitoring.scheduled_jobs import schedule
from crm_api.platform import clock, instruments, tracing
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.logs import mask_text
from crm_api.platform.request_context import Cause, resume_cause
from crm_api.workers.deps import Deps, JobSlot
from crm_api.workers.queue import messaging

log = structlog.get_logger()

JobFunction = Callable[[dict[str, Any]], Awaitable[Mapping[str, object] | None]]
"""The type of the function of a job. The fields that the function returns are added to the log line
of the run."""
Nudged = Callable[..., Awaitable[None]]

AWAY_RETRY_SECONDS = 5
"""How many seconds after a failed run a job runs again."""
STOPPED = "The run was cancelled, because the worker was stopped."


def one_at_a_time(name: JobName, function: JobFunction, *, is_tick: bool = False) -> Nudged:
    """Return a function for arq that runs a job, with only one run at a time in this process.

    If the function is called during a run, one more run follows. If the function is called during a
    pause of the jobs (see ``Deps.pause``), the job runs after the pause. If a pause begins during a
    run, the job runs again after the pause.

    Args:
        is_tick: True if the schedule calls the function; False if nudges call it. If a scheduled
            run cannot begin because of a pause or another run, this is recorded, so that the run
            does not count as missed.
    """

    async def run(ctx: dict[str, Any], cause: Cause | None = None) -> None:
        deps: Deps = ctx["deps"]
        slot = deps.slots.setdefault(name, JobSlot())
        if not slot.is_asked:
            slot.is_asked, slot.cause = True, cause

        def is_held() -> bool:
            return deps.is_paused and name is not JobName.MOVE_SANDBOX_TIME

        if is_held() or slot.lock.locked():
            if is_tick:
                await _note_at_work(deps, name)
            return
        async with slot.lock:
            slot.is_asked = False
            await run_once(deps, name, function, ctx, caused_by=slot.cause)
        if is_held():
            # A pause of the jobs began during the run, and may have stopped the run before its end.
            # So the job runs again after the pause.
            slot.is_asked = True
        elif slot.is_asked:
            await deps.request_run(name)

    run.__qualname__ = name.value
    return run


async def _note_at_work(deps: Deps, name: JobName) -> None:
    try:
        async with deps.new_uow() as uow:
            await schedule.store_job_at_work(uow, name=name.value, now=clock.now())
    except Exception as failure:  # noqa: BLE001 - without the database, the minute counts as missed
        log.warning(
            "scheduled run skipped, but the skip was not recorded, so the run counts as missed",
            job=name.value,
            error=type(failure).__name__,
        )


async def run_once(
    deps: Deps,
    name: JobName,
    function: JobFunction,
    ctx: dict[str, Any],
    *,
    caused_by: Cause | None = None,
) -> None:
    """Run a job once and store its result; if it fails, request another run in a few seconds.

    Args:
        ctx: The context that arq passes to the function.
        caused_by: The request id and trace ids of the request that caused the run; None if the
            schedule caused it.

    Raises:
        asyncio.CancelledError: The run was cancelled. Before the error is raised, the run is stored
            as failed. If the worker is stopping, no other run is requested.
    """
    started = time.monotonic()
    error: str | None = None
    cancelled: asyncio.CancelledError | None = None
    did: Mapping[str, object] | None = None
    run_id = str(new_id())
    with (
        resume_cause(caused_by),
        bound_contextvars(job=name.value, run_id=run_id),
        tracing.span(
            f"run {name}",
            kind=SpanKind.CONSUMER,
            attributes={
                **messaging(name, str(ctx.get("job_id", "")), operation="run", kind="process"),
                "crm.run_id": run_id,
            },
        ) as span,
    ):
        try:
            async with deps.new_uow() as uow:
                await schedule.start_job(uow, name=name.value, now=clock.now())
            did = await function(ctx)
        except asyncio.CancelledError as stop:
            cancelled = stop
            after = time.monotonic() - started
            error = (
                STOPPED
                if deps.is_stopping
                else f"The run was cancelled after {after:.0f} s, at its time limit."
            )
            tracing.fail(span, "cancelled")
            log.warning("job cancelled", reason=error)
        except Exception as failure:
            # An error in a job must not end the worker process.
            error = mask_text(f"{type(failure).__name__}: {failure}")[:500]
            tracing.fail(span, type(failure).__name__)
            log.exception("job failed")
        seconds = time.monotonic() - started
        instruments.JOB_RUNS.labels(name.value, "failed" if error else "ok").observe(seconds)
        duration_ms = int(seconds * 1000)
        _log_run(
            did, duration_ms, is_news=bool(caused_by or did or error), is_failure=error is not None
        )
        try:
            async with deps.new_uow() as uow:
                await schedule.finish_job(
                    uow, name=name.value, duration_ms=duration_ms, error=error, now=clock.now()
                )
        except Exception as failure:  # noqa: BLE001 - without the database, only the log has the result
            log.warning("job result not stored", error=type(failure).__name__)
            error = error or "not stored"
        if error is not None and not (cancelled and deps.is_stopping):
            await deps.queue.push(Job(name=name, delay_seconds=AWAY_RETRY_SECONDS))
    if cancelled is not None:
        raise cancelled


def _log_run(
    did: Mapping[str, object] | None, duration_ms: int, *, is_news: bool, is_failure: bool
) -> None:
    """Write the log line of a run.

    The level is error for a failed run. It is info for a run that did something, or that an API
    request caused. It is debug for all other runs, because most runs of the schedule find no work.
    """
    level = logging.ERROR if is_failure else logging.INFO if is_news else logging.DEBUG
    result = "failed" if is_failure else "ok"
    log.log(level, "job finished", result=result, duration_ms=duration_ms, **(did or {}))
