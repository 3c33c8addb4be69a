"""A user with the role marketer sees only first names and cities of people, and no amounts."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_list, number
from tests.routers.insight.story import Story, record_outcome
from tests.routers.scopes import REQUIRED_SCOPES

from crm_api.domain.identity.users import sessions
from crm_api.domain.identity.users.models import MASKED, SCOPES_OF, User, UserRole, UserStatus
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.routers.http.masking import CsvMask, EventMask

PHONE = number(4242)
CENTS = 185_017
SECRETS = (
    *(PHONE[2:], "Lovelace", "ada@home.example.com", "12 Analytical Street", "02169-ZIP"),
    *("Engines Ltd", "my roof leaks", str(CENTS), "1850.17", "secret attribute"),
)
STREAMS = {"GET /v1/campaigns/{campaign_id}/events", "GET /v1/events"}


async def marketer(app: FastAPI, new_uow: UnitOfWorkFactory) -> httpx.AsyncClient:
    """Return a client that is signed in as a marketer.

    The client does not compare the responses with the OpenAPI document.
    """
    async with new_uow() as uow:
        user = User(
            email="mia@firm.example.com",
            name="Mia",
            role=UserRole.MARKETER,
            status=UserStatus.ACTIVE,
            password_hash="none",  # noqa: S106 - no password has this hash
            created_at=NOW,
            updated_at=NOW,
        )
        uow.session.add(user)
        await uow.session.flush()
        tokens = await sessions.begin_session(
            uow,
            user_id=user.id,
            password_hash="none",  # noqa: S106 - no password has this hash
            now=clock.now(),
        )
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://crm.test",
        headers={"Authorization": f"Bearer {tokens.access}", "Accept-Encoding": "identity"},
    )


async def known_people(client: httpx.AsyncClient, session: AsyncSession) -> dict[str, str]:
    """Create a contact with many personal data; return an id for each path parameter."""
    story = Story(session)
    autumn = await story.add_campaign()
    ada = await story.add_person(
        first_name="Ada",
        last_name="Lovelace",
        email="ada@home.example.com",
        company="Engines Ltd",
        street="12 Analytical Street",
        city="Quincy",
        state="MA",
        postal_code="02169-ZIP",
        attributes={"note": "secret attribute"},
    )
    ada.phone = PHONE
    people = await make_list(session, name="Owners", contacts=[ada])
    await story.add_message(autumn, ada, days=5, replied=4.9)
    at = NOW - timedelta(days=4.9)
    session.add(
        Activity(
            kind="message",
            direction="incoming",
            origin="provider",
            campaign_id=autumn.id,
            contact_id=ada.id,
            phone=PHONE,
            body="my roof leaks",
            status="received",
            occurred_at=at,
            created_at=at,
            updated_at=at,
        )
    )
    await session.commit()
    outcome = await record_outcome(client, ada, days=2, kind="invoice_paid", cents=CENTS)
    cost = {"kind": "list_price", "amount_cents": CENTS, "campaign_id": str(autumn.id)}
    entered = (await client.post("/v1/costs", json=cost)).json()
    everybody = {"all": [{"field": "city", "op": "eq", "value": "Quincy"}]}
    segment = await client.post("/v1/segments", json={"name": "All", "filter": everybody})
    return {
        "contact_id": str(ada.id),
        "campaign_id": str(autumn.id),
        "list_id": str(people.id),
        "outcome_id": outcome["id"],
        "cost_id": entered["id"],
        "segment_id": segment.json()["id"],
        "line_id": str(autumn.line_id),
    }


def queries_of(path: str) -> list[str]:
    """Return the query strings with which this path is requested."""
    if path in {"/v1/insight", "/v1/insight/rows"}:
        measures = ("reply_rate", "revenue", "cost", "cost_per_job", "return", "appointments")
        return [f"?measure={one}&by=city" for one in measures]
    return ["?stage=replied"] if path == "/v1/insight/cohorts" else [""]


async def test_no_response_shows_more_than_first_name_and_city(
    app: FastAPI, client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    ids = await known_people(client, session)
    mia = await marketer(app, new_uow)
    own = {scope.value for scope in SCOPES_OF[UserRole.MARKETER]}
    shown: list[str] = []

    for name, required in REQUIRED_SCOPES.items():
        method, _, path = name.partition(" ")
        allowed = required in own or name in MASKED
        if method != "GET" or name in STREAMS or not allowed:
            continue
        for query in queries_of(path):
            for accept in ("application/json", "text/csv"):
                url = path.format_map(
                    {**dict.fromkeys(_path_parameters(path), ids["contact_id"]), **ids}
                )
                answer = await mia.get(f"{url}{query}", headers={"Accept": accept})
                found = [one for one in SECRETS if one in answer.text]
                assert not found, (name, query, accept, answer.text)
                if answer.status_code == 200:
                    shown.append(name)
    await mia.aclose()

    assert len(set(shown)) > 25
    assert {"GET /v1/contacts", "GET /v1/outcomes", "GET /v1/insight/rows"} <= set(shown)
    assert {"GET /v1/contacts/{contact_id}/timeline", "GET /v1/costs"} <= set(shown)


def _path_parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


async def test_marketer_sees_masked_values(
    app: FastAPI, client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    ids = await known_people(client, session)
    mia = await marketer(app, new_uow)

    async def read(path: str, **query: str) -> Any:
        answer = await mia.get(path, params=query)
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["content-length"]) == len(answer.content)
        return answer.json()

    (ada,) = (await read("/v1/contacts"))["data"]
    assert (ada["first_name"], ada["address"]["city"]) == ("Ada", "Quincy")
    hidden = ("last_name", "phone", "email", "company", "timezone", "attributes")
    assert [ada[name] for name in hidden] == [None] * 6
    assert [ada["address"][name] for name in ("street", "state", "postal_code")] == [None] * 3
    (recipient,) = (await read(f"/v1/campaigns/{ids['campaign_id']}/recipients"))["data"]
    assert [recipient[name] for name in ("phone", "name", "body")] == [None] * 3
    assert recipient["status"] == "delivered"
    (outcome,) = (await read("/v1/outcomes"))["data"]
    assert (outcome["kind"], outcome["amount_cents"]) == ("invoice_paid", None)
    assert [outcome[name] for name in ("first_name", "last_name", "phone")] == [None] * 3
    replies = (await read("/v1/insight", measure="reply_rate"))["total"]
    assert (replies["value"], replies["numerator"]) == ("1.0000", 1)
    money = (await read("/v1/insight", measure="revenue", by="city"))["rows"][0]
    assert [money[name] for name in ("value", "numerator", "key")] == [None, None, "Quincy"]
    (row,) = (await read("/v1/insight/rows", measure="revenue"))["data"]
    assert (row["amount"], row["contact_id"]) == (None, None)
    assert (row["kind"], row["last_name"]) == ("outcome", None)
    (cost,) = (await read("/v1/costs"))["data"]
    assert (cost["kind"], cost["amount_cents"]) == ("list_price", None)
    today = await read("/v1/today")
    assert (today["money"], today["people"], today["appointments"]) == (None, None, None)
    assert (await read("/v1/auth/me"))["email"] == "mia@firm.example.com"
    await mia.aclose()


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/contacts?q=Lovelace", "/v1/contacts?phone=%2B16175554242", "/v1/contacts?state=MA"),
        *("/v1/campaigns/{campaign_id}/recipients?q=Ada", "/v1/invoices", "/v1/appointments"),
        *("/v1/contacts/by-phone/%2B16175554242", "/v1/conversations", "/v1/messages"),
        *("/v1/contacts/{contact_id}/notes", "/v1/properties", "/v1/imports", "/v1/tasks"),
    ],
)
async def test_search_in_hidden_fields_and_other_people_data_is_refused(
    app: FastAPI,
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    path: str,
) -> None:
    ids = await known_people(client, session)
    mia = await marketer(app, new_uow)

    answer = await mia.get(path.format_map(ids))
    campaigns = await mia.get("/v1/campaigns", params={"q": "Autumn"})
    await mia.aclose()

    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert [one["name"] for one in campaigns.json()["data"]] == ["Autumn"]


def test_csv_mask_blanks_columns_across_chunks() -> None:
    mask = CsvMask(hides_amount=False)
    body = b'id,phone,first_name,city\n1,+1617,"A\n""da""",Quincy\n2,+1508,Bob,"Milton, MA"\n'

    pieces = [mask(body[at : at + 7], False) for at in range(0, len(body), 7)]

    masked = b"".join([*pieces, mask(b"", True)])
    expected = b'id,phone,first_name,city\n1,,"A\n""da""",Quincy\n2,,Bob,"Milton, MA"\n'
    assert masked == expected


def test_csv_mask_blanks_fields_of_objects() -> None:
    mask = CsvMask(hides_amount=False)
    body = (
        b"id,contact.id,contact.first_name,contact.last_name,cost.cents,then.tag,parts\n"
        b'1,7,Ada,Lovelace,5,vip,"[{""name"": ""A"", ""phone"": ""+1617""}]"\n'
    )

    header, row = csv.reader(io.StringIO(mask(body, True).decode()))

    assert len(header) == len(row)
    assert row[:6] == ["1", "7", "Ada", "", "", "vip"]
    assert json.loads(row[6]) == [{"name": None, "phone": None}]


def test_event_mask_hides_personal_data() -> None:
    mask = EventMask()
    body = b'event: message.received\ndata: {"data":{"phone":"+1617","contact_id":"7"}}\n\n: ok\n'

    masked = b"".join([mask(body[:40], False), mask(body[40:], True)])

    assert b"+1617" not in masked
    assert b'"contact_id": "7"' in masked
    assert masked.endswith(b"\n\n: ok\n")
