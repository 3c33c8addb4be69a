from datetime import timedelta
from typing import Any

import pytest
from tests.dev.sandbox.support import LINE, NOW, OTHER, OURS, PERSON, Bench, ManualClock, bench
from tests.domain.provider.openphone.samples import check_request, check_response

from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError

THREAD = f"/v1/messages?phoneNumberId={LINE}&participants=%2B16175550123&maxResults=10"
DATED = {"quo-api-version": "2026-03-30"}


async def _thread(at: Bench, **bounds: Any) -> list[str]:
    found = at.client().list_messages(phone_number_id=LINE, participant=PERSON, **bounds)
    return [message.text async for message in found]


async def _workspace(at: Bench, **filters: Any) -> list[str]:
    return [message.text async for message in at.client().list_workspace_messages(**filters)]


async def test_thread_is_listed_to_its_end_by_the_client() -> None:
    async with bench() as at:
        for number in range(205):
            await at.send(text=str(number))
        await at.send(OTHER, "not hers")
        await at.control("/receive", {"from": PERSON, "text": "reply"})

        texts = await _thread(at)

    assert texts == ["reply", *(str(number) for number in reversed(range(205)))]


async def test_workspace_is_listed_to_its_end_by_the_client() -> None:
    async with bench() as at:
        for number in range(101):
            await at.send(text=str(number))

        texts = await _workspace(at)

    assert texts == [str(number) for number in reversed(range(101))]


async def test_workspace_filters() -> None:
    async with bench() as at:
        await at.send(PERSON, "to her")
        await at.send(OTHER, "to him")
        await at.send(OTHER, "second line", **{"from": "PNsandbox2"})
        await at.control("/receive", {"from": PERSON, "text": "from her"})

        assert await _workspace(at, to=OTHER) == ["second line", "to him"]
        assert await _workspace(at, to=OTHER, phone_number_id=LINE) == ["to him"]
        assert await _workspace(at, direction="incoming") == ["from her"]
        assert await _workspace(at, to=OURS) == ["from her"]


async def test_bounds_in_time() -> None:
    clock = ManualClock()
    async with bench(SandboxConfig(people="silent", clock=clock)) as at:
        for text in ("first", "second", "third"):
            await at.send(text=text)
            clock.move(60)
        at_second = NOW + timedelta(seconds=60)

        assert await _workspace(at, created_after=at_second) == ["third"]
        assert await _workspace(at, created_before=at_second) == ["first"]
        assert await _thread(at, created_after=at_second) == ["third", "second"]
        assert await _thread(at, created_before=at_second) == ["second", "first"]


async def test_accepted_message_is_listed_late_but_read_at_once() -> None:
    clock = ManualClock()
    config = SandboxConfig(people="silent", clock=clock, list_delay_seconds=5)
    async with bench(config) as at:
        sent = (await at.send(text="late")).json()["data"]["id"]
        before = (await _thread(at), await _workspace(at))
        read = await at.client().get_message(sent)
        clock.move(5)
        after = (await _thread(at), await _workspace(at))

    assert before == ([], [])
    assert read.text == "late"
    assert after == (["late"], ["late"])


async def test_answers_have_the_described_shapes() -> None:
    async with bench() as at:
        sent = (await at.send()).json()["data"]["id"]
        await at.control("/receive", {"from": PERSON, "text": "Yes"})
        thread = await at.http.get(THREAD)
        one = await at.http.get(f"/v1/messages/{sent}")
        lines = await at.http.get("/v1/phone-numbers")
        body = {"url": "https://crm.example.com/hook", "events": ["message.received"]}
        await at.http.post("/v1/webhooks/messages", json=body)
        hooks = await at.http.get("/v1/webhooks")
        missing = await at.http.get("/v1/messages/ACnone")

    check_response("GET /v1/messages", 200, thread.json())
    check_response("GET /v1/messages/{id}", 200, one.json())
    check_response("GET /v1/phone-numbers", 200, lines.json())
    check_response("GET /v1/webhooks", 200, hooks.json())
    check_response("GET /v1/messages/{id}", 404, missing.json())
    assert len(thread.json()["data"]) == 2


async def test_client_reads_lines_and_hooks() -> None:
    async with bench() as at:
        lines = await at.client().list_phone_numbers()
        hooks = await at.client().hooks.list_dated()

        with pytest.raises(OpenPhoneRefusedError):
            await at.client().get_message("ACnone")

    assert [(line.phone_number_id, line.number) for line in lines] == [
        (LINE, OURS),
        ("PNsandbox2", "+16175550199"),
    ]
    assert lines[0].may_text_us
    assert hooks[0].url == "http://receiver.test/hook"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        f"/v1/messages?phoneNumberId={LINE}&maxResults=10",
        f"/v1/messages?phoneNumberId={LINE}&participants=%2B16175550123",
        THREAD.replace("=10", "=101"),
        THREAD.replace("=10", "=0"),
        THREAD + "&createdAfter=yesterday",
        THREAD + "&createdAfter=2026-11-25T15:00:00",
        THREAD + "&pageToken=???",
    ],
)
async def test_bad_query_is_refused(path: str) -> None:
    async with bench() as at:
        answer = await at.http.get(path)

    assert answer.status_code == 400
    assert answer.json()["status"] == 400


async def test_dated_paths_need_their_header_before_a_key() -> None:
    async with bench() as at:
        no_version = await at.http.get("/messages", headers={"authorization": ""})
        no_key = await at.http.get("/messages", headers={**DATED, "authorization": ""})
        too_many = await at.http.get("/messages?limit=51", headers=DATED)
        right = await at.http.get("/messages", headers=DATED)

    assert [one.status_code for one in (no_version, no_key, too_many, right)] == [
        400,
        401,
        400,
        200,
    ]


async def test_fault_of_reads_spares_sends() -> None:
    async with bench() as at:
        await at.control("/faults", {"kind": "429", "on": "read", "count": 9, "retry_after": 60})
        sent = await at.send()

        with pytest.raises(OpenPhoneBusyError):
            await _thread(at)

    assert sent.status_code == 202


async def test_hooks_are_made_read_and_deleted() -> None:
    body = {"url": "https://crm.example.com/hook", "events": ["message.received"], "label": "x"}
    check_request("POST /v1/webhooks/messages", body)
    async with bench() as at:
        made = await at.http.post("/v1/webhooks/messages", json=body)
        path = f"/v1/webhooks/{made.json()['data']['id']}"
        read = await at.http.get(path)
        deleted = await at.http.delete(path)
        gone = [await at.http.get(path), await at.http.delete(path)]
        dated = await at.http.post("/webhooks", json=body, headers=DATED)
        listed = await at.http.get("/webhooks", headers=DATED)

    check_response("POST /v1/webhooks/messages", 201, made.json())
    assert read.json() == made.json()
    assert [one.status_code for one in (deleted, *gone)] == [204, 404, 404]
    assert dated.json()["data"]["key"].startswith("whsec_")
    assert all("key" not in hook for hook in listed.json()["data"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "ftp://x", "events": ["message.received"]},
        {"url": "https://x.example", "events": []},
        {"url": "https://x.example", "events": ["call.ringing"]},
    ],
)
async def test_bad_hook_is_refused(body: dict[str, Any]) -> None:
    async with bench() as at:
        answer = await at.http.post("/v1/webhooks/messages", json=body)
        unknown = await at.http.post("/v1/webhooks/nothing", json=body)

    assert (answer.status_code, unknown.status_code) == (400, 404)
