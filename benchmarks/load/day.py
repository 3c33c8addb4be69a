"""The simulated day: twenty imports and campaigns, and everything that happens meanwhile."""

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp

from benchmarks.load.company import Company
from benchmarks.load.frontend import READ_SCOPES, REQUEST_SECONDS, SCOPES, Listeners, Screen
from benchmarks.load.office import Office
from benchmarks.load.timings import Timings

JSON = dict[str, Any]
POLL_SECONDS = 1.0
SCRAPE_SECONDS = 5.0
LATELY = timedelta(seconds=20)
"""The period that a reconciliation during the campaigns covers. It is short, because the
reconciliation sends a request for each conversation in the period."""
STALL_SECONDS = 180.0
"""The run fails after this time without progress."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How busy the company is.

    Attributes:
        reply: Share of the people who reply, without the people who send STOP (``stop``).
        updates: Number of imports during the campaigns. Each of them imports the people of two
            lists again.
        time_scale: Factor for the time until people reply.
    """

    campaigns: int = 20
    people: int = 2_500
    screens: int = 20
    listeners: int = 50
    reply: float = 0.17
    stop: float = 0.03
    updates: int = 4
    time_scale: float = 1.0


@dataclass
class Course:
    """The measurements during the day. Times come from ``time.monotonic``."""

    timings: Timings = field(default_factory=Timings)
    listeners: Listeners = field(default_factory=Listeners)
    rows: int = 0
    import_seconds: float = 0.0
    began: float = 0.0
    first_start: float = 0.0
    sent_until: float = 0.0
    ended: float = 0.0
    replies_by_hand: int = 0
    event_ages: list[float] = field(default_factory=list)
    runs: list[JSON] = field(default_factory=list)
    campaigns: list[str] = field(default_factory=list)


class Day:
    """Runs one simulated day."""

    def __init__(self, company: Company, size: Size, *, seed: int) -> None:
        self._company = company
        self._size = size
        self._draw = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self._is_over = asyncio.Event()
        self._has_started = asyncio.Event()
        self._phase = "lists are imported, campaigns start"
        self.course = Course()

    async def run(self) -> Course:
        """Run the simulated day until its last reply; return the measurements."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        async with AsyncExitStack() as stack:
            self._http = await stack.enter_async_context(
                aiohttp.ClientSession(self._company.url, timeout=timeout, connector=connector)
            )
            self._provider = await stack.enter_async_context(
                aiohttp.ClientSession(self._company.sandbox_url)
            )
            self._office = Office(self._http, self._company, self.course.timings, 0)
            await self._set_people()
            await self._office.prepare()
            screens = [await self._screen(number) for number in range(self._size.screens)]
            reader = await self._office.key("listeners", READ_SCOPES)
            self.course.began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                endless = [
                    tasks.create_task(
                        self.course.listeners.listen(self._http, reader, collects=number == 0)
                    )
                    for number in range(self._size.listeners)
                ]
                endless.append(tasks.create_task(self._scrape()))
                for screen in screens:
                    tasks.create_task(screen.work(self._is_over))
                beside = tasks.create_task(self._work_beside())
                await self._send_campaigns()
                await self._until_sent()
                await beside
                await self._until_quiet()
                self._is_over.set()
                for task in endless:
                    task.cancel()
            self.course.rows = self._office.rows
            self.course.import_seconds = self._office.import_seconds
            self.course.replies_by_hand = sum(screen.replies for screen in screens)
            await self._until_quiet()
            self._phase = "everything is compared with the provider"
            self.course.runs.append(await self._office.reconcile())
            self.course.ended = time.monotonic()
        return self.course

    async def texts(self) -> list[JSON]:
        """Return all messages that the sandbox has accepted or received, oldest first."""
        async with aiohttp.ClientSession(self._company.sandbox_url) as provider:
            return list((await _get(provider, "/sandbox/messages"))["data"])

    def progress(self) -> str:
        """Return a sentence about the progress of the day."""
        course = self.course
        return (
            f"{self._office.rows:,} rows imported, {len(course.campaigns)} campaigns started, "
            f"{course.timings.count:,} requests; {self._phase}"
        )

    async def _set_people(self) -> None:
        weights = {"reply": self._size.reply, "stop": self._size.stop}
        config = {
            "rate_per_second": None,
            "people": weights,
            "time_scale": self._size.time_scale,
        }
        async with self._provider.patch("/sandbox/config", json=config) as answer:
            answer.raise_for_status()

    async def _screen(self, number: int) -> Screen:
        key = await self._office.key(f"screen {number}", SCOPES)
        seed, inbox = self._draw.randrange(2**31), self.course.listeners.inbox
        return Screen(self._http, key, self.course.timings, seed, inbox=inbox)

    async def _send_campaigns(self) -> None:
        """Import the lists one after the other; start a campaign for each after its import."""
        for number in range(self._size.campaigns):
            first = number * self._size.people
            list_id = await self._office.take_list(
                f"List {number}", first=first, count=self._size.people
            )
            campaign = await self._office.start_campaign(number, list_id)
            self.course.first_start = self.course.first_start or time.monotonic()
            self.course.campaigns.append(campaign)
            self._has_started.set()

    async def _work_beside(self) -> None:
        """While the campaigns are sent, import lists again and start reconciliations."""
        await self._has_started.wait()
        for number in range(self._size.updates):
            await asyncio.sleep(POLL_SECONDS)
            count = 2 * self._size.people
            await self._office.take_list(f"Update {number}", first=number * count, count=count)
            self.course.runs.append(await self._office.reconcile(last=LATELY))

    async def _until_sent(self) -> None:
        """Wait until no recipient of any campaign waits for a message."""
        waiting, changed = set(self.course.campaigns), time.monotonic()
        before: Counter[str] = Counter()
        while waiting:
            now: Counter[str] = Counter()
            for campaign in sorted(waiting):
                path = f"/v1/campaigns/{campaign}/stats"
                stats = await self._office.request("campaign stats", "GET", path)
                counts = stats.get("by_status", {"pending": 1})
                left = sum(counts.get(name, 0) for name in ("pending", "sending", "unknown"))
                now[campaign] = left
                if not left and stats["recipients_total"]:
                    waiting.discard(campaign)
            self._phase = f"{now.total():,} recipients are left"
            if now != before:
                before, changed = now, time.monotonic()
            if time.monotonic() - changed > STALL_SECONDS:
                raise SystemExit(f"no progress any more: {dict(now)}")
            await asyncio.sleep(POLL_SECONDS)
        self.course.sent_until = time.monotonic()
        self._phase = "all messages are sent, the last replies arrive"

    async def _until_quiet(self) -> None:
        """Wait until the provider has sent all its events and the service has applied them."""
        changed, before = time.monotonic(), -1
        while time.monotonic() - changed < STALL_SECONDS:
            left = (await _get(self._provider, "/sandbox/stats"))["webhooks"]["scheduled"]
            waits = await self._office.request(
                "webhook events", "GET", "/v1/webhook-events?status=pending&limit=1"
            )
            if not left and waits.get("data") == []:
                return
            if left != before:
                before, changed = left, time.monotonic()
            await asyncio.sleep(POLL_SECONDS)
        raise SystemExit(f"{before} events did not arrive")

    async def _scrape(self) -> None:
        """Read the metrics regularly, as Prometheus does."""
        while True:
            begun, status = time.perf_counter(), 0
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._http.get("/metrics") as answer:
                    status, page = answer.status, await answer.text()
                    self.course.event_ages.append(_event_age(page))
            self.course.timings.note("metrics", time.perf_counter() - begun, status)
            await asyncio.sleep(SCRAPE_SECONDS)


async def _get(http: aiohttp.ClientSession, path: str) -> JSON:
    async with http.get(path) as answer:
        found: JSON = await answer.json()
    return found


def _event_age(page: str) -> float:
    name = "crm_webhook_events_oldest_due_seconds "
    return next(
        (float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name)), 0.0
    )
