"""Tests of the mails about alerts, with a real SMTP server and a clock that the tests move."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import rows
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import make_contact, number
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps
from tests.workers.mailbox import OWNER, Mailbox, mail_server

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.mail import Mailer, open_mailer, parse_server
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.alerts import report_alerts, send_alerts
from crm_api.workers.deps import Deps

NewUow = Callable[[], UnitOfWork]
QUIET = timedelta(hours=1)
ESCALATION = timedelta(hours=4)


class Bench:
    """The dependencies of a worker that sends mails, its mailbox, and the clock of the test."""

    def __init__(self, deps: Deps, box: Mailbox, queue: RecordingQueue) -> None:
        self.deps = deps
        self.box = box
        self.queue = queue
        self.now = NOW

    async def raise_alert(
        self, kind: str = "line_blocked", subject: str = "L1", **more: Any
    ) -> None:
        async with self.deps.new_uow() as uow:
            await alerts.raise_alert(
                uow,
                kind=AlertKind(kind),
                subject=subject,
                detail=more.pop("detail", f"{kind} of {subject}: do something."),
                now=self.now,
                **more,
            )

    async def resolve_alert(self, kind: str = "line_blocked", subject: str = "L1") -> None:
        async with self.deps.new_uow() as uow:
            await alerts.resolve_alert(uow, kind=AlertKind(kind), subject=subject, now=self.now)

    async def run_job(self, *, after: timedelta = timedelta(minutes=1)) -> list[str]:
        """Move the clock and run the job; return the subjects of the new mails."""
        self.now += after
        before = len(self.box.mails)
        await report_alerts(self.deps, now=lambda: self.now)
        return self.box.subjects()[before:]

    async def acknowledge(self, session: AsyncSession) -> None:
        (alert,) = await rows(session, "SELECT id FROM alert")
        async with self.deps.new_uow() as uow:
            await alerts.acknowledge_alert(uow, alert_id=alert["id"], actor="owner", now=self.now)


@pytest_asyncio.fixture
async def bench(
    settings: Settings, new_uow: NewUow, queue: RecordingQueue, provider: OpenPhoneClient
) -> AsyncIterator[Bench]:
    async with mail_server() as box:
        deps = make_deps(settings, new_uow, queue, provider)
        deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        yield Bench(deps, box, queue)


async def test_alert_is_mailed_once_with_its_remedy(bench: Bench) -> None:
    await bench.raise_alert(detail="OpenPhone refuses to send. Put that right.")

    assert await bench.run_job() == ["[Granite Foundations] line blocked"]
    assert await bench.run_job() == []
    mail_text = bench.box.last()
    assert mail_text.startswith("NEW\n===\n\n* Line blocked (L1)\n  OpenPhone refuses to send.")
    assert "Happened once, last 2026-11-25 15:00 UTC." in mail_text
    assert "POST http://127.0.0.1:8000/v1/alerts/<id>/acknowledge" in mail_text
    assert "http://127.0.0.1:8000/v1/alerts?status=open" in mail_text


async def test_raised_alert_requests_the_mail_job_and_a_repetition_requests_none(
    bench: Bench,
) -> None:
    await bench.raise_alert(subject="L1")
    await bench.raise_alert(subject="L1")

    assert bench.queue.jobs == [Job(name=JobName.SEND_ALERTS, delay_seconds=5)] * 2
    bench.now += timedelta(seconds=1)
    bench.queue.jobs.clear()
    await bench.raise_alert(subject="L1")
    assert bench.queue.jobs == []


async def test_several_new_alerts_are_one_mail(bench: Bench) -> None:
    for subject in range(7):
        await bench.raise_alert(subject=f"L{subject}")
    await bench.raise_alert("provider_down", "openphone")

    assert await bench.run_job() == ["[Granite Foundations] line blocked, provider down"]
    mail_text = bench.box.last()
    assert mail_text.count("* Line blocked") == 5
    assert (
        "… and 2 more of this kind: http://127.0.0.1:8000/v1/alerts?kind=line_blocked" in mail_text
    )
    assert mail_text.count("* Provider down (openphone)") == 1


async def test_repeated_alert_is_mailed_after_the_quiet_period_with_its_count(
    bench: Bench,
) -> None:
    await bench.raise_alert()
    await bench.run_job()
    for _ in range(500):
        await bench.raise_alert()

    assert await bench.run_job(after=QUIET - timedelta(minutes=2)) == []
    assert await bench.run_job(after=timedelta(minutes=2)) == [
        "[Granite Foundations] Again: line blocked"
    ]
    assert "Happened 501 times since 2026-11-25 15:00 UTC, 500 of them since the last mail" in (
        bench.box.last()
    )
    assert await bench.run_job(after=QUIET) == []


async def test_alert_without_acknowledgement_is_escalated_once(bench: Bench) -> None:
    await bench.raise_alert()
    await bench.run_job()

    assert await bench.run_job(after=ESCALATION - timedelta(minutes=2)) == []
    assert await bench.run_job(after=timedelta(minutes=2)) == [
        "[Granite Foundations] ESCALATED: line blocked"
    ]
    assert "STILL OPEN AND NOT ACKNOWLEDGED" in bench.box.last()
    assert await bench.run_job(after=ESCALATION * 3) == []
    await bench.raise_alert()
    assert await bench.run_job() == ["[Granite Foundations] Again: line blocked"]


async def test_acknowledged_alert_is_not_mailed_until_it_is_resolved(
    bench: Bench, session: AsyncSession
) -> None:
    await bench.raise_alert()
    await bench.run_job()
    await bench.acknowledge(session)
    await bench.raise_alert()

    assert await bench.run_job(after=ESCALATION + QUIET) == []
    await bench.resolve_alert()
    assert await bench.run_job() == ["[Granite Foundations] Resolved: line blocked"]
    assert "Resolved at 2026-11-25 20:01 UTC; opened at 2026-11-25 15:00 UTC." in bench.box.last()
    assert await bench.run_job() == []


async def test_alert_raised_long_after_its_acknowledgement_is_mailed_again(
    bench: Bench, session: AsyncSession
) -> None:
    await bench.raise_alert()
    await bench.run_job()
    await bench.acknowledge(session)
    bench.now += alerts.ACKNOWLEDGED_FOR + timedelta(minutes=1)
    await bench.raise_alert()

    assert await bench.run_job() == ["[Granite Foundations] line blocked"]
    (alert,) = await rows(session, "SELECT acknowledged_by, count FROM alert")
    assert alert == {"acknowledged_by": None, "count": 2}


async def test_alert_that_is_resolved_before_its_mail_is_not_mailed(bench: Bench) -> None:
    await bench.raise_alert()
    await bench.resolve_alert()

    assert await bench.run_job() == []


async def test_alert_raised_again_soon_after_its_end_is_mailed_within_minutes(
    bench: Bench,
) -> None:
    await bench.raise_alert()
    await bench.run_job()
    await bench.resolve_alert()
    await bench.run_job()
    await bench.raise_alert()

    assert await bench.run_job() == []
    assert await bench.run_job(after=timedelta(minutes=10)) == [
        "[Granite Foundations] line blocked"
    ]


async def test_alert_that_ends_and_returns_repeatedly_waits_for_the_quiet_period(
    bench: Bench,
) -> None:
    await bench.raise_alert()
    await bench.run_job()
    for _ in range(10):
        await bench.resolve_alert()
        bench.now += timedelta(seconds=1)
        await bench.raise_alert()

    assert await bench.run_job() == []
    assert await bench.run_job(after=QUIET) == ["[Granite Foundations] line blocked"]
    assert "Happened 11 times since" in bench.box.last()


async def test_alert_within_a_minute_of_a_mail_waits_for_the_next_mail(bench: Bench) -> None:
    await bench.raise_alert(subject="L1")
    await bench.run_job()
    await bench.raise_alert(subject="L2")
    await bench.raise_alert(subject="L3")

    assert await bench.run_job(after=timedelta(seconds=30)) == []
    assert len(await bench.run_job(after=timedelta(seconds=30))) == 1
    assert bench.box.last().count("* Line blocked") == 2


async def test_refused_mail_is_retried_after_growing_waits_and_no_alert_is_lost(
    bench: Bench, session: AsyncSession
) -> None:
    await bench.raise_alert()
    bench.box.refusals += ["451 busy"] * 3

    async def trial_at() -> datetime:
        (row,) = await rows(session, "SELECT trial_at FROM circuit WHERE name = 'mail'")
        at: datetime = row["trial_at"]
        return at

    waits = []
    assert await bench.run_job() == []
    for _ in range(2):
        waits.append(await trial_at() - bench.now)
        assert await bench.run_job(after=waits[-1] - timedelta(seconds=1)) == []
        assert await bench.run_job(after=timedelta(seconds=1)) == []
    waits.append(await trial_at() - bench.now)
    (alert,) = await rows(session, "SELECT detail FROM alert WHERE kind = 'mail_down'")

    assert waits == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120)]
    assert "451" in alert["detail"] or "busy" in alert["detail"]
    assert bench.queue.jobs[-1] == Job(name=JobName.SEND_ALERTS, delay_seconds=120)
    assert await bench.run_job(after=waits[-1]) == ["[Granite Foundations] line blocked"]
    assert await bench.run_job() == []
    (row,) = await rows(session, "SELECT * FROM circuit WHERE name = 'mail'")
    assert (row["failures"], row["opens"], row["opened_at"]) == (0, 0, None)


async def test_readiness_is_degraded_while_the_mail_server_fails(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    async def state() -> str:
        answer = (await client.get("/readyz")).json()
        return str(answer["checks"]["mail"])

    await bench.raise_alert()
    bench.box.refusals.append("451 busy")
    before = await state()
    await bench.run_job()
    down = await state()
    await bench.resolve_alert()
    await bench.run_job()

    assert (before, down, await state()) == ("ok", "degraded", "ok")
    assert bench.box.mails == []


async def test_alerts_claimed_by_a_dead_process_are_mailed_by_the_next(
    bench: Bench,
) -> None:
    await bench.raise_alert()
    mailer, bench.deps.mailer = bench.deps.mailer, _KilledMailer()
    with pytest.raises(KeyboardInterrupt):
        await bench.run_job()
    bench.deps.mailer = mailer

    assert await bench.run_job() == []
    assert await bench.run_job(after=timedelta(minutes=2)) == ["[Granite Foundations] line blocked"]
    assert await bench.run_job(after=timedelta(minutes=2)) == []


class _KilledMailer(Mailer):
    def __init__(self) -> None:
        super().__init__(parse_server("smtp://localhost"), sender="a@b.test", recipients=[])

    async def send(
        self, *, subject: str, body: str, now: datetime, to: Sequence[str] | None = None
    ) -> None:
        raise KeyboardInterrupt(subject + body + str(now) + str(to))


async def test_parallel_workers_mail_an_alert_once(
    committed_uow: NewUow, settings: Settings, queue: RecordingQueue, provider: OpenPhoneClient
) -> None:
    async with mail_server() as box:
        deps = make_deps(settings, committed_uow, queue, provider)
        deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        bench = Bench(deps, box, queue)
        await bench.raise_alert()
        await asyncio.gather(*(bench.run_job(after=timedelta(0)) for _ in range(4)))

        assert len(box.mails) == 1


async def test_alerts_without_a_mail_server_are_stored_and_mailed_when_one_is_set_up(
    bench: Bench,
) -> None:
    mailer, bench.deps.mailer = bench.deps.mailer, None
    await bench.raise_alert()
    await bench.run_job(after=timedelta(days=3))
    bench.deps.mailer = mailer

    assert await bench.run_job() == ["[Granite Foundations] line blocked"]


async def test_alert_of_a_repeated_check_ends_if_it_is_not_raised_again(
    bench: Bench, session: AsyncSession
) -> None:
    await bench.raise_alert("clock_skew", "database")
    await bench.raise_alert("line_blocked", "L1")

    await bench.run_job(after=timedelta(minutes=14))
    early = await rows(session, "SELECT kind FROM alert WHERE resolved_at IS NOT NULL")
    await bench.run_job(after=timedelta(minutes=2))

    assert early == []
    found = await rows(session, "SELECT kind FROM alert WHERE resolved_at IS NOT NULL")
    assert found == [{"kind": "clock_skew"}]


async def test_alert_of_a_doubtful_opt_out_ends_when_a_person_decides(
    bench: Bench, session: AsyncSession, client: httpx.AsyncClient
) -> None:
    contacts = [await make_contact(session, phone=number(position)) for position in range(3)]
    session.add_all(
        ContactFlag(phone=one.phone, flag_type="opt_out_hold", created_at=NOW) for one in contacts
    )
    await session.commit()
    for one in contacts:
        await bench.raise_alert("doubtful_opt_out", str(one.id))
    await client.post(f"/v1/contacts/{contacts[0].id}/opt-out", json={"reason": "asked"})
    await client.post(f"/v1/contacts/{contacts[1].id}/opt-in", json={"reason": "asked"})

    await bench.run_job()

    found = await rows(session, "SELECT subject FROM alert WHERE resolved_at IS NULL")
    assert found == [{"subject": str(contacts[2].id)}]


async def test_alert_of_parked_attempts_ends_when_all_are_settled(
    bench: Bench, session: AsyncSession, new_uow: NewUow
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    for _ in range(2):
        await ledger.make_unclear_attempt()
    await ledger.run("UPDATE send_attempt SET status = 'parked'")
    await bench.raise_alert("send_parked", str(ledger.campaign.id))

    await ledger.run(
        "UPDATE send_attempt SET status = 'refused' WHERE phone = :phone", phone=number(0)
    )
    await bench.run_job()
    half = await rows(session, "SELECT resolved_at FROM alert")
    await ledger.run("UPDATE send_attempt SET status = 'refused'")
    await bench.run_job()

    assert half == [{"resolved_at": None}]
    assert (await rows(session, "SELECT resolved_at FROM alert"))[0]["resolved_at"] == bench.now


async def test_second_run_of_the_job_mails_nothing(bench: Bench) -> None:
    await bench.raise_alert()

    await send_alerts({"deps": bench.deps})
    await send_alerts({"deps": bench.deps})

    assert len(bench.box.mails) == 1


def test_mailer_is_built_from_the_settings(settings: Settings) -> None:
    values = {"CRM_SMTP_URL": "smtp://mail.example.com", "CRM_ALERT_EMAILS": "a@x.com, b@x.com"}
    assert open_mailer(settings) is None
    assert open_mailer(Settings.from_env(values)) is not None
