"""How a function runs as a job: one at a time in a process, its result kept, one line a run."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from crm_api import clock, instruments, tracing
from crm_api.cause import Cause, resumed
from crm_api.domain.operations import schedule
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName
from crm_api.logs import mask_text
from crm_api.workers.deps import Deps, Turn
from crm_api.workers.queue import messaging

log = structlog.get_logger()

Function = Callable[[dict[str, Any]], Awaitable[Mapping[str, object] | None]]
"""A job; what it returns is told in the line of its run, and None is nothing worth telling."""
Nudged = Callable[..., Awaitable[None]]

AWAY_RETRY_SECONDS = 5


def guarded(name: JobName, function: Function, *, is_tick: bool = False) -> Nudged:
    """Wrap a function: one run at a time in a process, its result kept in ``scheduled_job``.

    What is asked for while a run works is asked for again once it is done, so that nothing which
    came meanwhile waits for the next minute.

    Args:
        is_tick: It is the clock that asks. When a run works already, or time is being moved, its
            minute is noted as one that was not missed.
    """

    async def run(ctx: dict[str, Any], cause: Cause | None = None) -> None:
        deps: Deps = ctx["deps"]
        if deps.is_held and name is not JobName.MOVE_SANDBOX_TIME:
            # Time is being moved; whoever moves it does this work too.
            if is_tick:
                await _note_at_work(deps, name)
            return
        turn = deps.turns.setdefault(name, Turn())
        if not turn.is_asked:
            turn.is_asked, turn.cause = True, cause
        if turn.lock.locked():
            if is_tick:
                await _note_at_work(deps, name)
            return
        async with turn.lock:
            turn.is_asked = False
            await run_once(deps, name, function, ctx, caused_by=turn.cause)
        if turn.is_asked:
            with resumed(turn.cause):
                await deps.queue.push(Job(name=name))

    run.__qualname__ = name.value
    return run


async def _note_at_work(deps: Deps, name: JobName) -> None:
    try:
        async with deps.new_uow() as uow:
            await schedule.note_at_work(uow, name=name.value, now=clock.now())
    except Exception as failure:  # noqa: BLE001 - the database is away; the minute counts as missed
        log.warning("minute of the job not stored", job=name.value, error=type(failure).__name__)


async def run_once(
    deps: Deps,
    name: JobName,
    function: Function,
    ctx: dict[str, Any],
    *,
    caused_by: Cause | None = None,
) -> None:
    """Run a function and keep how that went; one that failed is asked for again."""
    started = time.monotonic()
    error: str | None = None
    did: Mapping[str, object] | None = None
    run_id = str(new_id())
    with (
        resumed(caused_by),
        bound_contextvars(job=name.value, run_id=run_id),
        tracing.span(
            f"run {name}",
            kind="consumer",
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
        except Exception as failure:  # the edge of the process: nothing may end the worker
            error = mask_text(f"{type(failure).__name__}: {failure}")[:500]
            span.fail(type(failure).__name__)
            log.exception("job failed")
        seconds = time.monotonic() - started
        instruments.JOB_RUNS.labels(name.value, "failed" if error else "ok").observe(seconds)
        duration_ms = int(seconds * 1000)
        _tell(
            did, duration_ms, is_news=bool(caused_by or did or error), is_failure=error is not None
        )
        try:
            async with deps.new_uow() as uow:
                await schedule.finish_job(
                    uow, name=name.value, duration_ms=duration_ms, error=error, now=clock.now()
                )
        except Exception as failure:  # noqa: BLE001 - the database is away; the next run tells
            log.warning("result of the job not stored", error=type(failure).__name__)
            error = error or "not stored"
        if error is not None:
            await deps.queue.push(Job(name=name, delay_seconds=AWAY_RETRY_SECONDS))


def _tell(
    did: Mapping[str, object] | None, duration_ms: int, *, is_news: bool, is_failure: bool
) -> None:
    """Write the one line of a run.

    The schedule starts every function each minute, mostly to find nothing: such a run is told at
    level debug. One that a request caused, that did something, or that failed is news.
    """
    level = logging.ERROR if is_failure else logging.INFO if is_news else logging.DEBUG
    result = "failed" if is_failure else "ok"
    log.log(level, "job run", result=result, duration_ms=duration_ms, **(did or {}))
