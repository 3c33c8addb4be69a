from typing import Any

import pytest
from tests.dev.sandbox.support import LINE, OTHER, OURS, PERSON, ManualClock, open_sandbox
from tests.domain.provider.openphone.samples import check_request, check_response

from crm_api.dev.sandbox.config import SandboxConfig

OPERATION = "POST /v1/messages"


async def test_accepted_message_matches_the_api_description() -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.send(text="Hi Dana")

    check_response(OPERATION, 202, answer.json())
    message = answer.json()["data"]
    assert answer.status_code == 202
    assert (message["from"], message["to"], message["text"]) == (OURS, [PERSON], "Hi Dana")
    assert message["status"] == "queued"


@pytest.mark.parametrize("sender", [LINE, OURS])
async def test_line_is_named_by_id_or_number(sender: str) -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.send(**{"from": sender})

    assert answer.json()["data"]["phoneNumberId"] == LINE


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"content": ""}, "/content"),
        ({"content": " \n\t"}, "/content"),
        ({"content": "x" * 1601}, "/content"),
        ({"content": None}, "/content"),
        ({"to": []}, "/to"),
        ({"to": PERSON}, "/to"),
        ({"to": ["+1617555" + str(number) for number in range(1000, 1011)]}, "/to"),
        ({"to": ["not a number, and long"]}, "/to"),
        ({"to": [""]}, "/to"),
        ({"to": [7]}, "/to"),
        ({"from": None}, "/from"),
    ],
)
async def test_invalid_request_is_refused_with_the_field(change: dict[str, Any], path: str) -> None:
    async with open_sandbox() as sandbox:
        body = {"content": "Hi", "from": LINE, "to": [PERSON]} | change
        answer = await sandbox.http.post("/v1/messages", json=body)
        stats = await sandbox.stats()

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path
    assert stats["accepted"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7"])
async def test_body_that_is_not_an_object_is_refused(body: bytes) -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.post("/v1/messages", content=body)

    assert answer.status_code == 400


@pytest.mark.parametrize("text", ["x", "x" * 1600, "Sí 👍"])
async def test_body_that_the_api_description_allows_is_accepted(text: str) -> None:
    body = {"content": text, "from": OURS, "to": [PERSON, OTHER]}
    check_request(OPERATION, body)

    async with open_sandbox() as sandbox:
        answer = await sandbox.http.post("/v1/messages", json=body)

    assert answer.status_code == 202
    assert answer.json()["data"]["to"] == [PERSON, OTHER]


async def test_unknown_line_is_not_found() -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.send(**{"from": "PNelse"})

    check_response(OPERATION, 404, answer.json())
    assert answer.status_code == 404


@pytest.mark.parametrize("key", ["", "Bearer key"])
async def test_missing_or_prefixed_key_is_refused_with_a_nested_error(key: str) -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.post("/v1/messages", json={}, headers={"authorization": key})

    assert answer.status_code == 401
    assert "message" in answer.json()["error"]


async def test_rate_limit_is_per_key_and_second() -> None:
    clock = ManualClock()
    config = SandboxConfig(people="silent", rate_per_second=2, clock=clock)
    async with open_sandbox(config) as sandbox:
        first = [(await sandbox.send()).status_code for _ in range(3)]
        other = await sandbox.http.post(
            "/v1/messages", json={}, headers={"authorization": "second"}
        )
        clock.move(1)
        later = await sandbox.send()

    assert first == [202, 202, 429]
    assert other.status_code == 400
    assert later.status_code == 202


@pytest.mark.parametrize(
    ("kind", "status", "is_described"),
    [
        ("400_a2p", 400, True),
        ("401", 401, True),
        ("402", 402, True),
        ("402_expired", 402, False),
        ("403_not_user", 403, True),
        ("403_cap", 403, False),
        ("403_international", 403, False),
        ("404", 404, True),
        ("429", 429, False),
        ("500_before", 500, True),
    ],
)
async def test_fault_before_acceptance_accepts_no_message(
    kind: str, status: int, *, is_described: bool
) -> None:
    async with open_sandbox() as sandbox:
        await sandbox.control("/faults", {"kind": kind, "retry_after": 3})
        answer = await sandbox.send()
        again = await sandbox.send()
        stats = await sandbox.stats()

    assert answer.status_code == status
    assert answer.headers["retry-after"] == "3"
    if is_described:
        check_response(OPERATION, status, answer.json())
    assert again.status_code == 202
    assert stats["accepted"] == 1


async def test_fault_after_acceptance_keeps_the_message() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.control("/faults", {"kind": "500_after", "count": 2})
        await sandbox.control("/faults", {"kind": "202_without_id", "number": OTHER})
        answers = [await sandbox.send(), await sandbox.send(), await sandbox.send(OTHER)]
        stats = await sandbox.stats()

    assert [answer.status_code for answer in answers] == [500, 500, 202]
    assert "id" not in answers[2].json()["data"]
    assert stats["accepted"] == 3


async def test_fault_for_one_number_does_not_affect_others() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.control("/faults", {"kind": "400", "number": PERSON, "count": 5})
        answers = [await sandbox.send(OTHER), await sandbox.send(PERSON)]
        await sandbox.http.delete("/sandbox/faults")
        cleared = await sandbox.send(PERSON)

    assert [answer.status_code for answer in answers] == [202, 400]
    assert cleared.status_code == 202


async def test_random_faults_repeat_with_the_same_seed() -> None:
    runs = []
    for _ in range(2):
        async with open_sandbox() as sandbox:
            await sandbox.control("/faults", {"kind": "500_before", "probability": 0.5})
            runs.append([(await sandbox.send()).status_code for _ in range(40)])

    assert runs[0] == runs[1]
    assert set(runs[0]) == {202, 500}


@pytest.mark.parametrize("body", [{}, {"kind": "earthquake"}, {"kind": "429", "foo": 1}])
async def test_unknown_fault_is_refused(body: dict[str, Any]) -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.post("/sandbox/faults", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]
