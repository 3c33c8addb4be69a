"""How a function runs as a job: one at a time in a process, its result kept."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from crm_api import clock
from crm_api.domain.operations import service as operations
from crm_api.jobs import Job, JobName
from crm_api.workers.deps import Deps, Turn

log = structlog.get_logger()

Function = Callable[[dict[str, Any]], Awaitable[None]]

AWAY_RETRY_SECONDS = 5


def guarded(name: JobName, function: Function) -> Function:
    """Wrap a function: one run at a time in a process, its result kept in ``scheduled_job``.

    What is asked for while a run works is asked for again once it is done, so that nothing which
    came meanwhile waits for the next minute.
    """

    async def run(ctx: dict[str, Any]) -> None:
        deps: Deps = ctx["deps"]
        if deps.is_held and name is not JobName.MOVE_SANDBOX_TIME:
            return  # Time is being moved; whoever moves it does this work too.
        turn = deps.turns.setdefault(name, Turn())
        turn.is_asked = True
        if turn.lock.locked():
            return
        async with turn.lock:
            turn.is_asked = False
            await run_once(deps, name, function, ctx)
        if turn.is_asked:
            await deps.queue.push(Job(name=name))

    run.__qualname__ = name.value
    return run


async def run_once(deps: Deps, name: JobName, function: Function, ctx: dict[str, Any]) -> None:
    """Run a function and keep how that went; one that failed is asked for again."""
    started = time.monotonic()
    error: str | None = None
    with structlog.contextvars.bound_contextvars(job=name.value):
        try:
            async with deps.new_uow() as uow:
                await operations.start_job(uow, name=name.value, now=clock.now())
            await function(ctx)
        except Exception as failure:  # the edge of the process: nothing may end the worker
            error = f"{type(failure).__name__}: {failure}"[:500]
            log.exception("job failed")
        try:
            async with deps.new_uow() as uow:
                await operations.finish_job(
                    uow,
                    name=name.value,
                    duration_ms=int((time.monotonic() - started) * 1000),
                    error=error,
                    now=clock.now(),
                )
        except Exception as failure:  # noqa: BLE001 - the database is away; the next run tells
            log.warning("result of the job not stored", error=type(failure).__name__)
            error = error or "not stored"
        if error is not None:
            await deps.queue.push(Job(name=name, delay_seconds=AWAY_RETRY_SECONDS))
