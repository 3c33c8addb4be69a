"""Simulated traffic during a fault: people send messages, and a program uses the API."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import httpx
from benchmarks import population
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

MESSAGES_EVERY_SECONDS = 0.25
READS_EVERY_SECONDS = 0.25
WRITES_EVERY_SECONDS = 0.5
MOST_UNANSWERED = 8
"""The largest number of requests of one kind that may wait for a response at the same time."""
POLL_SECONDS = 0.25
RETRY_AFTER_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0
"""How long the simulated program waits for one response."""
FIRST_UNKNOWN_NUMBER = 5_000_000
"""Position (argument of ``population.phone``) of the first phone number that is in no campaign."""
MESSAGE_TEXTS = (
    "Yes, please call me tomorrow afternoon.",
    "How much would it cost?",
    "STOP",
    "Can you stop by on Tuesday?",
    "Who is this?",
    "Not right now, maybe in spring.",
    "Stop texting me please",
    "Is the look at the basement really free?",
)
DATABASE_UNREACHABLE = (DBAPIError, OSError, TimeoutError)

_ARRIVED = text("""
    SELECT openphone_id FROM activity WHERE openphone_id = ANY(CAST(:ids AS text[]))
""")


class Outcome(StrEnum):
    """Result of a request, as the simulated program sees it."""

    ANSWERED = "answered"
    UNAVAILABLE = "503"
    FAILED = "other 5xx"
    NO_ANSWER = f"no answer in {TIMEOUT_SECONDS:g} s"
    NOT_CONNECTED = "not connected"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request of the simulated program. Its times come from the test's own clock."""

    at: float
    took: float
    outcome: Outcome


@dataclass(kw_only=True)
class Incoming:
    """One message from a person; ``applied_at`` is the time at which the database first had it."""

    id: str
    at: float
    applied_at: float | None = None


@dataclass(kw_only=True)
class Traffic:
    """Simulates traffic until it is cancelled.

    People send messages to the company, and a program creates contacts and lists campaigns.
    """

    engine: AsyncEngine
    api: httpx.AsyncClient
    provider: httpx.AsyncClient
    chance: random.Random
    people: int
    """Number of people who are recipients of campaigns."""
    requests: list[Request] = field(default_factory=list)
    incoming: list[Incoming] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    """The times at which the provider accepted messages, by the provider's own log."""
    created_contacts: dict[str, str] = field(default_factory=dict)
    """For each contact that the API reported as created, the phone number and the id."""
    refusals: list[str] = field(default_factory=list)
    """Refused requests that no fault explains."""
    _seen_up_to: int = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_messages())
            tasks.create_task(self._read())
            tasks.create_task(self._write())
            tasks.create_task(self._follow_provider())

    def counted(self, since: float, until: float) -> Counter[Outcome]:
        """Return how many requests of a period ended with each outcome."""
        return Counter(one.outcome for one in self.requests if since <= one.at < until)

    async def _send_messages(self) -> None:
        message_texts = itertools.cycle(MESSAGE_TEXTS)
        for number in itertools.count():
            is_unknown = number % 4 == 0
            phone = (
                population.phone(FIRST_UNKNOWN_NUMBER + number)
                if is_unknown
                else population.phone(self.chance.randrange(self.people))
            )
            body = {"from": phone, "text": next(message_texts)}
            at = time.time()
            answer = await self.provider.post("/sandbox/receive", json=body)
            self.incoming.append(Incoming(id=answer.json()["data"]["id"], at=at))
            await asyncio.sleep(MESSAGES_EVERY_SECONDS)

    async def _read(self) -> None:
        await self._repeat(READS_EVERY_SECONDS, lambda: self._ask("GET", "/v1/campaigns?limit=20"))

    async def _write(self) -> None:
        numbers = itertools.count(FIRST_UNKNOWN_NUMBER + 1_000_000)
        await self._repeat(
            WRITES_EVERY_SECONDS, lambda: self._add_contact(population.phone(next(numbers)))
        )

    async def _repeat(self, every: float, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Begin a request at each interval, even while earlier requests wait, as a browser does."""
        waiting: set[asyncio.Task[Any]] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                if len(waiting) < MOST_UNANSWERED:
                    task = tasks.create_task(begin())
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                await asyncio.sleep(every)

    async def _add_contact(self, phone: str) -> None:
        """Create a contact; repeat the request with the same Idempotency-Key until it succeeds."""
        key = {"Idempotency-Key": str(uuid4())}
        while True:
            made = await self._ask("POST", "/v1/contacts", {"phone": phone}, headers=key)
            if made is not None:
                self.created_contacts[phone] = made.json()["id"]
                return
            await asyncio.sleep(RETRY_AFTER_SECONDS)

    async def _ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        at, answer = time.time(), None
        try:
            answer = await self.api.request(
                method, path, json=body, headers=headers, timeout=TIMEOUT_SECONDS
            )
            outcome = _outcome(answer.status_code)
        except httpx.TimeoutException:
            outcome = Outcome.NO_ANSWER
        except httpx.TransportError:
            outcome = Outcome.NOT_CONNECTED
        self.requests.append(Request(at=at, took=time.time() - at, outcome=outcome))
        if answer is None or outcome is not Outcome.ANSWERED:
            return None
        if not answer.is_success:
            self.refusals.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return None
        return answer

    async def _follow_provider(self) -> None:
        """Record when the provider accepted messages, and when received messages were applied."""
        while True:
            log = await self.provider.get(
                "/sandbox/messages",
                params={"direction": "outgoing", "after": str(self._seen_up_to)},
            )
            for message in log.json()["data"]:
                self._seen_up_to = message["seq"]
                self.sent_at.append(_seconds(message["createdAt"]))
            waiting = {one.id: one for one in self.incoming if one.applied_at is None}
            with suppress(*DATABASE_UNREACHABLE):
                async with self.engine.connect() as connection:
                    found = await connection.scalars(_ARRIVED, {"ids": list(waiting)})
                    for message_id in found:
                        waiting[message_id].applied_at = time.time()
            await asyncio.sleep(POLL_SECONDS)


def _outcome(status: int) -> Outcome:
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        return Outcome.UNAVAILABLE
    return Outcome.FAILED if httpx.codes.is_server_error(status) else Outcome.ANSWERED


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
