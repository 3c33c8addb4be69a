"""Tests of the routes that control people, faults and clock of the sandbox.

These routes do not exist if the service has a real API key of the provider.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr
from tests.fakes import RecordingQueue

from crm_api.dev.sandbox.app import run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.platform.jobs import JobName
from crm_api.platform.settings import Settings

PERSON = "+16175550123"
OTHER = "+16175550147"
PATHS = (
    ("GET", "/v1/sandbox/clock"),
    ("POST", "/v1/sandbox/clock"),
    ("GET", "/v1/sandbox/people"),
    ("POST", "/v1/sandbox/people"),
    ("DELETE", "/v1/sandbox/people"),
    ("GET", "/v1/sandbox/faults"),
    ("POST", "/v1/sandbox/faults"),
    ("DELETE", "/v1/sandbox/faults"),
    ("POST", "/v1/sandbox/messages"),
    ("POST", "/v1/sandbox/calls"),
)


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with run_sandbox(SandboxConfig(people="silent", time_scale=0.0, rate_per_second=None)) as one:
        yield one.url


@pytest_asyncio.fixture
async def provider_http(sandbox_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox_url, headers={"authorization": "key"}) as http:
        await http.post("/sandbox/reset")
        yield http


@pytest.fixture
def settings(settings: Settings, sandbox_url: str) -> Settings:
    return settings.model_copy(update={"openphone_base_url": sandbox_url})


async def _send(http: httpx.AsyncClient, to: str) -> httpx.Response:
    body = {"content": "Hi", "from": "PNsandbox1", "to": [to]}
    return await http.post("/v1/messages", json=body)


async def _received(http: httpx.AsyncClient, count: int) -> list[tuple[str, str]]:
    """Wait until people have sent `count` messages; return their senders and bodies."""
    async with asyncio.timeout(30):
        while True:
            answer = await http.get("/sandbox/messages?direction=incoming")
            found = [(one["from"], one["text"]) for one in answer.json()["data"]]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.005)


async def test_person_replies_to_the_second_message_as_scripted(
    client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    step = {"do": "reply", "text": "STOP", "after": "PT2H", "on_text": 2}
    answer = await client.post("/v1/sandbox/people", json={"phone": PERSON, "script": [step]})
    await _send(provider_http, PERSON)
    await _send(provider_http, PERSON)

    assert answer.status_code == 200
    assert answer.json() == {
        "phone": PERSON,
        "script": [step | {"error_code": None, "times": 1, "answered": True}],
    }
    assert await _received(provider_http, 1) == [(PERSON, "STOP")]


async def test_most_specific_script_is_used(
    client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    for phone, text in (("*", "all"), ("+1617555*", "near"), ("(617) 555-0123", "one")):
        script = [{"do": "reply", "text": text}]
        await client.post("/v1/sandbox/people", json={"phone": phone, "script": script})
    for number in (PERSON, OTHER, "+12125550100"):
        await _send(provider_http, number)

    assert sorted(await _received(provider_http, 3)) == [
        ("+12125550100", "all"),
        (PERSON, "one"),
        (OTHER, "near"),
    ]


@pytest.mark.usefixtures("provider_http")
@pytest.mark.parametrize(
    ("behaviour", "steps"),
    [
        ("replies", ["deliver", "reply"]),
        ("stops", ["deliver", "reply"]),
        ("silent", ["deliver"]),
        ("calls", ["deliver", "call"]),
        ("landline", ["fail"]),
        ("undelivered", ["undeliver"]),
        ("unreached", []),
    ],
)
async def test_behaviour_is_a_named_script(
    client: httpx.AsyncClient,
    behaviour: str,
    steps: list[str],
) -> None:
    answer = await client.post("/v1/sandbox/people", json={"phone": PERSON, "behaviour": behaviour})

    assert [step["do"] for step in answer.json()["script"]] == steps


async def test_script_can_make_a_person_call(
    client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    await client.post("/v1/sandbox/people", json={"phone": PERSON, "behaviour": "calls"})
    await _send(provider_http, PERSON)

    async with asyncio.timeout(30):
        while True:
            query = {"phoneNumberId": "PNsandbox1", "participants": PERSON, "maxResults": "10"}
            calls = await provider_http.get("/v1/calls", params=query)
            if calls.json()["data"]:
                break
            await asyncio.sleep(0.005)
    assert calls.json()["data"][0]["direction"] == "incoming"


async def test_person_writes_and_calls(
    client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    written = await client.post(
        "/v1/sandbox/messages", json={"phone": "617-555-0123", "text": "STOP", "pictures": 1}
    )
    called = await client.post("/v1/sandbox/calls", json={"phone": PERSON, "voicemail": True})

    assert (written.status_code, called.status_code) == (204, 204)
    assert await _received(provider_http, 1) == [(PERSON, "STOP")]
    query = {"phoneNumberId": "PNsandbox1", "participants": PERSON, "maxResults": "10"}
    calls = (await provider_http.get("/v1/calls", params=query)).json()["data"]
    assert [one["direction"] for one in calls] == ["incoming"]


@pytest.mark.usefixtures("provider_http")
@pytest.mark.parametrize("path", ["/v1/sandbox/messages", "/v1/sandbox/calls"])
async def test_line_that_is_unknown_to_the_sandbox_is_refused(
    client: httpx.AsyncClient, path: str
) -> None:
    extra = {"text": "Hello"} if path.endswith("messages") else {}
    body = {"phone": PERSON, "line": "+12125550100", **extra}

    answer = await client.post(path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_sandbox_line")


@pytest.mark.usefixtures("provider_http")
async def test_scripts_are_listed_and_removed(client: httpx.AsyncClient) -> None:
    for phone in (PERSON, OTHER, "*"):
        await client.post("/v1/sandbox/people", json={"phone": phone, "behaviour": "silent"})

    first = await client.delete("/v1/sandbox/people", params={"phone": PERSON})
    listed = await client.get("/v1/sandbox/people")
    await client.delete("/v1/sandbox/people")
    left = await client.get("/v1/sandbox/people")

    assert first.status_code == 204
    assert [one["phone"] for one in listed.json()["data"]] == [OTHER, "*"]
    assert left.json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"phone": "12"}, "/phone"),
        ({"phone": "617*"}, "/phone"),
        ({"phone": PERSON, "behaviour": "silent", "script": []}, "/"),
        ({"phone": PERSON}, "/"),
        ({"phone": PERSON, "script": [{"do": "dance"}]}, "/script/0/do"),
        ({"phone": PERSON, "script": [{"do": "reply", "after": "2 hours"}]}, "/script/0/after"),
        ({"phone": PERSON, "script": [{"do": "reply", "after": "P"}]}, "/script/0/after"),
        ({"phone": PERSON, "script": [{"do": "reply", "after": "PT"}]}, "/script/0/after"),
        ({"phone": PERSON, "script": [{"do": "reply", "after": 5}]}, "/script/0/after"),
        ({"phone": PERSON, "script": [{"do": "reply", "text": "a\x00"}]}, "/script/0/text"),
    ],
)
async def test_unreadable_script_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/v1/sandbox/people", json=body)

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_fault_fails_one_message_to_one_person(
    client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    fault = {"kind": "429", "phone": PERSON, "retry_after_seconds": 7}
    requested = await client.post("/v1/sandbox/faults", json=fault)
    others = await _send(provider_http, OTHER)
    listed = await client.get("/v1/sandbox/faults")
    refused = await _send(provider_http, PERSON)
    again = await _send(provider_http, PERSON)

    assert requested.status_code == 201
    assert requested.json() == fault | {"on": "send", "count": 1, "percent": None, "delay": "PT1M"}
    assert listed.json()["data"] == [requested.json()]
    assert [others.status_code, refused.status_code, again.status_code] == [202, 429, 202]
    assert refused.headers["retry-after"] == "7"


async def test_faults_are_cleared(
    client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    every = await client.post("/v1/sandbox/faults", json={"kind": "500_before", "percent": 100})
    failed = await _send(provider_http, PERSON)
    cleared = await client.delete("/v1/sandbox/faults")
    passed = await _send(provider_http, PERSON)

    assert (every.json()["count"], every.json()["percent"]) == (None, 100)
    assert [failed.status_code, passed.status_code] == [500, 202]
    assert (cleared.status_code, (await client.get("/v1/sandbox/faults")).json()["data"]) == (
        204,
        [],
    )


@pytest.mark.parametrize(
    "body",
    [{"kind": "418"}, {"kind": "429", "count": 1, "percent": 5}, {"kind": "429", "count": 0}],
)
async def test_unreadable_fault_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/v1/sandbox/faults", json=body)).status_code == 422


async def test_every_fault_of_the_sandbox_can_be_added(
    client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    for kind in FaultKind:
        await client.post("/v1/sandbox/faults", json={"kind": kind})
    active = (await provider_http.get("/sandbox/faults")).json()["data"]
    await client.delete("/v1/sandbox/faults")

    assert [fault["kind"] for fault in active] == [kind.value for kind in FaultKind]


async def test_unreachable_sandbox_is_reported(app: FastAPI, client: httpx.AsyncClient) -> None:
    gone = app.state.crm.settings.model_copy(update={"openphone_base_url": "http://127.0.0.1:1"})
    app.state.crm = _state_with(app, gone)

    answer = await client.get("/v1/sandbox/people")

    assert (answer.status_code, answer.json()["code"]) == (503, "sandbox_away")


async def test_sandbox_routes_do_not_exist_with_a_real_key(
    app: FastAPI, client: httpx.AsyncClient, provider_http: httpx.AsyncClient
) -> None:
    real = app.state.crm.settings.model_copy(update={"openphone_api_key": SecretStr("real")})
    app.state.crm = _state_with(app, real)
    bodies = {
        "/v1/sandbox/people": {"phone": "*", "behaviour": "stops"},
        "/v1/sandbox/clock": {"advance": "P1D"},
        "/v1/sandbox/messages": {"phone": PERSON, "text": "STOP"},
        "/v1/sandbox/calls": {"phone": PERSON},
    }
    answers = [
        await client.request(
            method, path, json=bodies.get(path, {"kind": "429"}) if method == "POST" else None
        )
        for method, path in PATHS
    ]

    assert {(one.status_code, one.json()["code"]) for one in answers} == {(404, "sandbox_only")}
    listed = [await provider_http.get(f"/sandbox/{what}") for what in ("people", "faults")]
    assert [one.json()["data"] for one in listed] == [[], []]


async def test_clock_is_not_moving_until_a_move_is_requested(
    client: httpx.AsyncClient, queue: RecordingQueue
) -> None:
    before = (await client.get("/v1/sandbox/clock")).json()
    requested = await client.post("/v1/sandbox/clock", json={"advance": "P14D"})
    moving = (await client.get("/v1/sandbox/clock", params={"wait": 0})).json()

    assert (before["status"], before["ahead"], before["move"]) == ("still", "PT0S", None)
    assert requested.status_code == 202
    assert requested.json()["status"] == moving["status"] == "moving"
    move = moving["move"]
    distance = datetime.fromisoformat(move["to_at"]) - datetime.fromisoformat(move["from_at"])
    assert (distance, move["stops"], move["failure"]) == (timedelta(days=14), 0, None)
    assert queue.names == [JobName.MOVE_SANDBOX_TIME]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"advance": "P1D", "to": "2030-01-01T00:00:00Z"},
        {"advance": "a day"},
        {"advance": 86_400},
        {"to": "2030-01-01T00:00:00"},
        {"advance": "P367D"},
        {"to": "2020-01-01T00:00:00Z"},
    ],
)
async def test_invalid_clock_move_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    assert (await client.post("/v1/sandbox/clock", json=body)).status_code == 422


async def test_only_admins_control_the_sandbox(
    client: httpx.AsyncClient, key_with: Callable[..., Any]
) -> None:
    headers = await key_with(Scope.OPERATIONS, Scope.MESSAGES_SEND)

    answers = [await client.request(method, path, headers=headers) for method, path in PATHS]

    assert {one.status_code for one in answers} == {403}


def _state_with(app: FastAPI, settings: Settings) -> Any:
    return replace(app.state.crm, settings=settings)
