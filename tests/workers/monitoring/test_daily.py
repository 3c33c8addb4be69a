"""The daily run removes expired data, and mails one digest (summary) of the day before."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import PROVIDER_LINE, apply, incoming, rows, store
from tests.domain.messaging.sends.ledger import Ledger
from tests.domain.messaging.sends.ledger import message_facts as report
from tests.factories import make_campaign, make_line, number
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps
from tests.workers.mailbox import OWNER, Mailbox, mail_server

from crm_api.domain.alerts import service as operations
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.mail import Mailer, parse_server
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.monitoring import readiness
from crm_api.domain.monitoring.scheduled_jobs import daily_runs
from crm_api.domain.people.models.tasks import Task
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps
from crm_api.workers.monitoring import run_daily, run_daily_tasks

NewUow = Callable[[], UnitOfWork]
TUESDAY = NOW - timedelta(days=1)
"""An instant at 10:00 in New York, on the day that the digest of Wednesday reports."""
LAST_WEEK = NOW - timedelta(days=8)


class Bench:
    """The dependencies of a worker that sends mails, its mailbox, and the clock of the test."""

    def __init__(self, deps: Deps, box: Mailbox) -> None:
        self.deps = deps
        self.box = box
        self.now = NOW

    async def run_job(self, *, after: timedelta = timedelta(0)) -> list[str]:
        """Move the clock and run the job; return the subjects of the new mails."""
        self.now += after
        before = len(self.box.mails)
        await run_daily(self.deps, now=lambda: self.now)
        return self.box.subjects()[before:]


@pytest_asyncio.fixture
async def bench(
    settings: Settings, new_uow: NewUow, queue: RecordingQueue, provider: OpenPhoneClient
) -> AsyncIterator[Bench]:
    async with mail_server() as box:
        deps = make_deps(settings, new_uow, queue, provider)
        deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        yield Bench(deps, box)


async def make_company_line(session: AsyncSession, **values: Any) -> Any:
    """Create the line of a company that existed before the day of the digest."""
    line = await make_line(session, phone_number_id=PROVIDER_LINE, now=LAST_WEEK, **values)
    await session.commit()
    return line


@pytest.mark.parametrize(
    ("now", "zone", "day"),
    [
        ("2026-11-25T11:59:59", "America/New_York", date(2026, 11, 24)),
        ("2026-11-25T12:00:00", "America/New_York", date(2026, 11, 25)),
        ("2026-11-26T04:59:59", "America/New_York", date(2026, 11, 25)),
        ("2026-07-25T11:00:00", "America/New_York", date(2026, 7, 25)),
        ("2026-11-25T12:00:00", "America/Los_Angeles", date(2026, 11, 24)),
        ("2026-11-24T22:00:00", "Asia/Tokyo", date(2026, 11, 25)),
    ],
)
def test_run_is_due_at_seven_in_the_time_zone_of_the_company(
    now: str, zone: str, day: date
) -> None:
    assert daily_runs.due_day_of(datetime.fromisoformat(now).replace(tzinfo=UTC), zone) == day


async def test_digest_reports_the_day_before(
    bench: Bench, session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_company_line(session)
    ledger = await Ledger.open(
        new_uow, people=4, line=line, now=TUESDAY, line_limit=1000, name="Autumn check"
    )
    sent = await ledger.gate(await ledger.claim(now=TUESDAY), now=TUESDAY)
    for position, claimed in enumerate(sent):
        await ledger.accept(claimed, f"AC{position}", at=TUESDAY, now=TUESDAY)
    for position, status in enumerate(["delivered", "delivered", "failed"]):
        facts = report(status, message_id=f"AC{position}", phone=sent[position].phone, at=TUESDAY)
        await ledger.report(facts, now=TUESDAY)
    answers = [(number(0), "Yes"), (number(0), "please"), (number(1), "STOP"), (number(9), "Hi")]
    for position, (phone, words) in enumerate(answers):
        values: dict[str, Any] = {"from": phone, "at": TUESDAY}
        await store(session, incoming(words, message_id=f"AC9{position}", **values), now=TUESDAY)
    await apply(new_uow, now=TUESDAY)
    today: dict[str, Any] = {"from": number(2), "at": NOW}
    await store(session, incoming("Too late for the letter", message_id="AC99", **today))
    await apply(new_uow)

    subjects = await bench.run_job()

    assert subjects == ["[Granite Foundations] Tue 24 Nov: 4 texts, 3 answers, 1 opt-out"]
    assert bench.box.recipients == [[OWNER]]
    assert bench.box.last() == (
        "What happened on Tuesday 24 November 2026 (time zone America/New_York).\n"
        "\n"
        "SENT AND ANSWERED\n"
        "=================\n"
        "\n"
        "* Autumn check: 4 texts, 2 delivered, 1 failed, 2 people wrote 3 texts, 1 of them opted "
        "out\n"
        "* Outside campaigns: 1 person wrote 1 text\n"
        "* Opted out in any way: 1 number\n"
        "\n"
        "THE LAST 7 DAYS: Wednesday 18 November to Tuesday 24 November\n"
        "=============================================================\n"
        "\n"
        "* Sent and not failed: 3 texts of campaigns\n"
        "* Replied: 2 of 3 people, 66.7 % (95 % interval 20.8 % to 93.8 %)\n"
        "* Replies may still come from 3 people of the last 72 hours\n"
        "* Opted out by a reply: 1 of 3 people\n"
        "* Appointments booked: 0\n"
        "* Paid: $0.00; texts led to $0.00 of it\n"
        "* Cost: $0.04\n"
        "\n"
        "TO DO\n"
        "=====\n"
        "\n"
        "Nothing.\n"
        "\n"
        "--\n"
        "This mail comes every morning, even if nothing happened. If it does not come, look at\n"
        "http://127.0.0.1:8000/readyz\n"
    )


async def test_digest_reports_what_waits_for_a_person(
    bench: Bench, session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_company_line(session, status="blocked", blocked_reason="no_credits")
    paused = await make_campaign(
        session, line=line, status="paused", paused_reason="failure_rate", name="Autumn"
    )
    blocked = await make_campaign(
        session, line=line, status="blocked", blocked_reason="not_registered", name="Winter"
    )
    await make_campaign(session, line=line, status="paused", name="Paused by hand")
    for position, status in enumerate(["dead", "dead", "failed"]):
        await store(session, incoming("Hi", message_id=f"AC{position}"), status=status)
    session.add(ContactFlag(phone=number(3), flag_type="opt_out_hold", created_at=TUESDAY))
    for due_at, done_at in ((TUESDAY, None), (TUESDAY, TUESDAY), (NOW + timedelta(days=2), None)):
        stamps = {"author": "key", "created_at": TUESDAY, "updated_at": TUESDAY}
        session.add(Task(title="Call", due_at=due_at, done_at=done_at, **stamps))
    await session.commit()
    ledger = await Ledger.open(new_uow, line=await make_line(session, phone_number_id="PN2"))
    await ledger.make_unclear_attempt()
    await ledger.run("UPDATE send_attempt SET status = 'parked'")
    await ledger.run("UPDATE campaign_membership SET status = 'review'")
    async with new_uow() as uow:
        for kind in (AlertKind.LINE_BLOCKED, AlertKind.WEBHOOK_EVENT_DEAD):
            await operations.raise_alert(uow, kind=kind, subject="1", detail="Do.", now=NOW)

    (subject,) = await bench.run_job()

    waiting = bench.box.last().split("TO DO\n=====\n\n")[1].split("\n\n--")[0]
    api = "http://127.0.0.1:8000"
    assert subject == "[Granite Foundations] Tue 24 Nov: a quiet day; 9 things to do"
    assert waiting == (
        "* Line Main line (+16175550100) is blocked: no credits. It sends nothing. "
        "Remove the cause, then:\n"
        f"  POST {api}/v1/lines/{line.id}/unblock\n"
        f"* Campaign Winter is blocked: not registered.\n  {api}/v1/campaigns/{blocked.id}\n"
        f"* Campaign Autumn is paused: failure rate.\n  {api}/v1/campaigns/{paused.id}\n"
        "* Numbers on hold: 1. Their replies may be opt-outs, so campaigns skip them\n"
        "  until you decide: POST …/opt-out or …/opt-in of the contact.\n"
        "* Recipients in review: 1. They got a message before. Approve or reject them.\n"
        "* Messages that may or may not have been sent: 1. Look in OpenPhone, then\n"
        "  POST …/recipients/{contact_id}/settle of the campaign.\n"
        f"* Overdue tasks: 1.\n  {api}/v1/tasks?overdue=true\n"
        "* Received events that could not be applied: 2.\n"
        f"  {api}/v1/webhook-events?status=dead\n"
        "* Alerts that nobody has acknowledged: line blocked (1), webhook event dead (1).\n"
        f"  {api}/v1/alerts?status=open"
    )


async def test_one_digest_is_sent_a_day_also_after_a_quiet_day(
    bench: Bench, session: AsyncSession
) -> None:
    await make_company_line(session)
    at_six, an_hour = timedelta(hours=20), timedelta(hours=1)

    first = await bench.run_job()
    again = await bench.run_job(after=timedelta(minutes=1))
    early = await bench.run_job(after=at_six - timedelta(minutes=1))
    next_day = await bench.run_job(after=an_hour)

    assert first == ["[Granite Foundations] Tue 24 Nov: a quiet day"]
    assert (again, early) == ([], [])
    assert next_day == ["[Granite Foundations] Wed 25 Nov: a quiet day"]


async def test_two_workers_send_one_digest(
    committed_uow: NewUow,
    settings: Settings,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    async with committed_uow() as uow:
        await make_line(uow.session, now=LAST_WEEK)
    async with mail_server() as box:
        deps = make_deps(settings, committed_uow, queue, provider)
        deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        await asyncio.gather(*(run_daily(deps, now=lambda: NOW) for _ in range(4)))

    assert len(box.mails) == 1


async def test_one_digest_covers_missed_days(bench: Bench, session: AsyncSession) -> None:
    await make_company_line(session)
    await bench.run_job()

    late = await bench.run_job(after=timedelta(days=4))

    assert late == ["[Granite Foundations] Sat 28 Nov: a quiet day"]
    assert bench.box.last().startswith(
        "What happened on the days from Wednesday 25 November to Saturday 28 November 2026 (time"
    )
    assert await bench.run_job() == []


async def test_digest_covers_a_week_at_most(bench: Bench, session: AsyncSession) -> None:
    await make_company_line(session)
    await bench.run_job()

    await bench.run_job(after=timedelta(days=30))

    (last,) = await rows(session, "SELECT * FROM daily_run ORDER BY day DESC LIMIT 1")
    assert last["until"] - last["since"] == timedelta(days=7)


@pytest.mark.parametrize("created_at", [None, NOW])
async def test_new_company_gets_no_digest(
    bench: Bench, session: AsyncSession, created_at: datetime | None
) -> None:
    if created_at is not None:
        await make_line(session, now=created_at)
        await session.commit()

    assert await bench.run_job() == []
    (row,) = await rows(session, "SELECT * FROM daily_run")
    assert row["cleaned_at"] == NOW


async def test_digest_that_the_mail_server_refuses_is_sent_later(
    bench: Bench, session: AsyncSession
) -> None:
    await make_company_line(session)
    bench.box.refusals = ["451 later"]

    refused = await bench.run_job()
    alerts = await rows(session, "SELECT kind FROM alert")
    down = await bench.run_job(after=timedelta(minutes=11))
    await session.execute(text("UPDATE circuit SET opened_at = NULL, opens = 0, failures = 0"))
    await session.commit()
    sent = await bench.run_job(after=timedelta(minutes=1))

    assert (refused, down) == ([], [])
    assert [alert["kind"] for alert in alerts] == ["mail_down"]
    assert sent == ["[Granite Foundations] Tue 24 Nov: a quiet day; 1 thing to do"]


async def test_digest_that_was_never_sent_is_part_of_the_next_digest(
    bench: Bench, session: AsyncSession
) -> None:
    await make_company_line(session)
    mailer, bench.deps.mailer = bench.deps.mailer, None
    await bench.run_job()
    await bench.run_job(after=timedelta(days=1))
    bench.deps.mailer = mailer

    assert await bench.run_job() == ["[Granite Foundations] Wed 25 Nov: a quiet day"]
    bench.deps.mailer = None
    await bench.run_job(after=timedelta(days=1))
    bench.deps.mailer = mailer
    await bench.run_job(after=timedelta(days=1))

    assert bench.box.last().startswith(
        "What happened on the days from Thursday 26 November to Friday 27 November 2026"
    )


async def test_expired_data_is_removed_once_a_day(bench: Bench, session: AsyncSession) -> None:
    async def flag(name: str, ends: datetime) -> None:
        session.add(
            ContactFlag(phone=number(1), flag_type=name, created_at=LAST_WEEK, expires_at=ends)
        )
        await session.commit()

    async def flags() -> list[str]:
        found = await rows(session, "SELECT flag_type FROM contact_flag ORDER BY flag_type")
        return [row["flag_type"] for row in found]

    await flag("expired", TUESDAY)
    await flag("valid", NOW + timedelta(hours=1))

    await bench.run_job()
    first = await flags()
    await bench.run_job(after=timedelta(hours=2))
    same_day = await flags()
    await bench.run_job(after=timedelta(hours=22))

    assert (first, same_day, await flags()) == (["valid"], ["valid"], [])


async def test_old_events_are_deleted(
    settings: Settings,
    committed_uow: NewUow,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    """Prove that events are deleted after a week, by the clock of the database.

    The database dates the events, so the test begins at the time of the database.
    """
    async with committed_uow() as uow:
        await event_recording.record_event(uow, type=EventType.ALERT, subject_id=None)
        ahead = await readiness.clock_skew(uow, now=NOW)
    begun = NOW - ahead
    deps = make_deps(settings, committed_uow, queue, provider)

    async def left_after(days: int) -> int:
        await run_daily(deps, now=lambda: begun + timedelta(days=days))
        async with committed_uow() as uow:
            return len(await rows(uow.session, "SELECT id FROM event"))

    assert [await left_after(days) for days in (0, 6, 8)] == [1, 1, 0]


async def test_job_writes_its_run_and_is_in_the_schedule(
    bench: Bench, client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await run_daily_tasks({"deps": bench.deps})

    jobs = (await client.get("/v1/scheduled-jobs")).json()["data"]
    assert len(await rows(session, "SELECT day FROM daily_run")) == 1
    assert [job["schedule"][:15] for job in jobs if job["name"] == "run_daily_tasks"] == [
        "daily at 07:00 "
    ]
