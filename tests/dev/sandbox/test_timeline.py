"""Prove that planned events happen at their own times if the sandbox's time is moved forward."""

from datetime import datetime, timedelta

import httpx
from tests.dev.sandbox.support import NOW, PERSON, ManualClock, open_sandbox

from crm_api.dev.sandbox.app import run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig

TWO_WEEKS = timedelta(days=14).total_seconds()


def _config(clock: ManualClock) -> SandboxConfig:
    return SandboxConfig(people="silent", clock=clock)


async def test_due_events_happen_in_order_with_their_own_times() -> None:
    async with open_sandbox(_config(ManualClock())) as sandbox:
        sandbox.app.workspace.configure(time_scale=1.0)
        script = [
            {"do": "reply", "after": 3 * 86_400, "text": "later"},
            {"do": "deliver", "after": 5},
        ]
        await sandbox.control("/people", {"number": PERSON, "script": script})
        await sandbox.send()
        state = await sandbox.control("/clock", {"shift_seconds": TWO_WEEKS})
        events = [delivery.event for delivery in sandbox.receiver.deliveries]
        listed = (await sandbox.http.get("/sandbox/messages?direction=incoming")).json()["data"]

    assert [event["type"] for event in events] == ["message.delivered", "message.received"]
    late = datetime.fromisoformat(listed[0]["createdAt"]) - (NOW + timedelta(days=3))
    assert abs(late) < timedelta(seconds=1)
    assert datetime.fromisoformat(state["now"]) == NOW + timedelta(days=14)
    assert state["next_in_seconds"] is None


async def test_events_that_are_not_due_wait() -> None:
    async with open_sandbox(_config(ManualClock())) as sandbox:
        sandbox.app.workspace.configure(time_scale=1.0)
        await sandbox.control(
            "/people", {"number": PERSON, "script": [{"do": "reply", "after": 3600}]}
        )
        await sandbox.send()
        state = await sandbox.control("/clock", {"shift_seconds": 600})

    assert sandbox.receiver.deliveries == []
    assert 2990 < state["next_in_seconds"] <= 3000


async def test_time_never_goes_back() -> None:
    async with open_sandbox(_config(ManualClock())) as sandbox:
        await sandbox.control("/clock", {"shift_seconds": 600})
        state = await sandbox.control("/clock", {"shift_seconds": 60})

    assert state["shift_seconds"] == 600


async def test_rate_limit_does_not_count_requests_while_time_moves() -> None:
    async with open_sandbox(_config(ManualClock())) as sandbox:
        sandbox.app.workspace.configure(rate_per_second=1)
        await sandbox.control("/clock", {"shift_seconds": 60, "is_moving": True})
        moving = [(await sandbox.send()).status_code for _ in range(3)]
        await sandbox.control("/clock", {"shift_seconds": 60})
        still = [(await sandbox.send()).status_code for _ in range(2)]

    assert (moving, still) == ([202] * 3, [202, 429])


def test_responses_have_the_moved_date() -> None:
    with run_sandbox() as running:
        httpx.post(f"{running.url}/sandbox/clock", json={"shift_seconds": TWO_WEEKS})
        answer = httpx.get(f"{running.url}/sandbox/clock")

    dated = datetime.strptime(answer.headers["date"], "%a, %d %b %Y %H:%M:%S %Z")  # noqa: DTZ007 - GMT
    assert abs(dated - datetime.fromisoformat(answer.json()["now"]).replace(tzinfo=None)) < (
        timedelta(seconds=2)
    )
