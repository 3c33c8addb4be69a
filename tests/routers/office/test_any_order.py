"""Events in any order, late or repeated, give the state that is derived from all events.

After each step, each count equals the length of its list, for each of two users. The environment
variable ``WAITING_SEED`` repeats a run; ``WAITING_EXAMPLES`` makes a run longer.
"""

import os
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.domain.inbound.webhook_events.support import rows
from tests.factories import number
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in
from tests.routers.office.conftest import Office

from crm_api.domain.messaging.waiting import derive_waiting
from crm_api.domain.office.inbox import tallies
from crm_api.domain.office.inbox.changes import wake_conversations
from crm_api.platform import clock

SEED = int(os.environ.get("WAITING_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
EXAMPLES = int(os.environ.get("WAITING_EXAMPLES", "3"))
STEPS = 14
PEOPLE = [number(place) for place in range(3)]
SNOOZED_UNTIL = clock.now() + timedelta(days=30)
LISTS = {
    **{state: {"state": state} for state in ("waiting", "open", "snoozed")},
    "unread": {"unread": "true"},
    "mine": {"assignee": "me"},
    "unassigned": {"assignee": "none"},
}
SHOWN = "SELECT id, state, waiting_since, answered_at FROM conversation ORDER BY id"


class History:
    """Generator of random events of three people and random actions of two users."""

    def __init__(
        self, office: Office, chance: random.Random, *, callers: dict[str, dict[str, str]]
    ) -> None:
        self.office = office
        self.callers = callers
        self.chance = chance
        self.past: list[dict[str, Any]] = []

    def event(self) -> dict[str, Any]:
        """Return a new event of the last hour, or an event that was returned before."""
        if self.past and self.chance.random() < 0.2:
            return self.chance.choice(self.past)
        person, ago = self.chance.choice(PEOPLE), self.chance.uniform(1, 3600)
        makers: list[Callable[[], dict[str, Any]]] = [
            lambda: self.office.message_event("When can you come?", phone=person, ago=ago),
            lambda: self.office.message_event("And another question", phone=person, ago=ago),
            lambda: self.office.message_event("STOP", phone=person, ago=ago),
            lambda: self.office.app_message_event(phone=person, ago=ago),
            lambda: self.office.app_message_event(phone=person, ago=ago, status="failed"),
            lambda: self.office.call_event("missed", phone=person, ago=ago),
            lambda: self.office.call_event("answered", phone=person, ago=ago),
        ]
        made = self.chance.choice(makers)()
        self.past.append(made)
        return made

    async def step(self) -> None:
        """Apply some events, or answer, read or change a conversation."""
        kind = self.chance.random()
        if kind < 0.6:
            await self.office.receive(*(self.event() for _ in range(self.chance.randint(1, 4))))
            return
        person = self.chance.choice(PEOPLE)
        conversations = await self.office.conversations(phone=person)
        if not conversations or kind < 0.75:
            body = {"line_id": str(self.office.line.id), "to": person, "body": "On Tuesday."}
            await self.office.client.post("/v1/messages", json=body)
            return
        path = f"/v1/conversations/{conversations[0]['id']}"
        if kind < 0.85:
            await self.read(path)
            return
        state = self.chance.choice(["open", "done", "waiting", "snoozed"])
        until = {"snoozed_until": SNOOZED_UNTIL.isoformat()} if state == "snoozed" else {}
        change: dict[str, Any] = {"state": state, **until}
        if self.chance.random() < 0.4:
            change = {"assignee_id": self.chance.choice([None, *self.callers])}
        await self.office.client.patch(path, json=change)

    async def read(self, path: str) -> None:
        """Let a random user read all or some messages of a conversation."""
        caller = self.chance.choice(list(self.callers.values()))
        messages = (await self.office.client.get(f"{path}/messages")).json()["data"]
        body = {"message_id": self.chance.choice(messages)["id"]} if messages else {}
        marks_all = self.chance.random() < 0.5
        await self.office.client.post(
            f"{path}/read", json=None if marks_all else body, headers=caller
        )

    async def compare_counts(self) -> None:
        """Check that each count equals the length of its list, for each user."""
        for headers in self.callers.values():
            counts = (
                await self.office.client.get("/v1/conversations/counts", headers=headers)
            ).json()
            for name, query in LISTS.items():
                listed = await self.office.client.get(
                    "/v1/conversations", params=query, headers=headers
                )
                # A caller who is not a user gets 422 for the list "assignee=me".
                if listed.status_code != 422:
                    assert len(listed.json()["data"]) == counts[name], (
                        name,
                        f"WAITING_SEED={SEED}",
                    )


async def users_of(office: Office) -> dict[str, dict[str, str]]:
    """Create two users, 400 days and half an hour old; return their headers, by user id."""
    callers = {}
    for ago in (timedelta(days=400), timedelta(minutes=30)):
        user = await create_active_user(office.client, email=f"{ago.days}@firm.example.com")
        callers[user["id"]] = bearer(await sign_in(office.client, username=user["email"]))
        await office.session.execute(
            text("UPDATE app_user SET created_at = :at WHERE id = :id"),
            {"at": clock.now() - ago, "id": user["id"]},
        )
    return callers


async def merge_sums(office: Office) -> None:
    """Merge the stored sums of the counts, as the job does when there are many rows."""
    async with office.new_uow() as uow:
        await uow.session.execute(tallies.COMPACT, {"rows": -1_000})


async def compare_states(office: Office, conversations: list[dict[str, Any]]) -> None:
    """Check that exactly the waiting conversations have a waiting time; ignore snoozed ones."""
    awake = [one for one in conversations if one["state"] != "snoozed"]
    waiting = {one["id"] for one in awake if one["state"] == "waiting"}
    since = {one["id"] for one in awake if one["waiting_since"] is not None}
    assert waiting == since, f"WAITING_SEED={SEED}"
    assert len(waiting) == (await office.counts())["waiting"], f"WAITING_SEED={SEED}"


@pytest.mark.timeout(900)
async def test_events_in_any_order_give_the_derived_state(office: Office) -> None:
    print(f"WAITING_SEED={SEED}")  # noqa: T201 - the seed repeats the run
    chance = random.Random(SEED)  # noqa: S311 - no secret
    history = History(office, chance, callers=await users_of(office))
    for step in range(EXAMPLES * STEPS):
        await history.step()
        await history.compare_counts()
        if step % STEPS == 0:
            await merge_sums(office)
        conversations = await rows(office.session, SHOWN)
        async with office.new_uow() as uow:
            await derive_waiting(uow.session, [one["id"] for one in conversations], now=clock.now())
        derived = await rows(office.session, SHOWN)

        assert derived == conversations, f"WAITING_SEED={SEED}"
        await compare_states(office, conversations)
    async with office.new_uow() as uow:
        await wake_conversations(uow, limit=len(PEOPLE), now=SNOOZED_UNTIL)
    woken = await rows(office.session, SHOWN)
    assert "snoozed" not in {one["state"] for one in woken}, f"WAITING_SEED={SEED}"
    await compare_states(office, woken)
    await history.compare_counts()
    found = await office.session.execute(text("SELECT count(DISTINCT state) FROM conversation"))
    assert found.scalar_one() >= 1
