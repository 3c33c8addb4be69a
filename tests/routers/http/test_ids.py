"""A malformed id in a path is a 404, and a response never repeats harmful input."""

import httpx
import pytest
from fastapi import FastAPI
from tests.conftest import UNKNOWN_ID
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in
from tests.routers.scopes import REQUIRED_SCOPES

SHAPES = ["1", "-1", "null", "None", "x" * 36, "0" * 33, "%00", "é", "a b", "{id}", "%F0"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_malformed_id_is_404(client: httpx.AsyncClient, shape: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        body = {"first_name": "Ada"} if method == "PATCH" else None
        answer = await client.request(method, f"/v1/contacts/{shape}", json=body)
        assert (method, answer.status_code) == (method, 404), answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_malformed_id_is_404_in_every_operation(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    await create_active_user(client, role="owner")
    client.headers.update(bearer(await sign_in(client)))
    paths = app.openapi()["paths"]
    wrong = []
    for name in REQUIRED_SCOPES:
        method, _, path = name.partition(" ")
        parameters = paths[path][method.lower()].get("parameters", ())
        ids = [one["name"] for one in parameters if one.get("schema", {}).get("format") == "uuid"]
        for other in ids:
            if f"{{{other}}}" not in path:
                continue
            where = path.replace(f"{{{other}}}", "nothing")
            for part in path.split("/"):
                where = where.replace(part, UNKNOWN_ID) if part.startswith("{") else where
            body: dict[str, str] | None = {} if method in {"POST", "PUT", "PATCH"} else None
            answer = await client.request(method, where, json=body)
            if answer.status_code != 404:
                wrong.append((name, other, answer.status_code))

    assert wrong == []


async def test_an_id_may_be_written_in_capitals_and_without_dashes(
    client: httpx.AsyncClient,
) -> None:
    made = (await client.post("/v1/contacts", json={"phone": "6175550142"})).json()["id"]

    for written in (made.upper(), made.replace("-", "")):
        assert (await client.get(f"/v1/contacts/{written}")).json()["id"] == made


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/v1/segments/preview", "OPTIONS, POST"),
        ("GET", "/v1/webhook-events/replay", "OPTIONS, POST"),
        ("DELETE", "/v1/properties/by-address", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/contacts", "GET, HEAD, OPTIONS, POST"),
    ],
)
async def test_a_fixed_name_in_a_path_is_not_an_id(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path, json={} if method == "PATCH" else None)
    options = await client.options(path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == options.headers["allow"] == allowed


@pytest.mark.parametrize("mine", ["a", "A-1._z", "x" * 64])
@pytest.mark.parametrize("path", ["/v1/contacts", "/nowhere", f"/v1/contacts/{UNKNOWN_ID}"])
async def test_request_id_is_returned(client: httpx.AsyncClient, path: str, mine: str) -> None:
    answer = await client.get(path, headers={"X-Request-ID": mine})

    assert answer.headers["X-Request-ID"] == mine


@pytest.mark.parametrize(
    "harmful",
    ["", "x" * 65, "a b", "a\tb", "a\nSet-Cookie: x=1", "a\r\nX: y", "a\n", "é", "<script>", "a;b"],
)
async def test_a_harmful_request_id_is_replaced(client: httpx.AsyncClient, harmful: str) -> None:
    answer = await client.get("/healthz", headers={b"X-Request-ID": harmful.encode("latin-1")})

    assert answer.headers["X-Request-ID"] != harmful
    assert answer.headers["X-Request-ID"].isalnum()
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "sent",
    [
        ("GET", "/v1/contacts", {"Authorization": ""}, 401),
        ("POST", "/v1/contacts", {"content-type": "text/plain"}, 415),
        ("GET", "/v1/lists", {"accept": "text/csv"}, 406),
        ("GET", "/v1/lists?api_key=x", {}, 401),
        ("POST", "/v1/contacts", {"content-length": "9999999"}, 413),
        ("DELETE", "/v1/contacts", {}, 405),
    ],
)
async def test_refused_request_returns_the_request_id(
    client: httpx.AsyncClient, sent: tuple[str, str, dict[str, str], int]
) -> None:
    method, path, headers, status = sent
    content = b"{}" if method == "POST" else None

    answer = await client.request(
        method, path, headers={"X-Request-ID": "mine-1"} | headers, content=content
    )

    assert answer.status_code == status
    assert answer.headers["X-Request-ID"] == "mine-1"


async def test_unknown_path_and_method_say_what_to_do(client: httpx.AsyncClient) -> None:
    path = await client.get("/v1/contactz")
    method = await client.put("/v1/contacts")

    assert (path.status_code, method.status_code) == (404, 405)
    assert "GET /docs" in path.json()["detail"]
    assert "`Allow`" in method.json()["detail"]
    assert "POST" in method.headers["Allow"]
