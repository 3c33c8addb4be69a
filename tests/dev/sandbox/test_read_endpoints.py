from datetime import timedelta
from typing import Any

import pytest
from tests.dev.sandbox.support import (
    LINE,
    NOW,
    OTHER,
    OURS,
    PERSON,
    LocalSandbox,
    ManualClock,
    open_sandbox,
)
from tests.domain.provider.openphone.samples import check_request, check_response

from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError

CONVERSATION = f"/v1/messages?phoneNumberId={LINE}&participants=%2B16175550123&maxResults=10"
DATED = {"quo-api-version": "2026-03-30"}


async def _conversation(sandbox: LocalSandbox, **bounds: Any) -> list[str]:
    found = sandbox.client().list_messages(phone_number_id=LINE, participant=PERSON, **bounds)
    return [message.text async for message in found]


async def _workspace(sandbox: LocalSandbox, **filters: Any) -> list[str]:
    texts, token = [], None
    while True:
        query = filters | ({"after": token} if token else {})
        answer = await sandbox.http.get("/messages", params=query, headers=DATED)
        page = answer.json()
        texts += [message["text"] for message in page["data"]]
        token = page["nextCursor"]
        if token is None:
            return texts


async def test_client_lists_a_conversation_to_its_end() -> None:
    async with open_sandbox() as sandbox:
        for number in range(205):
            await sandbox.send(text=str(number))
        await sandbox.send(OTHER, "not hers")
        await sandbox.control("/receive", {"from": PERSON, "text": "reply"})

        texts = await _conversation(sandbox)

    assert texts == ["reply", *(str(number) for number in reversed(range(205)))]


async def test_client_lists_the_workspace_to_its_end() -> None:
    async with open_sandbox() as sandbox:
        for number in range(101):
            await sandbox.send(text=str(number))

        texts = await _workspace(sandbox)

    assert texts == [str(number) for number in reversed(range(101))]


async def test_workspace_list_is_filtered() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.send(PERSON, "to her")
        await sandbox.send(OTHER, "to him")
        await sandbox.send(OTHER, "second line", **{"from": "PNsandbox2"})
        await sandbox.control("/receive", {"from": PERSON, "text": "from her"})

        assert await _workspace(sandbox, to=OTHER) == ["second line", "to him"]
        assert await _workspace(sandbox, to=OTHER, phoneNumberId=LINE) == ["to him"]
        assert await _workspace(sandbox, direction="incoming") == ["from her"]
        assert await _workspace(sandbox, to=OURS) == ["from her"]


async def test_lists_are_bounded_in_time() -> None:
    clock = ManualClock()
    async with open_sandbox(SandboxConfig(people="silent", clock=clock)) as sandbox:
        for text in ("first", "second", "third"):
            await sandbox.send(text=text)
            clock.move(60)
        at_second = NOW + timedelta(seconds=60)

        assert await _workspace(sandbox, **{"createdAt[gt]": at_second.isoformat()}) == ["third"]
        assert await _workspace(sandbox, **{"createdAt[lt]": at_second.isoformat()}) == ["first"]
        assert await _conversation(sandbox, created_after=at_second) == ["third", "second"]
        assert await _conversation(sandbox, created_before=at_second) == ["second", "first"]


async def test_accepted_message_is_listed_late_but_read_at_once() -> None:
    clock = ManualClock()
    config = SandboxConfig(people="silent", clock=clock, list_delay_seconds=5)
    async with open_sandbox(config) as sandbox:
        sent = (await sandbox.send(text="late")).json()["data"]["id"]
        before = (await _conversation(sandbox), await _workspace(sandbox))
        read = await sandbox.http.get(f"/v1/messages/{sent}")
        clock.move(5)
        after = (await _conversation(sandbox), await _workspace(sandbox))

    assert before == ([], [])
    assert read.json()["data"]["text"] == "late"
    assert after == (["late"], ["late"])


async def test_responses_match_the_providers_api_description() -> None:
    async with open_sandbox() as sandbox:
        sent = (await sandbox.send()).json()["data"]["id"]
        await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})
        conversation = await sandbox.http.get(CONVERSATION)
        one = await sandbox.http.get(f"/v1/messages/{sent}")
        lines = await sandbox.http.get("/v1/phone-numbers")
        body = {"url": "https://crm.example.com/hook", "events": ["message.received"]}
        await sandbox.http.post("/v1/webhooks/messages", json=body)
        hooks = await sandbox.http.get("/v1/webhooks")
        missing = await sandbox.http.get("/v1/messages/ACnone")

    check_response("GET /v1/messages", 200, conversation.json())
    check_response("GET /v1/messages/{id}", 200, one.json())
    check_response("GET /v1/phone-numbers", 200, lines.json())
    check_response("GET /v1/webhooks", 200, hooks.json())
    check_response("GET /v1/messages/{id}", 404, missing.json())
    assert len(conversation.json()["data"]) == 2


async def test_client_reads_lines_and_webhooks() -> None:
    async with open_sandbox() as sandbox:
        lines = await sandbox.client().list_phone_numbers()
        hooks = await sandbox.client().hooks.list_dated()

    assert [(line.phone_number_id, line.number) for line in lines] == [
        (LINE, OURS),
        ("PNsandbox2", "+16175550199"),
    ]
    assert hooks[0].url == "http://receiver.test/hook"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        f"/v1/messages?phoneNumberId={LINE}&maxResults=10",
        f"/v1/messages?phoneNumberId={LINE}&participants=%2B16175550123",
        CONVERSATION.replace("=10", "=101"),
        CONVERSATION.replace("=10", "=0"),
        CONVERSATION + "&createdAfter=yesterday",
        CONVERSATION + "&createdAfter=2026-11-25T15:00:00",
        CONVERSATION + "&pageToken=???",
    ],
)
async def test_invalid_query_is_refused(path: str) -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.get(path)

    assert answer.status_code == 400
    assert answer.json()["status"] == 400


async def test_dated_paths_check_the_version_header_before_the_key() -> None:
    async with open_sandbox() as sandbox:
        no_version = await sandbox.http.get("/messages", headers={"authorization": ""})
        no_key = await sandbox.http.get("/messages", headers={**DATED, "authorization": ""})
        too_many = await sandbox.http.get("/messages?limit=51", headers=DATED)
        right = await sandbox.http.get("/messages", headers=DATED)

    assert [one.status_code for one in (no_version, no_key, too_many, right)] == [
        400,
        401,
        400,
        200,
    ]


async def test_fault_of_reads_does_not_affect_sends() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.control(
            "/faults", {"kind": "429", "on": "read", "count": 9, "retry_after": 60}
        )
        sent = await sandbox.send()

        with pytest.raises(OpenPhoneBusyError):
            await _conversation(sandbox)

    assert sent.status_code == 202


async def test_webhooks_are_created_read_and_deleted() -> None:
    body = {"url": "https://crm.example.com/hook", "events": ["message.received"], "label": "x"}
    check_request("POST /v1/webhooks/messages", body)
    async with open_sandbox() as sandbox:
        made = await sandbox.http.post("/v1/webhooks/messages", json=body)
        path = f"/v1/webhooks/{made.json()['data']['id']}"
        read = await sandbox.http.get(path)
        deleted = await sandbox.http.delete(path)
        gone = [await sandbox.http.get(path), await sandbox.http.delete(path)]
        dated = await sandbox.http.post("/webhooks", json=body, headers=DATED)
        listed = await sandbox.http.get("/webhooks", headers=DATED)

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
async def test_invalid_webhook_is_refused(body: dict[str, Any]) -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.post("/v1/webhooks/messages", json=body)
        unknown = await sandbox.http.post("/v1/webhooks/nothing", json=body)

    assert (answer.status_code, unknown.status_code) == (400, 404)
