"""What caused a piece of work: the ids that a nudge carries from a request to the job's lines."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from crm_api import tracing
from crm_api.jobs import JobName

Cause = Mapping[str, str]
"""Ids only. What a job works on it finds in its rows, and it may be caused by nothing at all."""
_CARRIED = ("request_id",)
_STEP = "traceparent"


def current() -> dict[str, str]:
    """Return the ids of what is being done here."""
    bound = structlog.contextvars.get_contextvars()
    ids = {name: bound[name] for name in _CARRIED if name in bound}
    step = tracing.traceparent()
    return ids if step is None else {**ids, _STEP: step}


def of_nudge(job: JobName) -> dict[str, str]:
    """Return what a nudge for this job carries.

    What a run asks of itself for later is not the request's any more: a queue that wakes itself
    for days would go on under the id of whoever was first.
    """
    running = structlog.contextvars.get_contextvars().get("job")
    return {} if running == job.value else current()


@contextmanager
def resumed(cause: Cause | None) -> Iterator[None]:
    """Let the lines of the block, its trace, and the nudges in it, carry these ids."""
    cause = cause or {}
    known = {name: cause[name] for name in _CARRIED if name in cause}
    with structlog.contextvars.bound_contextvars(**known), tracing.within(cause.get(_STEP)):
        yield
