"""Simulated users of the frontend: they poll, read, search, answer, and follow live events."""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from benchmarks.load.timings import UNANSWERED, Timings

JSON = dict[str, Any]
THINKS_SECONDS = 0.25
"""Average time from a response to the user's next request."""
REQUEST_SECONDS = 30.0
SCOPES = ("contacts:read", "contacts:write", "campaigns:read", "messages:read", "messages:send")
READ_SCOPES = ("contacts:read", "campaigns:read", "messages:read")
REPLY = "Thank you! Somebody from the office will call you today."
INBOX = 200
SEARCHES = ("rossi", "617", "p12", "kim", "chen", "example.com", "garcia", "ada")


class Screen:
    """The session of one simulated user, who sends requests with one API key."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        key: str,
        timings: Timings,
        seed: int,
        *,
        inbox: deque[str] | None = None,
    ) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {key}"}
        self._timings = timings
        self._draw = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self._inbox: deque[str] = deque() if inbox is None else inbox
        self.replies = 0

    async def request(self, kind: str, method: str, path: str, body: JSON | None = None) -> JSON:
        """Send a request and record its duration; return an empty object if it failed."""
        begun, status, found, code = time.perf_counter(), UNANSWERED, {}, ""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.request(method, path, json=body, headers=self._headers) as answer:
                status, content = answer.status, await answer.read()
                if answer.ok and content:
                    found = json.loads(content)
                elif not answer.ok:
                    code = json.loads(content).get("code", "")
        self._timings.note(kind, time.perf_counter() - begun, status, code)
        return found

    async def work(self, is_over: asyncio.Event) -> None:
        """Do one random action after another until ``is_over`` is set."""
        acts, weights = zip(*_ACTS, strict=True)
        while not is_over.is_set():
            [act] = self._draw.choices(acts, weights)
            await act(self)
            pause = self._draw.expovariate(1 / THINKS_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), pause)

    async def _pick(self, kind: str, path: str) -> JSON | None:
        """Read a list, and return a random row; None if the list is empty."""
        rows = (await self.request(kind, "GET", path)).get("data", [])
        return self._draw.choice(rows) if rows else None

    async def look_at_campaign(self) -> None:
        """Read the list of campaigns, then one campaign with its stats and some recipients."""
        campaign = await self._pick("list campaigns", "/v1/campaigns?limit=50")
        if campaign is None:
            return
        path = f"/v1/campaigns/{campaign['id']}"
        await self.request("campaign", "GET", path)
        await self.request("campaign stats", "GET", f"{path}/stats")
        status = self._draw.choice(("pending", "delivered", "failed", "sent"))
        await self.request("recipients", "GET", f"{path}/recipients?status={status}")

    async def poll_stats(self) -> None:
        """Poll the stats of a campaign, as an open page does."""
        campaign = await self._pick("list campaigns", "/v1/campaigns?limit=50")
        if campaign is not None:
            for _ in range(3):
                path = f"/v1/campaigns/{campaign['id']}/stats"
                await self.request("campaign stats", "GET", path)
                await asyncio.sleep(THINKS_SECONDS)

    async def search(self) -> None:
        """Search for a contact, and read its timeline."""
        words = self._draw.choice(SEARCHES)
        contact = await self._pick("search contacts", f"/v1/contacts?q={words}&limit=25")
        if contact is not None:
            path = f"/v1/contacts/{contact['id']}"
            await self.request("contact", "GET", path)
            await self.request("timeline", "GET", f"{path}/timeline")

    async def read_conversation(self) -> None:
        """Read the list of conversations, and the messages of one of them."""
        talk = await self._pick("list conversations", "/v1/conversations?limit=50")
        if talk is not None:
            await self.request("messages", "GET", f"/v1/conversations/{talk['id']}/messages")

    async def answer(self) -> None:
        """Answer in the conversation with the newest message from a person.

        The live events report which conversation this is.
        """
        if not self._inbox:
            return
        path = f"/v1/conversations/{self._inbox.pop()}/messages"
        texts = (await self.request("messages", "GET", path)).get("data", [])
        if not texts:
            return
        body = {"line_id": texts[0]["line_id"], "to": texts[0]["phone"], "body": REPLY}
        if await self.request("send a reply", "POST", "/v1/messages", body):
            self.replies += 1

    async def write_note(self) -> None:
        """Write a note about a contact."""
        contact = await self._pick("list contacts", "/v1/contacts?limit=50")
        if contact is not None:
            path = f"/v1/contacts/{contact['id']}/notes"
            await self.request("write a note", "POST", path, {"body": "Called back, no answer."})


Act = Callable[[Screen], Awaitable[object]]
_ACTS: list[tuple[Act, float]] = [
    (Screen.look_at_campaign, 2),
    (Screen.poll_stats, 3),
    (Screen.search, 2),
    (Screen.read_conversation, 3),
    (Screen.answer, 1),
    (Screen.write_note, 1),
]


@dataclass
class Listeners:
    """The streams of live events of all users.

    Attributes:
        delays: Seconds from an event to its arrival in one of the streams.
        inbox: Conversations with a message from a person; the newest is last.
        ended: Number of streams that the service ended.
    """

    delays: list[float] = field(default_factory=list)
    inbox: deque[str] = field(default_factory=lambda: deque(maxlen=INBOX))
    ended: int = 0

    async def listen(self, http: aiohttp.ClientSession, key: str, *, collects: bool) -> None:
        """Follow one stream of live events until the task is cancelled.

        After a disconnect, continue with the missed events.

        Args:
            http: The HTTP session.
            key: The API key.
            collects: True if this stream fills the inbox.
        """
        headers = {"Authorization": f"Bearer {key}"}
        no_limit = aiohttp.ClientTimeout(total=None)
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with http.get("/v1/events", headers=headers, timeout=no_limit) as stream:
                    if last := await self._read(stream.content, collects=collects):
                        headers["Last-Event-ID"] = last
            self.ended += 1
            await asyncio.sleep(1)

    async def _read(self, lines: aiohttp.StreamReader, *, collects: bool) -> str:
        last = ""
        async for line in lines:
            if line.startswith(b"id: "):
                last = line[4:].decode().strip()
            elif line.startswith(b"data: "):
                self._note(line[6:])
                if collects and b'"type":"message.received"' in line:
                    self.inbox.append(json.loads(line[6:])["data"]["conversation_id"])
        return last

    def _note(self, data: bytes) -> None:
        place = data.find(b'"timestamp":"')
        if place >= 0:
            at = datetime.fromisoformat(data[place + 13 : place + 37].decode())
            self.delays.append((datetime.now(UTC) - at).total_seconds())
