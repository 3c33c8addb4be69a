"""Tests of the checks of request bodies and of `Accept`: size, media type and exact JSON."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.conftest import UNKNOWN_ID

from crm_api.routers.http.bodies import LARGEST_BODY

SLOW_SECONDS = 5
"""Time limit for a refusal.

A refusal is much faster, even on a busy machine. A check with quadratic cost would take minutes.
"""
AS_JSON = {"content-type": "application/json"}


async def post_json(
    client: httpx.AsyncClient, body: bytes, path: str = "/v1/contacts"
) -> httpx.Response:
    return await client.post(path, content=body, headers=AS_JSON)


def faults(answer: httpx.Response) -> dict[str, str]:
    return {fault["pointer"]: fault["code"] for fault in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"phone": "6175550142", "phone": "6175550143"}', "phone"),
        (b'{"phone": "6175550142", "attributes": {"a": 1, "b": 2, "a": 1}}', '"a"'),
        (b'[{"x": {"y": 1, "\\u0079": 2}}]', '"y"'),
    ],
)
async def test_duplicate_name_in_an_object_is_refused(
    client: httpx.AsyncClient, body: bytes, named: str
) -> None:
    answer = await post_json(client, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert named in answer.json()["detail"]
    assert (await client.get("/v1/contacts")).json()["data"] == []


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
async def test_nan_and_infinity_are_refused(client: httpx.AsyncClient, number: bytes) -> None:
    answer = await post_json(client, b'{"phone": "6175550142", "attributes": {"a": %b}}' % number)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    "number",
    [
        b"9007199254740992",
        b"-9007199254740992",
        b"18446744073709551616",
        b"1" * 5000,
        b"1e400",
        b"-1E+999",
    ],
)
async def test_number_outside_the_exact_range_is_refused(
    client: httpx.AsyncClient, number: bytes
) -> None:
    body = b'{"phone": "6175550142", "attributes": {"a": [{"b/c": %b}]}}' % number

    answer = await post_json(client, body)

    assert answer.status_code == 422
    assert faults(answer) == {"/attributes/a/0/b~1c": "number_out_of_range"}


async def test_largest_exact_numbers_are_returned_unchanged(client: httpx.AsyncClient) -> None:
    body = (
        b'{"phone": "6175550142", "attributes": '
        b'{"a": 9007199254740991, "b": -9007199254740991, "c": "9007199254740993"}}'
    )

    answer = await post_json(client, body)

    assert answer.status_code == 201
    assert answer.json()["attributes"] == {
        "a": 9007199254740991,
        "b": -9007199254740991,
        "c": "9007199254740993",
    }


@pytest.mark.parametrize("levels", [65, 900, 5_000, 500_000])
@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
async def test_too_deeply_nested_json_is_refused(
    client: httpx.AsyncClient, levels: int, bracket: bytes
) -> None:
    closing = b"]" if bracket == b"[" else b"}"
    body = bracket * levels + b"1" + closing * levels
    begun = time.perf_counter()

    answer = await post_json(client, body[:LARGEST_BODY])

    assert answer.status_code in ({422} if len(body) <= LARGEST_BODY else {400, 422})
    if answer.status_code == 422:
        assert faults(answer) == {"": "too_deep"}
    assert time.perf_counter() - begun < SLOW_SECONDS


async def test_nesting_within_the_limit_is_checked_by_the_schema(client: httpx.AsyncClient) -> None:
    answer = await post_json(client, b"[" * 64 + b"]" * 64)

    assert answer.json()["code"] == "validation_failed"
    assert "too_deep" not in faults(answer).values()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
async def test_json_in_another_encoding_is_refused(
    client: httpx.AsyncClient, encoding: str
) -> None:
    body = '{"phone": "6175550142", "first_name": "Zoë"}'.encode(encoding)

    assert (await post_json(client, body)).status_code == 400


async def test_lone_surrogate_is_refused(client: httpx.AsyncClient) -> None:
    for text in (b'"first_name": "\\ud83d"', b'"attributes": {"a": "\\ud83d"}'):
        answer = await post_json(client, b'{"phone": "6175550142", %b}' % text)
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "text/json", "", "nonsense"])
async def test_body_of_another_media_type_is_415(client: httpx.AsyncClient, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}

    answer = await client.post("/v1/contacts", content=b'{"phone": "6175550142"}', headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
)
async def test_every_json_media_type_is_accepted(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post(
        "/v1/contacts", content=b'{"phone": "6175550142"}', headers={"content-type": kind}
    )

    assert answer.status_code == 201


async def test_json_body_for_a_form_is_415(client: httpx.AsyncClient) -> None:
    answer = await post_json(
        client, b'{"username": "a@firm.example.com"}', "/v1/do-not-contact-uploads"
    )

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def _chunks(total: int) -> AsyncIterator[bytes]:
    yield b'{"phone": "'
    for _ in range(total // 65_536 + 1):
        yield b"1" * 65_536
    yield b'"}'


@pytest.mark.parametrize(
    "path", ["/v1/contacts", "/v1/imports", f"/v1/campaigns/{UNKNOWN_ID}/preview"]
)
async def test_large_body_without_a_content_length_is_413(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.post(path, content=_chunks(LARGEST_BODY), headers=AS_JSON)

    assert "content-length" not in answer.request.headers
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("length", ["1048577", "9" * 15, "9" * 5_000])
async def test_too_large_content_length_is_413(client: httpx.AsyncClient, length: str) -> None:
    answer = await client.post(
        "/v1/contacts", content=b"{}", headers=AS_JSON | {"content-length": length}
    )

    assert answer.status_code == 413


async def test_uploaded_file_may_be_larger_than_a_json_body(client: httpx.AsyncClient) -> None:
    file = b"phone\n" + b"+16175550142\n" * 100_000

    answer = await client.post(
        "/v1/do-not-contact-uploads", files={"file": ("numbers.csv", file, "text/csv")}
    )

    assert len(file) > LARGEST_BODY
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/v1/contacts", "text/csv", 200),
        ("/v1/contacts", "application/*;q=0.1", 200),
        ("/v1/contacts", "text/html", 406),
        ("/v1/contacts", "image/png, text/html", 406),
        ("/v1/contacts", "application/json;q=0, text/html", 406),
        ("/v1/lists", "text/csv", 406),
        ("/v1/lists", "text/csv, */*;q=0.1", 200),
        ("/v1/lists", "application/json", 200),
        ("/v1/lists", "nonsense", 406),
        (f"/v1/imports/{UNKNOWN_ID}/errors", "application/json", 406),
        (f"/v1/imports/{UNKNOWN_ID}/errors", "text/csv", 404),
    ],
)
async def test_response_type_that_the_client_does_not_accept_is_406(
    client: httpx.AsyncClient, path: str, accept: str, status: int
) -> None:
    answer = await client.get(path, headers={"accept": accept})

    assert answer.status_code == status
    if status == 406:
        assert answer.json()["code"] == "not_acceptable"


async def test_request_refused_with_406_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    refused = await client.post(
        "/v1/contacts", json={"phone": "6175550142"}, headers={"accept": "text/html"}
    )

    assert refused.status_code == 406
    assert (await client.get("/v1/contacts")).json()["data"] == []


async def test_at_most_100_faults_are_reported(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/contacts", json={"phone": "6175550142", "tags": [1] * 500})

    assert answer.json()["detail"].startswith("The request has 500 invalid value(s).")
    assert len(answer.json()["errors"]) == 100


def _array_paths(
    schema: dict[str, Any], schemas: dict[str, Any], *, depth: int = 0
) -> list[list[str]]:
    """Return the paths of all arrays in a body schema, as lists of field names."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    found: list[list[str]] = [[]] if schema.get("type") == "array" else []
    for branch in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(branch, ()):
            found += _array_paths(inner, schemas, depth=depth) if depth < 3 else []
    for name, inner in schema.get("properties", {}).items():
        found += (
            [[name, *way] for way in _array_paths(inner, schemas, depth=depth + 1)]
            if depth < 3
            else []
        )
    return found


async def test_array_of_ten_thousand_items_is_refused_quickly(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    """Send a very long array for each array of each body in the OpenAPI document."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    tried, wrong = 0, []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            for way in _array_paths(schema, schemas):
                body: Any = [UNKNOWN_ID] * 10_000
                for name in reversed(way):
                    body = {name: body}
                where = "/".join(UNKNOWN_ID if "{" in part else part for part in path.split("/"))
                begun = time.perf_counter()
                answer = await client.request(method, where, json=body)
                took = time.perf_counter() - begun
                tried += 1
                if answer.status_code not in {401, 403, 404, 413, 422} or took > SLOW_SECONDS:
                    wrong.append((method, path, way, answer.status_code, took))

    assert tried > 30
    assert wrong == []


@pytest.mark.parametrize("value", [0, 1, "true", "no"])
async def test_a_boolean_is_only_true_or_false(
    app: FastAPI, client: httpx.AsyncClient, value: object
) -> None:
    """Send a value that is not a boolean for each boolean of each body in the OpenAPI document."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    tried, wrong = 0, []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            if set(content) != {"application/json"} or "$ref" not in schema:
                continue
            known = schemas[schema["$ref"].rpartition("/")[2]].get("properties", {})
            where = "/".join(UNKNOWN_ID if "{" in part else part for part in path.split("/"))
            for name in (name for name, one in known.items() if "boolean" in str(one.get("type"))):
                tried += 1
                answer = await client.request(method, where, json={name: value})
                if answer.status_code != 422 or f"/{name}" not in faults(answer):
                    wrong.append((method, path, name, answer.status_code))

    assert tried >= 8
    assert wrong == []
