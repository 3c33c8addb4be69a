"""Tests of the notices that users get by mail and web push, once and after a delay."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.outbound.web_push.push_service import Browser, PushService, push_service
from tests.factories import make_contact, make_line, number
from tests.fakes import RecordingQueue
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in
from tests.workers.drain import make_deps
from tests.workers.mailbox import Mailbox, mail_server

from crm_api.domain.alerts.mail import Mailer, parse_server
from crm_api.domain.outbound.notices.collecting import KEPT_FOR, LOOK_BACK
from crm_api.domain.outbound.notices.mailing import MAIL_EVERY
from crm_api.domain.outbound.notices.pushing import CLAIMED_FOR, MOST_ATTEMPTS
from crm_api.domain.outbound.web_push.push_message import public_push_key
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings
from crm_api.workers.alerts import send_due_mail
from crm_api.workers.deps import Deps
from crm_api.workers.outbound import send_due_notices

KINDS = ["reply", "mention", "task"]
RECEIVED_AT = NOW
"""Time of the person's message: a Wednesday, 10:00 in Boston."""
DELAY = timedelta(minutes=5)
DUE = RECEIVED_AT + DELAY
WORDS = "Can you come on Tuesday?"
OLGA, OTTO = "olga@firm.example.com", "otto@firm.example.com"


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mail_server() as server:
        yield server


@pytest_asyncio.fixture
async def pushes() -> AsyncIterator[PushService]:
    async with push_service() as server:
        yield server


@pytest_asyncio.fixture
async def deps(
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    openphone: OpenPhoneClient,
    box: Mailbox,
) -> Deps:
    deps = make_deps(settings, new_uow, queue, openphone)
    server = parse_server(f"smtp://localhost:{box.port}")
    deps.mailer = Mailer(server, sender="crm@firm.example.com", recipients=["owner@firm.example"])
    return deps


class Office:
    """Helper that creates users with preferences, and events that cause notices to users."""

    def __init__(self, client: httpx.AsyncClient, session: AsyncSession) -> None:
        self.client = client
        self.session = session
        self.headers: dict[str, dict[str, str]] = {}
        self.ids: dict[str, str] = {}

    async def add_user(self, email: str = OLGA, *, role: str = "agent", **notices: Any) -> str:
        """Add a user with these preferences for notices; return the id of the user."""
        made = await create_active_user(
            self.client, email=email, role=role, name=email.partition("@")[0]
        )
        self.headers[email] = bearer(await sign_in(self.client, username=email))
        self.ids[email] = made["id"]
        await self.set_preferences(email, **notices)
        user_id: str = made["id"]
        return user_id

    async def set_preferences(
        self, email: str = OLGA, *, timezone: str = "UTC", **notices: Any
    ) -> None:
        body = {"timezone": timezone, "notices": notices}
        answer = await self.client.patch("/v1/preferences", json=body, headers=self.headers[email])
        assert answer.status_code == 200, answer.text

    async def add_device(
        self, pushes: PushService, path: str = "/push/1", *, email: str = OLGA
    ) -> Browser:
        """Subscribe a browser of a user to push notices; return the browser."""
        browser = Browser()
        answer = await self.client.post(
            "/v1/push-subscriptions",
            json=pushes.subscription(browser, path),
            headers=self.headers[email],
        )
        assert answer.status_code == 201, answer.text
        return browser

    async def receive_message(
        self, words: str = WORDS, *, place: int = 1, at: datetime = RECEIVED_AT
    ) -> UUID:
        """Store a message of a person; return the id of its conversation."""
        phone = number(place)
        found = await self.session.execute(
            text("SELECT id FROM conversation WHERE phone = :phone"), {"phone": phone}
        )
        conversation_id = found.scalar()
        if conversation_id is None:
            line = await make_line(self.session, phone_number_id=f"PN{place}")
            contact = await make_contact(
                self.session, phone=phone, first_name="Ada", last_name=f"Nr {place}"
            )
            conversation_id = await self.session.scalar(
                text("""
                    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at,
                        last_incoming_at, created_at)
                    VALUES (uuid_v7(), :line_id, :phone, :contact_id, :at, :at, :at) RETURNING id
                """),
                {"line_id": line.id, "phone": phone, "contact_id": contact.id, "at": at},
            )
        await self.session.execute(
            text("""
                INSERT INTO activity (id, kind, direction, origin, conversation_id, phone, body,
                    status, occurred_at, created_at, updated_at)
                VALUES (uuid_v7(), 'message', 'incoming', 'provider', :id, :phone, :body,
                    'received', :at, :at, :at)
            """),
            {"id": conversation_id, "phone": phone, "body": words, "at": at},
        )
        await self.mark_waiting(conversation_id, at)
        await self.session.commit()
        return UUID(str(conversation_id))

    async def mark_waiting(self, conversation_id: Any, at: datetime) -> None:
        await self.session.execute(
            text("""
                UPDATE conversation
                SET state = 'waiting', last_incoming_at = :at,
                    waiting_since = coalesce(waiting_since, :at)
                WHERE id = :id
            """),
            {"id": conversation_id, "at": at},
        )

    async def mark_read(self, conversation_id: UUID, until: datetime, *, email: str = OLGA) -> None:
        """Mark a conversation as read by a user, up to an instant."""
        await self.session.execute(
            text("""
                INSERT INTO conversation_read (caller_id, conversation_id, read_until)
                VALUES (:user_id, :id, :until)
                ON CONFLICT (caller_id, conversation_id) DO UPDATE
                SET read_until = excluded.read_until
            """),
            {"user_id": self.ids[email], "id": conversation_id, "until": until},
        )
        await self.session.commit()

    async def assign(self, conversation_id: UUID, email: str) -> None:
        await self.session.execute(
            text("UPDATE conversation SET assignee_id = :user_id WHERE id = :id"),
            {"user_id": UUID(self.ids[email]), "id": conversation_id},
        )
        await self.session.commit()

    async def mark_answered(self, conversation_id: UUID) -> None:
        await self.session.execute(
            text("UPDATE conversation SET state = 'open', waiting_since = NULL WHERE id = :id"),
            {"id": conversation_id},
        )
        await self.session.commit()

    async def add_note(
        self, conversation_id: UUID, *mentioned: str, author: str = OTTO, at: datetime = RECEIVED_AT
    ) -> None:
        await self.session.execute(
            text("""
                INSERT INTO conversation_note (id, conversation_id, author, body, mentions,
                    created_at)
                VALUES (uuid_v7(), :id, :author, 'Do you know her roof?', :mentions, :at)
            """),
            {
                "id": conversation_id,
                "author": author,
                "mentions": [UUID(self.ids[email]) for email in mentioned],
                "at": at,
            },
        )
        await self.session.commit()

    async def add_task(self, *, assignee: str | None, due_at: datetime = RECEIVED_AT) -> UUID:
        task_id = await self.session.scalar(
            text("""
                INSERT INTO task (id, title, due_at, assignee_id, author, created_at, updated_at)
                VALUES (uuid_v7(), 'Call the roofer', :due_at, :assignee, 'key', :due_at, :due_at)
                RETURNING id
            """),
            {
                "due_at": due_at,
                "assignee": None if assignee is None else UUID(self.ids[assignee]),
            },
        )
        await self.session.commit()
        return UUID(str(task_id))


@pytest_asyncio.fixture
async def office(client: httpx.AsyncClient, session: AsyncSession) -> Office:
    return Office(client, session)


async def run(deps: Deps, at: datetime) -> dict[str, int]:
    found = await send_due_notices(deps, now=lambda: at)
    await send_due_mail(deps, now=lambda: at)
    return found


def shown(browser: Browser, pushes: PushService, path: str = "/push/1") -> list[dict[str, Any]]:
    """Return the notices that the browser received and decrypted."""
    return [json.loads(browser.decrypt(one.body)) for one in pushes.sent_to(path)]


async def test_waiting_reply_is_pushed_and_mailed_once_after_the_delay(
    deps: Deps, office: Office, box: Mailbox, pushes: PushService
) -> None:
    await office.add_user(mail=KINDS)
    browser = await office.add_device(pushes)
    box.mails.clear()
    conversation_id = await office.receive_message()

    await run(deps, DUE - timedelta(seconds=1))
    assert (box.mails, pushes.pushes) == ([], [])

    assert await run(deps, DUE) == {"mailed": 1, "pushed": 1}
    await run(deps, DUE + timedelta(minutes=1))
    await run(deps, DUE + MAIL_EVERY + timedelta(minutes=1))

    (push,) = pushes.sent_to()
    (message,) = shown(browser, pushes)
    assert message == {
        "title": "1 conversation waits for an answer",
        "body": "Ada Nr 1 waits for an answer.",
        "url": f"/inbox/{conversation_id}",
        "tag": push.headers["topic"],
        "count": 1,
    }
    claims = push.claims(public_push_key(deps.secret))
    assert claims["aud"] == pushes.origin
    assert box.subjects() == ["[Granite Foundations] 1 conversation waits for an answer"]
    assert box.recipients[-1] == [OLGA]
    assert f"/inbox/{conversation_id}" in box.last()
    assert WORDS not in box.last()


async def test_texts_of_messages_are_shown_only_to_users_who_chose_this(
    deps: Deps, office: Office, box: Mailbox, pushes: PushService
) -> None:
    await office.add_user(mail=KINDS, show_text=True)
    browser = await office.add_device(pushes)
    conversation_id = await office.receive_message("Yes.\nOn Tuesday, " + "please " * 40)
    await office.add_note(conversation_id, OLGA)
    await office.add_task(assignee=OLGA)

    await run(deps, DUE)

    (message,) = shown(browser, pushes)
    reply, note, task = message["body"].split("\n")
    assert reply.startswith("Ada Nr 1: Yes. On Tuesday, please please")
    assert (len(reply) < 180, reply[-1]) == (True, "…")
    assert note == f"{OTTO} mentions you: Do you know her roof?"
    assert task == "Due: Call the roofer"
    title = "1 conversation waits for an answer; 1 note mentions you; 1 task is due"
    assert message["title"] == title
    assert "Call the roofer" in box.last()


async def test_simultaneous_notices_are_one_mail_and_one_push(
    deps: Deps, office: Office, box: Mailbox, pushes: PushService
) -> None:
    await office.add_user(mail=["reply"])
    browser = await office.add_device(pushes)
    box.mails.clear()
    for place in range(1, 8):
        await office.receive_message(place=place)
        await office.receive_message("Hello?", place=place, at=RECEIVED_AT + timedelta(seconds=30))

    await run(deps, DUE + timedelta(minutes=1))

    (message,) = shown(browser, pushes)
    assert message["title"] == "7 conversations wait for an answer"
    assert message["body"].count("\n") == 4
    assert message["body"].endswith("and 3 more")
    assert message["url"] == "/inbox"
    assert len(box.mails) == 1


async def test_next_mail_is_sent_a_quarter_of_an_hour_later(
    deps: Deps, office: Office, box: Mailbox
) -> None:
    await office.add_user(mail=["reply"])
    box.mails.clear()
    await office.receive_message(place=1)
    await run(deps, DUE)
    await office.receive_message(place=2)

    await run(deps, DUE + MAIL_EVERY - timedelta(seconds=1))
    assert len(box.mails) == 1

    await run(deps, DUE + MAIL_EVERY)
    assert box.subjects()[1:] == ["[Granite Foundations] 1 conversation waits for an answer"]
    assert "Ada Nr 2" in box.last()


async def test_reply_that_is_answered_before_the_delay_ends_causes_no_notice(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    conversation_id = await office.receive_message()
    await office.mark_answered(conversation_id)

    await run(deps, DUE)
    assert pushes.pushes == []

    await office.receive_message("And on Friday?", at=DUE)
    await run(deps, DUE + DELAY)
    assert len(pushes.pushes) == 1


async def test_reply_that_is_read_at_once_causes_no_notice_and_the_next_reply_does(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    conversation_id = await office.receive_message()
    await office.add_note(conversation_id, OLGA, author="key")
    await office.mark_read(conversation_id, RECEIVED_AT)

    await run(deps, DUE)
    assert pushes.pushes == []

    later = DUE + timedelta(minutes=30)
    await office.receive_message("Or on Friday?", at=later)
    await run(deps, later + DELAY - timedelta(seconds=1))
    assert pushes.pushes == []

    await run(deps, later + DELAY)
    assert len(pushes.pushes) == 1


async def test_more_messages_before_the_first_is_read_cause_no_further_notice(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    conversation_id = await office.receive_message()
    await run(deps, DUE)

    await office.receive_message("Hello?", at=DUE)
    await run(deps, DUE + DELAY)
    assert len(pushes.pushes) == 1

    await office.mark_read(conversation_id, DUE)
    await office.receive_message("Still there?", at=DUE + timedelta(hours=1))
    await run(deps, DUE + timedelta(hours=1) + DELAY)
    assert len(pushes.pushes) == 2


async def test_reply_in_an_assigned_conversation_notifies_only_the_assignee(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    for email in (OLGA, OTTO):
        await office.add_user(email)
        await office.add_device(pushes, f"/push/{email}", email=email)
    await office.assign(await office.receive_message(place=1), OTTO)

    await run(deps, DUE)
    assert (len(pushes.sent_to(f"/push/{OLGA}")), len(pushes.sent_to(f"/push/{OTTO}"))) == (
        0,
        1,
    )

    await office.receive_message(place=2, at=DUE)
    await run(deps, DUE + DELAY)
    assert (len(pushes.sent_to(f"/push/{OLGA}")), len(pushes.sent_to(f"/push/{OTTO}"))) == (
        1,
        2,
    )


async def test_snoozed_conversation_causes_no_notice(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    conversation_id = await office.receive_message()
    await office.session.execute(
        text("UPDATE conversation SET state = 'snoozed', snoozed_until = :at WHERE id = :id"),
        {"at": DUE + timedelta(days=1), "id": conversation_id},
    )

    await run(deps, DUE)

    assert pushes.pushes == []


async def test_reply_that_is_answered_in_a_quiet_time_causes_no_notice(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    quiet = {"start": "10:00", "end": "18:00"}
    await office.add_user(quiet_hours=quiet)
    browser = await office.add_device(pushes)
    first, _ = await office.receive_message(place=1), await office.receive_message(place=2)
    await run(deps, DUE)
    await office.mark_answered(first)

    await run(deps, RECEIVED_AT.replace(hour=17, minute=59))
    assert pushes.pushes == []

    await run(deps, RECEIVED_AT.replace(hour=18, minute=0))
    (message,) = shown(browser, pushes)
    assert message["body"] == "Ada Nr 2 waits for an answer."


@pytest.mark.parametrize(
    "quiet", [{"quiet_days": ["wed"]}, {"quiet_hours": {"start": "23:00", "end": "11:00"}}]
)
async def test_quiet_times_are_in_the_time_zone_of_the_user(
    deps: Deps, office: Office, pushes: PushService, quiet: dict[str, Any]
) -> None:
    await office.add_user()
    await office.set_preferences(timezone="America/New_York", **quiet)
    await office.add_device(pushes)
    await office.receive_message()

    await run(deps, DUE)

    assert pushes.pushes == []


async def test_mention_and_due_task_are_notified_once(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_user(OTTO)
    await office.add_device(pushes)
    await office.add_device(pushes, "/push/otto", email=OTTO)
    conversation_id = await office.receive_message()
    await office.mark_answered(conversation_id)
    await office.add_note(conversation_id, OLGA, OTTO, author=OTTO)
    task_id = await office.add_task(assignee=OLGA, due_at=DUE)

    await run(deps, DUE)
    await run(deps, DUE + timedelta(minutes=1))

    assert (len(pushes.sent_to()), len(pushes.sent_to("/push/otto"))) == (1, 0)
    await office.session.execute(
        text("UPDATE task SET due_at = :at WHERE id = :id"),
        {"at": DUE + timedelta(hours=1), "id": task_id},
    )
    await run(deps, DUE + timedelta(hours=1))
    assert len(pushes.sent_to()) == 2


async def test_unassigned_task_notifies_all_users_and_a_done_task_none(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    for email in (OLGA, OTTO):
        await office.add_user(email)
        await office.add_device(pushes, f"/push/{email}", email=email)
    await office.add_task(assignee=None)
    await office.add_task(assignee=OTTO, due_at=DUE + timedelta(minutes=1))
    done = await office.add_task(assignee=OLGA)
    await office.session.execute(
        text("UPDATE task SET done_at = :at WHERE id = :id"), {"at": RECEIVED_AT, "id": done}
    )

    await run(deps, DUE)

    assert (len(pushes.sent_to(f"/push/{OLGA}")), len(pushes.sent_to(f"/push/{OTTO}"))) == (
        1,
        1,
    )


async def test_notices_have_only_the_chosen_kinds_and_channels(
    deps: Deps, office: Office, box: Mailbox, pushes: PushService
) -> None:
    await office.add_user(mail=["mention"], push=["task"])
    browser = await office.add_device(pushes)
    box.mails.clear()
    conversation_id = await office.receive_message()
    await office.add_note(conversation_id, OLGA)
    await office.add_task(assignee=OLGA)

    await run(deps, DUE)

    assert box.subjects() == ["[Granite Foundations] 1 note mentions you"]
    assert [one["title"] for one in shown(browser, pushes)] == ["1 task is due"]


async def test_user_without_a_device_gets_no_notice_by_default(
    deps: Deps, office: Office, box: Mailbox
) -> None:
    await office.add_user()
    box.mails.clear()
    await office.receive_message()

    assert await run(deps, DUE) == {"mailed": 0, "pushed": 0}
    found = await office.session.execute(text("SELECT count(*) FROM notice"))
    assert (box.mails, found.scalar()) == ([], 0)


async def test_disabled_user_gets_no_notice(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    user_id = await office.add_user()
    await office.add_device(pushes)
    await office.receive_message()
    await office.session.execute(
        text("UPDATE app_user SET status = 'disabled' WHERE id = :id"), {"id": user_id}
    )

    await run(deps, DUE)

    assert pushes.pushes == []


async def test_blocked_sender_causes_no_notice(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    await office.receive_message()
    await office.session.execute(
        text("""
            INSERT INTO contact_flag (id, phone, flag_type, created_at)
            VALUES (uuid_v7(), :phone, 'blocked_sender', :now)
        """),
        {"phone": number(1), "now": NOW},
    )

    await run(deps, DUE)

    assert pushes.pushes == []


async def test_old_messages_cause_no_notice(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    await office.receive_message()
    await office.add_task(assignee=OLGA)

    await run(deps, RECEIVED_AT + LOOK_BACK)

    assert pushes.pushes == []


async def test_push_that_was_not_accepted_is_repeated_with_the_same_topic(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    browser = await office.add_device(pushes)
    pushes.answers["/push/1"] = [503, 403]
    await office.receive_message(place=1)

    await run(deps, DUE)
    await run(deps, DUE + timedelta(seconds=59))
    assert len(pushes.pushes) == 1

    await office.receive_message(place=2, at=DUE)
    await run(deps, DUE + timedelta(minutes=1))
    await run(deps, DUE + timedelta(minutes=3))
    await run(deps, DUE + timedelta(minutes=10))

    topics = [one.headers["topic"] for one in pushes.pushes]
    assert topics[:3] == [topics[0]] * 3
    assert [one["count"] for one in shown(browser, pushes)] == [1, 1, 1, 1]
    assert topics[3] != topics[0]


async def test_push_that_is_never_accepted_fails_after_the_last_attempt(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    pushes.answers["/push/1"] = [500] * 20
    await office.receive_message()

    for hours in range(MOST_ATTEMPTS + 3):
        await run(deps, DUE + timedelta(hours=hours))

    assert len(pushes.pushes) == MOST_ATTEMPTS
    found = await office.session.execute(text("SELECT outcome FROM notice"))
    assert list(found.scalars()) == ["failed"]


@pytest.mark.parametrize("status", [404, 410])
async def test_unsubscribed_device_is_deleted_and_the_other_device_gets_the_push(
    deps: Deps, office: Office, pushes: PushService, status: int
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    await office.add_device(pushes, "/push/2")
    pushes.answers["/push/1"] = [status]
    await office.receive_message()

    await run(deps, DUE)
    await run(deps, DUE + timedelta(hours=1))

    assert (len(pushes.sent_to()), len(pushes.sent_to("/push/2"))) == (1, 1)
    listed = await office.client.get("/v1/push-subscriptions", headers=office.headers[OLGA])
    (left,) = listed.json()["data"]
    assert (left["endpoint"], left["last_success_at"] is not None) == (
        f"{pushes.origin}/push/2",
        True,
    )


async def test_notices_claimed_by_a_dead_worker_are_sent_when_its_claim_expires(
    deps: Deps, office: Office, pushes: PushService
) -> None:
    await office.add_user()
    await office.add_device(pushes)
    await office.receive_message()
    deps.works_for_seconds = 0
    await run(deps, DUE)
    assert pushes.pushes == []
    await office.session.execute(
        text("UPDATE notice SET batch = uuid_v7(), attempts = 1, claimed_until = :until"),
        {"until": DUE + CLAIMED_FOR},
    )
    deps.works_for_seconds = 30

    await run(deps, DUE + CLAIMED_FOR - timedelta(seconds=1))
    assert pushes.pushes == []

    await run(deps, DUE + CLAIMED_FOR)
    assert len(pushes.pushes) == 1


async def test_old_notices_are_deleted(deps: Deps, office: Office, pushes: PushService) -> None:
    await office.add_user()
    await office.add_device(pushes)
    await office.receive_message()
    await run(deps, DUE)

    await run(deps, DUE + KEPT_FOR + timedelta(seconds=1))

    found = await office.session.execute(text("SELECT count(*) FROM notice"))
    assert (len(pushes.pushes), found.scalar()) == (1, 0)


async def test_parallel_workers_notify_once(
    *,
    settings: Settings,
    committed_uow: Callable[[], UnitOfWork],
    committed_client: httpx.AsyncClient,
    queue: RecordingQueue,
    openphone: OpenPhoneClient,
    box: Mailbox,
    pushes: PushService,
) -> None:
    workers = [make_deps(settings, committed_uow, queue, openphone) for _ in range(3)]
    server = parse_server(f"smtp://localhost:{box.port}")
    for worker in workers:
        worker.mailer = Mailer(server, sender="crm@firm.example.com", recipients=["o@firm.test"])
    async with committed_uow() as uow:
        office = Office(committed_client, uow.session)
        await office.add_user(mail=KINDS)
        await office.add_device(pushes)
        for place in range(1, 5):
            await office.receive_message(place=place)

    await asyncio.gather(*(send_due_notices(one, now=lambda: DUE) for one in workers))
    await asyncio.gather(*(send_due_notices(one, now=lambda: DUE) for one in workers))
    await send_due_mail(workers[0], now=lambda: DUE)

    assert len(pushes.pushes) == 1
    subjects = [one for one in box.subjects() if "wait" in one]
    assert subjects == ["[Granite Foundations] 4 conversations wait for an answer"]
