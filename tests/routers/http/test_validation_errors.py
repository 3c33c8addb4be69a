"""Tests of the faults of invalid requests: each has a pointer to a value and says what to do."""

import json
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.conftest import UNKNOWN_ID
from tests.routers.http.test_query_parameters import documented_parameters
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

OF_PYDANTIC = re.compile(
    r"Input should|Extra inputs|Field required|Keys should|valid (?:integer|dictionary|list|UUID)"
    r"|Unable to|unable to|after validation|timezone info|None\b|True|<|^value"
    r"|UUID input|Decimal input"
)
"""Pattern of phrases that only sentences of pydantic have. Users of the API must not get them."""
WRONG_VALUES = ("x", 10**15, -1, 0.5, True, None, [1], {"x": 1}, "2026-12-25", "\ud83d")


async def faults(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 422, answer.text
    found: list[dict[str, str]] = answer.json()["errors"]
    return found


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/costs", '{"amount_cents": %d}', "/amount_cents"),
        ("/v1/lines", '{"daily_limit": -%d}', "/daily_limit"),
    ],
)
async def test_too_large_integer_says_which_numbers_are_allowed(
    client: httpx.AsyncClient, path: str, body: str, pointer: str
) -> None:
    content = (body % 10**18).encode()
    answer = await client.post(path, content=content, headers={"content-type": "application/json"})

    (found,) = await faults(answer)
    assert (found["pointer"], found["code"]) == (pointer, "number_out_of_range")
    assert "from -9007199254740991 to 9007199254740991" in found["detail"]
    assert "string" not in found["detail"]


async def test_too_large_number_in_attributes_may_be_a_string(client: httpx.AsyncClient) -> None:
    body = {"phone": "6175550142", "attributes": {"a": 10**18}}

    (found,) = await faults(await client.post("/v1/contacts", json=body))
    body["attributes"] = {"a": str(10**18)}

    assert found["detail"].endswith("or a string.")
    assert (await client.post("/v1/contacts", json=body)).status_code == 201


async def test_time_without_an_offset_says_what_to_add(client: httpx.AsyncClient) -> None:
    task = {"title": "Call back"}

    (text,) = await faults(await client.post("/v1/tasks", json=task | {"due_at": "not a date"}))
    (day,) = await faults(await client.post("/v1/tasks", json=task | {"due_at": "2026-12-25"}))
    (since,) = await faults(await client.get("/v1/contacts?created_after=yesterday"))

    assert "Z or an offset" in text["detail"]
    assert "2026-11-25." not in text["detail"]
    assert (day["code"], "Add Z or an offset such as -05:00" in day["detail"]) == (
        "timezone_aware",
        True,
    )
    assert since["detail"].endswith("such as 2026-11-25T15:00:00Z or 2026-11-25.")


async def test_date_does_not_offer_a_time(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/holdouts", json={"from": "soon", "until": "2026-11-25T15:00Z"})

    details = {one["pointer"]: one["detail"] for one in await faults(answer)}
    assert details["/from"] == "Write the date as ISO 8601, such as 2026-11-25."
    assert details["/until"] == "Give a date without a time, such as 2026-11-25."


@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/tasks", "/v1/appointments"])
async def test_value_of_a_union_type_has_one_fault(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, params={"assignee": "zzz"})

    assert await faults(answer) == [
        {
            "pointer": "/assignee",
            "code": "enum",
            "detail": "Give 'me' or 'none', or an id (a UUID), as the API returns it.",
        }
    ]
    assert answer.json()["detail"].startswith("The request has 1 invalid value(s)")


async def test_union_type_in_a_body_has_one_fault(client: httpx.AsyncClient) -> None:
    body = {"filter": {"assignee": "zzz"}, "set": {"state": "done"}, "dry_run": True}

    (found,) = await faults(await client.post("/v1/conversations/bulk", json=body))

    assert (found["pointer"], found["code"]) == ("/filter/assignee", "enum")


@pytest.mark.parametrize(
    ("value", "pointer", "code"),
    [
        (1.5, "/filter/uuid", "bool_type"),
        ({"uuid": 1}, "/filter/uuid", "bool_type"),
        (["x", 1], "/filter/uuid/1", "string_type"),
        (["x"] * 1_000, "/filter/uuid", "too_long"),
        ("x" * 5_000, "/filter/uuid", "string_too_long"),
    ],
)
async def test_fault_is_that_of_the_member_that_the_value_fits(
    client: httpx.AsyncClient, value: object, pointer: str, code: str
) -> None:
    await create_active_user(client)
    me = bearer(await sign_in(client))
    body = {"list": "tasks", "name": "Mine", "filter": {"uuid": value}}

    found = await faults(await client.post("/v1/saved-views", json=body, headers=me))

    assert [(one["pointer"], one["code"]) for one in found] == [(pointer, code)]


async def test_pointer_to_a_wrong_name_ends_at_the_name(client: httpx.AsyncClient) -> None:
    body = {"carrier_budgets": {"zz": {"daily_segments": 1}, "[key]": {"daily_segments": 1}}}

    found = await faults(await client.patch("/v1/settings", json=body))

    assert [one["pointer"] for one in found] == ["/carrier_budgets/zz", "/carrier_budgets/[key]"]
    assert found[0]["detail"].startswith("The name of this field is not valid. Give '")


async def test_form_has_pointers_to_its_fields(client: httpx.AsyncClient) -> None:
    form = {"username": "x" * 5_000, "password": "x" * 5_000}

    found = await faults(await client.post("/v1/auth/token", data=form))

    assert [one["pointer"] for one in found] == ["/username", "/password"]


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"phone": "6175550142", "frist_name": "A"}, "/frist_name", "Did you mean `first_name`?"),
        ({"phone": "6175550142", "zzzzz": "A"}, "/zzzzz", "Remove it."),
        ({"phone": "6175550142", "address": {"citi": "A"}}, "/address/citi", "you mean `city`?"),
    ],
)
async def test_unknown_field_is_named_with_the_similar_field(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str, detail: str
) -> None:
    (found,) = await faults(await client.post("/v1/contacts", json=body))
    batch = await client.post("/v1/contacts/batch", json={"items": [_item(body)]})
    (inside,) = batch.json()["results"][0]["problem"]["errors"]

    for one, at in ((found, pointer), (inside, f"/items/0/contact{pointer}")):
        assert (one["pointer"], one["code"]) == (at, "unknown_field")
        assert f"The field `{pointer.rpartition('/')[2]}` does not exist" in one["detail"]
        assert one["detail"].endswith(detail)


def _item(contact: dict[str, Any]) -> dict[str, Any]:
    return {"op": "create", "contact": contact}


async def test_pointer_to_the_whole_body_is_a_slash(client: httpx.AsyncClient) -> None:
    (text,) = await faults(await client.post("/v1/contacts", json="x"))
    (empty,) = await faults(await client.post("/v1/contacts"))

    assert (text["pointer"], text["detail"]) == ("/", "Give a JSON object.")
    assert (empty["pointer"], empty["detail"]) == (
        "/",
        "The request has no body. Send a JSON object.",
    )


async def test_an_id_that_is_not_a_uuid_says_so(client: httpx.AsyncClient) -> None:
    wrong = (await client.get("/v1/contacts/x")).json()
    unknown = (await client.get("/v1/contactz/x")).json()

    assert (wrong["status"], wrong["code"], wrong["title"]) == (404, "not_found", "Not Found")
    assert "`contact_id` in the path is not a UUID" in wrong["detail"]
    assert "No operation of the API has this path" in unknown["detail"]


NUL = "617\x005550182"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/contacts", {"phone": NUL}),
        ("PATCH", f"/v1/contacts/{UNKNOWN_ID}", {"phone": NUL}),
        ("POST", "/v1/messages", {"line_id": UNKNOWN_ID, "to": NUL, "body": "Hello"}),
        ("POST", f"/v1/campaigns/{UNKNOWN_ID}/test-send", {"to": NUL}),
        ("POST", "/v1/sandbox/people", {"phone": NUL, "behaviour": "silent"}),
        ("POST", "/v1/contacts/opt-out", {"phones": [NUL], "reason": "x"}),
        ("GET", "/v1/contacts?phone=617%005550182", None),
        ("GET", "/v1/contacts/by-phone/617%005550182", None),
    ],
)
async def test_nul_in_a_phone_number_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = await client.request(method, path, json=body)

    assert "nul_character" in {one["code"] for one in await faults(answer)}


def wrong_bodies(document: dict[str, Any], operation: dict[str, Any]) -> list[Any]:
    """Return bodies of wrong shapes, and bodies in which each field has the same wrong value."""
    content = operation.get("requestBody", {}).get("content", {})
    name = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    model = document["components"]["schemas"].get(name.rpartition("/")[2], {})
    fields = [dict.fromkeys(model.get("properties", {}), value) for value in WRONG_VALUES]
    return [{"zz": 1}, [], *fields] if model else []


async def test_no_fault_has_a_sentence_of_pydantic(app: FastAPI, client: httpx.AsyncClient) -> None:
    """Send wrong values for each field and query parameter of the OpenAPI document."""
    document = app.openapi()
    client.headers["content-type"] = "application/json"
    answers = []
    for path, operations in document["paths"].items():
        where = re.sub(r"\{\w+\}", UNKNOWN_ID, path)
        for method, operation in operations.items():
            names = documented_parameters(app, f"{method.upper()} {path}")
            for value in ("zz", "0.5", "2026-13-45") if names else ():
                queries = dict.fromkeys(names, value)
                answers.append(await client.request(method, where, params=queries))
            answers += [
                await client.request(method, where, content=json.dumps(body))
                for body in wrong_bodies(document, operation)
            ]

    found = {
        one["detail"]: f"{answer.request.method} {answer.url.path} {one['pointer']}"
        for answer in answers
        if answer.status_code == 422
        for one in answer.json()["errors"]
    }
    assert len(found) > 50
    assert [answer.url.path for answer in answers if answer.status_code == 500] == []
    assert {text: at for text, at in found.items() if OF_PYDANTIC.search(text)} == {}
