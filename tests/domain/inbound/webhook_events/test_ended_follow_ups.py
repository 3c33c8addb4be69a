"""A reply or a call ends a person's follow-ups in the transaction that applies its event."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    receive_message,
    store,
)
from tests.domain.messaging.sends.ledger import Ledger
from tests.domain.messaging.sends.test_follow_ups import STEPS, steps
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.platform.database import UnitOfWorkFactory

AN_HOUR_AGO = NOW - timedelta(hours=1)


@pytest_asyncio.fixture
async def ledger(new_uow: UnitOfWorkFactory) -> Ledger:
    """Return a campaign that sent the person its first message an hour ago.

    The follow-up is not due yet.
    """
    async with new_uow() as uow:
        line = await make_line(
            uow.session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER, now=AN_HOUR_AGO
        )
        campaign = await make_campaign(
            uow.session, line=line, bodies=("Hi",), now=AN_HOUR_AGO, **STEPS
        )
        person = await make_contact(uow.session, phone=PERSON, now=AN_HOUR_AGO)
        await make_member(uow.session, campaign=campaign, contact=person, now=AN_HOUR_AGO)
    made = Ledger(new_uow, line, campaign)
    (claimed,) = await made.begin_calls(now=AN_HOUR_AGO)
    await made.accept(claimed, "ACsent", at=AN_HOUR_AGO, now=AN_HOUR_AGO)
    assert await steps(made) == [(0, "sent", None), (1, "pending", None)]
    return made


def _call(kind: str, *, began_at: datetime, **changes: Any) -> dict[str, Any]:
    payload = sample(f"2026-03-30/{kind}")
    payload["data"]["resource"] |= {"createdAt": began_at.isoformat(), **changes}
    return payload


@pytest.mark.parametrize("words", ["Yes please", "Who is this?", "HELP"])
async def test_reply_ends_the_follow_ups(
    session: AsyncSession, new_uow: UnitOfWorkFactory, ledger: Ledger, words: str
) -> None:
    await receive_message(session, new_uow, words)

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "replied")]


async def test_opt_out_by_message_ends_the_follow_ups(
    session: AsyncSession, new_uow: UnitOfWorkFactory, ledger: Ledger
) -> None:
    await receive_message(session, new_uow, "stop texting me")

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "opted_out")]


async def test_late_reply_from_before_the_message_ends_no_follow_up(
    session: AsyncSession, new_uow: UnitOfWorkFactory, ledger: Ledger
) -> None:
    written_at = (AN_HOUR_AGO - timedelta(minutes=1)).isoformat()

    await receive_message(session, new_uow, "Are you there?", createdAt=written_at)

    assert await steps(ledger) == [(0, "sent", None), (1, "pending", None)]


@pytest.mark.parametrize("kind", ["call.ringing", "call.missed", "call.completed"])
async def test_call_from_the_person_ends_the_follow_ups(
    session: AsyncSession, new_uow: UnitOfWorkFactory, ledger: Ledger, kind: str
) -> None:
    await store(session, _call(kind, began_at=NOW - timedelta(minutes=5)))

    await apply(new_uow)

    assert await steps(ledger) == [(0, "sent", None), (1, "skipped", "called")]


@pytest.mark.parametrize(
    ("answered_at", "status"),
    [(None, "pending"), ((NOW - timedelta(minutes=4)).isoformat(), "skipped")],
)
async def test_outgoing_call_ends_the_follow_ups_only_if_answered(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    ledger: Ledger,
    answered_at: str | None,
    status: str,
) -> None:
    call = _call(
        "call.completed",
        began_at=NOW - timedelta(minutes=5),
        direction="outgoing",
        answeredAt=answered_at,
    )
    await store(session, call)

    await apply(new_uow)

    assert [row[1] for row in await steps(ledger)] == ["sent", status]


async def test_late_call_from_before_the_message_ends_no_follow_up(
    session: AsyncSession, new_uow: UnitOfWorkFactory, ledger: Ledger
) -> None:
    await store(session, _call("call.completed", began_at=AN_HOUR_AGO - timedelta(minutes=5)))

    await apply(new_uow)

    assert await steps(ledger) == [(0, "sent", None), (1, "pending", None)]


async def test_outgoing_message_ends_no_follow_up(
    session: AsyncSession, new_uow: UnitOfWorkFactory, ledger: Ledger
) -> None:
    await store(session, sample("2026-03-30/message.delivered"))

    await apply(new_uow)

    assert await steps(ledger) == [(0, "sent", None), (1, "pending", None)]
