"""A caller's requests a second: counted in real Redis, told in headers, never in the way."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from redis.asyncio import Redis
from tests.conftest import ADMIN_KEY

from crm_api.embedded import ServerUrls
from crm_api.routers.rate_limits import RequestRate

NOWHERE = "redis://127.0.0.1:9"


@pytest_asyncio.fixture
async def limited(app: FastAPI, urls: ServerUrls) -> AsyncIterator[RequestRate]:
    """The application, with three requests a minute."""
    rate = RequestRate(urls.redis_url or "", quota=3, window_seconds=60)
    await rate._storage.reset()
    app.state.rate = rate
    yield rate
    await rate.close()


async def statuses(client: httpx.AsyncClient, count: int, **options: Any) -> list[int]:
    return [(await client.get("/v1/lists", **options)).status_code for _ in range(count)]


@pytest.mark.usefixtures("limited")
async def test_a_caller_is_told_what_is_left(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/lists")

    assert answer.headers["ratelimit-policy"] == '"caller";q=3;w=60'
    assert answer.headers["ratelimit"] == '"caller";r=2;t=60'


@pytest.mark.usefixtures("limited")
async def test_too_many_are_refused_before_anything_else(client: httpx.AsyncClient) -> None:
    assert await statuses(client, 3) == [200, 200, 200]

    refused = await client.get("/v1/lists")

    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many_requests"
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["ratelimit"] == '"caller";r=0;t=60'
    assert refused.headers["x-request-id"]


@pytest.mark.usefixtures("limited")
async def test_each_caller_has_their_own(client: httpx.AsyncClient) -> None:
    await statuses(client, 4)

    other = await client.get("/v1/lists", headers={"Authorization": "Bearer somebody else"})
    del client.headers["Authorization"]
    unknown = await client.get("/v1/lists")

    assert (other.status_code, unknown.status_code) == (401, 401)


@pytest.mark.usefixtures("limited")
async def test_nothing_else_is_limited(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/healthz") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


async def test_without_redis_all_pass(client: httpx.AsyncClient, app: FastAPI) -> None:
    app.state.rate = rate = RequestRate(NOWHERE, quota=1)

    answers = [await client.get("/v1/lists") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers
    await rate.close()


async def test_no_limit_counts_nothing(
    client: httpx.AsyncClient, app: FastAPI, urls: ServerUrls
) -> None:
    app.state.rate = rate = RequestRate(urls.redis_url or "", quota=0)

    answer = await client.get("/v1/lists")

    assert "ratelimit" not in answer.headers
    await rate.close()


async def test_no_key_stands_in_redis(client: httpx.AsyncClient, limited: RequestRate) -> None:
    await client.get("/v1/lists")

    redis = Redis(connection_pool=limited._pool)
    names = [name async for name in redis.scan_iter()]

    assert not any(ADMIN_KEY.encode() in name for name in names)
    assert any(name.startswith(b"crm:rate") for name in names)
