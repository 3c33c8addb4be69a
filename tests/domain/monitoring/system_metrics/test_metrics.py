"""The metrics of the system, each read from the output of a scrape (a request of Prometheus)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import incoming, store
from tests.domain.messaging.sends.ledger import TIMES
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.models import Circuit
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.monitoring.scheduled_jobs import heartbeats, schedule
from crm_api.domain.monitoring.scheduled_jobs.heartbeats import WorkerProcess
from crm_api.domain.monitoring.system_metrics import figures as metrics
from crm_api.domain.monitoring.system_metrics.families import collect
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.metrics_export import MergedMetrics

NewUow = Callable[[], UnitOfWork]
Scraped = dict[str, float]


async def scraped(new_uow: NewUow) -> Scraped:
    """Return every metric by its name and labels, such as ``crm_alerts{kind=…,state=open}``."""
    async with new_uow() as uow:
        figures = await metrics.read(uow, times=TIMES, now=NOW)
    collected = CollectorRegistry(auto_describe=False)
    collected.register(MergedMetrics(list(collect(figures))))
    return {
        _shown(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(generate_latest(collected).decode())
        for sample in family.samples
    }


def _shown(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def ago(**span: float) -> Any:
    return NOW - timedelta(**span)


async def make_run(session: AsyncSession, *, hours_ago: float, **values: Any) -> None:
    at = ago(hours=hours_ago)
    session.add(
        ReconciliationRun(
            trigger="daily", until=at, created_at=at, finished_at=at, continues=True, **values
        )
    )
    await session.commit()


async def make_attempt(session: AsyncSession, *, position: int, **values: Any) -> None:
    session.add(
        SendAttempt(
            line_id=values.pop("line", None) or new_id(),
            activity_id=new_id(),
            phone=number(position),
            body="Hi",
            created_at=NOW,
            updated_at=NOW,
            **values,
        )
    )
    await session.commit()


async def test_empty_system_exports_zeros(new_uow: NewUow) -> None:
    found = await scraped(new_uow)
    del found["crm_clock_skew_seconds"]  # its value is a few microseconds
    del found["crm_database_up"]

    assert {name: value for name, value in found.items() if value} == {}
    assert {
        "crm_webhook_events{status=dead}",
        "crm_webhook_events_oldest_due_seconds",
        "crm_sends_unclear{state=parked}",
        "crm_texts_oldest_due_seconds{kind=campaign}",
        "crm_workers",
        "crm_job_runs_total{name=send_alerts}",
    } <= set(found)
    assert not [name for name in found if name.startswith("crm_reconciliation")]


async def test_drift_of_the_last_finished_run_is_exported(
    new_uow: NewUow, session: AsyncSession
) -> None:
    drift = {"created": {"count": 2, "examples": []}, "unknown_there": {"count": 1, "examples": []}}
    await make_run(session, hours_ago=30, status="completed")
    await make_run(session, hours_ago=6, status="completed", drift=drift)
    await make_run(session, hours_ago=1, status="running")

    found = await scraped(new_uow)

    assert {name: value for name, value in found.items() if "reconciliation" in name} == {
        "crm_reconciliation_drift_items{kind=created}": 2,
        "crm_reconciliation_drift_items{kind=corrected}": 0,
        "crm_reconciliation_drift_items{kind=unknown_here}": 0,
        "crm_reconciliation_drift_items{kind=unknown_there}": 1,
        "crm_reconciliation_last_run_failed": 0,
        "crm_reconciliation_last_end_timestamp_seconds": ago(hours=6).timestamp(),
        "crm_reconciliation_covered_until_timestamp_seconds": ago(hours=6).timestamp(),
    }


async def test_failed_run_is_reported_and_covers_nothing(
    new_uow: NewUow, session: AsyncSession
) -> None:
    await make_run(session, hours_ago=30, status="completed")
    await make_run(session, hours_ago=6, status="failed")

    found = await scraped(new_uow)

    assert found["crm_reconciliation_last_run_failed"] == 1
    assert found["crm_reconciliation_last_end_timestamp_seconds"] == ago(hours=6).timestamp()
    covered = found["crm_reconciliation_covered_until_timestamp_seconds"]
    assert covered == ago(hours=30).timestamp()


async def test_waiting_received_events_are_counted_with_their_age(
    new_uow: NewUow, session: AsyncSession
) -> None:
    for position, status in enumerate(["pending", "pending", "failed", "dead", "processed"]):
        await store(
            session,
            incoming("Hi", message_id=f"AC{position}"),
            status=status,
            now=ago(minutes=position),
        )
    await session.commit()

    found = await scraped(new_uow)

    assert found["crm_webhook_events{status=pending}"] == 2
    assert found["crm_webhook_events{status=failed}"] == 1
    assert found["crm_webhook_events{status=dead}"] == 1
    assert found["crm_webhook_events_oldest_due_seconds"] == 120


async def test_event_with_a_later_retry_is_not_due(new_uow: NewUow, session: AsyncSession) -> None:
    await store(session, incoming("Hi"), status="failed", now=ago(hours=-1))
    await session.commit()

    assert (await scraped(new_uow))["crm_webhook_events_oldest_due_seconds"] == 0


async def test_unclear_attempts_are_counted_with_their_age(
    new_uow: NewUow, session: AsyncSession
) -> None:
    ages = [("unknown", 1), ("unknown", 3), ("parked", 60), ("calling", 90), ("not_found", 90)]
    for position, (status, minutes) in enumerate(ages):
        await make_attempt(
            session, position=position, status=status, called_at=ago(minutes=minutes)
        )

    found = await scraped(new_uow)

    assert found["crm_sends_unclear{state=unknown}"] == 2
    assert found["crm_sends_unclear_oldest_seconds{state=unknown}"] == 180
    assert found["crm_sends_unclear{state=parked}"] == 1
    assert found["crm_sends_unclear_oldest_seconds{state=parked}"] == 3600


async def test_age_of_the_longest_due_message_is_exported(
    new_uow: NewUow, session: AsyncSession
) -> None:
    line = await make_line(session)
    running = await make_campaign(session, line=line)
    paused = await make_campaign(session, line=line, name="Paused", status="paused")
    for position, zone in enumerate(["MA/America/New_York", "TX/America/Chicago"]):
        contact = await make_contact(session, phone=number(position), zone_key=zone)
        member = await make_member(session, campaign=running, contact=contact)
        member.due_at = ago(minutes=10 * position)
        other = await make_member(session, campaign=paused, contact=contact)
        other.due_at = ago(days=3)
    session.add(
        Activity(
            kind="message",
            direction="outgoing",
            origin="manual",
            phone=number(1),
            status="queued",
            send_after=ago(seconds=30),
            occurred_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    await session.commit()

    found = await scraped(new_uow)

    assert found["crm_texts_oldest_due_seconds{kind=campaign}"] == 600
    assert found["crm_texts_oldest_due_seconds{kind=single}"] == 30
    assert found["crm_texts_queued"] == 1


async def test_recipients_of_unfinished_campaigns_are_counted(
    new_uow: NewUow, session: AsyncSession
) -> None:
    line = await make_line(session)
    people = [await make_contact(session, phone=number(position)) for position in range(3)]
    for name, status in (("Running", "running"), ("Paused", "paused"), ("Over", "completed")):
        campaign = await make_campaign(session, line=line, name=name, status=status)
        for contact, state in zip(people, ("pending", "pending", "delivered"), strict=True):
            await make_member(session, campaign=campaign, contact=contact, status=state)
    await session.commit()

    found = await scraped(new_uow)

    assert found["crm_recipients{status=pending}"] == 4
    assert found["crm_recipients{status=delivered}"] == 2
    assert found["crm_recipients{status=review}"] == 0


async def test_sent_and_remaining_messages_of_lines_are_exported(
    new_uow: NewUow, session: AsyncSession
) -> None:
    line = await make_line(session, daily_limit=5)
    await make_line(
        session,
        phone_number_id="PNsandbox2",
        line_number="+16175550199",
        name="Second",
        status="blocked",
    )
    for position in range(7):
        await make_attempt(
            session, position=position, status="sent", accepted_at=ago(minutes=1), line=line.id
        )

    found = await scraped(new_uow)

    assert found[f"crm_line_info{{line=Main line,line_id={line.id}}}"] == 1
    assert found["crm_line_texts_today{line=Main line}"] == 7
    assert found["crm_line_texts_left_today{line=Main line}"] == 0
    assert found["crm_line_texts_left_today{line=Second}"] == 125
    assert found["crm_line_blocked{line=Main line}"] == 0
    assert found["crm_line_blocked{line=Second}"] == 1


async def test_unresolved_alerts_and_open_circuits_are_exported(
    new_uow: NewUow, session: AsyncSession
) -> None:
    async with new_uow() as uow:
        for position in range(4):
            await alerts.raise_alert(
                uow, kind=AlertKind.SEND_PARKED, subject=str(position), detail="See to it.", now=NOW
            )
        await alerts.resolve_alert(uow, kind=AlertKind.SEND_PARKED, subject="0", now=NOW)
        page = await alerts.list_alerts(uow, kind=AlertKind.SEND_PARKED, cursor=None, limit=10)
        known = next(alert for alert in page.data if alert.subject == "1")
        await alerts.acknowledge_alert(uow, alert_id=known.id, actor="Ada", now=NOW)
    session.add_all([Circuit(name="openphone", opened_at=NOW, opens=1), Circuit(name="mail")])
    await session.commit()

    found = await scraped(new_uow)

    assert found["crm_alerts{kind=send_parked,state=open}"] == 2
    assert found["crm_alerts{kind=send_parked,state=acknowledged}"] == 1
    assert found["crm_circuit_open{system=openphone}"] == 1
    assert found["crm_circuit_open{system=mail}"] == 0


async def test_jobs_and_workers_are_exported(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        for error in (None, "RuntimeError: no"):
            await schedule.start_job(uow, name="send_messages", now=ago(seconds=9))
            await schedule.finish_job(
                uow, name="send_messages", duration_ms=1500, error=error, now=ago(seconds=8)
            )
        for seconds in (5, 30, 300):
            await heartbeats.store_heartbeat(
                uow, WorkerProcess(started_at=NOW), now=ago(seconds=seconds)
            )

    found = await scraped(new_uow)

    assert {name: value for name, value in found.items() if "{name=send_messages" in name} == {
        "crm_job_runs_total{name=send_messages}": 2,
        "crm_job_misses_total{name=send_messages}": 0,
        "crm_job_last_start_timestamp_seconds{name=send_messages}": ago(seconds=9).timestamp(),
        "crm_job_last_end_timestamp_seconds{name=send_messages}": ago(seconds=8).timestamp(),
        "crm_job_last_duration_seconds{name=send_messages}": 1.5,
        "crm_job_last_failed{name=send_messages}": 1,
    }
    assert found["crm_workers"] == 2
    assert found["crm_worker_last_seen_timestamp_seconds"] == ago(seconds=5).timestamp()


async def test_clock_skew_ignores_a_moved_sandbox_clock(new_uow: NewUow) -> None:
    found = await scraped(new_uow)

    clock.move(timedelta(days=30))
    try:
        moved = await scraped(new_uow)
    finally:
        clock.move(timedelta(0))

    # The test and the database use the clock of one machine. The remaining skew is the time of the
    # request to the database.
    assert abs(found["crm_clock_skew_seconds"]) < 1
    assert abs(moved["crm_clock_skew_seconds"]) < 1


async def test_scrape_is_bounded_in_time(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        await metrics.read(uow, times=TIMES, now=NOW)
        limit = await uow.session.scalar(text("SHOW statement_timeout"))

    assert limit == "2s"
