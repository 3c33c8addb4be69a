"""People who opt out and opt in again, several times, by a message or through the API.

A person makes a decision only after the person's previous decision is stored. So the test knows the
last decision of each person. Nothing else decides about these people: they send no other messages,
and no simulated user opts them out.
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
"""Position (argument of ``population.phone``) of the first phone number of these people. No other
simulated person has one of these numbers."""
NUMBERS = population.phone(FIRST)[:8] + "*"
SILENT = [{"do": "deliver", "after": 0.3}]
DECISIONS = (2, 3)
"""The smallest and the largest number of decisions that one person makes."""
STORED_WITHIN_SECONDS = 120.0
LOOK_EVERY_SECONDS = 0.1

_STORED = text("""
    SELECT count(*) FROM consent_entry e JOIN activity a ON a.id = e.activity_id
    WHERE a.openphone_id = :id
""")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The last decision of each person, and a campaign that starts after all decisions.

    Attributes:
        is_out: For each phone number, True if the last decision of its owner was an opt-out.
        campaign: Id of the campaign to all these people. It starts after all decisions were stored.
    """

    is_out: dict[str, bool]
    campaign: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person who opts out and opts in again."""

    id: UUID
    phone: str


class Deciders:
    """Simulates people who opt out and opt in. All people decide in parallel."""

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
        """Create the contacts of the people who will opt out and opt in; return these people."""
        script = {"number": NUMBERS, "script": SILENT}
        (await self._provider.post("/sandbox/people", json=script)).raise_for_status()
        phones = [population.phone(FIRST + number) for number in range(COUNT)]
        added = await self._crowd.add_contacts(phones)
        self._crowd.protected.update(added.values())
        return [Person(id=contact_id, phone=phone) for phone, contact_id in added.items()]

    async def decide(self, people: Sequence[Person]) -> Decided:
        """Make each person decide several times, then start a campaign to all these people."""
        async with asyncio.TaskGroup() as tasks:
            running = {person.phone: tasks.create_task(self._decide(person)) for person in people}
        return Decided(
            is_out={phone: task.result() for phone, task in running.items()},
            campaign=await self.start_campaign(people),
        )

    async def start_campaign(self, people: Sequence[Person]) -> str:
        """Start a campaign to all these people, and return its id."""
        audience = {"contact_ids": [str(person.id) for person in people]}
        return await self._crowd.start_campaign(audience=audience)

    async def _decide(self, person: Person) -> bool:
        """Make one person opt out or opt in several times, at random.

        Return True if the last decision was an opt-out.
        """
        is_out = is_blocked = False
        for _ in range(self._chance.randint(*DECISIONS)):
            await asyncio.sleep(self._chance.uniform(0.1, 1.0))
            is_out = self._chance.random() < 0.5
            if is_out:
                is_blocked |= await self._opt_out(person)
            else:
                # After a STOP, the provider itself blocks the number until the person sends START.
                # An opt-in through the API would not unblock the number.
                await self._opt_in(person, by_text=is_blocked or self._chance.random() < 0.5)
                is_blocked = False
        return is_out

    async def _opt_out(self, person: Person) -> bool:
        """Opt a person out in one of three ways, chosen at random.

        Return True if the provider blocks the person's number because of it.
        """
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
        """Send a message from a person, and wait until the consent history shows its effect."""
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
