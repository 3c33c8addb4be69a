"""A delivery about a message has its sender and first words, if the endpoint may read messages."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.outbound.webhook_deliveries.receiver import Receiver, receiver
from tests.domain.outbound.webhook_deliveries.support import DeliveryHarness, NewUow
from tests.factories import make_contact, number

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.outbound.webhook_deliveries.models import WebhookDelivery
from crm_api.platform.ids import new_id

MESSAGES, CAMPAIGNS = (Scope.MESSAGES_READ,), (Scope.CAMPAIGNS_READ,)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as server:
        yield server


@pytest.fixture
def harness(new_uow: NewUow) -> DeliveryHarness:
    return DeliveryHarness(new_uow)


async def store_received(session: AsyncSession, **values: Any) -> Activity:
    contact = await make_contact(session, phone=number(7), first_name="Ada", last_name="Rossi")
    message = Activity(
        **{
            "kind": "message",
            "direction": "incoming",
            "origin": "provider",
            "conversation_id": new_id(),
            "contact_id": contact.id,
            "phone": number(7),
            "body": "Yes, " + "please " * 40,
            "status": "received",
            "occurred_at": NOW,
            "created_at": NOW,
            "updated_at": NOW,
        }
        | values
    )
    session.add(message)
    await session.commit()
    return message


async def deliver_about(
    harness: DeliveryHarness,
    session: AsyncSession,
    server: Receiver,
    message: Activity,
    *scopes: Scope,
) -> dict[str, Any]:
    endpoint_id, secret = await harness.add_endpoint(server.url(), scopes=scopes)
    delivery = WebhookDelivery(
        endpoint_id=endpoint_id,
        type="message.received",
        happened_at=harness.now,
        data={"message_id": str(message.id), "phone": None, "contact": None},
        next_attempt_at=harness.now,
        created_at=harness.now,
    )
    session.add(delivery)
    await session.commit()
    await harness.deliver()
    data: dict[str, Any] = server.received[-1].verify(secret)["data"]
    return data


async def test_endpoint_that_may_read_messages_gets_sender_and_first_words(
    harness: DeliveryHarness, session: AsyncSession, server: Receiver
) -> None:
    message = await store_received(session)

    data = await deliver_about(harness, session, server, message, *MESSAGES)

    assert data == {
        "message_id": str(message.id),
        "conversation_id": str(message.conversation_id),
        "phone": number(7),
        "contact": {
            "id": str(message.contact_id),
            "first_name": "Ada",
            "last_name": "Rossi",
            "company": None,
        },
        "body_preview": (message.body or "")[:160],
    }
    (row,) = await harness.rows()
    assert row.data == {"message_id": str(message.id), "phone": None, "contact": None}


async def test_other_endpoint_gets_ids_only(
    harness: DeliveryHarness, session: AsyncSession, server: Receiver
) -> None:
    message = await store_received(session)

    data = await deliver_about(harness, session, server, message, *CAMPAIGNS)

    assert data == {"message_id": str(message.id), "phone": None, "contact": None}


async def test_erased_sender_is_not_named(
    harness: DeliveryHarness, session: AsyncSession, server: Receiver
) -> None:
    erased = {"contact_id": None, "body": None, "phone": f"erased:{new_id()}"}
    message = await store_received(session, **erased)

    data = await deliver_about(harness, session, server, message, *MESSAGES)

    assert (data["phone"], data["contact"], data["body_preview"]) == (None, None, "")
