"""The worker sends mails to users by SMTP, repeats failed mails, and drops expired mails."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest_asyncio
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps
from tests.workers.mailbox import Mailbox, mail_server

from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.alerts.mail import Mailer, parse_server
from crm_api.domain.alerts.outgoing_mail import OutgoingMail
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.alerts import send_due_mail
from crm_api.workers.deps import Deps

USER_EMAIL = "olga@firm.example.com"


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mail_server() as server:
        yield server


@pytest_asyncio.fixture
async def deps(
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
    box: Mailbox,
) -> Deps:
    deps = make_deps(settings, new_uow, queue, provider)
    server = parse_server(f"smtp://localhost:{box.port}")
    deps.mailer = Mailer(server, sender="crm@firm.example.com", recipients=["owner@firm.example"])
    return deps


async def queue_mail(deps: Deps, *, lasts: timedelta = timedelta(hours=1)) -> None:
    async with deps.new_uow() as uow:
        await mailbox.queue_mail(
            uow,
            to=USER_EMAIL,
            subject="You are invited",
            body="Hello Olga",
            lasts=lasts,
            secret=deps.secret,
            now=NOW,
        )


async def send(deps: Deps, at: datetime) -> None:
    await send_due_mail(deps, now=lambda: at)


async def test_mail_is_sent_to_its_user_once(
    deps: Deps, box: Mailbox, queue: RecordingQueue
) -> None:
    await queue_mail(deps)

    await send(deps, NOW)
    await send(deps, NOW + timedelta(hours=1))

    assert queue.jobs == [Job(name=JobName.SEND_MAIL)]
    assert box.recipients == [[USER_EMAIL]]
    assert box.subjects() == ["You are invited"]
    assert box.last() == "Hello Olga\n"


async def test_refused_mail_is_retried_after_growing_waits(deps: Deps, box: Mailbox) -> None:
    box.refusals = ["451 later", "451 later"]
    await queue_mail(deps)

    for seconds, mails in ((0, 0), (29, 0), (30, 0), (89, 0), (90, 1)):
        await send(deps, NOW + timedelta(seconds=seconds))

        assert len(box.mails) == mails, seconds


async def test_expired_mail_is_not_sent(deps: Deps, box: Mailbox, session: AsyncSession) -> None:
    await queue_mail(deps, lasts=timedelta(minutes=1))

    await send(deps, NOW + timedelta(minutes=1))

    assert box.mails == []
    assert await session.scalar(select(func.count()).select_from(OutgoingMail)) == 0


async def test_mail_that_is_encrypted_with_another_key_is_dropped(
    deps: Deps, box: Mailbox, session: AsyncSession
) -> None:
    await queue_mail(deps)
    deps.secret = b"another secret key of 32 characters"

    await send(deps, NOW)

    assert box.mails == []
    assert await session.scalar(select(func.count()).select_from(OutgoingMail)) == 0


async def test_mail_waits_while_there_is_no_mail_server(
    deps: Deps, box: Mailbox, session: AsyncSession
) -> None:
    await queue_mail(deps)
    deps.mailer = None

    await send(deps, NOW)

    assert box.mails == []
    assert await session.scalar(select(func.count()).select_from(OutgoingMail)) == 1
