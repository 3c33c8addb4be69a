"""Tests of HEAD, OPTIONS, security headers and compression, which apply to all paths."""

import gzip

import httpx
import pytest
from fastapi import FastAPI
from tests.conftest import ADMIN_KEY

from crm_api.app import build_app
from crm_api.platform.settings import Settings


async def test_head_returns_the_headers_of_get_without_a_body(client: httpx.AsyncClient) -> None:
    got = await client.get("/v1/lists")

    head = await client.head("/v1/lists")

    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "etag"):
        assert head.headers[name] == got.headers[name]


async def test_head_needs_the_same_key(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]

    assert (await client.head("/v1/lists")).status_code == 401


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/contacts", "GET, HEAD, OPTIONS, POST"),
        (
            "/v1/contacts/00000000-0000-7000-8000-000000000000",
            "DELETE, GET, HEAD, OPTIONS, PATCH",
        ),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_list_the_allowed_methods(
    client: httpx.AsyncClient, path: str, methods: str
) -> None:
    answer = await client.options(path)

    assert answer.status_code == 204
    assert answer.headers["allow"] == methods


async def test_options_of_an_unknown_path_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.options("/v1/nothing")).status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/v1/contacts", "/v1/nothing", "/docs"])
async def test_every_response_has_security_headers(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "strict-transport-security" not in answer.headers


async def test_responses_from_outside_the_routes_have_security_headers(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    bug = await client.get("/broken")
    key_in_url = await client.get("/v1/contacts?api_key=x")
    too_large = await client.post("/v1/contacts", content=b"1" * 1_100_000)

    answers = [bug, key_in_url, too_large]
    assert [one.status_code for one in answers] == [500, 401, 413]
    assert [one.headers.get_list("x-content-type-options") for one in answers] == [["nosniff"]] * 3
    assert [one.headers.get_list("x-frame-options") for one in answers] == [["DENY"]] * 3


async def test_large_response_is_compressed(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/openapi.json") as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])

    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(raw).startswith(b'{"openapi"')


async def test_small_response_is_not_compressed(client: httpx.AsyncClient) -> None:
    assert "content-encoding" not in (await client.get("/healthz")).headers


def _browser(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://crm.test",
        headers={"Origin": "https://app.example.com", "Authorization": f"Bearer {ADMIN_KEY}"},
    )


async def test_a_browser_of_an_allowed_origin_may_call() -> None:
    settings = Settings.from_env(
        {
            "CRM_CORS_ORIGINS": "https://app.example.com",
            "CRM_PUBLIC_URL": "https://crm.example.com",
        }
    )
    async with _browser(build_app(settings)) as browser:
        preflight = await browser.options(
            "/v1/contacts",
            headers={
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,idempotency-key",
            },
        )
        answer = await browser.get("/healthz")
        foreign = await browser.get("/healthz", headers={"Origin": "https://evil.example.com"})

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "idempotency-key" in preflight.headers["access-control-allow-headers"]
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert "access-control-allow-origin" not in foreign.headers
