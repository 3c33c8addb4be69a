"""Replace every process of a busy service, one after the other, and judge the result."""

import asyncio
import itertools
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from benchmarks import population
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.crash.crash_run import CrashRun, Size
from tests.crash.forks import Fork, Zygote
from tests.crash.harness import ADMIN_KEY
from tests.crash.runner import open_crash_run
from tests.crash.verdict import Verdict, judge
from tests.free_ports import free_port
from tests.rolling.balancer import ANSWER_SECONDS, Balancer, Passed, balancing

ENDS_WITHIN_SECONDS = 180.0
"""Time limit for the end of a process: several times the usual duration on a busy machine. A longer
stop is a fault."""
QUIET_WITHIN_SECONDS = 600.0
DRAIN_SECONDS = 20.0
"""The largest allowed value of the setting. The test sends a second signal when no request is open,
so that the server stops earlier."""
CALLERS = 4
_OPEN = text("""
    SELECT (SELECT count(*) FROM campaign_membership m JOIN campaign c ON c.id = m.campaign_id
            WHERE m.status IN ('pending', 'sending', 'unknown') AND c.status <> 'cancelled'
              AND c.line_id <> CAST(:capped AS uuid))
         + (SELECT greatest(0, :cap - count(*)) FROM send_attempt
            WHERE line_id = CAST(:capped AS uuid) AND status IN ('sent', 'delivered', 'failed'))
         + (SELECT count(*) FROM send_attempt WHERE status IN ('claimed', 'calling', 'unknown'))
         + (SELECT count(*) FROM webhook_event WHERE status IN ('pending', 'failed'))
""")
_SENT_BY = text("""
    SELECT count(membership_id) AS campaign, count(*) AS all_of_them
    FROM send_attempt
    WHERE line_id = CAST(:line AS uuid) AND status IN ('sent', 'delivered', 'failed')
""")
_EVENTS = text("SELECT provider_event_id FROM webhook_event")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many processes are replaced, how often, and under which load.

    Attributes:
        people: Number of recipients of each of the two campaigns. The line of the second campaign
            may send to only ``cap`` of them today.
    """

    serves: int
    workers: int
    rounds: int
    people: int
    cap: int
    rate_per_second: float
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """One process that was replaced, and the requests during its replacement."""

    name: str
    stopping_seconds: float
    starting_seconds: float
    passed: Sequence[Passed]

    @property
    def failed(self) -> int:
        return sum(one.status >= 500 or one.status == 0 for one in self.passed)

    @property
    def slowest_seconds(self) -> float:
        return max((one.seconds for one in self.passed), default=0.0)


@dataclass(kw_only=True)
class Outcome:
    """The result of a run in which all processes were replaced under load.

    Attributes:
        replacements: The processes that were replaced.
        requests: How many requests to the API got each status.
        webhooks: How many webhooks of the provider got each status.
        campaign_messages: How many campaign messages were sent by the line with the low daily
            limit. The limit is lower than the number of recipients of the line's campaign.
        messages: How many messages this line sent: the campaign messages, and confirmations of
            opt-outs. A confirmation counts towards the daily limit, but it is also sent when the
            limit is reached.
        verdict: The result of the checks of all sent messages.
        faults: Other faults, as sentences.
    """

    replacements: list[Replacement]
    requests: Counter[int]
    webhooks: Counter[int]
    campaign_messages: int
    messages: int
    verdict: Verdict
    faults: list[str] = field(default_factory=list)


async def roll(
    folder: Path, plan: Plan, *, report: Callable[[Replacement], None] = lambda _: None
) -> Outcome:
    """Run the service under load and replace each of its processes."""
    size = Size(
        counted_kills=0,
        people=2 * plan.people,
        campaign_size=plan.people,
        rate_per_second=plan.rate_per_second,
    )
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(open_crash_run(folder, seed=plan.seed, size=size))
        ports = [free_port() for _ in range(plan.serves)]
        balancer = await stack.enter_async_context(balancing(stage.port, ports))
        service = Service(plan, stage.forking, balancer)
        await service.start()
        capped = await _begin(stage, plan)
        api = await stack.enter_async_context(_client(stage.port))
        calling = [asyncio.create_task(_call(api, number)) for number in range(CALLERS)]
        replacements = [one async for one in service.roll(report)]
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
        await _wait_until_sent(stage.engine, capped=capped, cap=plan.cap)
        return await _judge(stage, folder, balancer, replacements, service.faults, capped=capped)


def _client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        timeout=2 * ANSWER_SECONDS,
    )


async def _begin(stage: CrashRun, plan: Plan) -> str:
    """Start both campaigns; return the id of the line with the low daily limit.

    The limit is lower than the number of recipients of the second campaign.
    """
    await stage.crowd.create_people(2 * plan.people)
    async with _client(stage.port) as api:
        lines = (await api.get("/v1/lines")).json()["data"]
        capped = next(line for line in lines if line["id"] == stage.crowd.lines[1])
        changed = await api.patch(f"/v1/lines/{capped['id']}", json={"daily_limit": plan.cap})
        changed.raise_for_status()
    for _ in range(2):
        await stage.crowd.start_campaign()
    return str(capped["id"])


async def _call(api: httpx.AsyncClient, caller: int) -> None:
    """Send requests to the API without a pause. The balancer records which requests fail."""
    for number in itertools.count():
        phone = population.phone(1_000_000 + caller * 100_000 + number)
        made = await api.post("/v1/contacts", json={"phone": phone, "first_name": "Ada"})
        await api.get("/v1/contacts", params={"limit": 20})
        if made.is_success:
            await api.get(f"/v1/contacts/{made.json()['id']}")
        await api.get("/v1/campaigns")


async def _wait_until_sent(engine: AsyncEngine, **values: object) -> None:
    """Wait until nothing is open, except recipients beyond the line's daily limit.

    Raises:
        TimeoutError: Something is still open after ``QUIET_WITHIN_SECONDS``.
    """
    async with asyncio.timeout(QUIET_WITHIN_SECONDS):
        while True:
            async with engine.connect() as connection:
                if not await connection.scalar(_OPEN, values):
                    return
            await asyncio.sleep(0.2)


async def _judge(
    stage: CrashRun,
    folder: Path,
    balancer: Balancer,
    replacements: list[Replacement],
    faults: list[str],
    *,
    capped: str,
) -> Outcome:
    async with stage.engine.connect() as connection:
        sent = (await connection.execute(_SENT_BY, {"line": capped})).one()
    async with _client(stage.port) as api:
        # Cancel this campaign, so that no recipient waits for the next day.
        (await api.post(f"/v1/campaigns/{stage.crowd.campaigns[1]}/cancel")).raise_for_status()
    await stage.wait_until_quiet()
    verdict = await judge(stage.engine, stage.provider, evidence=folder / "evidence.json")
    # Copy the ids of the acknowledged events before the rows are read, because events still arrive.
    acknowledged = set(balancer.events)
    async with stage.engine.connect() as connection:
        stored = set(await connection.scalars(_EVENTS))
    if lost := acknowledged - stored:
        faults.append(f"{len(lost)} webhooks were acknowledged and not stored")
    return Outcome(
        replacements=replacements,
        requests=balancer.statuses(webhooks=False),
        webhooks=balancer.statuses(webhooks=True),
        campaign_messages=sent.campaign,
        messages=sent.all_of_them,
        verdict=verdict,
        faults=[*faults, *stage.unexpected],
    )


class Service:
    """The API processes behind the balancer, and the workers."""

    def __init__(self, plan: Plan, forking: Zygote, balancer: Balancer) -> None:
        self._plan = plan
        self._forking = forking
        self._balancer = balancer
        self._serves: dict[int, Fork] = {}
        self._workers: list[Fork] = []
        self.faults: list[str] = []

    async def start(self) -> None:
        for port in self._balancer.ports:
            self._serves[port] = await self._serve(port)
        for port in self._balancer.ports:
            await self._balancer.wait_ready(port)
        for _ in range(self._plan.workers):
            self._workers.append(await self._forking.spawn("worker"))

    async def _serve(self, port: int) -> Fork:
        values = {
            "CRM_PORT": str(port),
            "CRM_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "CRM_RATE_LIMIT_PER_SECOND": "0",
        }
        return await self._forking.spawn("serve", env=values)

    async def roll(self, report: Callable[[Replacement], None]) -> AsyncIterator[Replacement]:
        """Replace every process ``rounds`` times, and yield each replacement."""
        for _ in range(self._plan.rounds):
            for number, port in enumerate(self._balancer.ports, 1):
                yield await self._replace(f"serve {number}", self._serve_again, port, report)
            for number in range(self._plan.workers):
                yield await self._replace(f"worker {number + 1}", self._work_again, number, report)

    async def _replace(
        self,
        name: str,
        again: Callable[[int], Awaitable[float]],
        which: int,
        report: Callable[[Replacement], None],
    ) -> Replacement:
        before, began = len(self._balancer.passed), time.monotonic()
        ended = await again(which)
        started = time.monotonic()
        # A worker can be replaced faster than a slow machine responds to a request. So wait for at
        # least one request.
        await self._balancer.wait_passed(before + 1)
        done = Replacement(
            name=name,
            stopping_seconds=ended - began,
            starting_seconds=started - ended,
            passed=self._balancer.passed[before:],
        )
        report(done)
        return done

    async def _serve_again(self, port: int) -> float:
        fork = self._serves[port]
        fork.signal(signal.SIGTERM)
        await self._balancer.wait_left(port)
        ended = await self._end(fork)
        self._serves[port] = await self._serve(port)
        await self._balancer.wait_ready(port)
        return ended

    async def _work_again(self, number: int) -> float:
        ended = await self._end(self._workers[number])
        self._workers[number] = await self._forking.spawn("worker")
        return ended

    async def _end(self, fork: Fork) -> float:
        """Ask a process to end, wait for its end, and return the time of its end."""
        fork.signal(signal.SIGTERM)
        if not await fork.wait_ended(ENDS_WITHIN_SECONDS):
            self.faults.append(f"{fork.name} did not end")
            fork.signal(signal.SIGKILL)
        elif fork.code != 0:
            self.faults.append(f"{fork.name} ended with {fork.code}")
        return time.monotonic()
