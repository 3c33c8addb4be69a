import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.dev.sandbox.support import OTHER, OURS, PERSON, Bench, bench

from crm_api.dev.sandbox.config import PeopleWeights, SandboxConfig
from crm_api.dev.sandbox.people import People
from crm_api.domain.monitoring.sandbox_control.schemas import Act


def _numbers(count: int) -> list[str]:
    return [f"+1617555{number:04d}" for number in range(count)]


def test_people_divide_up_as_weighted() -> None:
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


def test_same_seed_meets_the_same_people() -> None:
    runs = [
        [People().steps_for(number, SandboxConfig(seed=seed)) for number in _numbers(200)]
        for seed in (1, 1, 2)
    ]

    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_delays_are_short_and_answers_follow_delivery() -> None:
    config = SandboxConfig(people=PeopleWeights(reply=1.0, stop=0, failed=0, undelivered=0))
    for number in _numbers(100):
        delivered, replied = People().steps_for(number, config)
        assert 0.2 <= delivered.after <= 1.5
        assert 1.0 <= replied.after - delivered.after <= 6.0


async def _play(at: Bench, *steps: dict[str, Any], number: str = PERSON) -> None:
    await at.control("/people", {"number": number, "script": list(steps)})


async def test_script_is_played() -> None:
    async with bench() as at:
        await _play(
            at,
            {"do": "deliver", "times": 2},
            {"do": "reply", "text": "Who is this?"},
        )
        await at.send()
        events = [delivery.event for delivery in await at.receiver.wait_for(3)]
        stats = await at.stats()

    assert at.receiver.types() == ["message.delivered", "message.delivered", "message.received"]
    assert events[0]["id"] == events[1]["id"]
    assert (stats["delivered"], stats["replies"]) == (1, 1)


async def test_failure_has_its_code() -> None:
    async with bench() as at:
        await _play(at, {"do": "fail", "error_code": "30006"})
        await at.send()
        (delivery,) = await at.receiver.wait_for(1)

    assert delivery.event["type"] == "message.failed"
    assert delivery.event["data"]["resource"]["errorCode"] == "30006"


@pytest.mark.parametrize("step", [{"do": "dance"}, {"after": 1}, {"do": "reply", "say": "x"}])
async def test_unreadable_script_is_refused(step: dict[str, Any]) -> None:
    async with bench() as at:
        answer = await at.http.post("/sandbox/people", json={"number": PERSON, "script": [step]})

    assert answer.status_code == 400


async def test_provider_blocks_a_number_after_stop_until_start() -> None:
    async with bench() as at:
        await at.control("/receive", {"from": PERSON, "text": "Stop"})
        await at.send()
        blocked = await at.receiver.wait_for(2)
        await at.control("/receive", {"from": PERSON, "text": "START"})
        await at.send()
        await at.receiver.wait_for(3)
        stats = await at.stats()

    assert blocked[1].event["data"]["resource"]["errorCode"] == "21610"
    assert (stats["stops"], stats["after_stop"], stats["failed"], stats["sent"]) == (1, 1, 1, 1)


async def test_person_answers_only_the_first_message() -> None:
    config = SandboxConfig(people=PeopleWeights(reply=1.0, stop=0, failed=0, undelivered=0))
    async with bench(config) as at:
        await at.send(text="one")
        await at.receiver.wait_for(2)
        await at.send(text="two")
        await at.receiver.wait_for(3)
        await asyncio.sleep(0.01)
        stats = await at.stats()

    assert (stats["replies"], stats["delivered"]) == (1, 2)


async def test_message_between_own_lines_arrives() -> None:
    async with bench() as at:
        await at.send("+16175550199")
        await at.receiver.wait_for(2)
        stats = await at.stats()

    assert sorted(at.receiver.types()) == ["message.delivered", "message.received"]
    received = next(d.event for d in at.receiver.deliveries if d.event["type"].endswith("ved"))
    assert received["data"]["context"]["phoneNumberId"] == "PNsandbox2"
    assert received["data"]["context"]["senderIdentifier"] == OURS
    assert stats["replies"] == 0


async def test_message_from_the_app_is_a_colleagues() -> None:
    async with bench() as at:
        await _play(at, {"do": "deliver"}, number=OTHER)
        await at.control("/app-send", {"to": OTHER, "text": "On my way"})
        (delivery,) = await at.receiver.wait_for(1)

    assert delivery.event["data"]["context"]["userId"] == "USsandbox2"


async def test_picture_arrives_with_its_address() -> None:
    picture = {"url": "https://media.example.com/1", "type": "image/jpeg"}
    async with bench() as at:
        await at.control("/receive", {"from": PERSON, "text": "", "media": [picture]})
        (delivery,) = await at.receiver.wait_for(1)

    assert delivery.event["data"]["resource"]["media"] == [picture]


async def test_stats_count_duplicates_by_number_and_text() -> None:
    async with bench() as at:
        for number, text in ((PERSON, "a"), (PERSON, "a"), (PERSON, "b"), (OTHER, "a")):
            await at.send(number, text)
        stats = await at.stats()
        listed = (await at.http.get("/sandbox/messages?direction=outgoing&limit=3")).json()
        rest = (await at.http.get(f"/sandbox/messages?after={listed['next']}")).json()

    assert stats["recipients"] == {"total": 4, "distinct": 2, "duplicates": 1}
    assert [message["text"] for message in listed["data"]] == ["a", "a", "b"]
    assert [message["to"] for message in rest["data"]] == [[OTHER]]
    assert rest["next"] is None


async def test_reset_deletes_messages_and_scripts_but_not_hooks() -> None:
    async with bench() as at:
        await _play(at, {"do": "reply", "text": "STOP"})
        await at.send()
        await at.receiver.wait_for(1)
        await at.control("/reset")
        await at.send()
        await at.control("/receive", {"from": OTHER, "text": "Hi"})
        await at.receiver.wait_for(2)
        stats = await at.stats()

    assert (stats["accepted"], stats["stops"], stats["replies"]) == (1, 0, 1)


async def test_settings_can_change_while_it_runs() -> None:
    async with bench() as at:
        changed = await at.http.patch(
            "/sandbox/config", json={"people": {"reply": 0}, "rate_per_second": 1}
        )
        refused = await at.http.patch("/sandbox/config", json={"journal": "x"})
        bad = await at.http.patch("/sandbox/config", json={"people": "loud"})
        answers = [(await at.send()).status_code for _ in range(2)]

    assert (changed.status_code, refused.status_code, bad.status_code) == (200, 400, 400)
    assert answers == [202, 429]


async def test_webhook_is_lost_late_or_sent_twice() -> None:
    async with bench() as at:
        await _play(at, {"do": "deliver"}, {"do": "reply", "text": "one"})
        await at.control("/faults", {"kind": "webhook_lost"})
        await at.control("/faults", {"kind": "webhook_twice"})
        await at.send()
        twice = [delivery.event for delivery in await at.receiver.wait_for(2)]
        await at.control("/faults", {"kind": "webhook_late", "number": PERSON})
        await at.send()
        later = [delivery.event for delivery in (await at.receiver.wait_for(4))[2:]]

    assert [event["type"] for event in twice] == ["message.received", "message.received"]
    assert twice[0]["id"] == twice[1]["id"]
    assert [event["type"] for event in later] == ["message.received", "message.delivered"]


async def test_webhook_fault_affects_nothing_else() -> None:
    async with bench() as at:
        body = {"kind": "webhook_lost", "on": "send"}
        refused = await at.http.post("/sandbox/faults", json=body)

    assert refused.status_code == 400
