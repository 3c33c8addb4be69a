"""A worker starts only if its jobs match the schedule."""

from collections.abc import Mapping
from typing import cast

import pytest

from crm_api.cli.doctor_checks import State
from crm_api.cli.doctor_database_checks import judge_workers
from crm_api.platform.jobs import JobName
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings
from crm_api.workers import schedule
from crm_api.workers.deps import Deps
from crm_api.workers.job_runs import JobFunction
from crm_api.workers.schedule import FUNCTIONS
from crm_api.workers.worker import build_worker

NO_DEPS = cast("Deps", None)


def refusal(settings: Settings, functions: Mapping[JobName, JobFunction], **changed: object) -> str:
    worker = build_worker(settings, NO_DEPS, functions)
    for name, value in changed.items():
        setattr(worker, name, value)
    with pytest.raises(StartError) as refused:
        schedule.require_schedule(worker, settings)
    message = str(refused.value)
    assert "\n" not in message
    return message


async def test_worker_of_this_release_matches_its_schedule(settings: Settings) -> None:
    schedule.require_schedule(build_worker(settings, NO_DEPS), settings)


async def test_every_job_that_can_be_pushed_is_registered(settings: Settings) -> None:
    worker = build_worker(settings, NO_DEPS)

    assert {name.value for name in JobName} - set(worker.functions) == set()


async def test_unregistered_job_prevents_the_start(settings: Settings) -> None:
    functions: dict[JobName, JobFunction] = {
        name: one for name, one in FUNCTIONS.items() if name is not JobName.SEAL_CONSENT
    }

    assert refusal(settings, functions) == (
        "the worker does not match its schedule: it would not run on schedule: seal_consent; "
        "it would not run on request: seal_consent. Correct FUNCTIONS in workers/schedule.py or "
        "SCHEDULE in scheduled_jobs/schedule.py"
    )


async def test_unknown_job_prevents_the_start(settings: Settings) -> None:
    functions = {**FUNCTIONS, cast("JobName", UNKNOWN): FUNCTIONS[JobName.SEND_MAIL]}

    assert "it would run on schedule, although unknown: walk_the_dog" in refusal(
        settings, functions
    )


async def test_unscheduled_job_prevents_the_start(settings: Settings) -> None:
    crons = build_worker(settings, NO_DEPS).cron_jobs

    message = refusal(settings, FUNCTIONS, cron_jobs=crons[1:])

    assert f"it would not run on schedule: {crons[0].name.removeprefix('cron:')}" in message


async def test_queue_that_no_worker_reads_prevents_the_start(settings: Settings) -> None:
    message = refusal(settings, FUNCTIONS, queue_name="others")

    assert "it would not read the queue: crm:jobs" in message


class _Unknown:
    value = "walk_the_dog"


UNKNOWN = _Unknown()


@pytest.mark.parametrize(
    ("alive", "is_consumed", "state", "advice"),
    [
        (2, True, State.OK, "2 worker(s) running"),
        (2, False, State.BROKEN, "same CRM_REDIS_URL"),
        (0, True, State.BROKEN, "same CRM_DATABASE_URL"),
        (0, False, State.WARNING, "start `crm-api worker`"),
    ],
)
def test_doctor_reports_whether_workers_read_the_queue(
    alive: int,
    is_consumed: bool,  # noqa: FBT001 - a case of the table
    state: State,
    advice: str,
) -> None:
    found = judge_workers(alive, is_consumed=is_consumed)

    assert (found.part, found.state) == ("worker", state)
    assert advice in found.advice
