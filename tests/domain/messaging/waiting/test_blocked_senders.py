"""Messages of a blocked sender are stored, but their conversation does not wait for an answer."""

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    flags,
    receive_message,
    rows,
)
from tests.factories import make_contact, make_line

from crm_api.domain.consent.models import ConsentSource, FlagType
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.platform.database import UnitOfWorkFactory

BLOCKED = FlagType.BLOCKED_SENDER


@pytest_asyncio.fixture(autouse=True)
async def line(session: AsyncSession) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await make_contact(session, phone=PERSON)
    await session.commit()


async def block(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.add_flag(uow, flag=BLOCKED, expires_at=None, **_decision())


def _decision() -> consent.DecisionDetails:
    return {
        "phone": PERSON,
        "contact_id": None,
        "source": ConsentSource.USER,
        "actor": "key",
        "reason": None,
        "now": NOW,
        "secret": SECRET.encode(),
    }


async def read_state(session: AsyncSession) -> str:
    (conversation,) = await rows(session, "SELECT state, waiting_since FROM conversation")
    assert (conversation["waiting_since"] is not None) == (conversation["state"] == "waiting")
    return str(conversation["state"])


async def test_conversation_of_a_blocked_sender_does_not_wait_but_stop_opts_out(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await block(new_uow)

    await receive_message(session, new_uow, "Cheap gutters today only", message_id="AC1")
    assert await read_state(session) == "done"

    await receive_message(session, new_uow, "STOP", message_id="AC2")
    assert await flags(session) == ["blocked_sender", "opted_out"]


async def test_conversation_stops_waiting_when_its_sender_is_blocked(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Cheap gutters today only")
    assert await read_state(session) == "waiting"

    await block(new_uow)
    assert await read_state(session) == "open"

    async with new_uow() as uow:
        await consent.remove_flag(uow, flag=BLOCKED, **_decision())
    assert await read_state(session) == "waiting"
