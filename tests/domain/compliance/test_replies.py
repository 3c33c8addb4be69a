"""A person's own texts and legal hours."""

from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.sends.ledger import TIMES
from tests.domain.webhooks.support import OWN_NUMBER, PERSON, PROVIDER_LINE, hear
from tests.factories import make_contact, make_line

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.errors import OutsideWindowError, RecipientOptedOutError
from crm_api.domain.activity.models import Activity
from crm_api.domain.activity.schemas import ReplyCreate
from crm_api.domain.compliance.loader import load_rules
from crm_api.domain.compliance.rules import NO_RULES, RuleBook
from crm_api.domain.compliance.schemas import RuleKind
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.lines.models import Line
from crm_api.domain.sends import texts
from crm_api.domain.sends.models import SendAttempt, SendKind

US = load_rules("us")
NEVER = RuleBook([US.rules[0].model_copy(update={"kind": RuleKind.NO_DAY})], name="made")
NIGHT = NOW + timedelta(hours=10)
"""20:00 in New York, when Massachusetts closes."""


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
        sent = await activity.send_reply(uow, reply, rules=rules, now=now, secret=SECRET.encode())
    return sent.status


async def next_allowed(new_uow: UnitOfWorkFactory, line: Line, *, to: str = PERSON) -> object:
    with pytest.raises(OutsideWindowError) as caught:
        await send(new_uow, line, to=to)
    return caught.value.extras["next_allowed_at"]


async def test_text_to_someone_who_never_wrote_waits_for_legal_hours(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await make_contact(session, phone=PERSON)
    await session.commit()

    assert await send(new_uow, line, now=NIGHT - timedelta(minutes=1)) == "queued"
    assert await next_allowed(new_uow, line) == "2026-11-26T13:00:00.000Z"


async def test_hours_are_those_of_the_contact(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await make_contact(session, phone=PERSON, zone_key="CA,MA/America/Los_Angeles")
    await session.commit()

    assert await send(new_uow, line) == "queued"


async def test_unknown_number_is_judged_by_its_area_code(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    assert await send(new_uow, line, to="+14155550123") == "queued"
    assert await next_allowed(new_uow, line, to="+14015550123") == "2026-11-26T14:00:00.000Z"


async def test_answer_to_a_person_may_leave_at_any_hour(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await hear(session, new_uow, "Are you still there?", message_id="AC1")

    assert await send(new_uow, line) == "queued"


async def test_text_to_another_line_begins_no_conversation_with_this_one(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await hear(session, new_uow, "Are you still there?", message_id="AC1")
    other = await make_line(session, phone_number_id="PNother", line_number="+16175550101")
    await session.commit()

    assert await send(new_uow, line) == "queued"
    assert await next_allowed(new_uow, other) == "2026-11-26T13:00:00.000Z"


async def test_call_of_theirs_is_no_text_to_answer(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await hear(session, new_uow, "Are you still there?", message_id="AC1")
    await session.execute(update(Activity).values(kind="call"))
    await session.commit()

    assert await next_allowed(new_uow, line) == "2026-11-26T13:00:00.000Z"


async def test_own_text_alone_begins_no_conversation(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    await send(new_uow, line, now=NOW)

    assert await next_allowed(new_uow, line) == "2026-11-26T13:00:00.000Z"


async def test_opt_out_is_told_before_the_hour(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    session.add(ContactFlag(phone=PERSON, flag_type="opted_out", created_at=NOW))
    await session.commit()

    with pytest.raises(RecipientOptedOutError):
        await send(new_uow, line)


async def test_without_rules_a_text_may_leave_at_night(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    assert await send(new_uow, line, rules=NO_RULES) == "queued"


async def test_place_that_never_opens_names_no_instant(
    new_uow: UnitOfWorkFactory, line: Line
) -> None:
    with pytest.raises(OutsideWindowError) as caught:
        await send(new_uow, line, rules=NEVER, now=NOW)
    assert caught.value.extras == {"next_allowed_at": None}


MORNING = NIGHT + timedelta(hours=12)
"""08:00 in New York, when Massachusetts opens."""


async def queue_text(new_uow: UnitOfWorkFactory, line: Line, kind: SendKind) -> Activity:
    async with new_uow() as uow:
        return await texts.queue_text(
            uow,
            line_id=line.id,
            phone=PERSON,
            body="On our way.",
            kind=kind,
            contact_id=None,
            now=NOW,
        )


async def waiting(session: AsyncSession) -> list[tuple[str, datetime | None]]:
    rows = await session.execute(select(Activity.status, Activity.send_after))
    return [(row.status, row.send_after) for row in rows]


async def claim(new_uow: UnitOfWorkFactory, now: datetime, *, rules: RuleBook = US) -> int:
    async with new_uow() as uow:
        return len(await texts.claim_queued(uow, limit=2, times=TIMES, rules=rules, now=now))


@pytest.mark.parametrize(
    "late", [NIGHT - TIMES.call, NIGHT, NIGHT + timedelta(hours=3), MORNING - timedelta(seconds=1)]
)
async def test_queued_text_that_the_evening_caught_waits_for_the_morning(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line, late: datetime
) -> None:
    for _ in range(3):
        await queue_text(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, late) == 0
    assert await waiting(session) == [("queued", MORNING)] * 3
    assert await claim(new_uow, MORNING - timedelta(seconds=1)) == 0
    assert await claim(new_uow, MORNING) == 1


async def test_claimed_text_has_the_end_of_legal_hours_as_its_latest_instant(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    text = await queue_text(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, NIGHT - TIMES.call - timedelta(seconds=1)) == 1
    attempt = (await session.scalars(select(SendAttempt))).one()
    assert (attempt.activity_id, attempt.not_after) == (text.id, NIGHT)


@pytest.mark.parametrize("kind", [SendKind.HELP, SendKind.CONFIRMATION, SendKind.TEST])
async def test_what_is_no_marketing_leaves_at_any_hour(
    new_uow: UnitOfWorkFactory, line: Line, kind: SendKind
) -> None:
    await queue_text(new_uow, line, kind)

    assert await claim(new_uow, NIGHT) == 1


async def test_queued_answer_leaves_at_any_hour(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await hear(session, new_uow, "Are you still there?", message_id="AC1")
    await queue_text(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, NIGHT) == 1
    assert (await session.scalars(select(SendAttempt))).one().not_after is None


async def test_queued_text_to_a_place_that_never_opens_is_looked_at_a_day_later(
    new_uow: UnitOfWorkFactory, session: AsyncSession, line: Line
) -> None:
    await queue_text(new_uow, line, SendKind.MANUAL)

    assert await claim(new_uow, NOW, rules=NEVER) == 0
    assert await waiting(session) == [("queued", NOW + timedelta(days=1))]
