"""Tests of the rate limit per caller, which needs Redis and is shown in response headers."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from redis.asyncio import Redis
from tests.conftest import ADMIN_KEY
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

from crm_api.dev.embedded_servers import ServerUrls
from crm_api.platform.request_context import network_of
from crm_api.routers.http.rate_limits import RequestRate

UNREACHABLE_REDIS = "redis://127.0.0.1:9"


@pytest_asyncio.fixture
async def limited(app: FastAPI, urls: ServerUrls) -> AsyncIterator[RequestRate]:
    """Set a rate limit of three requests a minute in the application; yield the limit."""
    rate = RequestRate(urls.redis_url or "", quota=3, window_seconds=60)
    await rate._storage.reset()
    app.state.rate = rate
    yield rate
    await rate.close()


async def statuses(client: httpx.AsyncClient, count: int, **options: Any) -> list[int]:
    return [(await client.get("/v1/lists", **options)).status_code for _ in range(count)]


@pytest.mark.usefixtures("limited")
async def test_headers_show_the_requests_left(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/lists")

    assert answer.headers["ratelimit-policy"] == '"caller";q=3;w=60'
    assert answer.headers["ratelimit"] == '"caller";r=2;t=60'


@pytest.mark.usefixtures("limited")
async def test_request_over_the_limit_is_429(client: httpx.AsyncClient) -> None:
    assert await statuses(client, 3) == [200, 200, 200]

    refused = await client.get("/v1/lists")

    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many_requests"
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["ratelimit"] == '"caller";r=0;t=60'
    assert refused.headers["x-request-id"]


@pytest.mark.usefixtures("limited")
async def test_each_caller_has_its_own_quota(client: httpx.AsyncClient) -> None:
    await statuses(client, 4)

    other = await client.get("/v1/lists", headers={"Authorization": "Bearer somebody else"})
    del client.headers["Authorization"]
    unknown = await client.get("/v1/lists")

    assert (other.status_code, unknown.status_code) == (401, 401)


@pytest.mark.usefixtures("limited")
async def test_paths_outside_v1_are_not_limited(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/healthz") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


async def test_requests_are_not_limited_without_redis(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    app.state.rate = rate = RequestRate(UNREACHABLE_REDIS, quota=1)

    answers = [await client.get("/v1/lists") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers
    await rate.close()


async def test_without_a_limit_nothing_is_counted(
    client: httpx.AsyncClient, app: FastAPI, urls: ServerUrls
) -> None:
    app.state.rate = rate = RequestRate(urls.redis_url or "", quota=0)

    answer = await client.get("/v1/lists")

    assert "ratelimit" not in answer.headers
    await rate.close()


async def test_redis_contains_no_key(client: httpx.AsyncClient, limited: RequestRate) -> None:
    await client.get("/v1/lists")

    redis = Redis(connection_pool=limited._pool)
    names = [name async for name in redis.scan_iter()]

    assert not any(ADMIN_KEY.encode() in name for name in names)
    assert any(name.startswith(b"crm:rate") for name in names)


@pytest.mark.parametrize("header", ["Bearer   {}", "bearer {}", "BEARER {} ", "Bearer \t{}"])
@pytest.mark.usefixtures("limited")
async def test_another_format_of_a_key_uses_the_same_quota(
    client: httpx.AsyncClient, header: str
) -> None:
    await statuses(client, 3)

    answer = await client.get("/v1/lists", headers={"Authorization": header.format(ADMIN_KEY)})

    assert answer.status_code == 429


async def test_the_sessions_of_a_user_share_one_quota(
    client: httpx.AsyncClient, app: FastAPI, urls: ServerUrls
) -> None:
    await create_active_user(client)
    phone, desk = bearer(await sign_in(client)), bearer(await sign_in(client))
    app.state.rate = rate = RequestRate(urls.redis_url or "", quota=3, window_seconds=60)
    await rate._storage.reset()

    first = await statuses(client, 2, headers=phone)
    second = await statuses(client, 2, headers=desk)

    await rate.close()
    assert (first, second) == ([200, 200], [200, 429])


@pytest.mark.usefixtures("limited")
async def test_unknown_tokens_share_the_quota_of_their_address(
    client: httpx.AsyncClient,
) -> None:
    answers = [
        await client.get("/v1/lists", headers={"Authorization": f"Bearer {number}"})
        for number in range(4)
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    # An authenticated caller has its own quota.
    assert await statuses(client, 1) == [200]


@pytest.mark.usefixtures("limited")
async def test_requests_without_credentials_share_the_quota_of_their_address(
    app: FastAPI,
) -> None:
    async with at_address(app, "192.0.2.7") as one, at_address(app, "192.0.2.8") as other:
        answers = [await call(one) for call in (reset, accept, reset, accept, reset)]
        elsewhere = [await call(other) for call in (reset, accept)]

    assert [answer.status_code for answer in answers] == [202, 422, 202, 429, 429]
    assert [answer.status_code for answer in elsewhere] == [202, 422]


def at_address(app: FastAPI, address: str) -> httpx.AsyncClient:
    """Return a client with this IP address that sends no header ``Authorization``."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, client=(address, 50_000)),
        base_url="http://crm.test",
    )


async def reset(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/auth/password-reset", json={"email": "olga@firm.example.com"})


async def accept(client: httpx.AsyncClient) -> httpx.Response:
    body = {"token": "no invitation", "password": "correct horse battery"}
    return await client.post("/v1/auth/invitations/accept", json=body)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_an_address_is_counted_by_its_network(address: str, counted: str) -> None:
    assert network_of(address) == counted
