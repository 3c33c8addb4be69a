import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.dev.sandbox.support import OTHER, OURS, PERSON, LocalSandbox, open_sandbox

from crm_api.dev.sandbox.config import PeopleWeights, SandboxConfig
from crm_api.dev.sandbox.people import People
from crm_api.domain.monitoring.sandbox_control.schemas import Act


def _numbers(count: int) -> list[str]:
    return [f"+1617555{number:04d}" for number in range(count)]


def test_people_are_distributed_by_their_weights() -> None:
    config, people = SandboxConfig(), People()

    seen: Counter[str] = Counter()
    for number in _numbers(5000):
        *_, last = people.steps_for(number, config)
        is_stop = last.text.upper().startswith(("STOP", "UNSUB"))
        seen["stop" if last.do is Act.REPLY and is_stop else last.do] += 1

    for kind, share in (
        ("stop", 0.03),
        (Act.FAIL, 0.03),
        (Act.UNDELIVER, 0.02),
        (Act.REPLY, 0.12),
        (Act.DELIVER, 0.80),
    ):
        assert seen[kind] / 5000 == pytest.approx(share, abs=0.015)


def test_same_seed_gives_the_same_people() -> None:
    runs = [
        [People().steps_for(number, SandboxConfig(seed=seed)) for number in _numbers(200)]
        for seed in (1, 1, 2)
    ]

    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_delays_are_short_and_replies_follow_the_delivery() -> None:
    config = SandboxConfig(people=PeopleWeights(reply=1.0, stop=0, failed=0, undelivered=0))
    for number in _numbers(100):
        delivered, replied = People().steps_for(number, config)
        assert 0.2 <= delivered.after <= 1.5
        assert 1.0 <= replied.after - delivered.after <= 6.0


async def _set_script(sandbox: LocalSandbox, *steps: dict[str, Any], number: str = PERSON) -> None:
    await sandbox.control("/people", {"number": number, "script": list(steps)})


async def test_script_is_followed() -> None:
    async with open_sandbox() as sandbox:
        await _set_script(
            sandbox,
            {"do": "deliver", "times": 2},
            {"do": "reply", "text": "Who is this?"},
        )
        await sandbox.send()
        events = [delivery.event for delivery in await sandbox.receiver.wait_for(3)]
        stats = await sandbox.stats()

    assert sandbox.receiver.types() == [
        "message.delivered",
        "message.delivered",
        "message.received",
    ]
    assert events[0]["id"] == events[1]["id"]
    assert (stats["delivered"], stats["replies"]) == (1, 1)


async def test_failure_has_the_code_of_the_script() -> None:
    async with open_sandbox() as sandbox:
        await _set_script(sandbox, {"do": "fail", "error_code": "30006"})
        await sandbox.send()
        (delivery,) = await sandbox.receiver.wait_for(1)

    assert delivery.event["type"] == "message.failed"
    assert delivery.event["data"]["resource"]["errorCode"] == "30006"


@pytest.mark.parametrize("step", [{"do": "dance"}, {"after": 1}, {"do": "reply", "say": "x"}])
async def test_unreadable_script_is_refused(step: dict[str, Any]) -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.post(
            "/sandbox/people", json={"number": PERSON, "script": [step]}
        )

    assert answer.status_code == 400


async def test_provider_blocks_a_number_from_stop_to_start() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "Stop"})
        await sandbox.send()
        blocked = await sandbox.receiver.wait_for(2)
        await sandbox.control("/receive", {"from": PERSON, "text": "START"})
        await sandbox.send()
        await sandbox.receiver.wait_for(3)
        stats = await sandbox.stats()

    assert blocked[1].event["data"]["resource"]["errorCode"] == "21610"
    assert (stats["stops"], stats["after_stop"], stats["failed"], stats["sent"]) == (1, 1, 1, 1)


async def test_person_answers_only_the_first_message() -> None:
    config = SandboxConfig(people=PeopleWeights(reply=1.0, stop=0, failed=0, undelivered=0))
    async with open_sandbox(config) as sandbox:
        await sandbox.send(text="one")
        await sandbox.receiver.wait_for(2)
        await sandbox.send(text="two")
        await sandbox.receiver.wait_for(3)
        await asyncio.sleep(0.01)
        stats = await sandbox.stats()

    assert (stats["replies"], stats["delivered"]) == (1, 2)


async def test_message_between_own_lines_arrives() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.send("+16175550199")
        await sandbox.receiver.wait_for(2)
        stats = await sandbox.stats()

    assert sorted(sandbox.receiver.types()) == ["message.delivered", "message.received"]
    received = next(d.event for d in sandbox.receiver.deliveries if d.event["type"].endswith("ved"))
    assert received["data"]["context"]["phoneNumberId"] == "PNsandbox2"
    assert received["data"]["context"]["senderIdentifier"] == OURS
    assert stats["replies"] == 0


async def test_message_from_the_app_has_the_id_of_another_user() -> None:
    async with open_sandbox() as sandbox:
        await _set_script(sandbox, {"do": "deliver"}, number=OTHER)
        await sandbox.control("/app-send", {"to": OTHER, "text": "On my way"})
        (delivery,) = await sandbox.receiver.wait_for(1)

    assert delivery.event["data"]["context"]["userId"] == "USsandbox2"


async def test_picture_arrives_with_its_address() -> None:
    picture = {"url": "https://media.example.com/1", "type": "image/jpeg"}
    async with open_sandbox() as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "", "media": [picture]})
        (delivery,) = await sandbox.receiver.wait_for(1)

    assert delivery.event["data"]["resource"]["media"] == [picture]


async def test_stats_count_duplicates_by_number_and_text() -> None:
    async with open_sandbox() as sandbox:
        for number, text in ((PERSON, "a"), (PERSON, "a"), (PERSON, "b"), (OTHER, "a")):
            await sandbox.send(number, text)
        stats = await sandbox.stats()
        listed = (await sandbox.http.get("/sandbox/messages?direction=outgoing&limit=3")).json()
        rest = (await sandbox.http.get(f"/sandbox/messages?after={listed['next']}")).json()

    assert stats["recipients"] == {"total": 4, "distinct": 2, "duplicates": 1}
    assert [message["text"] for message in listed["data"]] == ["a", "a", "b"]
    assert [message["to"] for message in rest["data"]] == [[OTHER]]
    assert rest["next"] is None


async def test_reset_deletes_messages_and_scripts_but_not_webhooks() -> None:
    async with open_sandbox() as sandbox:
        await _set_script(sandbox, {"do": "reply", "text": "STOP"})
        await sandbox.send()
        await sandbox.receiver.wait_for(1)
        await sandbox.control("/reset")
        await sandbox.send()
        await sandbox.control("/receive", {"from": OTHER, "text": "Hi"})
        await sandbox.receiver.wait_for(2)
        stats = await sandbox.stats()

    assert (stats["accepted"], stats["stops"], stats["replies"]) == (1, 0, 1)


async def test_settings_can_change_while_the_sandbox_runs() -> None:
    async with open_sandbox() as sandbox:
        changed = await sandbox.http.patch(
            "/sandbox/config", json={"people": {"reply": 0}, "rate_per_second": 1}
        )
        refused = await sandbox.http.patch("/sandbox/config", json={"journal": "x"})
        bad = await sandbox.http.patch("/sandbox/config", json={"people": "loud"})
        answers = [(await sandbox.send()).status_code for _ in range(2)]

    assert (changed.status_code, refused.status_code, bad.status_code) == (200, 400, 400)
    assert answers == [202, 429]


async def test_webhook_is_lost_late_or_sent_twice() -> None:
    async with open_sandbox() as sandbox:
        await _set_script(sandbox, {"do": "deliver"}, {"do": "reply", "text": "one"})
        await sandbox.control("/faults", {"kind": "webhook_lost"})
        await sandbox.control("/faults", {"kind": "webhook_twice"})
        await sandbox.send()
        twice = [delivery.event for delivery in await sandbox.receiver.wait_for(2)]
        await sandbox.control("/faults", {"kind": "webhook_late", "number": PERSON})
        await sandbox.send()
        later = [delivery.event for delivery in (await sandbox.receiver.wait_for(4))[2:]]

    assert [event["type"] for event in twice] == ["message.received", "message.received"]
    assert twice[0]["id"] == twice[1]["id"]
    assert [event["type"] for event in later] == ["message.received", "message.delivered"]


async def test_webhook_fault_for_sends_is_refused() -> None:
    async with open_sandbox() as sandbox:
        body = {"kind": "webhook_lost", "on": "send"}
        refused = await sandbox.http.post("/sandbox/faults", json=body)

    assert refused.status_code == 400
