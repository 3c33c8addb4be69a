"""What a web process finds about the workers, and which mail it sends if no worker is alive."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.monitoring.watchdog.support import MINUTE, NewUow, alert, open_alerts
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps
from tests.workers.mailbox import OWNER, Mailbox, mail_server

from crm_api.domain.alerts.mail import open_mailer
from crm_api.domain.monitoring.scheduled_jobs import heartbeats, schedule
from crm_api.domain.monitoring.scheduled_jobs.heartbeats import WorkerProcess
from crm_api.domain.monitoring.watchdog import system
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.settings import Settings
from crm_api.routers.monitoring.watchdog_task import WatchdogTask
from crm_api.workers.monitoring import run_watchdog

WORKER = WorkerProcess(started_at=NOW - timedelta(hours=1))


async def send_heartbeat(new_uow: NewUow, minute: float) -> None:
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, WORKER, now=NOW + minute * MINUTE)


async def check_as_web_process(new_uow: NewUow, minute: float) -> list[str]:
    async with new_uow() as uow:
        await system.check_workers(uow, now=NOW + minute * MINUTE)
    return list(await open_alerts(new_uow))


async def start_all_jobs(new_uow: NewUow, minute: float, *, without: str = "") -> None:
    async with new_uow() as uow:
        for name in schedule.SCHEDULE:
            if name != without:
                await schedule.start_job(uow, name=name, now=NOW + minute * MINUTE)


async def test_missing_worker_is_an_alert_until_a_worker_is_alive(new_uow: NewUow) -> None:
    await start_all_jobs(new_uow, 0)
    await send_heartbeat(new_uow, 0)

    seen = [await check_as_web_process(new_uow, minute) for minute in (1, 2, 3)]
    detail = (await alert(new_uow, "worker_away")).detail
    await send_heartbeat(new_uow, 4)

    assert seen == [[], [], ["worker_away"]]
    assert "since 2026-11-25 15:00:00 UTC" in detail
    assert await check_as_web_process(new_uow, 4) == []


async def test_restart_raises_no_alert(new_uow: NewUow) -> None:
    await start_all_jobs(new_uow, 0)
    await send_heartbeat(new_uow, 0)
    async with new_uow() as uow:
        await heartbeats.store_worker_stop(uow, WORKER, now=NOW)

    first = await check_as_web_process(new_uow, 0.5)
    await send_heartbeat(new_uow, 1)

    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, WorkerProcess(started_at=NOW), now=NOW + MINUTE)
    assert (first, await check_as_web_process(new_uow, 1.5)) == ([], [])


async def test_job_that_does_not_start_under_live_workers_raises_an_alert(new_uow: NewUow) -> None:
    await start_all_jobs(new_uow, 0)
    seen = []
    for minute in range(1, 8):
        await send_heartbeat(new_uow, minute)
        await start_all_jobs(new_uow, minute, without="send_messages")
        seen.append(await check_as_web_process(new_uow, minute))
    detail = (await alert(new_uow, "job_overdue")).detail
    await start_all_jobs(new_uow, 8)
    await send_heartbeat(new_uow, 8)

    assert seen == [[], [], [], [], [], ["job_overdue"], ["job_overdue"]]
    assert "these jobs do not begin: send_messages." in detail
    assert await check_as_web_process(new_uow, 8) == []


async def test_jobs_that_do_not_start_share_one_alert(new_uow: NewUow) -> None:
    await start_all_jobs(new_uow, 0)
    for minute in range(1, 8):
        await send_heartbeat(new_uow, minute)
        await check_as_web_process(new_uow, minute)

    found = await alert(new_uow, "job_overdue")

    assert f"and {len(schedule.SCHEDULE) - 5} more" in found.detail
    assert len(found.context["jobs"]) == len(schedule.SCHEDULE)


async def check_as_worker(new_uow: NewUow, minute: float) -> list[str]:
    async with new_uow() as uow:
        await system.check_jobs_and_events(uow, now=NOW + minute * MINUTE)
    return list(await open_alerts(new_uow))


async def test_job_that_fails_for_long_raises_an_alert(new_uow: NewUow) -> None:
    seen = []
    for minute in range(12):
        now = NOW + minute * MINUTE
        async with new_uow() as uow:
            await schedule.start_job(uow, name="send_mail", now=now)
            await schedule.finish_job(
                uow, name="send_mail", duration_ms=1, error="RuntimeError: no.", now=now
            )
        seen.append(await check_as_worker(new_uow, minute))
    async with new_uow() as uow:
        await schedule.finish_job(uow, name="send_mail", duration_ms=1, error=None, now=NOW)

    assert seen[:11] == [[]] * 11
    assert seen[11] == ["job_failing"]
    assert "send_mail has failed 12 times" in (await alert(new_uow, "job_failing")).detail
    assert await check_as_worker(new_uow, 12) == []


async def test_events_that_are_not_applied_raise_an_alert(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await uow.session.execute(
            text("""INSERT INTO webhook_event (id, provider_event_id, scheme, type,
                        next_attempt_at, received_at, payload)
                 VALUES (uuid_v7(), 'EV1', '2026-03-30', 'message.received', :now, :now, '{}')"""),
            {"now": NOW},
        )

    seen = [await check_as_worker(new_uow, minute) for minute in (5, 6, 7, 8, 9)]
    async with new_uow() as uow:
        await uow.session.execute(text("UPDATE webhook_event SET status = 'processed'"))

    assert seen == [[], [], [], [], ["events_late"]]
    assert await check_as_worker(new_uow, 10) == []


async def test_old_reconciliation_raises_an_alert(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await uow.session.execute(
            text("""INSERT INTO reconciliation_run (id, trigger, status, since, until, continues,
                        created_at)
                 VALUES (uuid_v7(), 'daily', 'completed', :now, :now, true, :now)"""),
            {"now": NOW},
        )

    assert await check_as_worker(new_uow, 50 * 60) == []
    assert await check_as_worker(new_uow, 50 * 60 + 1) == ["reconciliation_old"]


async def test_clock_of_a_web_process_is_checked(new_uow: NewUow) -> None:
    now = clock.now()
    async with new_uow() as uow:
        await system.check_clock(uow, wall=now + timedelta(seconds=60), now=now)
    wrong = await open_alerts(new_uow)
    async with new_uow() as uow:
        await system.check_clock(uow, wall=clock.wall_now(), now=now)

    assert "differ by 60 seconds" in wrong["clock_skew"]
    assert await open_alerts(new_uow) == {}


@pytest_asyncio.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with mail_server() as mailbox:
        yield mailbox


@pytest.fixture
def mailing(settings: Settings, mailbox: Mailbox) -> Settings:
    changes = {"smtp_url": SecretStr(f"smtp://127.0.0.1:{mailbox.port}"), "alert_emails": (OWNER,)}
    return settings.model_copy(update=changes)


async def test_web_process_sends_mail_while_no_worker_is_alive(
    new_uow: NewUow, mailing: Settings, mailbox: Mailbox
) -> None:
    task = WatchdogTask(new_uow, settings=mailing, mailer=open_mailer(mailing))
    now = clock.now()
    async with new_uow() as uow:
        await uow.session.execute(
            text("""INSERT INTO suspicion (kind, subject, since, seen_at)
                 VALUES ('worker_away', 'workers', :since, :now)"""),
            {"since": now - 2 * MINUTE, "now": now},
        )

    await task.look()

    assert len(mailbox.mails) == 1
    assert "No worker has sent a heartbeat" in mailbox.last()


async def test_web_process_sends_no_mail_while_a_worker_is_alive(
    new_uow: NewUow, mailing: Settings, mailbox: Mailbox
) -> None:
    now = clock.now()
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, replace(WORKER, started_at=now), now=now)
        await system.check_clock(uow, wall=now + timedelta(seconds=60), now=now)

    await WatchdogTask(new_uow, settings=mailing, mailer=open_mailer(mailing)).look()

    assert mailbox.mails == []


async def test_worker_finds_nothing_in_an_empty_installation(
    settings: Settings, new_uow: NewUow, queue: RecordingQueue, provider: OpenPhoneClient
) -> None:
    now = clock.now()
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, replace(WORKER, started_at=now), now=now)

    await run_watchdog({"deps": make_deps(settings, new_uow, queue, provider)})

    measured = system.measure_disks(system.folders_of(settings))
    low_here = {"disk_low"} if any(disk.is_low for disk in measured) else set()
    assert (await open_alerts(new_uow)).keys() == low_here
