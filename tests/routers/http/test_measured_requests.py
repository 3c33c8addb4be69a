"""Tests of the metrics about API requests, which `GET /metrics` shows."""

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tests.conftest import UNKNOWN_ID
from tests.measuring import measured

from crm_api.platform.database import create_engine

CONTACT = f"/v1/contacts/{UNKNOWN_ID}"


async def _counted_responses(client: httpx.AsyncClient, **labels: str) -> float:
    scraped = (await client.get("/metrics")).text
    found = {
        frozenset(sample.labels.items()): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
        if sample.name == "crm_http_answer_seconds_count"
    }
    return found.get(frozenset({**labels, "process": "serve"}.items()), 0.0)


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", CONTACT, ("/v1/contacts/{contact_id}", "GET", "4xx")),
        ("HEAD", CONTACT, ("/v1/contacts/{contact_id}", "HEAD", "4xx")),
        ("GET", "/v1/tags", ("/v1/tags", "GET", "2xx")),
        ("POST", "/webhooks/openphone", ("/webhooks/openphone", "POST", "4xx")),
        ("GET", "/nowhere/617", ("unmatched", "GET", "4xx")),
        ("GET", "/nowhere/508", ("unmatched", "GET", "4xx")),
        ("BREW", "/v1/tags", ("/v1/tags", "other", "4xx")),
    ],
    ids=["id", "head", "list", "webhook", "unknown path", "another unknown path", "unknown method"],
)
async def test_responses_are_counted_by_route(
    client: httpx.AsyncClient, method: str, path: str, labels: tuple[str, str, str]
) -> None:
    counted = dict(zip(("route", "method", "status"), labels, strict=True))
    before = await _counted_responses(client, **counted)

    await client.request(method, path)

    assert await _counted_responses(client, **counted) == before + 1


async def test_metrics_contain_no_requested_path(client: httpx.AsyncClient) -> None:
    await client.get(CONTACT)
    await client.get("/nowhere/6175550142")

    scraped = (await client.get("/metrics")).text

    assert UNKNOWN_ID not in scraped
    assert "6175550142" not in scraped


async def test_requests_in_progress_are_counted(app: FastAPI) -> None:
    before = measured("crm_http_requests_in_flight")
    seen: list[float] = []

    async def receive() -> dict[str, object]:
        seen.append(measured("crm_http_requests_in_flight"))
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        del message

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/webhooks/openphone",
        "raw_path": b"/webhooks/openphone",
        "query_string": b"",
        "headers": [],
        "app": app,
    }
    await app(scope, receive, send)  # type: ignore[arg-type] # any dict

    assert seen == [before + 1]
    assert measured("crm_http_requests_in_flight") == before


async def test_pool_reports_its_connections_and_timeouts(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1)
    engine.pool._timeout = 0.01  # type: ignore[attr-defined] # so that the test does not wait ten seconds
    in_use = measured("crm_database_pool_connections", state="in_use")
    timeouts = measured("crm_database_pool_timeouts_total")
    try:
        async with engine.connect():
            assert measured("crm_database_pool_connections", state="in_use") == in_use + 1
            with pytest.raises(PoolTimeoutError):
                await engine.connect()
        assert measured("crm_database_pool_connections", state="in_use") == in_use
        assert measured("crm_database_pool_timeouts_total") == timeouts + 1
    finally:
        await engine.dispose()
