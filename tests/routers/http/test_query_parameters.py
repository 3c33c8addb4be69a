"""Tests of query strings: unknown parameters are refused, and a date may replace an instant."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, number
from tests.routers.http.test_authorisation import method_and_path
from tests.routers.scopes import REQUIRED_SCOPES

RESOURCES = sorted(name for name in REQUIRED_SCOPES if name.split()[1].startswith("/v1/"))


def documented_parameters(app: FastAPI, name: str) -> list[str]:
    """Return the query parameters that the OpenAPI document lists for an operation."""
    document = app.openapi()
    method, path = name.split()
    found = []
    for one in document["paths"][path][method.lower()].get("parameters", ()):
        parameter: Any = one
        if "$ref" in one:
            parameter = document["components"]["parameters"][one["$ref"].rpartition("/")[2]]
        if parameter["in"] == "query":
            found.append(parameter["name"])
    return sorted(found)


async def test_every_operation_refuses_unknown_parameters(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    wrong = []
    for name in RESOURCES:
        method, path = method_and_path(name)
        answer = await client.request(method, path, params={"nonsense": "true"})
        problem = answer.json()
        if (
            (answer.status_code, problem["code"]) != (422, "unknown_parameter")
            or problem["known_parameters"] != documented_parameters(app, name)
            or problem["errors"][0]["pointer"] != "/nonsense"
        ):
            wrong.append(f"{name}: {answer.status_code} {problem}")

    assert wrong == []


def test_every_operation_documents_unknown_parameters(app: FastAPI) -> None:
    document = app.openapi()
    missing = []
    for name in RESOURCES:
        method, path = name.split()
        answer = document["paths"][path][method.lower()]["responses"]["422"]
        name_of_answer = answer.get("$ref", "").rpartition("/")[2]
        text = str(document["components"]["responses"].get(name_of_answer, answer))
        if "unknown_parameter" not in text:
            missing.append(name)

    assert missing == []


async def test_the_refusal_names_the_known_parameters(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/lists?limit=1&repIied=true&a~b/c=1")

    problem = answer.json()
    assert problem["detail"] == (
        "'repIied' is not a query parameter of this operation. Remove it. The operation accepts: "
        "cursor, limit."
    )
    assert [fault["pointer"] for fault in problem["errors"]] == ["/repIied", "/a~0b~1c"]


async def test_unknown_parameters_of_probes_and_the_provider_are_ignored(
    client: httpx.AsyncClient,
) -> None:
    probe = await client.get("/healthz?nocache=1")
    event = await client.post("/webhooks/openphone?source=openphone", content=b"{}")

    assert probe.status_code == 200
    assert event.json()["code"] != "unknown_parameter"


INSTANTS = (
    # The first instant is still 23 November in New York. The second instant is midnight there.
    datetime(2026, 11, 24, 4, 59, 59, tzinfo=UTC),
    datetime(2026, 11, 24, 5, 0, tzinfo=UTC),
    datetime(2026, 11, 24, 12, 0, tzinfo=UTC),
    datetime(2026, 11, 25, 4, 59, 59, tzinfo=UTC),
    datetime(2026, 11, 25, 5, 0, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("created_before=2026-11-24", []),
        ("created_before=2026-11-24&timezone=America/New_York", [0]),
        ("created_before=2026-11-25&timezone=America/New_York", [0, 1, 2, 3]),
        ("created_after=2026-11-24&created_before=2026-11-25", [0, 1, 2]),
        ("created_after=2026-11-24T05:00:00Z&timezone=America/New_York", [2, 3, 4]),
        ("created_after=2026-11-24T00:00:00-05:00", [2, 3, 4]),
        ("updated_after=2026-11-25", [3, 4]),
    ],
)
async def test_date_means_midnight_in_the_time_zone(
    client: httpx.AsyncClient, session: AsyncSession, query: str, expected: list[int]
) -> None:
    for position, instant in enumerate(INSTANTS):
        await make_contact(session, phone=number(position), now=instant)
    await session.commit()

    answer = await client.get(f"/v1/contacts?{query}")

    assert answer.status_code == 200, answer.text
    found = sorted(contact["phone"] for contact in answer.json()["data"])
    assert found == [number(position) for position in expected]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/contacts?created_after={}",
        "/v1/contacts?created_before={}",
        "/v1/contacts?updated_after={}",
        "/v1/audit-log?created_after={}",
        "/v1/audit-log?created_before={}",
        "/v1/webhook-events?received_after={}",
    ],
)
async def test_every_instant_in_a_query_may_be_a_date(client: httpx.AsyncClient, path: str) -> None:
    day = await client.get(path.format("2026-03-08") + "&timezone=America/New_York")
    bare = await client.get(path.format("2026-11-25T15:00:00"))
    count = await client.get(path.format("1764082800"))
    late = await client.get(path.format("9999-12-31"))
    none = await client.get(path.format("2026-02-30"))
    zone = await client.get(path.format("2026-11-25") + "&timezone=Boston")

    assert day.status_code == 200
    assert {answer.status_code for answer in (bare, count, late, none, zone)} == {422}
    assert zone.json()["errors"][0]["pointer"] == "/timezone"


async def test_day_without_midnight_begins_at_one(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    # In Santiago, this day begins at 01:00: the clocks skip the hour after midnight.
    begins = datetime(2026, 9, 6, 4, 0, tzinfo=UTC)
    await make_contact(session, phone=number(1), now=begins)
    await session.commit()

    before = await client.get("/v1/contacts?created_before=2026-09-06&timezone=America/Santiago")

    assert before.json()["data"] == []


async def test_small_list_has_pages(client: httpx.AsyncClient) -> None:
    unpaged = (await client.get("/v1/scheduled-jobs")).json()
    names, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/scheduled-jobs", params=query)).json()
        assert len(page["data"]) <= 2
        names += [job["name"] for job in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert len(names) > 2
    assert names == [job["name"] for job in unpaged["data"]]
    assert unpaged["next_cursor"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/scheduled-jobs",
        "/v1/workers",
        "/v1/webhook-events/errors",
        "/v1/contacts/{contact_id}/flags",
    ],
)
async def test_a_small_list_checks_its_cursor(client: httpx.AsyncClient, path: str) -> None:
    made = await client.post("/v1/contacts", json={"phone": "617-555-0142"})
    path = path.format(contact_id=made.json()["id"])

    foreign = await client.get(path, params={"cursor": "nonsense"})
    good = await client.get(path, params={"limit": 1})

    assert (foreign.status_code, foreign.json()["code"]) == (422, "invalid_cursor")
    assert good.status_code == 200
    assert good.json()["next_cursor"] is None or path == "/v1/scheduled-jobs"


async def test_flags_have_pages(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/contacts", json={"phone": "617-555-0142"})
    path = f"/v1/contacts/{made.json()['id']}/flags"
    for flag in ("do_not_contact", "opted_out"):
        added = await client.post(path, json={"flag": flag})
        assert added.status_code == 201, added.text

    first = (await client.get(path, params={"limit": 1})).json()
    second = (await client.get(path, params={"limit": 1, "cursor": first["next_cursor"]})).json()

    assert [one["flag"] for one in first["data"] + second["data"]] == [
        "do_not_contact",
        "opted_out",
    ]
    assert second["next_cursor"] is None


async def test_wrong_method_with_a_valid_query_is_405(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.patch("/v1/contacts/merge-candidates?min_score=60", json={})

    assert answer.status_code == 405
