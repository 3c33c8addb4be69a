"""Alerts by mail, against a real SMTP server and with the time moved."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.sends.ledger import Ledger
from tests.domain.webhooks.support import rows
from tests.factories import make_contact, number
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps
from tests.workers.mailbox import OWNER, Mailbox, mail_server

from crm_api.db import UnitOfWork
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.operations.mail import Mailer, parse_server
from crm_api.jobs import Job, JobName
from crm_api.mailing import open_mailer
from crm_api.settings import Settings
from crm_api.workers.alerts import send_alerts, tell
from crm_api.workers.deps import Deps

NewUow = Callable[[], UnitOfWork]
QUIET = timedelta(hours=1)
ESCALATES = timedelta(hours=4)


class House:
    """A worker that mails, its mailbox, and its clock."""

    def __init__(self, deps: Deps, box: Mailbox, queue: RecordingQueue) -> None:
        self.deps = deps
        self.box = box
        self.queue = queue
        self.now = NOW

    async def happens(self, kind: str = "line_blocked", subject: str = "L1", **more: Any) -> None:
        async with self.deps.new_uow() as uow:
            await operations.raise_alert(
                uow,
                kind=AlertKind(kind),
                subject=subject,
                detail=more.pop("detail", f"{kind} of {subject}: do something."),
                now=self.now,
                **more,
            )

    async def is_over(self, kind: str = "line_blocked", subject: str = "L1") -> None:
        async with self.deps.new_uow() as uow:
            await operations.resolve_alert(uow, kind=AlertKind(kind), subject=subject, now=self.now)

    async def look(self, *, after: timedelta = timedelta(minutes=1)) -> list[str]:
        """Let time pass and the job run; the subjects of what was mailed meanwhile."""
        self.now += after
        before = len(self.box.mails)
        await tell(self.deps, now=lambda: self.now)
        return self.box.subjects()[before:]

    async def acknowledge(self, session: AsyncSession) -> None:
        (alert,) = await rows(session, "SELECT id FROM alert")
        async with self.deps.new_uow() as uow:
            await operations.acknowledge(uow, alert_id=alert["id"], actor="owner", now=self.now)


@pytest_asyncio.fixture
async def house(
    settings: Settings, new_uow: NewUow, queue: RecordingQueue, provider: OpenPhoneClient
) -> AsyncIterator[House]:
    async with mail_server() as box:
        deps = make_deps(settings, new_uow, queue, provider)
        deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        yield House(deps, box, queue)


async def test_alert_is_mailed_once_and_says_what_to_do(house: House) -> None:
    await house.happens(detail="OpenPhone refuses to send. Put that right.")

    assert await house.look() == ["[Granite Foundations] line blocked"]
    assert await house.look() == []
    letter = house.box.last()
    assert letter.startswith("NEW\n===\n\n* Line blocked (L1)\n  OpenPhone refuses to send.")
    assert "Happened once, last 2026-11-25 15:00 UTC." in letter
    assert "POST http://127.0.0.1:8000/v1/alerts/<id>/acknowledge" in letter
    assert "http://127.0.0.1:8000/v1/alerts?status=open" in letter


async def test_raising_an_alert_nudges_the_mail_once_for_all_that_comes_up(house: House) -> None:
    await house.happens(subject="L1")
    await house.happens(subject="L1")

    assert house.queue.jobs == [Job(name=JobName.SEND_ALERTS, delay_seconds=5)] * 2
    house.now += timedelta(seconds=1)
    house.queue.jobs.clear()
    await house.happens(subject="L1")
    assert house.queue.jobs == []


async def test_several_new_alerts_are_one_mail(house: House) -> None:
    for subject in range(7):
        await house.happens(subject=f"L{subject}")
    await house.happens("provider_down", "openphone")

    assert await house.look() == ["[Granite Foundations] line blocked, provider down"]
    letter = house.box.last()
    assert letter.count("* Line blocked") == 5
    assert "… and 2 more of this kind: http://127.0.0.1:8000/v1/alerts?kind=line_blocked" in letter
    assert letter.count("* Provider down (openphone)") == 1


async def test_what_goes_on_happening_is_mailed_after_the_quiet_period_with_its_number(
    house: House,
) -> None:
    await house.happens()
    await house.look()
    for _ in range(500):
        await house.happens()

    assert await house.look(after=QUIET - timedelta(minutes=2)) == []
    assert await house.look(after=timedelta(minutes=2)) == [
        "[Granite Foundations] Again: line blocked"
    ]
    assert "Happened 501 times since 2026-11-25 15:00 UTC, 500 of them since the last mail" in (
        house.box.last()
    )
    assert await house.look(after=QUIET) == []


async def test_alert_that_nobody_acknowledges_is_escalated_once(house: House) -> None:
    await house.happens()
    await house.look()

    assert await house.look(after=ESCALATES - timedelta(minutes=2)) == []
    assert await house.look(after=timedelta(minutes=2)) == [
        "[Granite Foundations] ESCALATED: line blocked"
    ]
    assert "STILL OPEN, AND NOBODY HAS ACKNOWLEDGED IT" in house.box.last()
    assert await house.look(after=ESCALATES * 3) == []
    await house.happens()
    assert await house.look() == ["[Granite Foundations] Again: line blocked"]


async def test_acknowledged_alert_is_silent_until_it_is_over(
    house: House, session: AsyncSession
) -> None:
    await house.happens()
    await house.look()
    await house.acknowledge(session)
    await house.happens()

    assert await house.look(after=ESCALATES + QUIET) == []
    await house.is_over()
    assert await house.look() == ["[Granite Foundations] Over: line blocked"]
    assert "Over since 2026-11-25 20:01 UTC; it came up 2026-11-25 15:00 UTC." in house.box.last()
    assert await house.look() == []


async def test_alert_acknowledged_long_ago_that_happens_again_comes_up_again(
    house: House, session: AsyncSession
) -> None:
    await house.happens()
    await house.look()
    await house.acknowledge(session)
    house.now += operations.ACKNOWLEDGED_FOR + timedelta(minutes=1)
    await house.happens()

    assert await house.look() == ["[Granite Foundations] line blocked"]
    (alert,) = await rows(session, "SELECT acknowledged_by, count FROM alert")
    assert alert == {"acknowledged_by": None, "count": 2}


async def test_alert_that_is_over_before_anybody_heard_of_it_is_not_mailed(house: House) -> None:
    await house.happens()
    await house.is_over()

    assert await house.look() == []


async def test_alert_that_comes_up_again_soon_after_it_was_over_is_told_within_minutes(
    house: House,
) -> None:
    await house.happens()
    await house.look()
    await house.is_over()
    await house.look()
    await house.happens()

    assert await house.look() == []
    assert await house.look(after=timedelta(minutes=10)) == ["[Granite Foundations] line blocked"]


async def test_alert_that_flickers_before_over_was_told_is_quiet(house: House) -> None:
    await house.happens()
    await house.look()
    for _ in range(10):
        await house.is_over()
        house.now += timedelta(seconds=1)
        await house.happens()

    assert await house.look() == []
    assert await house.look(after=QUIET) == ["[Granite Foundations] line blocked"]
    assert "Happened 11 times since" in house.box.last()


async def test_what_comes_up_within_the_minute_of_a_mail_waits_for_the_next(house: House) -> None:
    await house.happens(subject="L1")
    await house.look()
    await house.happens(subject="L2")
    await house.happens(subject="L3")

    assert await house.look(after=timedelta(seconds=30)) == []
    assert len(await house.look(after=timedelta(seconds=30))) == 1
    assert house.box.last().count("* Line blocked") == 2


async def test_refused_mail_is_tried_again_later_each_time_and_nothing_is_lost(
    house: House, session: AsyncSession
) -> None:
    await house.happens()
    house.box.refusals += ["451 busy"] * 3

    async def trial_at() -> datetime:
        (row,) = await rows(session, "SELECT trial_at FROM circuit WHERE name = 'mail'")
        at: datetime = row["trial_at"]
        return at

    waits = []
    assert await house.look() == []
    for _ in range(2):
        waits.append(await trial_at() - house.now)
        assert await house.look(after=waits[-1] - timedelta(seconds=1)) == []
        assert await house.look(after=timedelta(seconds=1)) == []
    waits.append(await trial_at() - house.now)
    (alert,) = await rows(session, "SELECT detail FROM alert WHERE kind = 'mail_down'")

    assert waits == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120)]
    assert "451" in alert["detail"] or "busy" in alert["detail"]
    assert house.queue.jobs[-1] == Job(name=JobName.SEND_ALERTS, delay_seconds=120)
    assert await house.look(after=waits[-1]) == ["[Granite Foundations] line blocked"]
    assert await house.look() == []
    (row,) = await rows(session, "SELECT * FROM circuit WHERE name = 'mail'")
    assert (row["failures"], row["opens"], row["opened_at"]) == (0, 0, None)


async def test_mail_server_that_is_away_shows_as_degraded_until_it_is_back(
    house: House, client: httpx.AsyncClient
) -> None:
    async def state() -> str:
        answer = (await client.get("/readyz")).json()
        return str(answer["checks"]["mail"])

    await house.happens()
    house.box.refusals.append("451 busy")
    before = await state()
    await house.look()
    down = await state()
    await house.is_over()
    await house.look()

    assert (before, down, await state()) == ("ok", "degraded", "ok")
    assert house.box.mails == []


async def test_process_that_died_after_the_claim_leaves_the_news_to_the_next(
    house: House,
) -> None:
    await house.happens()
    mailer, house.deps.mailer = house.deps.mailer, _Dying()
    with pytest.raises(KeyboardInterrupt):
        await house.look()
    house.deps.mailer = mailer

    assert await house.look() == []
    assert await house.look(after=timedelta(minutes=2)) == ["[Granite Foundations] line blocked"]
    assert await house.look(after=timedelta(minutes=2)) == []


class _Dying(Mailer):
    def __init__(self) -> None:
        super().__init__(parse_server("smtp://localhost"), sender="a@b.test", recipients=[])

    async def send(
        self, *, subject: str, body: str, now: datetime, to: Sequence[str] | None = None
    ) -> None:
        raise KeyboardInterrupt(subject + body + str(now) + str(to))


async def test_two_workers_tell_it_once(
    committed_uow: NewUow, settings: Settings, queue: RecordingQueue, provider: OpenPhoneClient
) -> None:
    async with mail_server() as box:
        deps = make_deps(settings, committed_uow, queue, provider)
        deps.mailer = Mailer(
            parse_server(f"smtp://localhost:{box.port}"), sender="a@b.test", recipients=[OWNER]
        )
        house = House(deps, box, queue)
        await house.happens()
        await asyncio.gather(*(house.look(after=timedelta(0)) for _ in range(4)))

        assert len(box.mails) == 1


async def test_without_mail_alerts_are_stored_and_told_once_it_is_set_up(house: House) -> None:
    mailer, house.deps.mailer = house.deps.mailer, None
    await house.happens()
    await house.look(after=timedelta(days=3))
    house.deps.mailer = mailer

    assert await house.look() == ["[Granite Foundations] line blocked"]


async def test_alerts_that_last_as_long_as_they_are_raised_end_by_silence(
    house: House, session: AsyncSession
) -> None:
    await house.happens("clock_skew", "database")
    await house.happens("line_blocked", "L1")

    await house.look(after=timedelta(minutes=14))
    early = await rows(session, "SELECT kind FROM alert WHERE resolved_at IS NOT NULL")
    await house.look(after=timedelta(minutes=2))

    assert early == []
    found = await rows(session, "SELECT kind FROM alert WHERE resolved_at IS NOT NULL")
    assert found == [{"kind": "clock_skew"}]


async def test_doubt_ends_once_somebody_has_decided(
    house: House, session: AsyncSession, client: httpx.AsyncClient
) -> None:
    contacts = [await make_contact(session, phone=number(position)) for position in range(3)]
    session.add_all(
        ContactFlag(phone=one.phone, flag_type="opt_out_hold", created_at=NOW) for one in contacts
    )
    await session.commit()
    for one in contacts:
        await house.happens("doubtful_opt_out", str(one.id))
    await client.post(f"/v1/contacts/{contacts[0].id}/opt-out", json={"reason": "asked"})
    await client.post(f"/v1/contacts/{contacts[1].id}/opt-in", json={"reason": "asked"})

    await house.look()

    found = await rows(session, "SELECT subject FROM alert WHERE resolved_at IS NULL")
    assert found == [{"subject": str(contacts[2].id)}]


async def test_parked_sends_are_an_alert_until_all_are_settled(
    house: House, session: AsyncSession, new_uow: NewUow
) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    for _ in range(2):
        await ledger.unclear()
    await ledger.run("UPDATE send_attempt SET status = 'parked'")
    await house.happens("send_parked", str(ledger.campaign.id))

    await ledger.run(
        "UPDATE send_attempt SET status = 'refused' WHERE phone = :phone", phone=number(0)
    )
    await house.look()
    half = await rows(session, "SELECT resolved_at FROM alert")
    await ledger.run("UPDATE send_attempt SET status = 'refused'")
    await house.look()

    assert half == [{"resolved_at": None}]
    assert (await rows(session, "SELECT resolved_at FROM alert"))[0]["resolved_at"] == house.now


async def test_second_run_of_the_job_tells_nothing(house: House) -> None:
    await house.happens()

    await send_alerts({"deps": house.deps})
    await send_alerts({"deps": house.deps})

    assert len(house.box.mails) == 1


def test_mailer_is_built_as_the_settings_say(settings: Settings) -> None:
    values = {"CRM_SMTP_URL": "smtp://mail.example.com", "CRM_ALERT_EMAILS": "a@x.com, b@x.com"}
    assert open_mailer(settings) is None
    assert open_mailer(Settings.from_env(values)) is not None
