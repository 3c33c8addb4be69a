"""Tests of consent decisions that refer to the reply on which the user based the decision."""

from datetime import timedelta

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.database_time import set_database_time
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    flags,
    incoming,
    receive_message,
    rows,
    store,
)
from tests.factories import make_contact, make_line

from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id


@pytest_asyncio.fixture
async def contact(session: AsyncSession, new_uow: UnitOfWorkFactory) -> str:
    """Return the id of a contact from whom two messages were received."""
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    contact = await make_contact(session, phone=PERSON)
    await session.commit()
    for place, words in enumerate(("What does a wall cost?", "Do you work on Sundays?")):
        await receive_message(session, new_uow, words, message_id=f"AC{place}", at=clock.now())
    return str(contact.id)


async def test_message_id_names_the_reply(
    client: httpx.AsyncClient, session: AsyncSession, contact: str
) -> None:
    [first] = await rows(session, "SELECT id FROM activity WHERE openphone_id = 'AC0'")

    answer = await client.post(
        f"/v1/contacts/{contact}/opt-out",
        json={"reason": "meant no", "message_id": str(first["id"])},
    )

    assert answer.status_code == 200
    [example] = await rows(session, "SELECT activity_id, body, label FROM reply_example")
    assert example == {
        "activity_id": first["id"],
        "body": "What does a wall cost?",
        "label": "stop",
    }
    history = await client.get(f"/v1/contacts/{contact}/consent-history")
    assert history.json()["data"][0]["activity_id"] == str(first["id"])


@pytest.mark.parametrize("decision", ["opt-out", "opt-in"])
async def test_id_that_is_not_a_reply_is_refused_without_a_decision(
    client: httpx.AsyncClient, contact: str, decision: str
) -> None:
    answer = await client.post(
        f"/v1/contacts/{contact}/{decision}",
        json={"reason": "meant no", "message_id": str(new_id())},
    )

    assert answer.status_code == 422
    assert answer.json()["code"] == "not_a_reply"
    assert answer.json()["errors"][0]["pointer"] == "/message_id"
    history = await client.get(f"/v1/contacts/{contact}/consent-history")
    assert history.json()["data"] == []


# An opt-in by web form is a new decision of the person, later than the STOP.
ACTION_AND_FLAGS = {"api": ("release", ["opted_out"]), "web_form": ("opt_in", [])}


@pytest.mark.parametrize("source", ACTION_AND_FLAGS)
async def test_stop_that_arrives_after_the_release_of_a_hold_counts(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    contact: str,
    source: str,
) -> None:
    decided, late = NOW + timedelta(minutes=10), NOW + timedelta(minutes=20)
    await receive_message(session, new_uow, "Not interested", message_id="AC2")
    await set_database_time(session, decided)
    body = {"reason": "only this offer", "source": source}

    answer = await client.post(f"/v1/contacts/{contact}/opt-in", json=body)
    stop = incoming("STOP", message_id="AC3", at=NOW + timedelta(minutes=5))
    await store(session, stop, now=late)
    await apply(new_uow, now=late)

    assert (answer.status_code, answer.json()["flags"]) == (200, [])
    history = (await client.get(f"/v1/contacts/{contact}/consent-history")).json()["data"]
    assert [one["action"] for one in history][::2] == ["opt_out", "hold"]
    assert (history[1]["action"], await flags(session)) == ACTION_AND_FLAGS[source]


async def test_opting_out_many_numbers_accepts_no_message_id(
    client: httpx.AsyncClient, contact: str
) -> None:
    answer = await client.post(
        "/v1/contacts/opt-out",
        json={"reason": "x", "contact_ids": [contact], "message_id": str(new_id())},
    )

    assert answer.status_code == 422
