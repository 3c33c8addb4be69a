from collections.abc import Callable
from datetime import timedelta

import httpx

from crm_api.domain.monitoring.scheduled_jobs import heartbeats, schedule
from crm_api.domain.monitoring.scheduled_jobs.heartbeats import WorkerProcess
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]


async def test_scheduled_jobs_show_their_last_and_next_run(
    client: httpx.AsyncClient, new_uow: NewUow
) -> None:
    now = clock.now()
    async with new_uow() as uow:
        await schedule.start_job(uow, name="send_messages", now=now)
        await schedule.finish_job(uow, name="send_messages", duration_ms=7, error=None, now=now)

    jobs = {job["name"]: job for job in (await client.get("/v1/scheduled-jobs")).json()["data"]}

    assert list(jobs) == list(schedule.SCHEDULE)
    ran, never = jobs["send_messages"], jobs["send_alerts"]
    assert (ran["state"], ran["last_result"], ran["duration_ms"], ran["runs"]) == ("ok", "ok", 7, 1)
    assert (ran["misses"], ran["missed_from"]) == (0, None)
    assert (never["state"], never["last_started_at"], never["runs"]) == ("new", None, 0)
    assert ran["next_run_at"] > ran["last_started_at"]


async def test_workers_and_readiness_show_live_workers(
    client: httpx.AsyncClient, new_uow: NewUow
) -> None:
    now = clock.now()
    worker = WorkerProcess(
        started_at=now - timedelta(hours=1), host="worker-1", process_id=7, version="1"
    )
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, worker, now=now)
        for name in schedule.SCHEDULE:
            await schedule.start_job(uow, name=name, now=now)
    well = (await client.get("/readyz")).json()["checks"]
    async with new_uow() as uow:
        await heartbeats.store_worker_stop(uow, worker, now=now)

    (found,) = (await client.get("/v1/workers")).json()["data"]
    stopped = (await client.get("/readyz")).json()["checks"]

    assert (well["worker"], well["jobs"], stopped["worker"]) == ("ok", "ok", "degraded")
    assert (found["id"], found["state"], found["host"]) == (str(worker.id), "stopped", "worker-1")
    assert (found["process_id"], found["version"]) == (7, "1")
