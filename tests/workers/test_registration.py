"""A worker that would leave something undone does not start."""

from collections.abc import Mapping
from typing import cast

import pytest

from crm_api.cli.doctor_workers import judge_workers
from crm_api.cli.findings import State
from crm_api.jobs import JobName
from crm_api.processes import StartError
from crm_api.settings import Settings
from crm_api.workers import registration
from crm_api.workers.deps import Deps
from crm_api.workers.guarding import Function
from crm_api.workers.worker import FUNCTIONS, build_worker

NO_DEPS = cast("Deps", None)


def refusal(settings: Settings, functions: Mapping[JobName, Function], **changed: object) -> str:
    worker = build_worker(settings, NO_DEPS, functions)
    for name, value in changed.items():
        setattr(worker, name, value)
    with pytest.raises(StartError) as refused:
        registration.require(worker, settings)
    message = str(refused.value)
    assert "\n" not in message
    return message


async def test_worker_of_this_release_fits(settings: Settings) -> None:
    registration.require(build_worker(settings, NO_DEPS), settings)


async def test_every_job_that_can_be_pushed_is_registered(settings: Settings) -> None:
    worker = build_worker(settings, NO_DEPS)

    assert {name.value for name in JobName} - set(worker.functions) == set()


async def test_job_that_is_not_registered_stops_the_start(settings: Settings) -> None:
    functions: dict[JobName, Function] = {
        name: one for name, one in FUNCTIONS.items() if name is not JobName.SEAL_CONSENT
    }

    assert refusal(settings, functions) == (
        "the worker does not fit its schedule: it would not run by the clock seal_consent; "
        "it would not run when asked seal_consent"
    )


async def test_job_that_nobody_knows_stops_the_start(settings: Settings) -> None:
    functions = {**FUNCTIONS, cast("JobName", UNKNOWN): FUNCTIONS[JobName.SEND_MAIL]}

    assert "it would run by the clock walk_the_dog, which is not known" in refusal(
        settings, functions
    )


async def test_job_that_the_clock_would_not_start_stops_the_start(settings: Settings) -> None:
    crons = build_worker(settings, NO_DEPS).cron_jobs

    message = refusal(settings, FUNCTIONS, cron_jobs=crons[1:])

    assert f"it would not run by the clock {crons[0].name.removeprefix('cron:')}" in message


async def test_queue_that_nobody_consumes_stops_the_start(settings: Settings) -> None:
    message = refusal(settings, FUNCTIONS, queue_name="others")

    assert "it would not consume the queue crm:jobs" in message


class _Unknown:
    value = "walk_the_dog"


UNKNOWN = _Unknown()


@pytest.mark.parametrize(
    ("alive", "is_consumed", "state", "told"),
    [
        (2, True, State.OK, "2 at work"),
        (2, False, State.BROKEN, "same CRM_REDIS_URL"),
        (0, True, State.BROKEN, "same CRM_DATABASE_URL"),
        (0, False, State.WARNING, "start `crm-api worker`"),
    ],
)
def test_doctor_tells_who_consumes_the_queue(
    alive: int,
    is_consumed: bool,  # noqa: FBT001 - a case of the table
    state: State,
    told: str,
) -> None:
    found = judge_workers(alive, is_consumed=is_consumed)

    assert (found.part, found.state) == ("worker", state)
    assert told in found.advice
