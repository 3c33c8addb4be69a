"""Tests of messages that users write: scheduling, time to undo, and withdrawal."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.database_time import set_database_time
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    receive_message,
    rows,
)
from tests.domain.messaging.sends.ledger import TIMES
from tests.factories import make_contact, make_line, number
from tests.fakes import RecordingQueue
from tests.routers.consent.test_compliance import use_rules

from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook
from crm_api.domain.consent.legal_rules.schemas import ComplianceRule
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends import queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

TOMORROW = NOW + timedelta(days=1)
NIGHT = datetime.fromisoformat("2026-11-26T04:00:00Z")
MORNING = datetime.fromisoformat("2026-11-26T14:00:00Z")


def one_rule(**rule: Any) -> RuleBook:
    """Return a rule book (set of legal rules) with one rule for the whole country.

    The person of these tests is in the time zone America/New_York.
    """
    content = json.dumps({"state": None, "reviewed": "2026-11-01"} | rule)
    return RuleBook([ComplianceRule.model_validate_json(content)], name="made")


DAY = one_rule(kind="window", start="09:00", end="20:00")
NEVER = one_rule(kind="no_day")


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    await set_database_time(session, NOW)
    return line


def message_body(line: Line, **fields: Any) -> dict[str, Any]:
    later = {"send_at": format_instant(fields.pop("at"))} if "at" in fields else {}
    return {"line_id": str(line.id), "to": PERSON, "body": "See you Tuesday."} | later | fields


async def queue_message(client: httpx.AsyncClient, line: Line, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/messages", json=message_body(line, **fields))
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def claim_messages(
    new_uow: UnitOfWorkFactory, at: datetime, rules: RuleBook = NO_RULES
) -> list[ClaimedAttempt]:
    async with new_uow() as uow:
        return await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=rules, now=at)


async def test_scheduled_message_is_not_claimed_before_its_time(
    client: httpx.AsyncClient, line: Line, new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    shown = await queue_message(client, line, at=TOMORROW)
    # The time `send_after` of the message is set to the present. The message must still wait for
    # `send_at`.
    await session.execute(text("UPDATE activity SET send_after = :now"), {"now": NOW})
    await session.commit()

    early = await claim_messages(new_uow, TOMORROW - timedelta(milliseconds=1))
    (claimed,) = await claim_messages(new_uow, TOMORROW)

    assert (shown["status"], shown["send_at"]) == ("queued", format_instant(TOMORROW))
    assert (early, claimed.body) == ([], "See you Tuesday.")


async def test_scheduled_message_gets_a_nudge_only_in_its_last_minute(
    client: httpx.AsyncClient, line: Line, queue: RecordingQueue
) -> None:
    await queue_message(client, line, at=TOMORROW)
    far = list(queue.jobs)
    await queue_message(client, line, at=NOW + timedelta(seconds=40))

    assert far == []
    assert queue.names == [JobName.SEND_MESSAGES]
    assert 0 < queue.jobs[0].delay_seconds <= 40


@pytest.mark.parametrize(
    ("rules", "at", "allowed"),
    [
        (DAY, NIGHT, MORNING),
        # This time is 30 seconds before the end of the legal hours. The message would be sent some
        # seconds later, and so after their end.
        (DAY, datetime.fromisoformat("2026-11-26T00:59:30Z"), MORNING),
        (NEVER, NIGHT, None),
    ],
)
async def test_time_outside_legal_hours_is_refused_with_the_next_instant(
    *,
    client: httpx.AsyncClient,
    app: FastAPI,
    line: Line,
    session: AsyncSession,
    rules: RuleBook,
    at: datetime,
    allowed: datetime | None,
) -> None:
    use_rules(app, rules)

    answer = await client.post("/v1/messages", json=message_body(line, at=at))

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "send_at_outside_window")
    assert problem["errors"][0]["pointer"] == "/send_at"
    assert problem["next_allowed_at"] == (None if allowed is None else format_instant(allowed))
    assert await rows(session, "SELECT id FROM activity") == []


async def test_time_outside_legal_hours_is_moved_if_requested(
    client: httpx.AsyncClient, app: FastAPI, line: Line, new_uow: UnitOfWorkFactory
) -> None:
    use_rules(app, DAY)

    shown = await queue_message(client, line, at=NIGHT, move=True)

    assert shown["send_at"] == format_instant(MORNING)
    assert await claim_messages(new_uow, MORNING - timedelta(seconds=1), DAY) == []
    assert len(await claim_messages(new_uow, MORNING, DAY)) == 1


async def test_time_inside_legal_hours_is_accepted_at_night(
    client: httpx.AsyncClient, app: FastAPI, line: Line, session: AsyncSession
) -> None:
    use_rules(app, DAY)
    await set_database_time(session, NIGHT)

    shown = await queue_message(client, line, at=MORNING, move=True)

    assert shown["send_at"] == format_instant(MORNING)


async def test_answer_to_a_message_of_the_person_may_be_sent_at_night(
    client: httpx.AsyncClient,
    app: FastAPI,
    line: Line,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
) -> None:
    use_rules(app, DAY)
    await receive_message(session, new_uow, "Are you there?")

    shown = await queue_message(client, line, at=NIGHT)

    assert shown["send_at"] == format_instant(NIGHT)


@pytest.mark.parametrize(
    "at", [NOW - timedelta(seconds=1), NOW - timedelta(days=400), NOW + timedelta(days=367)]
)
async def test_time_in_the_past_or_beyond_a_year_is_refused(
    client: httpx.AsyncClient, line: Line, at: datetime
) -> None:
    answer = await client.post("/v1/messages", json=message_body(line, at=at))

    assert (answer.status_code, answer.json()["code"]) == (422, "send_at_out_of_range")
    assert answer.json()["errors"][0]["pointer"] == "/send_at"


@pytest.mark.parametrize("fields", [{"undo_seconds": 31}, {"undo_seconds": -1}, {"send_at": 1}])
async def test_invalid_times_are_refused(
    client: httpx.AsyncClient, line: Line, fields: dict[str, Any]
) -> None:
    answer = await client.post("/v1/messages", json=message_body(line, **fields))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(fields))}"


async def test_opt_out_withdraws_a_scheduled_message(
    client: httpx.AsyncClient, line: Line, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    contact = await make_contact(session, phone=PERSON)
    await session.commit()
    shown = await queue_message(client, line, at=TOMORROW)

    await client.post(f"/v1/contacts/{contact.id}/opt-out", json={"reason": "asked by phone"})

    read = (await client.get(f"/v1/messages/{shown['id']}")).json()
    assert (read["status"], read["error_code"]) == ("failed", "recipient_opted_out")
    assert read["send_at"] == shown["send_at"]
    assert await claim_messages(new_uow, TOMORROW) == []


async def test_scheduled_message_waits_for_legal_hours(
    client: httpx.AsyncClient, line: Line, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    shown = await queue_message(client, line, at=NIGHT)

    at_night = await claim_messages(new_uow, NIGHT, DAY)
    (claimed,) = await claim_messages(new_uow, MORNING, DAY)

    attempt = (await rows(session, "SELECT not_after FROM send_attempt"))[0]
    read = (await client.get(f"/v1/messages/{shown['id']}")).json()
    assert (at_night, claimed.phone) == ([], PERSON)
    assert attempt["not_after"] == MORNING + timedelta(hours=11)
    assert read["send_at"] == format_instant(NIGHT)


@pytest.mark.parametrize(
    ("rules", "at", "is_claimed"),
    [
        (NO_RULES, TOMORROW + timedelta(hours=47), True),
        (NO_RULES, TOMORROW + timedelta(hours=48), False),
        (NEVER, TOMORROW + timedelta(hours=25), False),
    ],
)
async def test_scheduled_message_fails_when_it_is_two_days_late(
    *,
    client: httpx.AsyncClient,
    line: Line,
    new_uow: UnitOfWorkFactory,
    rules: RuleBook,
    at: datetime,
    is_claimed: bool,
) -> None:
    shown = await queue_message(client, line, at=TOMORROW)

    claimed = await claim_messages(new_uow, at, rules)

    read = (await client.get(f"/v1/messages/{shown['id']}")).json()
    assert len(claimed) == is_claimed
    assert (read["status"], read["error_code"]) == (
        ("sending", None) if is_claimed else ("failed", "too_late")
    )


async def test_attempt_of_a_scheduled_message_expires_after_two_days(
    client: httpx.AsyncClient, line: Line, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await queue_message(client, line, at=TOMORROW)

    await claim_messages(new_uow, TOMORROW)

    attempt = (await rows(session, "SELECT not_after FROM send_attempt"))[0]
    assert attempt["not_after"] == TOMORROW + timedelta(hours=48)


@pytest.mark.parametrize("seconds", [10, 30])
async def test_message_waits_for_the_seconds_to_undo(
    *,
    client: httpx.AsyncClient,
    line: Line,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    seconds: int,
) -> None:
    shown = await queue_message(client, line, undo_seconds=seconds)

    (row,) = await rows(session, "SELECT send_after, created_at FROM activity")
    undo_until = row["created_at"] + timedelta(seconds=seconds)
    assert await claim_messages(new_uow, undo_until - timedelta(milliseconds=1)) == []
    assert len(await claim_messages(new_uow, undo_until)) == 1
    assert (row["send_after"], shown["send_at"]) == (undo_until, None)
    assert [(one.name, one.delay_seconds) for one in queue.jobs] == [
        (JobName.SEND_MESSAGES, seconds)
    ]


async def test_undo_seconds_delay_a_message_that_is_due_sooner(
    client: httpx.AsyncClient, line: Line, session: AsyncSession
) -> None:
    await queue_message(client, line, at=NOW + timedelta(seconds=25), undo_seconds=30)

    (row,) = await rows(session, "SELECT send_after, created_at FROM activity")
    assert row["send_after"] == row["created_at"] + timedelta(seconds=30)


async def test_undo_seconds_may_not_end_outside_legal_hours(
    client: httpx.AsyncClient, app: FastAPI, line: Line, session: AsyncSession
) -> None:
    use_rules(app, DAY)
    await set_database_time(session, datetime.fromisoformat("2026-11-26T00:59:35Z"))

    refused = await client.post("/v1/messages", json=message_body(line, undo_seconds=30))
    accepted = await client.post("/v1/messages", json=message_body(line, undo_seconds=0))

    assert (refused.status_code, refused.json()["code"]) == (409, "outside_window")
    assert accepted.status_code == 202


@pytest.mark.parametrize("wait", [{"at": TOMORROW}, {"undo_seconds": 30}, {}])
async def test_waiting_message_is_withdrawn(
    client: httpx.AsyncClient, line: Line, new_uow: UnitOfWorkFactory, wait: dict[str, Any]
) -> None:
    shown = await queue_message(client, line, **wait)

    first = await client.delete(f"/v1/messages/{shown['id']}")
    again = await client.delete(f"/v1/messages/{shown['id']}")

    read = (await client.get(f"/v1/messages/{shown['id']}")).json()
    conversation = await client.get(f"/v1/conversations/{shown['conversation_id']}/messages")
    audit = (await client.get("/v1/audit-log", params={"action": "withdraw_message"})).json()
    assert (first.status_code, again.status_code) == (204, 204)
    assert (read["status"], read["error_code"]) == ("failed", "withdrawn")
    assert [one["id"] for one in conversation.json()["data"]] == [shown["id"]]
    assert {one["subject"] for one in audit["data"]} == {shown["id"]}
    assert await claim_messages(new_uow, TOMORROW) == []


async def test_message_that_is_being_sent_cannot_be_withdrawn(
    client: httpx.AsyncClient, line: Line, new_uow: UnitOfWorkFactory
) -> None:
    shown = await queue_message(client, line)
    await claim_messages(new_uow, TOMORROW)

    answer = await client.delete(f"/v1/messages/{shown['id']}")

    assert (answer.status_code, answer.json()["code"]) == (409, "message_left")
    assert (await client.get(f"/v1/messages/{shown['id']}")).json()["status"] == "sending"


async def test_failed_message_cannot_be_withdrawn(
    client: httpx.AsyncClient, line: Line, session: AsyncSession
) -> None:
    shown = await queue_message(client, line)
    await session.execute(text("UPDATE activity SET status = 'failed', error_code = 'http_400'"))
    await session.commit()

    answer = await client.delete(f"/v1/messages/{shown['id']}")

    assert (answer.status_code, answer.json()["code"]) == (409, "message_left")
    assert (await client.get(f"/v1/messages/{shown['id']}")).json()["error_code"] == "http_400"


@pytest.mark.parametrize("origin", ["campaign", "test", "help", "confirmation", "provider"])
async def test_only_a_users_message_can_be_withdrawn(
    client: httpx.AsyncClient, line: Line, session: AsyncSession, origin: str
) -> None:
    row = Activity(
        kind="message",
        direction="outgoing",
        origin=origin,
        line_id=line.id,
        phone=PERSON,
        body="Hello",
        status="queued",
        occurred_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(row)
    await session.commit()

    answer = await client.delete(f"/v1/messages/{row.id}")

    assert (answer.status_code, answer.json()["code"]) == (409, "message_not_manual")
    assert (await client.get(f"/v1/messages/{row.id}")).json()["status"] == "queued"


async def test_unknown_message_cannot_be_withdrawn(client: httpx.AsyncClient) -> None:
    answer = await client.delete(f"/v1/messages/{UNKNOWN_ID}")

    assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")


async def test_message_shows_the_key_that_sent_it(client: httpx.AsyncClient, line: Line) -> None:
    shown = await queue_message(client, line)

    keys = (await client.get("/v1/api-keys")).json()["data"]
    assert shown["sent_by"] in [{"id": one["id"], "name": one["name"]} for one in keys]
    assert (await client.get(f"/v1/messages/{shown['id']}")).json() == shown


@pytest.mark.usefixtures("line")
async def test_received_message_has_no_sender(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Hello")

    (row,) = await rows(session, "SELECT id FROM activity")
    read = (await client.get(f"/v1/messages/{row['id']}")).json()
    assert (read["sent_by"], read["send_at"]) == (None, None)


async def test_legal_hours_apply_to_the_first_message_to_a_number(
    client: httpx.AsyncClient, app: FastAPI, line: Line, session: AsyncSession
) -> None:
    """Prove that legal hours apply if the person has never sent a message."""
    use_rules(app, DAY)
    stranger = "+16175550177"
    await set_database_time(session, NIGHT)
    at_night = await client.post("/v1/messages", json=message_body(line, to=stranger))
    await set_database_time(session, NOW)

    by_day = await client.post("/v1/messages", json=message_body(line, to=stranger))

    conversations = (await client.get("/v1/conversations", params={"phone": stranger})).json()[
        "data"
    ]
    assert (at_night.status_code, at_night.json()["code"]) == (409, "outside_window")
    assert (by_day.status_code, len(conversations)) == (202, 1)
    assert conversations[0]["id"] == by_day.json()["conversation_id"]
    assert conversations[0]["contact_id"] == by_day.json()["contact_id"] is not None


@pytest.mark.parametrize(
    ("alias", "closed"),
    [
        (number(1), "2026-11-26T14:30:00Z"),  # 09:30 in New York, 06:30 in Los Angeles
        (number(1), "2026-11-27T02:30:00Z"),  # 21:30 in New York, 18:30 in Los Angeles
        ("+18085550123", "2026-11-26T18:30:00Z"),  # 10:30 in Los Angeles, 08:30 in Honolulu
    ],
)
async def test_message_to_a_merged_number_keeps_the_hours_of_the_person_and_of_the_number(
    client: httpx.AsyncClient,
    app: FastAPI,
    line: Line,
    session: AsyncSession,
    *,
    new_uow: UnitOfWorkFactory,
    alias: str,
    closed: str,
) -> None:
    use_rules(app, DAY)
    west: dict[str, Any] = {"state": "CA", "zone_key": "CA/America/Los_Angeles"}
    person = await make_contact(session, phone="+14155550123", **west)
    duplicate = await make_contact(session, phone=alias, **west)
    await session.commit()
    opens = datetime.fromisoformat("2026-11-27T19:00:00Z")  # 11:00 in Los Angeles
    await queue_message(client, line, to=alias, at=opens)
    ids = {"primary_id": str(person.id), "duplicate_ids": [str(duplicate.id)]}
    assert (await client.post("/v1/contacts/merge", json=ids)).status_code == 200

    at = datetime.fromisoformat(closed)
    await set_database_time(session, at)
    answer = await client.post("/v1/messages", json=message_body(line, to=alias))
    await session.execute(
        text("UPDATE activity SET scheduled_for = :at, send_after = :at"), {"at": at}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "outside_window")
    assert await claim_messages(new_uow, at, DAY) == []
    assert len(await claim_messages(new_uow, opens, DAY)) == 1


async def test_time_zone_of_the_person_decides_the_hours_of_a_merged_number(
    client: httpx.AsyncClient, app: FastAPI, line: Line, session: AsyncSession
) -> None:
    use_rules(app, DAY)
    east: dict[str, Any] = {"timezone": "America/New_York", "zone_key": "CA/America/New_York"}
    person = await make_contact(session, phone="+14155550123", **east)
    duplicate = await make_contact(session, phone="+14155550124", **east)
    await session.commit()
    ids = {"primary_id": str(person.id), "duplicate_ids": [str(duplicate.id)]}
    assert (await client.post("/v1/contacts/merge", json=ids)).status_code == 200

    await set_database_time(session, datetime.fromisoformat("2026-11-26T14:30:00Z"))
    answer = await client.post("/v1/messages", json=message_body(line, to=duplicate.phone))

    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("flag", "status"), [("opted_out", 409), ("do_not_contact", 409), ("opt_out_hold", 202)]
)
async def test_flags_apply_to_the_first_message_to_a_number(
    client: httpx.AsyncClient, line: Line, session: AsyncSession, flag: str, status: int
) -> None:
    session.add(ContactFlag(phone="+16175550177", flag_type=flag, created_at=NOW))
    await session.commit()

    answer = await client.post("/v1/messages", json=message_body(line, to="+16175550177"))

    assert answer.status_code == status
