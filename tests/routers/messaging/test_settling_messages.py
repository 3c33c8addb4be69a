"""A parked message outside campaigns has an alert until a user says how its attempt ended.

Parked means: it is not known whether the provider sent the message, and a user must decide.
"""

from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conftest import NOW, UNKNOWN_ID
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after
from tests.factories import number
from tests.fakes import RecordingQueue

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import AttemptStatus, SendKind
from crm_api.domain.messaging.sends import queued_claim
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName


async def _park_message(new_uow: UnitOfWorkFactory, kind: SendKind) -> tuple[Ledger, UUID]:
    """Park a message outside campaigns whose response had no message id.

    Return the ledger of the test, and the id of the message.
    """
    ledger = await Ledger.open(new_uow, people=0)
    async with new_uow() as uow:
        message = await queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=kind,
            contact_id=None,
            now=NOW,
        )
    async with new_uow() as uow:
        batch = await queued_claim.claim_queued(uow, limit=1, times=TIMES, rules=NO_RULES, now=NOW)
    (claimed,) = await ledger.gate(batch)
    await ledger.answer(claimed, ResponseKind.UNCLEAR, no_id=True, code="no_id")
    for seconds in (700, 800):
        status = await ledger.look_up(begun_at=after(seconds))
    assert status is AttemptStatus.PARKED
    return ledger, message.id


@pytest.mark.parametrize("kind", [kind for kind in SendKind if kind is not SendKind.CAMPAIGN])
async def test_alert_names_the_message_and_the_call_that_settles_it(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, kind: SendKind
) -> None:
    _, message_id = await _park_message(new_uow, kind)

    (alert,) = (await client.get("/v1/alerts", params={"kind": "send_parked"})).json()["data"]

    assert alert["subject"] == str(message_id)
    assert f"POST /v1/messages/{message_id}/settle" in alert["detail"]
    assert alert["context"]["message_id"] == str(message_id)


@pytest.mark.parametrize(
    ("outcome", "status"), [("sent", "sent"), ("failed", "failed"), ("resend", "queued")]
)
async def test_person_settles_a_parked_message(
    client: httpx.AsyncClient,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    outcome: str,
    status: str,
) -> None:
    _, message_id = await _park_message(new_uow, SendKind.MANUAL)
    queue.jobs.clear()
    path = f"/v1/messages/{message_id}/settle"

    settled = await client.post(path, json={"outcome": outcome})
    again = await client.post(path, json={"outcome": outcome})

    assert settled.status_code == 200, settled.text
    assert (settled.json()["id"], settled.json()["status"]) == (str(message_id), status)
    assert (again.status_code, again.json()["code"]) == (409, "not_parked")
    assert JobName.SEND_MESSAGES in queue.names
    (alert,) = (await client.get("/v1/alerts", params={"kind": "send_parked"})).json()["data"]
    assert alert["status"] == "resolved"
    entries = (await client.get("/v1/audit-log", params={"action": "settle_message"})).json()
    assert [entry["detail"]["outcome"] for entry in entries["data"]] == [outcome]
    if outcome == "resend":
        async with new_uow() as uow:
            batch = await queued_claim.claim_queued(
                uow, limit=9, times=TIMES, rules=NO_RULES, now=clock.now()
            )
        assert [claimed.phone for claimed in batch] == [number(0)]


async def test_recipient_of_a_campaign_can_be_settled_by_its_message(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt(no_id=True)
    for seconds in (700, 800):
        await ledger.look_up(begun_at=after(seconds))
    (message,) = await ledger.messages()

    settled = await client.post(f"/v1/messages/{message.id}/settle", json={"outcome": "sent"})

    assert settled.json()["status"] == "sent"
    assert (await ledger.recipient()).status == "sent"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"outcome": "maybe"}, 422), ({}, 422), ({"outcome": "sent", "note": "x"}, 422)],
)
async def test_invalid_outcome_is_refused(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, body: dict[str, Any], status: int
) -> None:
    _, message_id = await _park_message(new_uow, SendKind.MANUAL)

    answer = await client.post(f"/v1/messages/{message_id}/settle", json=body)

    assert answer.status_code == status


async def test_unknown_message_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/messages/{UNKNOWN_ID}/settle", json={"outcome": "sent"})

    assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")


async def test_explanation_of_a_parked_recipient_shows_what_is_unclear(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt(no_id=True)
    member = await ledger.recipient()
    path = f"/v1/campaigns/{ledger.campaign.id}/recipients/{member.contact_id}/explain"

    unclear = (await client.get(path)).json()
    for seconds in (700, 800):
        await ledger.look_up(begun_at=after(seconds))
    parked = (await client.get(path)).json()

    assert (unclear["rule"], parked["rule"]) == ("unknown", "parked")
    assert "2026-11-25 15:00 UTC" in unclear["detail"]
    assert "2026-11-25 15:00 UTC" in parked["detail"]
    assert "/settle" in parked["detail"]
