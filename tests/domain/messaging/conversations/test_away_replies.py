"""A conversation gets one away reply while the office is closed, unless a rule stops it."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    automatic_messages,
    flags,
    incoming,
    rows,
    store,
)
from tests.domain.inbound.webhook_events.test_statement_counts import counted_statements
from tests.domain.messaging.sends.ledger import TIMES
from tests.factories import make_line, number
from tests.fakes import RecordingQueue

from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook, load_rules
from crm_api.domain.consent.models import ContactFlag, ErasedNumber, hash_phone
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.messaging.company.office_hours import AwaySettings
from crm_api.domain.messaging.conversations.away_replies import (
    ANSWERED_WITHIN,
    ATTENDED_FOR,
    UnattendedMessage,
    queue_away_replies,
)
from crm_api.domain.messaging.models.lines import CompanySettings, Line
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.sends import gate, queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.queued_claim import AWAY_LASTS, TOO_LATE
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import JobName

REPLY = "We are out of the office and will answer in the morning."
HOURS = {
    "timezone": "America/New_York",
    "days": {
        day: [{"start": "08:00", "end": "17:00"}] for day in ("mon", "tue", "wed", "thu", "fri")
    },
}
EVENING = NOW.replace(hour=23, minute=30)
"""Wednesday at 18:30 in Boston, 90 minutes after the office closed."""
CLOSED_AT = NOW.replace(hour=22)
OPENS_AT = NOW.replace(hour=13) + timedelta(days=1)


def company_settings(**changes: Any) -> CompanySettings:
    values: dict[str, Any] = {"away_reply": REPLY, "office_hours": HOURS} | changes
    return CompanySettings(updated_at=NOW, **values)


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


@pytest_asyncio.fixture
async def line_with_away_reply(session: AsyncSession, line: Line) -> Line:
    session.add(company_settings())
    await session.commit()
    return line


async def receive(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    words: str = "Can you come on Tuesday?",
    *,
    at: datetime = EVENING,
    now: datetime | None = None,
    sender: str = PERSON,
) -> None:
    """Receive a message written at ``at``, and apply its event at ``now`` (default: ``at``)."""
    payload = incoming(words, message_id=f"AC{new_id().hex}", at=at)
    payload["data"]["context"]["senderIdentifier"] = sender
    await store(session, payload, now=now or at)
    await apply(new_uow, now=now or at)


async def flag(session: AsyncSession, name: str, *, expires_at: datetime | None = None) -> None:
    """Set a flag on the person's number."""
    values = {"flag_type": name, "expires_at": expires_at}
    session.add(ContactFlag(phone=PERSON, created_at=NOW, **values))
    await session.commit()


async def away_replies(session: AsyncSession) -> list[str]:
    return [one["body"] for one in await automatic_messages(session) if one["origin"] == "away"]


@pytest.mark.usefixtures("line_with_away_reply")
async def test_message_received_while_the_office_is_closed_gets_an_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    await receive(session, new_uow)

    sent = await automatic_messages(session)
    assert sent == [{"origin": "away", "body": REPLY, "phone": PERSON, "status": "queued"}]
    assert JobName.SEND_MESSAGES in queue.names
    (conversation,) = await rows(
        session, "SELECT away_replied_at, last_outgoing_at FROM conversation"
    )
    assert conversation == {"away_replied_at": EVENING, "last_outgoing_at": None}


@pytest.mark.usefixtures("line_with_away_reply")
async def test_conversation_gets_one_away_reply_until_the_office_opens_again(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    next_evening = EVENING + timedelta(days=1)

    await receive(session, new_uow)
    await receive(session, new_uow, "Hello?", at=EVENING + timedelta(hours=3))
    await receive(session, new_uow, "It is urgent", at=OPENS_AT - timedelta(minutes=1))
    assert await away_replies(session) == [REPLY]

    await receive(session, new_uow, "Are you there now?", at=OPENS_AT)
    assert await away_replies(session) == [REPLY]

    await receive(session, new_uow, "Good night", at=next_evening)
    assert await away_replies(session) == [REPLY, REPLY]


@pytest.mark.usefixtures("line_with_away_reply")
async def test_two_messages_in_one_batch_get_one_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for place in range(2):
        payload = incoming(f"Can you come at {place + 2}?", message_id=f"AC{place}", at=EVENING)
        await store(session, payload, now=EVENING)

    await apply(new_uow, now=EVENING)

    assert await away_replies(session) == [REPLY]


@pytest.mark.parametrize(
    "changes",
    [{"away_reply": None}, {"office_hours": None}],
    ids=["no reply", "no hours"],
)
@pytest.mark.usefixtures("line")
async def test_no_away_reply_is_sent_if_the_reply_or_the_hours_are_not_set(
    session: AsyncSession, new_uow: UnitOfWorkFactory, changes: dict[str, Any]
) -> None:
    session.add(company_settings(**changes))
    await session.commit()

    await receive(session, new_uow)

    assert await automatic_messages(session) == []


@pytest.mark.usefixtures("line")
async def test_office_is_closed_all_day_on_a_holiday(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    noon = NOW.replace(hour=17)
    day = {"date": noon.date().isoformat(), "name": "Inventory"}
    session.add(company_settings(holidays=[day]))
    await session.commit()

    await receive(session, new_uow, at=noon)

    assert await away_replies(session) == [REPLY]


@pytest.mark.usefixtures("line_with_away_reply")
async def test_no_away_reply_is_sent_while_the_office_is_open(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, new_uow, at=CLOSED_AT - timedelta(seconds=1))

    assert await automatic_messages(session) == []


@pytest.mark.parametrize(
    ("words", "automatic"),
    [
        ("STOP", []),
        ("Please take me off your list", ["confirmation"]),
        ("HELP", ["help"]),
        ("START", []),
        ('Liked "We can come on Tuesday"', []),
    ],
)
@pytest.mark.usefixtures("line_with_away_reply")
async def test_keyword_opt_out_or_reaction_gets_no_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory, words: str, automatic: list[str]
) -> None:
    await receive(session, new_uow, words)

    assert [one["origin"] for one in await automatic_messages(session)] == automatic


@pytest.mark.parametrize("name", ["opted_out", "opt_out_hold", "do_not_contact"])
@pytest.mark.usefixtures("line_with_away_reply")
async def test_number_with_a_flag_that_stops_messages_gets_no_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory, name: str
) -> None:
    await flag(session, name)

    await receive(session, new_uow)

    assert await automatic_messages(session) == []
    (talk,) = await rows(session, "SELECT away_replied_at FROM conversation")
    assert talk["away_replied_at"] is None


@pytest.mark.usefixtures("line_with_away_reply")
async def test_blocked_sender_gets_no_away_reply_but_may_opt_out(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await flag(session, "blocked_sender")

    await receive(session, new_uow, "Cheap gutters today only")
    assert await automatic_messages(session) == []
    assert len(await rows(session, "SELECT 1 FROM activity WHERE direction = 'incoming'")) == 1

    await receive(session, new_uow, "STOP", at=EVENING + timedelta(minutes=1))
    assert await flags(session) == ["blocked_sender", "opted_out"]


@pytest.mark.usefixtures("line_with_away_reply")
async def test_sender_is_blocked_until_the_flag_expires(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await flag(session, "blocked_sender", expires_at=EVENING)

    await receive(session, new_uow)

    assert await away_replies(session) == [REPLY]


@pytest.mark.usefixtures("line_with_away_reply")
async def test_stop_in_the_same_batch_prevents_the_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for place, words in enumerate(("Who is this?", "STOP")):
        payload = incoming(words, message_id=f"AC{place}", at=EVENING + timedelta(seconds=place))
        await store(session, payload, now=EVENING)

    await apply(new_uow, now=EVENING + timedelta(seconds=5))

    assert await flags(session) == ["opted_out"]
    assert await automatic_messages(session) == []


@pytest.mark.usefixtures("line_with_away_reply")
async def test_erased_person_gets_no_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    session.add(ErasedNumber(phone_hash=hash_phone(PERSON, SECRET.encode()), erased_at=NOW))
    await session.commit()

    await receive(session, new_uow)

    assert await automatic_messages(session) == []


@pytest.mark.usefixtures("line_with_away_reply")
async def test_message_that_is_reported_late_gets_no_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    late = EVENING + ANSWERED_WITHIN + timedelta(seconds=1)

    await receive(session, new_uow, at=EVENING, now=late)
    assert await automatic_messages(session) == []

    await receive(session, new_uow, "Hello?", at=EVENING + timedelta(seconds=1), now=late)
    assert await away_replies(session) == [REPLY]


@pytest.mark.usefixtures("line_with_away_reply")
async def test_our_own_line_gets_no_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    other = await make_line(session, phone_number_id="PNother", line_number="+16175550199")
    await session.commit()

    await receive(session, new_uow, "Is the webhook there?", sender=other.number)

    assert await automatic_messages(session) == []


@pytest.mark.parametrize("origin", ["manual", "provider"])
async def test_no_away_reply_is_sent_while_an_employee_writes(
    session: AsyncSession, new_uow: UnitOfWorkFactory, line_with_away_reply: Line, origin: str
) -> None:
    await receive(session, new_uow, "Are you there?", at=CLOSED_AT - timedelta(minutes=5))
    await session.execute(
        text("""
            INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, phone,
                body, status, occurred_at, created_at, updated_at)
            SELECT uuid_v7(), 'message', 'outgoing', :origin, :line_id, c.id, c.phone, 'Yes',
                   'delivered', :at, :at, :at FROM conversation c
        """),
        {"origin": origin, "line_id": line_with_away_reply.id, "at": EVENING},
    )
    await session.commit()

    await receive(session, new_uow, "Great", at=EVENING + ATTENDED_FOR - timedelta(seconds=1))
    assert await away_replies(session) == []

    await receive(session, new_uow, "Still there?", at=EVENING + ATTENDED_FOR)
    assert await away_replies(session) == [REPLY]


async def claim(
    new_uow: UnitOfWorkFactory, now: datetime, rules: RuleBook = NO_RULES
) -> list[ClaimedAttempt]:
    async with new_uow() as uow:
        return await queued_claim.claim_queued(uow, limit=2, times=TIMES, rules=rules, now=now)


@pytest.mark.usefixtures("line_with_away_reply")
async def test_away_reply_is_claimed_at_night_and_has_a_latest_instant(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    midnight = NOW.replace(hour=5)
    await receive(session, new_uow, at=midnight)

    (claimed,) = await claim(new_uow, midnight, load_rules("us"))

    attempt = await session.get_one(SendAttempt, claimed.attempt_id)
    assert (attempt.kind, attempt.not_after) == ("away", midnight + AWAY_LASTS)


@pytest.mark.usefixtures("line_with_away_reply")
async def test_away_reply_that_is_not_sent_in_time_fails(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, new_uow)
    late = EVENING + AWAY_LASTS - TIMES.call
    claimed = await claim(new_uow, late - timedelta(seconds=1))
    async with new_uow() as uow:
        passed = await gate.pass_gate(uow, claimed, times=TIMES, now=late + timedelta(seconds=1))
        await gate.release_claims(uow, claimed, reason="gate", now=late)

    assert (len(claimed), passed) == (1, [])
    assert await claim(new_uow, late + timedelta(minutes=10)) == []
    (message,) = await rows(
        session, "SELECT status, error_code FROM activity WHERE origin = 'away'"
    )
    assert message == {"status": "failed", "error_code": TOO_LATE}


@pytest.mark.usefixtures("line_with_away_reply")
async def test_stop_withdraws_a_queued_away_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive(session, new_uow)
    await receive(session, new_uow, "STOP", at=EVENING + timedelta(seconds=1))

    assert await claim(new_uow, EVENING + timedelta(seconds=2)) == []
    (message,) = await automatic_messages(session)
    assert message["status"] == "failed"


async def test_two_workers_at_the_same_moment_queue_one_away_reply(
    committed_uow: UnitOfWorkFactory,
) -> None:
    """Test two workers that store messages of one conversation and then queue an away reply."""
    away = AwaySettings(reply=REPLY, office_hours=HOURS, holidays=[])
    conversation_id = new_id()
    async with committed_uow() as uow:
        line = await make_line(uow.session)
        await uow.session.execute(
            text(
                "INSERT INTO conversation (id, line_id, phone, last_activity_at, created_at) "
                "VALUES (:id, :line_id, :phone, :now, :now)"
            ),
            {"id": conversation_id, "line_id": line.id, "phone": number(7), "now": NOW},
        )
    line_id: UUID = line.id
    both = asyncio.Barrier(2)

    async def work() -> int:
        async with committed_uow() as uow:
            await both.wait()
            await uow.session.execute(
                text("UPDATE conversation SET last_activity_at = :now WHERE id = :id"),
                {"now": EVENING, "id": conversation_id},
            )
            message = UnattendedMessage(
                line_id=line_id,
                conversation_id=conversation_id,
                contact_id=None,
                phone=number(7),
                at=EVENING,
            )
            return await queue_away_replies(uow, [message], away=away, now=EVENING)

    counts = await asyncio.gather(work(), work())

    assert sorted(counts) == [0, 1]
    async with committed_uow() as uow:
        found = await uow.session.execute(text("SELECT origin FROM activity"))
        assert list(found.scalars()) == ["away"]


@pytest.mark.parametrize(
    ("changes", "added"),
    [({"away_reply": None}, 0), ({"office_hours": None}, 0), ({}, 1)],
    ids=["off", "always open", "closed"],
)
@pytest.mark.usefixtures("line")
async def test_batch_needs_one_more_statement_only_if_away_replies_are_sent(
    session: AsyncSession,
    engine: AsyncEngine,
    new_uow: UnitOfWorkFactory,
    changes: dict[str, Any],
    added: int,
) -> None:
    async def statements(first: int) -> int:
        for place in range(first, first + 8):
            payload = incoming("Who is this?", message_id=f"AC{place}", at=EVENING)
            payload["data"]["context"]["senderIdentifier"] = number(place)
            await store(session, payload, now=EVENING)
        async with new_uow() as uow:
            with counted_statements(engine) as seen:
                await webhooks.apply_batch(
                    uow, limit=100, now=EVENING, apply_settings=APPLY_SETTINGS
                )
        return len(seen)

    without = await statements(0)
    session.add(company_settings(**changes))
    await session.commit()

    assert await statements(200) == without + added
    assert len(await away_replies(session)) == 8 * added
