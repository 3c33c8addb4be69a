"""People who opt out and in again, by message and through the API, one decision after the other.

Each decision of a person is stored before the person makes the next one, so the last one is known.
Nothing else decides about these people: they send no replies, and no user opts them out.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
from benchmarks import population
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.crash.crowd import Crowd

COUNT = 24
FIRST = 6_500_000
"""First of the numbers that no other person has."""
NUMBERS = population.phone(FIRST)[:8] + "*"
SILENT = [{"do": "deliver", "after": 0.3}]
DECISIONS = (2, 3)
"""Least and most decisions per person."""
STORED_WITHIN_SECONDS = 120.0
LOOK_EVERY_SECONDS = 0.1

_STORED = text("""
    SELECT count(*) FROM consent_entry e JOIN activity a ON a.id = e.activity_id
    WHERE a.openphone_id = :id
""")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """How all decisions ended, and the campaign after them.

    Attributes:
        is_out: Per number: True if its last decision was an opt-out.
        campaign: The campaign to all of them, which started once all decisions were stored.
    """

    is_out: dict[str, bool]
    campaign: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person who opts out and in."""

    id: UUID
    phone: str


class Deciders:
    """Makes the decisions of all people in parallel."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        provider: httpx.AsyncClient,
        crowd: Crowd,
        chance: random.Random,
    ) -> None:
        self._engine = engine
        self._provider = provider
        self._crowd = crowd
        self._chance = chance

    async def create_people(self) -> Sequence[Person]:
        """Create the people."""
        script = {"number": NUMBERS, "script": SILENT}
        (await self._provider.post("/sandbox/people", json=script)).raise_for_status()
        phones = [population.phone(FIRST + number) for number in range(COUNT)]
        added = await self._crowd.add_contacts(phones)
        self._crowd.protected.update(added.values())
        return [Person(id=contact_id, phone=phone) for phone, contact_id in added.items()]

    async def decide(self, people: Sequence[Person]) -> Decided:
        """Let every person decide several times, then start a campaign to all of them."""
        async with asyncio.TaskGroup() as tasks:
            running = {person.phone: tasks.create_task(self._decide(person)) for person in people}
        return Decided(
            is_out={phone: task.result() for phone, task in running.items()},
            campaign=await self.start_campaign(people),
        )

    async def start_campaign(self, people: Sequence[Person]) -> str:
        """Start a campaign to all of them."""
        audience = {"contact_ids": [str(person.id) for person in people]}
        return await self._crowd.start_campaign(audience=audience)

    async def _decide(self, person: Person) -> bool:
        """Opt out and in at random; return True if the last decision was an opt-out."""
        is_out = is_blocked = False
        for _ in range(self._chance.randint(*DECISIONS)):
            await asyncio.sleep(self._chance.uniform(0.1, 1.0))
            is_out = self._chance.random() < 0.5
            if is_out:
                is_blocked |= await self._opt_out(person)
            else:
                # The provider itself blocks the number after a STOP, until the person sends START.
                await self._opt_in(person, by_text=is_blocked or self._chance.random() < 0.5)
                is_blocked = False
        return is_out

    async def _opt_out(self, person: Person) -> bool:
        """Opt out in one of three ways; return True if the provider then blocks the number."""
        words = self._chance.choice(("STOP", "Stop texting me please", None))
        if words is None:
            await self._ask(person, "opt-out")
        else:
            await self._text(person, words)
        return words == "STOP"

    async def _opt_in(self, person: Person, *, by_text: bool) -> None:
        if by_text:
            await self._text(person, "START")
        else:
            await self._ask(person, "opt-in")

    async def _ask(self, person: Person, decision: str) -> None:
        body = {"reason": "asked by phone"}
        await self._crowd.ask("POST", f"/v1/contacts/{person.id}/{decision}", body)

    async def _text(self, person: Person, words: str) -> None:
        """Send a message and wait until its effect is in the consent history."""
        body = {"from": person.phone, "text": words}
        answer = await self._provider.post("/sandbox/receive", json=body)
        values = {"id": answer.json()["data"]["id"]}
        deadline = time.monotonic() + STORED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            async with self._engine.connect() as connection:
                if await connection.scalar(_STORED, values):
                    return
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        raise TimeoutError(f"{words} of {person.phone} is not stored")
