"""The route `explain` shows how the service read the reply that caused an opt-out or a hold."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    receive_message,
    rows,
)
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.consent.reply_reader.classifier import current_model
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory


class Recipient:
    """A recipient of a running campaign; the tests let the recipient reply."""

    def __init__(
        self, client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
    ) -> None:
        self._client = client
        self._session = session
        self._new_uow = new_uow

    async def build(self) -> "Recipient":
        line = await make_line(self._session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
        contact = await make_contact(self._session, phone=PERSON)
        campaign = await make_campaign(self._session, line=line)
        await make_member(self._session, campaign=campaign, contact=contact)
        await self._session.commit()
        self.contact = f"/v1/contacts/{contact.id}"
        self.path = f"/v1/campaigns/{campaign.id}/recipients/{contact.id}/explain"
        return self

    async def receive_reply(self, words: str, *, message_id: str = "AC1", **changes: Any) -> str:
        at = clock.now()
        await receive_message(
            self._session, self._new_uow, words, message_id=message_id, at=at, **changes
        )
        [row] = await rows(
            self._session, "SELECT id FROM activity WHERE openphone_id = :id", id=message_id
        )
        return str(row["id"])

    async def post_decision(self, decision: str) -> None:
        answer = await self._client.post(f"{self.contact}/{decision}", json={"reason": "asked"})
        assert answer.status_code == 200

    async def get_reading(self) -> Any:
        answer = await self._client.get(self.path)
        assert answer.status_code == 200
        return answer.json()["reading"]


@pytest_asyncio.fixture
async def recipient(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> Recipient:
    return await Recipient(client, session, new_uow).build()


@pytest.mark.parametrize(
    ("words", "kind", "word"),
    [("Please take me off your list", "opt_out", "list"), ("Not interested.", "doubtful", "not")],
)
async def test_reading_has_kind_scores_thresholds_words_and_model(
    recipient: Recipient, words: str, kind: str, word: str
) -> None:
    reply = await recipient.receive_reply(words)

    reading = await recipient.get_reading()

    model = current_model()
    assert (reading["message_id"], reading["kind"], reading["decided_by"]) == (reply, kind, "model")
    assert word in reading["words"]
    assert 0 < reading["asks_to_stop"] <= 1
    assert 0 < reading["needs_a_person"] <= 1
    assert (reading["opt_out_at"], reading["hold_at"]) == (model.opt_out_at, model.hold_at)
    assert reading["model"] == model.facts["data_sha256"][:12]


async def test_keyword_has_a_reading(recipient: Recipient) -> None:
    await recipient.receive_reply("STOP")

    reading = await recipient.get_reading()

    assert (reading["decided_by"], reading["words"]) == ("keyword", "stop")


async def test_confirmed_hold_shows_the_reply_that_caused_it(recipient: Recipient) -> None:
    reply = await recipient.receive_reply("Not interested.")
    await recipient.post_decision("opt-out")

    reading = await recipient.get_reading()

    assert (reading["message_id"], reading["kind"]) == (reply, "doubtful")


async def test_recipient_without_a_reply_has_no_reading(recipient: Recipient) -> None:
    assert await recipient.get_reading() is None

    await recipient.post_decision("opt-out")

    assert await recipient.get_reading() is None


async def test_reply_of_another_person_is_not_shown(recipient: Recipient) -> None:
    await recipient.receive_reply("Please take me off your list", **{"from": "+16175550147"})

    assert await recipient.get_reading() is None


async def test_released_reply_is_not_the_reason_of_a_later_opt_out(
    recipient: Recipient,
) -> None:
    await recipient.receive_reply("Not interested.")
    await recipient.post_decision("opt-in")
    await recipient.post_decision("opt-out")

    assert await recipient.get_reading() is None


async def test_reply_written_before_a_release_is_the_reason_of_an_opt_out(
    recipient: Recipient,
) -> None:
    written_at = clock.now() - timedelta(minutes=5)
    await recipient.receive_reply("Not interested.", createdAt=written_at.isoformat())
    await recipient.post_decision("opt-in")

    stop = await recipient.receive_reply("STOP", message_id="AC2", createdAt=written_at.isoformat())

    assert (await recipient.get_reading())["message_id"] == stop
