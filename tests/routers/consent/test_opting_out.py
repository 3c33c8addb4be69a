"""Tests of the request that opts out many numbers at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.identity.api_keys.models import Scope

PATH = "/v1/contacts/opt-out"
UNKNOWN_CONTACT = "00000000-0000-7000-8000-000000000000"
REASON = {"reason": "asked at the door", "source": "in_person"}
KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def entries(client: httpx.AsyncClient, contact_id: Any) -> list[tuple[str, str, str]]:
    found = await client.get(f"/v1/contacts/{contact_id}/consent-history")
    return [(one["action"], one["source"], one["reason"]) for one in found.json()["data"]]


async def test_missing_key_and_scope_are_refused(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    reader = await client.post(PATH, json={}, headers=await key_with(Scope.CONTACTS_READ))
    del client.headers["Authorization"]

    assert reader.status_code == 403
    assert (await client.post(PATH, json={})).status_code == 401


async def test_contacts_and_numbers_are_opted_out_with_one_entry_each(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada, leo, eva = [await make_contact(session, phone=number(i)) for i in range(3)]
    campaign = await make_campaign(session, line=await make_line(session))
    member = await make_member(session, campaign=campaign, contact=leo)
    await client.post(f"/v1/contacts/{ada.id}/opt-out", json={"reason": "before"})

    answer = await client.post(
        PATH,
        json={
            **REASON,
            "contact_ids": [str(ada.id), str(leo.id)],
            "phones": [number(1), "(617) 555-0009"],
        },
    )

    assert answer.json() == {"numbers": 3, "newly_opted_out": 2}
    for contact, expected in ((ada, True), (leo, True), (eva, False)):
        shown = (await client.get(f"/v1/contacts/{contact.id}")).json()
        assert shown["opted_out"] is expected
    entry = ("opt_out", "in_person", "asked at the door")
    assert await entries(client, leo.id) == [entry]
    assert await entries(client, ada.id) == [entry, ("opt_out", "api", "before")]
    later = (await client.post("/v1/contacts", json={"phone": "617-555-0009"})).json()
    assert later["opted_out"] is True
    assert await entries(client, later["id"]) == [entry]
    await session.refresh(member)
    assert (member.status, member.skip_reason) == ("skipped", "opted_out")


@pytest.mark.parametrize("count", [0, 501])
async def test_request_with_none_or_over_500_numbers_is_refused(
    client: httpx.AsyncClient, count: int
) -> None:
    ids, phones = [UNKNOWN_CONTACT] * (count // 2), [number(0)] * (count - count // 2)

    answer = await client.post(PATH, json={**REASON, "contact_ids": ids, "phones": phones})

    assert answer.status_code == 422
    assert [fault["code"] for fault in answer.json()["errors"]] == ["count_of_numbers"]


async def test_unknown_contact_is_named_and_no_number_is_opted_out(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0))

    answer = await client.post(PATH, json={**REASON, "contact_ids": [str(ada.id), UNKNOWN_CONTACT]})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_to_opt_out")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/contact_ids/1"]
    assert (await client.get(f"/v1/contacts/{ada.id}")).json()["opted_out"] is False


async def test_merged_duplicate_opts_out_all_numbers_of_the_person(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada, duplicate = [await make_contact(session, phone=number(i)) for i in range(2)]
    merged = {"primary_id": str(ada.id), "duplicate_ids": [str(duplicate.id)]}
    await client.post("/v1/contacts/merge", json=merged)

    answer = await client.post(PATH, json={**REASON, "contact_ids": [str(duplicate.id)]})

    assert answer.json() == {"numbers": 1, "newly_opted_out": 1}
    assert (await client.get(f"/v1/contacts/{ada.id}")).json()["opted_out"] is True
    remembered = await session.execute(
        text("SELECT phone, evidence ->> 'said_of' FROM consent_wording ORDER BY phone")
    )
    assert [tuple(row) for row in remembered] == [(number(0), None), (number(1), number(0))]


async def test_concurrent_requests_for_the_same_numbers_all_succeed(
    committed_client: httpx.AsyncClient,
) -> None:
    phones = [number(i) for i in range(6)]

    answers = await asyncio.gather(
        *(
            committed_client.post(PATH, json={**REASON, "phones": numbers})
            for numbers in (phones, phones[::-1], phones, phones[::-1])
        )
    )

    assert [answer.status_code for answer in answers] == [200] * 4
    assert sum(answer.json()["newly_opted_out"] for answer in answers) == 6
