"""Tests of the quick receiver, which handles most webhooks without the middlewares.

Its responses equal the responses through the middlewares, and it runs few statements.
"""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Receive, Scope, Send
from tests.measuring import measured
from tests.routers.conftest import CountingStream

from crm_api.domain.inbound.webhook_events.envelope import read_event
from crm_api.domain.provider.openphone.signature import sign_legacy
from crm_api.platform import clock
from crm_api.platform.settings import Settings
from crm_api.routers.http.middleware import OUT_OF_TIME
from crm_api.routers.inbound.event_intake import EventIntake
from crm_api.routers.inbound.receiver import RECEIVER_PATH, QuickReceiver

REPEATED_HEADERS = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]
"""A header that occurs twice; the middlewares, not the quick receiver, handle such a webhook."""


@pytest.fixture(params=["http://crm.test", "https://crm.test"])
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return the settings of a service; each test runs without TLS and with TLS."""
    return settings.model_copy(update={"public_base_url": request.param})


def webhook(name: str) -> bytes:
    return json.dumps({"id": name, "type": "message.received"}).encode()


def signed(settings: Settings, body: bytes) -> list[tuple[str, str]]:
    return list(sign_legacy(settings.webhook_secrets()[0], body, at=clock.now()).items())


def receiver_of(app: FastAPI) -> QuickReceiver:
    receiver: QuickReceiver = app._receiver  # type: ignore[attr-defined] # of our own class
    return receiver


async def refuse(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError("the middlewares were called")


async def post(
    client: httpx.AsyncClient,
    settings: Settings,
    name: str,
    *extra: tuple[str, str],
) -> httpx.Response:
    body = webhook(name)
    return await client.post(RECEIVER_PATH, content=body, headers=[*signed(settings, body), *extra])


def metrics() -> dict[str, float]:
    labels = {"route": RECEIVER_PATH, "method": "POST", "status": "2xx"}
    return {
        "answers": measured("crm_http_answer_seconds_count", **labels),
        "stored": measured("crm_webhooks_received_total", result="stored"),
        "in flight": measured("crm_http_requests_in_flight"),
    }


async def test_quick_receiver_gives_the_same_response_log_line_and_metrics(
    committed_app: FastAPI,
    committed_client: httpx.AsyncClient,
    settings: Settings,
    stream: CountingStream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first webhook also reads the saved keys from the database, so it is not measured.
    await post(committed_client, settings, "EV0")
    before = metrics()
    through_middlewares = await post(committed_client, settings, "EV1", *REPEATED_HEADERS)
    between = metrics()
    monkeypatch.setattr(receiver_of(committed_app), "_app", refuse)

    quick = await post(committed_client, settings, "EV2")

    after = metrics()
    ids = [answer.headers.pop("x-request-id") for answer in (through_middlewares, quick)]
    assert quick.content == through_middlewares.content
    assert quick.status_code == through_middlewares.status_code == 200
    assert quick.headers.raw == through_middlewares.headers.raw
    await asyncio.sleep(0)
    lines = stream.requests()[-2:]
    assert [line["request_id"] for line in lines] == ids
    assert [line.pop("duration_ms") > 0 for line in lines] == [True, True]
    for line in lines:
        del line["request_id"], line["timestamp"]
    assert lines[0] == lines[1]
    assert {name: between[name] - before[name] for name in before} == {
        "answers": 1,
        "stored": 1,
        "in flight": 0,
    }
    assert {name: after[name] - between[name] for name in before} == {
        "answers": 1,
        "stored": 1,
        "in flight": 0,
    }


async def rows_of_all_tables(engine: AsyncEngine) -> dict[str, int]:
    """Return the number of rows of each table that has rows, including rows of its partitions."""
    async with engine.connect() as connection:
        tables = await connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
                "AND relnamespace = 'public'::regnamespace"
            )
        )
        counts = {
            name: await connection.scalar(text(f'SELECT count(*) FROM "{name}"'))
            for name in tables.all()
        }
    return {name: count for name, count in counts.items() if count}


async def count_statements(intake: EventIntake) -> list[str]:
    """Return a list to which each later statement of the intake is added."""
    statements: list[str] = []
    for number, connection in enumerate(intake._connections):
        body = webhook(f"EVopen{number}")
        await connection.store([read_event(body, scheme="legacy", delivery_id=None)])
        assert connection._connection is not None
        connection._connection.add_query_logger(lambda query: statements.append(query.query))
    return statements


@pytest.mark.parametrize(("webhooks", "most_statements"), [(1, 1), (100, 2)])
async def test_each_webhook_of_a_batch_costs_two_rows_and_one_log_line(
    committed_app: FastAPI,
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    settings: Settings,
    stream: CountingStream,
    *,
    webhooks: int,
    most_statements: int,
) -> None:
    # The first webhook also reads the saved keys from the database, so it is not measured.
    await post(committed_client, settings, "EV0")
    statements = await count_statements(committed_app.state.intake)
    before = await rows_of_all_tables(committed_db)
    lines, writes = len(stream.getvalue().splitlines()), stream.writes

    answers = await asyncio.gather(
        *(post(committed_client, settings, f"EV1-{number}") for number in range(webhooks))
    )

    await asyncio.sleep(0)
    after = await rows_of_all_tables(committed_db)
    assert {answer.status_code for answer in answers} == {200}
    assert len(statements) <= most_statements
    assert {
        name: after[name] - before.get(name, 0)
        for name in after
        if after[name] != before.get(name, 0)
    } == {"webhook_event": webhooks, "webhook_event_key": webhooks}
    assert len(stream.getvalue().splitlines()) - lines == webhooks
    assert stream.writes - writes <= most_statements


async def test_repeated_webhook_is_acknowledged_without_a_new_row(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, settings: Settings
) -> None:
    await post(committed_client, settings, "EV1")
    before = await rows_of_all_tables(committed_db)

    answer = await post(committed_client, settings, "EV1")

    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert await rows_of_all_tables(committed_db) == before


async def test_request_id_of_the_sender_is_returned_and_masked_in_the_log_line(
    committed_client: httpx.AsyncClient, settings: Settings, stream: CountingStream
) -> None:
    await post(committed_client, settings, "EV0")

    answer = await post(committed_client, settings, "EV1", ("x-request-id", "617-555-0123"))

    await asyncio.sleep(0)
    assert answer.headers["x-request-id"] == "617-555-0123"
    assert stream.requests()[-1]["request_id"] == "+***23"


async def test_webhook_that_waits_at_a_stop_of_the_server_gets_503(
    committed_app: FastAPI,
    committed_client: httpx.AsyncClient,
    settings: Settings,
    stream: CountingStream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await post(committed_client, settings, "EV0")

    async def stop(*_: object, **__: object) -> None:
        raise asyncio.CancelledError(OUT_OF_TIME)

    monkeypatch.setattr(committed_app.state.intake, "store", stop)

    answer = await post(committed_client, settings, "EV1")

    await asyncio.sleep(0)
    assert (answer.status_code, answer.json()["code"]) == (503, "service_stopping")
    assert [line["status"] for line in stream.requests()] == [200, 503]


async def test_failed_store_is_answered_with_500_and_not_repeated(
    committed_app: FastAPI,
    committed_client: httpx.AsyncClient,
    settings: Settings,
    stream: CountingStream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await post(committed_client, settings, "EV0")
    tried: list[object] = []

    async def fail(event: object, **_: object) -> None:
        tried.append(event)
        raise RuntimeError("a defect")

    monkeypatch.setattr(committed_app.state.intake, "store", fail)

    answer = await post(committed_client, settings, "EV1")

    await asyncio.sleep(0)
    assert answer.status_code == 500
    assert len(tried) == 1
    assert [line["status"] for line in stream.requests()] == [200, 500]
    assert measured("crm_http_requests_in_flight") == 0
