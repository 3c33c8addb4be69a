"""Holds what a worker has registered against the schedule, before it takes any work."""

from collections.abc import Iterable, Iterator

from arq.worker import Worker

from crm_api.domain.operations.schedule import SCHEDULE
from crm_api.jobs import JobName
from crm_api.processes import StartError
from crm_api.settings import Settings
from crm_api.workers.queue import QUEUE_NAME

CRON = "cron:"
"""Begins the names of what the clock runs; a nudge for the same work has the name alone."""


def require(worker: Worker, settings: Settings) -> None:
    """Refuse a worker that would leave something undone without anybody's noticing.

    Raises:
        StartError: One line that names what is missing or too much.
    """
    expected = set(SCHEDULE)
    if settings.uses_sandbox:
        expected.add(JobName.MOVE_SANDBOX_TIME.value)
    names = [job.name for job in worker.cron_jobs]
    found = [
        *_differences("run by the clock", expected, (name.removeprefix(CRON) for name in names)),
        *_differences("run when asked", expected, set(worker.functions) - set(names)),
        *_differences("consume the queue", {QUEUE_NAME}, {worker.queue_name}),
    ]
    if found:
        raise StartError(f"the worker does not fit its schedule: {'; '.join(found)}")


def _differences(does: str, expected: set[str], registered: Iterable[str]) -> Iterator[str]:
    registered = set(registered)
    if lacking := expected - registered:
        yield f"it would not {does} {', '.join(sorted(lacking))}"
    if unknown := registered - expected:
        yield f"it would {does} {', '.join(sorted(unknown))}, which is not known"
