"""Legal hours of messages that a user sends to a person."""

from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    receive_message,
)
from tests.domain.messaging.sends.ledger import TIMES
from tests.factories import OFFICE, make_contact, make_line

from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook, load_rules
from crm_api.domain.consent.legal_rules.schemas import ComplianceRuleKind
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.messaging.conversations import user_messages
from crm_api.domain.messaging.conversations.errors import OutsideWindowError, RecipientOptedOutError
from crm_api.domain.messaging.conversations.schemas import ReplyCreate
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import SendAttempt, SendKind
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends import queue, queued_claim
from crm_api.platform.database import UnitOfWorkFactory

US = load_rules("us")
NEVER = RuleBook([US.rules[0].model_copy(update={"kind": ComplianceRuleKind.NO_DAY})], name="made")
NIGHT = NOW + timedelta(hours=10)
"""20:00 in New York, when the legal hours of Massachusetts end."""


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


async def send(
    new_uow: UnitOfWorkFactory,
    line: Line,
    *,
    to: str = PERSON,
    rules: RuleBook = US,
    now: datetime = NIGHT,
) -> str:
    reply = ReplyCreate.model_validate({"line_id": line.id, "to": to, "body": "See you Tuesday."})
    async with new_uow() as uow:
        sent = await user_messages.queue_user_message(
            uow, reply, sender=OFFICE, rules=rules, now=now, secret=SECRET.encode()
        )
    return sent.status


async def next_allowed(new_uow: UnitOfWorkFactory, line: Line, *, to: str = PERSON) -> object:
    with pytest.raises(OutsideWindowError) as caught:
        await send(new_uow, line, to=to)
    return caught.value.extras["next_allowed_at"]


async def test_message_to_a_person_who_never_wrote_waits_for_legal_hours(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await make_contact(session, phone=PERSON)
    await session.commit()

    assert await send(new_uow, line, now=NIGHT - timedelta(minutes=1)) == "queued"
    assert await next_allowed(new_uow, line) == "2026-11-26T13:00:00.000Z"


async def test_hours_of_the_contacts_zone_key_apply(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await make_contact(session, phone=PERSON, zone_key="CA,MA/America/Los_Angeles")
    await session.commit()

    assert await send(new_uow, line) == "queued"


async def test_hours_of_its_area_code_apply_to_an_unknown_number(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    assert await send(new_uow, line, to="+14155550123") == "queued"
    assert await next_allowed(new_uow, line, to="+14015550123") == "2026-11-26T14:00:00.000Z"


async def test_answer_to_a_person_may_be_sent_at_any_hour(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await receive_message(session, new_uow, "Are you still there?", message_id="AC1")

    assert await send(new_uow, line) == "queued"


async def test_message_to_one_line_allows_no_answer_from_another_at_night(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await receive_message(session, new_uow, "Are you still there?", message_id="AC1")
    other = await make_line(session, phone_number_id="PNother", line_number="+16175550101")
    await session.commit()

    assert await send(new_uow, line) == "queued"
    assert await next_allowed(new_uow, other) == "2026-11-26T13:00:00.000Z"


async def test_incoming_call_does_not_allow_an_answer_at_night(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await receive_message(session, new_uow, "Are you still there?", message_id="AC1")
    await session.execute(update(Activity).values(kind="call"))
    await session.commit()

    assert await next_allowed(new_uow, line) == "2026-11-26T13:00:00.000Z"


async def test_own_message_allows_no_second_one_at_night(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    await send(new_uow, line, now=NOW)

    assert await next_allowed(new_uow, line) == "2026-11-26T13:00:00.000Z"


async def test_opt_out_is_checked_before_legal_hours(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    session.add(ContactFlag(phone=PERSON, flag_type="opted_out", created_at=NOW))
    await session.commit()

    with pytest.raises(RecipientOptedOutError):
        await send(new_uow, line)


async def test_without_rules_a_message_may_be_sent_at_night(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    assert await send(new_uow, line, rules=NO_RULES) == "queued"


async def test_zone_key_that_never_opens_has_no_next_instant(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    with pytest.raises(OutsideWindowError) as caught:
        await send(new_uow, line, rules=NEVER, now=NOW)
    assert caught.value.extras == {"next_allowed_at": None}


MORNING = NIGHT + timedelta(hours=12)
"""08:00 in New York, when the legal hours of Massachusetts begin."""


async def queue_one(
    new_uow: UnitOfWorkFactory, line: Line, kind: SendKind, *, now: datetime = NOW
) -> Activity:
    async with new_uow() as uow:
        return await queue.queue_message(
            uow,
            line_id=line.id,
            phone=PERSON,
            body="On our way.",
            kind=kind,
            contact_id=None,
            now=now,
        )


async def send_states(session: AsyncSession) -> list[tuple[str, datetime | None]]:
    rows = await session.execute(select(Activity.status, Activity.send_after))
    return [(row.status, row.send_after) for row in rows]


async def claim(new_uow: UnitOfWorkFactory, now: datetime, *, rules: RuleBook = US) -> int:
    async with new_uow() as uow:
        return len(await queued_claim.claim_queued(uow, limit=2, times=TIMES, rules=rules, now=now))


@pytest.mark.parametrize(
    "late", [NIGHT - TIMES.call, NIGHT, NIGHT + timedelta(hours=3), MORNING - timedelta(seconds=1)]
)
async def test_queued_message_waits_from_the_evening_until_the_morning(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line, late: datetime
) -> None:
    for _ in range(3):
        await queue_one(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, late) == 0
    assert await send_states(session) == [("queued", MORNING)] * 3
    assert await claim(new_uow, MORNING - timedelta(seconds=1)) == 0
    assert await claim(new_uow, MORNING) == 1


async def test_claimed_message_has_the_end_of_legal_hours_as_its_latest_instant(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    message = await queue_one(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, NIGHT - TIMES.call - timedelta(seconds=1)) == 1
    attempt = (await session.scalars(select(SendAttempt))).one()
    assert (attempt.activity_id, attempt.not_after) == (message.id, NIGHT)


@pytest.mark.parametrize("kind", [SendKind.HELP, SendKind.CONFIRMATION])
async def test_help_and_confirmation_are_sent_at_any_hour(
    new_uow: UnitOfWorkFactory, line: Line, kind: SendKind
) -> None:
    await queue_one(new_uow, line, kind, now=NIGHT)

    assert await claim(new_uow, NIGHT) == 1


async def test_queued_answer_is_sent_at_any_hour(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await receive_message(session, new_uow, "Are you still there?", message_id="AC1")
    await queue_one(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, NIGHT) == 1
    assert (await session.scalars(select(SendAttempt))).one().not_after is None


async def test_queued_message_to_a_zone_key_that_never_opens_is_checked_a_day_later(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await queue_one(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, NOW, rules=NEVER) == 0
    assert await send_states(session) == [("queued", NOW + timedelta(days=1))]
