"""Tests of the consent proof, which shows a lawyer all consent decisions about one number."""

import csv
import hashlib
import io
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET, UNKNOWN_ID
from tests.domain.messaging.consent_decisions.test_consent import stop_decision
from tests.factories import make_line

from crm_api.domain.consent import linking
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

KeyWith = Callable[..., Awaitable[dict[str, str]]]
PHONE = "+16175550123"
KEY = SECRET.encode()
BY_PHONE = "/v1/consent-proof?phone=(617)+555-0123"


async def link_entries(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await linking.link_entries(uow, secret=KEY)


async def receive_stop(session: AsyncSession, new_uow: UnitOfWorkFactory) -> Activity:
    """Store a received STOP message and its consent entry; return the message."""
    line = await make_line(session)
    message = Activity(
        kind="message",
        direction="incoming",
        origin="provider",
        line_id=line.id,
        phone=PHONE,
        openphone_id="AC1",
        body="STOP please",
        status="received",
        occurred_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(message)
    session.add(
        SendAttempt(
            line_id=line.id,
            activity_id=new_id(),
            phone=PHONE,
            body="Hi",
            status="delivered",
            accepted_at=NOW - timedelta(days=1),
            created_at=NOW,
            updated_at=NOW,
        )
    )
    await session.commit()
    async with new_uow() as uow:
        evidence = {"text": "STOP please"}
        await consent.opt_out(
            uow, **stop_decision(secret=KEY, activity_id=message.id, evidence=evidence)
        )
    return message


async def test_proof_has_entry_evidence_message_and_position_in_the_chain(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    message = await receive_stop(session, new_uow)
    await link_entries(new_uow)

    proof = (await client.get(BY_PHONE)).json()

    [entry] = proof["entries"]
    assert (proof["phone"], proof["contact_id"]) == (PHONE, None)
    assert (entry["action"], entry["source"], entry["actor"]) == ("opt_out", "message", "person")
    assert (entry["reason"], entry["evidence"]["text"]) == ("STOP", "STOP please")
    assert entry["message"]["id"] == str(message.id)
    assert (entry["message"]["body"], entry["message"]["line"]) == ("STOP please", "+16175550100")
    assert (entry["link"]["position"], entry["link"]["fits"]) == (1, True)
    assert proof["chain_end"] == {"position": 1, "digest": entry["link"]["digest"]}
    assert proof["verification"] == {"result": "ok", "findings": []}
    assert [flag["flag"] for flag in proof["flags"]] == ["opted_out"]
    assert proof["texts"]["accepted"] == 1
    assert proof["texts"]["last_at"] == "2026-11-24T15:00:00.000Z"
    assert proof["generated_at"].endswith("Z")


async def test_digest_of_the_evidence_can_be_recomputed_from_the_proof(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_stop(session, new_uow)

    [entry] = (await client.get(BY_PHONE)).json()["entries"]

    evidence = entry["wording"]
    digest = hashlib.sha256(bytes.fromhex(evidence["salt"]) + evidence["canonical"].encode())
    assert digest.hexdigest() == evidence["digest"]
    assert PHONE in evidence["canonical"]


async def test_proof_of_a_contact_equals_the_proof_of_its_number(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    contact = (await client.post("/v1/contacts", json={"phone": PHONE})).json()
    path = f"/v1/contacts/{contact['id']}"
    await client.post(f"{path}/opt-in", json={"reason": "signed", "text_shown": "I agree."})
    await link_entries(new_uow)

    by_contact = (await client.get(f"{path}/consent-proof")).json()
    by_phone = (await client.get(BY_PHONE)).json()

    del by_contact["generated_at"], by_phone["generated_at"]
    assert by_contact == by_phone
    assert by_contact["contact_id"] == contact["id"]
    assert by_contact["entries"][0]["text_shown"] == "I agree."


async def test_a_number_without_decisions_has_an_empty_proof(
    client: httpx.AsyncClient,
) -> None:
    proof = (await client.get(BY_PHONE)).json()

    assert proof["entries"] == []
    assert proof["verification"]["result"] == "ok"


@pytest.mark.parametrize(
    ("statement", "result", "sentence"),
    [
        ("DELETE FROM consent_link", "incomplete", "is not linked"),
        ("UPDATE consent_link SET key_id = 'other'", "incomplete", "another secret key"),
        ("UPDATE consent_entry SET actor = 'x'", "broken", "does not match its link"),
        ("UPDATE consent_wording SET note = 'x'", "broken", "does not match its stored digest"),
    ],
)
async def test_failed_verification_is_reported(
    *,
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    statement: str,
    result: str,
    sentence: str,
) -> None:
    await receive_stop(session, new_uow)
    await link_entries(new_uow)
    await session.execute(text("SET LOCAL session_replication_role = replica"))
    await session.execute(text(statement))
    await session.execute(text("SET LOCAL session_replication_role = origin"))
    await session.commit()

    verification = (await client.get(BY_PHONE)).json()["verification"]

    assert verification["result"] == result
    assert sentence in verification["findings"][0]


async def test_erasure_of_the_evidence_keeps_the_decision(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_stop(session, new_uow)
    await link_entries(new_uow)
    await session.execute(text("DELETE FROM consent_wording"))
    await session.commit()

    proof = (await client.get(BY_PHONE)).json()

    [entry] = proof["entries"]
    assert (entry["is_erased"], entry["reason"], entry["evidence"]) == (True, None, {})
    assert entry["wording"]["salt"] is None
    assert (entry["action"], entry["link"]["fits"]) == ("opt_out", True)
    assert proof["verification"]["result"] == "ok"


async def test_proof_as_a_table(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_stop(session, new_uow)
    async with new_uow() as uow:
        await consent.opt_in(uow, **stop_decision(secret=KEY, reason="=cmd()|calc"))
    await link_entries(new_uow)

    answer = await client.get(BY_PHONE, headers={"accept": "text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="consent-16175550123.csv"' in answer.headers["content-disposition"]
    assert [row["action"] for row in rows] == ["opt_out", "opt_in"]
    assert [row["verified"] for row in rows] == ["yes", "yes"]
    assert rows[0]["message"] == "STOP please"
    assert rows[1]["reason"] == "'=cmd()|calc"


async def test_invalid_number_is_422(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/consent-proof?phone=617")

    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "invalid_phone"


async def test_unknown_contact_is_404(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/v1/contacts/{new_id()}/consent-proof")

    assert (response.status_code, response.json()["code"]) == (404, "contact_not_found")


@pytest.mark.parametrize("path", [BY_PHONE, f"/v1/contacts/{UNKNOWN_ID}/consent-proof"])
async def test_proof_needs_a_key_that_reads_contacts(
    client: httpx.AsyncClient, key_with: KeyWith, path: str
) -> None:
    refused = await client.get(path, headers=await key_with(Scope.MESSAGES_READ))
    nobody = await client.get(path, headers={"authorization": ""})

    statuses: Any = (refused.status_code, nobody.status_code)
    assert statuses == (403, 401)
