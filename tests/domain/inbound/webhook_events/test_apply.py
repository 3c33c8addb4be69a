import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    automatic_messages,
    call_events,
    incoming,
    mean_jitter,
    rows,
    statuses,
    store,
)
from tests.domain.provider.openphone.samples import sample, sample_names
from tests.factories import make_contact, make_line
from tests.fakes import RecordingQueue
from tests.measuring import measured

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.envelope import read_event
from crm_api.domain.inbound.webhook_events.event_outcomes import CONFLICT_RETRY
from crm_api.domain.inbound.webhook_events.stored_events import (
    WebhookEventNotFoundError,
    replay_event,
)
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

REFUSE_A_BODY = """
CREATE FUNCTION refuse_a_body() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.body = 'a private message' THEN
        RAISE EXCEPTION 'too large' USING ERRCODE = '54000';
    END IF;
    RETURN NEW;
END
$$
"""
ON_BODY = """
CREATE TRIGGER refuse_a_body BEFORE INSERT ON activity
FOR EACH ROW EXECUTE FUNCTION refuse_a_body()
"""


CALL = "AC747df9905da836742ff24c1c587b59b5"


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


def unreadable_event(event_id: str = "EVpoison") -> dict[str, Any]:
    return {"id": event_id, "type": "message.received", "data": {"resource": {"id": "AC0"}}}


@pytest.mark.usefixtures("line")
async def test_every_sample_is_applied_or_ignored(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for position, name in enumerate(sample_names()):
        payload = sample(name)
        received = read_event(json.dumps(payload).encode(), scheme="legacy", delivery_id=None)
        await store(session, payload, provider_event_id=f"EV{position}", type=received.type)

    taken = await apply(new_uow)

    found = await rows(session, "SELECT type, status, last_error FROM webhook_event")
    assert taken == len(sample_names())
    assert [one for one in found if one["last_error"]] == []
    for one in found:
        is_used = one["type"].startswith(("message.", "call"))
        assert one["status"] == ("processed" if is_used else "ignored"), one


@pytest.mark.usefixtures("line")
async def test_lag_is_measured_for_applied_events_only(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, incoming("Hello"), provider_event_id="EV1")
    await store(session, unreadable_event(), provider_event_id="EV2")
    events, seconds = (measured(f"crm_webhook_lag_seconds_{of}") for of in ("count", "sum"))

    await apply(new_uow, now=NOW + timedelta(seconds=7))

    assert measured("crm_webhook_lag_seconds_count") == events + 1
    assert measured("crm_webhook_lag_seconds_sum") == pytest.approx(seconds + 7)


@pytest.mark.parametrize("kind", ["contact.updated", "task.created", "unknown", "integration.x"])
async def test_other_event_types_are_ignored_even_if_unreadable(
    session: AsyncSession, new_uow: UnitOfWorkFactory, kind: str
) -> None:
    await store(session, {"id": "EV1"}, type=kind)

    await apply(new_uow)

    assert await statuses(session) == ["ignored"]


@pytest.mark.usefixtures("line")
async def test_unknown_caller_becomes_a_contact(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, sample("2026-03-30/call.missed"))

    await apply(new_uow)

    found = await rows(session, "SELECT phone FROM contact")
    assert found == [{"phone": PERSON}]


@pytest.mark.usefixtures("line")
async def test_outgoing_call_adds_no_contact(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    payload = sample("2026-03-30/call.completed")
    payload["data"]["resource"]["direction"] = "outgoing"
    await store(session, payload)

    await apply(new_uow)

    assert await rows(session, "SELECT phone FROM contact") == []
    assert await rows(session, "SELECT phone FROM conversation") == [{"phone": PERSON}]


async def test_event_of_an_unknown_line_fails_with_a_remedy(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    payload = sample("2026-03-30/call.completed")
    del payload["data"]["context"]["participants"]
    await store(session, payload)

    await apply(new_uow)

    found = await rows(session, "SELECT status, attempts, last_error FROM webhook_event")
    assert (found[0]["status"], found[0]["attempts"]) == ("failed", 1)
    assert "POST /v1/lines/sync" in found[0]["last_error"]


async def test_message_event_without_a_line_fails_with_the_reason(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(
        session,
        sample("legacy/variants/v3-wrapped-in-object.message.received"),
        type="message.received",
    )

    await apply(new_uow)

    found = await rows(session, "SELECT last_error FROM webhook_event")
    assert found[0]["last_error"] == "The event does not name the line of the message."


@pytest.mark.usefixtures("line")
async def test_unreadable_event_becomes_dead_and_the_others_are_processed(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, incoming("first", message_id="AC1"))
    await store(session, unreadable_event(), now=NOW + timedelta(seconds=1))
    await store(session, incoming("last", message_id="AC2"), now=NOW + timedelta(seconds=2))
    now = NOW + timedelta(seconds=10)

    waits = []
    await apply(new_uow, now=now)
    while (await statuses(session))[1] == "failed":
        row = (await rows(session, "SELECT * FROM webhook_event WHERE status = 'failed'"))[0]
        waits.append(row["next_attempt_at"] - now)
        now = row["next_attempt_at"]
        await apply(new_uow, now=now)

    alert = (await rows(session, "SELECT kind, subject, detail, context FROM alert"))[0]
    dead = (await rows(session, "SELECT * FROM webhook_event WHERE status = 'dead'"))[0]
    assert await statuses(session) == ["processed", "dead", "processed"]
    assert waits == list(APPLY_SETTINGS.retry_means)
    assert timedelta(hours=20) < sum(waits, timedelta()) < timedelta(hours=28)
    assert dead["last_error"] == "The message has no time of creation."
    assert (alert["kind"], alert["subject"]) == ("webhook_event_dead", "unreadable_event")
    assert alert["context"] == {"event_id": str(dead["id"]), "type": "message.received"}
    assert await apply(new_uow, now=now + timedelta(days=30)) == 0


@pytest.mark.usefixtures("line")
async def test_refused_statement_rolls_back_only_its_own_event(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await session.execute(text(REFUSE_A_BODY))
    await session.execute(text(ON_BODY))
    await store(session, incoming("a private message", message_id="AC1"))
    await store(session, incoming("fine", message_id="AC2"), now=NOW + timedelta(seconds=1))

    await apply(new_uow, now=NOW + timedelta(seconds=1))

    found = await rows(session, "SELECT last_error FROM webhook_event WHERE status = 'failed'")
    assert await statuses(session) == ["failed", "processed"]
    assert found[0]["last_error"].startswith("The database refused the event (SQLSTATE 54000)")
    assert "private" not in found[0]["last_error"]


async def test_event_in_a_lock_conflict_is_soon_retried_without_a_counted_attempt(
    committed_db: AsyncEngine, committed_uow: Callable[[], UnitOfWork], queue: RecordingQueue
) -> None:
    sessions = async_sessionmaker(committed_db, expire_on_commit=False)
    async with sessions() as session:
        await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
        await store(session, incoming("hello"))

    async with sessions() as other, committed_uow() as uow:
        await make_contact(other, phone=PERSON)
        await uow.session.execute(text("SET LOCAL lock_timeout = '50ms'"))
        await webhooks.apply_batch(
            uow, limit=10, now=NOW, apply_settings=APPLY_SETTINGS, jitter=mean_jitter
        )

    async with sessions() as session:
        row = (await rows(session, "SELECT * FROM webhook_event"))[0]
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert NOW < row["next_attempt_at"] <= NOW + CONFLICT_RETRY
    assert queue.jobs == [Job(name=JobName.PROCESS_WEBHOOK_BACKLOG, delay_seconds=1)]
    async with committed_uow() as uow:
        await webhooks.apply_batch(
            uow, limit=10, now=row["next_attempt_at"], apply_settings=APPLY_SETTINGS
        )
    async with sessions() as session:
        assert await statuses(session) == ["processed"]


@pytest.mark.usefixtures("line")
async def test_replay_of_a_processed_event_changes_nothing(
    session: AsyncSession, new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    event = await store(session, incoming("remove me from your list"))
    await apply(new_uow)

    async with new_uow() as uow:
        await replay_event(uow, event_id=event.id, now=NOW)
    await apply(new_uow)

    assert await statuses(session) == ["processed"]
    assert len(await automatic_messages(session)) == 1
    assert len(await rows(session, "SELECT id FROM consent_entry")) == 1
    assert JobName.PROCESS_WEBHOOK_BACKLOG in queue.names


async def test_replay_resets_the_attempts_of_a_dead_event(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    event = await store(
        session, unreadable_event(), status="dead", attempts=7, last_error="No sender."
    )

    async with new_uow() as uow:
        await replay_event(uow, event_id=event.id, now=NOW)

    found = (await rows(session, "SELECT status, attempts, last_error FROM webhook_event"))[0]
    assert found == {"status": "pending", "attempts": 0, "last_error": None}


async def test_replay_of_an_unknown_event_is_refused(new_uow: UnitOfWorkFactory) -> None:
    with pytest.raises(WebhookEventNotFoundError):
        async with new_uow() as uow:
            await replay_event(uow, event_id=new_id(), now=NOW)


async def test_concurrent_workers_share_the_backlog(
    committed_db: AsyncEngine, committed_uow: Callable[[], UnitOfWork]
) -> None:
    sessions = async_sessionmaker(committed_db, expire_on_commit=False)
    async with sessions() as session:
        await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
        for position in range(12):
            await store(session, incoming(f"text {position}", message_id=f"AC{position}"))
        for payload in call_events():
            await store(session, payload)

    async def work() -> None:
        while True:
            async with committed_uow() as uow:
                taken = await webhooks.apply_batch(
                    uow, limit=2, now=NOW + timedelta(seconds=5), apply_settings=APPLY_SETTINGS
                )
            if not taken:
                return

    await asyncio.gather(*(work() for _ in range(4)))
    await work()

    async with sessions() as session:
        kinds = await rows(
            session, "SELECT kind, count(*) AS count FROM activity GROUP BY kind ORDER BY kind"
        )
        assert set(await statuses(session)) == {"processed"}
        assert kinds == [{"kind": "call", "count": 1}, {"kind": "message", "count": 12}]
        assert len(await rows(session, "SELECT id FROM contact")) == 1
        found = await rows(session, "SELECT openphone_id FROM activity WHERE kind = 'call'")
        assert found == [{"openphone_id": CALL}]


async def test_event_locked_by_one_worker_is_skipped_by_another(
    committed_db: AsyncEngine, committed_uow: Callable[[], UnitOfWork]
) -> None:
    sessions = async_sessionmaker(committed_db, expire_on_commit=False)
    async with sessions() as session:
        await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
        await store(session, incoming("Yes please"))

    async with committed_uow() as uow:
        first = await webhooks.apply_batch(uow, limit=2, now=NOW, apply_settings=APPLY_SETTINGS)
        async with asyncio.timeout(10):
            other = await apply(committed_uow)

    assert (first, other) == (1, 0)
