"""Fixture of an office: one line, and helpers for messages and calls of people."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    incoming,
    rows,
    store,
)
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_line

from crm_api.domain.messaging.models.lines import Line
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory


class Office:
    """Helpers that create events and requests of an office, and apply each event at once."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        session: AsyncSession,
        new_uow: UnitOfWorkFactory,
        line: Line,
    ) -> None:
        self.client = client
        self.session = session
        self.new_uow = new_uow
        self.line = line
        self._names = 0

    async def receive(self, *payloads: dict[str, Any]) -> None:
        """Receive these events and apply them in one batch."""
        for payload in payloads:
            self._names += 1
            await store(
                self.session, payload, now=clock.now(), provider_event_id=f"EV{self._names:04}"
            )
        await apply(self.new_uow, now=clock.now())

    def message_event(
        self,
        words: str = "When can you come?",
        *,
        phone: str = PERSON,
        ago: float = 0,
        message_id: str | None = None,
    ) -> dict[str, Any]:
        """Return the event for a message that a person sent `ago` seconds ago."""
        self._names += 1
        payload = incoming(
            words,
            message_id=message_id or f"ACin{self._names:04}",
            at=clock.now() - timedelta(seconds=ago),
        )
        payload["data"]["context"]["senderIdentifier"] = phone
        return payload

    def app_message_event(
        self,
        *,
        phone: str = PERSON,
        ago: float = 0,
        message_id: str | None = None,
        status: str = "delivered",
    ) -> dict[str, Any]:
        """Return the event for a message that a colleague sent in the provider's app."""
        self._names += 1
        at = clock.now() - timedelta(seconds=ago)
        payload = sample("2026-03-30/message.delivered", at=at)
        payload["data"]["resource"] |= {
            "id": message_id or f"ACapp{self._names:04}",
            "createdAt": at.isoformat(),
            "status": status,
        }
        payload["data"]["resource"].pop("updatedAt", None)
        payload["data"]["context"] |= {
            "phoneNumberId": PROVIDER_LINE,
            "senderIdentifier": OWN_NUMBER,
            "recipientIdentifiers": [phone],
        }
        return payload

    def call_event(
        self, kind: str, *, phone: str = PERSON, ago: float = 0, call_id: str | None = None
    ) -> dict[str, Any]:
        """Return an event of an incoming call; ``kind`` is ``missed``, for example."""
        self._names += 1
        at = clock.now() - timedelta(seconds=ago)
        payload = sample(f"2026-03-30/call.{kind}", at=at)
        resource = payload["data"]["resource"]
        resource["id"] = call_id or f"ACcall{self._names:04}"
        payload["data"]["context"]["phoneNumberId"] = PROVIDER_LINE
        payload["data"]["context"]["participants"] |= {
            "workspace": [OWN_NUMBER],
            "external": [phone],
        }
        return payload

    async def answer(self, words: str = "On Tuesday.", *, phone: str = PERSON) -> dict[str, Any]:
        """Send an answer through the API; return the message."""
        return await self.answer_at(words, phone=phone)

    async def answer_at(
        self, words: str = "On Tuesday.", *, phone: str = PERSON, **fields: Any
    ) -> dict[str, Any]:
        """Send an answer with more fields, such as ``send_at``; return the message."""
        body = {"line_id": str(self.line.id), "to": phone, "body": words} | fields
        answer = await self.client.post("/v1/messages", json=body)
        assert answer.status_code == 202, answer.text
        message: dict[str, Any] = answer.json()
        return message

    async def conversations(self, **query: Any) -> list[dict[str, Any]]:
        """Return the conversations that match the query."""
        answer = await self.client.get("/v1/conversations", params=query)
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    async def conversation(self, phone: str = PERSON) -> dict[str, Any]:
        """Return the conversation with a number; check that two routes return it equally."""
        (found,) = await self.conversations(phone=phone)
        answer = await self.client.get(f"/v1/conversations/{found['id']}")
        assert answer.json() == found
        return found

    async def change_conversation(self, phone: str = PERSON, **changes: Any) -> httpx.Response:
        """Change fields of the conversation with a number; return the response."""
        conversation = await self.conversation(phone)
        return await self.client.patch(f"/v1/conversations/{conversation['id']}", json=changes)

    async def phones(self, **query: Any) -> list[str]:
        return [conversation["phone"] for conversation in await self.conversations(**query)]

    async def counts(self) -> dict[str, int]:
        counts: dict[str, int] = (await self.client.get("/v1/conversations/counts")).json()
        return counts

    async def events(self, kind: str = "conversation.changed") -> Sequence[dict[str, Any]]:
        """Return the emitted events of a type, oldest first."""
        return await rows(
            self.session,
            "SELECT subject_id, data FROM event WHERE type = :kind ORDER BY transaction_id, id",
            kind=kind,
        )


def instant(text: str | None) -> datetime:
    """Convert an instant of a response into a ``datetime``."""
    assert text is not None
    return datetime.fromisoformat(text)


@pytest_asyncio.fixture
async def office(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> Office:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return Office(client, session, new_uow, line)
