"""Three workers, the API, PostgreSQL and Redis, struck repeatedly while campaigns run."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.crash.crowd import Crowd
from tests.crash.forks import Fork, Zygote
from tests.crash.holders import in_flight
from tests.crash.servers import Servers
from tests.crash.strikes import AFTER_TERM, ANYWHERE, SERVER_KINDS, Kind, Plan, Strike
from tests.crash.verdict import count_open

WORKERS = 3
SECONDS_A_KILL = 6.0
"""Much more than needed, so that a siege in which nothing counts ends too."""
STEP_SECONDS = 5.0
"""A step that is not reached by then is given up: the process is struck where it is."""
STOPPED_FOR_SECONDS = 33.0
"""Longer than the lease of 20 s, the grace of 10 s and the conclusions right after."""
MOST_STOPPED = 4
ENDS_WITHIN_SECONDS = 30.0
"""After SIGTERM; the longest call takes 3.3 s."""
REPORTS_WITHIN_SECONDS = 2.0
TERMINATED = frozenset({Kind.WORKER_TERMINATED, Kind.API_TERMINATED})
AWAY = (DBAPIError, OSError, TimeoutError)
"""Errors while the database is away."""
PROGRESS_SECONDS = 15.0

_PROGRESS = text("""
    SELECT status, count(*) AS people FROM campaign_membership GROUP BY status ORDER BY status
""")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a siege.

    Attributes:
        kills: Counted kills, after which nothing more is struck.
        campaigns: Number at the start; others follow while fewer than ``backlog`` recipients wait.
        kinds: What may happen to workers; None is everything.
        meddles: Users pause, cancel and opt people out meanwhile; servers are struck too.
        throttles: The provider asks some callers to wait; their messages then wait for minutes.
        rate_per_second: Messages, of all workers together.
        crew_rate_per_second: The same, for the workers that end the work after the last strike.
        settle_seconds: How long everything may take to end afterwards.
    """

    kills: int
    people: int
    campaign_size: int
    campaigns: int = 2
    backlog: int = 0
    rate_per_second: float = 40
    crew_rate_per_second: float = 150
    kinds: Sequence[Kind] | None = None
    meddles: bool = True
    throttles: bool = True
    settle_seconds: float = 900


@dataclass(kw_only=True)
class Siege:
    """What can be struck, and what has been."""

    size: Size
    seed: int
    port: int
    """Port of the API."""
    engine: AsyncEngine
    forking: Zygote
    servers: Servers
    crowd: Crowd
    provider: httpx.AsyncClient
    strikes: list[Strike] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    """Unexpected events."""
    _stopped: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def counted(self) -> int:
        return sum(strike.counts for strike in self.strikes)

    @property
    def is_over(self) -> bool:
        return self.counted >= self.size.kills

    async def prepare(self) -> None:
        """Create contacts and lines, and start the first campaigns."""
        api = await self.forking.spawn("serve")
        await self.crowd.gather(self.size.people)
        await self.crowd.misbehave(throttles=self.size.throttles)
        for _ in range(self.size.campaigns):
            await self.crowd.start_campaign()
        api.signal(signal.SIGTERM)
        await api.wait_ended(ENDS_WITHIN_SECONDS)

    async def rage(self) -> None:
        """Strike until enough kills have counted, then leave a crew that ends the work."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.size.kills * SECONDS_A_KILL):
                await self._strike_all()
        if not self.is_over:
            self.surprises.append(f"{self.counted} kills counted, {self.size.kills} were asked for")
        hurry = {"CRM_OPENPHONE_RATE_PER_SECOND": str(self.size.crew_rate_per_second)}
        for command in ("serve", *["worker"] * WORKERS):
            await self.forking.spawn(command, env=hurry)
        await self.crowd.calm()
        if self._stopped:
            await asyncio.wait(self._stopped)

    async def _strike_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self.crowd.keep_busy(backlog=self.size.backlog))]
            if self.size.meddles:
                background.append(tasks.create_task(self.crowd.meddle()))
            async with asyncio.TaskGroup() as slots:
                for number in range(WORKERS):
                    plan = Plan(self.seed, f"worker {number}", kinds=self.size.kinds)
                    slots.create_task(self._strike_processes("worker", plan))
                slots.create_task(self._strike_processes("serve", Plan(self.seed, "api")))
                if self.size.meddles:
                    slots.create_task(self._strike_servers(Plan(self.seed, "servers")))
            for task in background:
                task.cancel()

    async def report_progress(self, say: Callable[[str], None]) -> None:
        """Report the progress periodically."""
        begun = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            with contextlib.suppress(*AWAY):
                async with self.engine.connect() as connection:
                    rows = list(await connection.execute(_PROGRESS))
                shown = ", ".join(f"{row.people} {row.status}" for row in rows)
                say(
                    f"{time.monotonic() - begun:.0f} s: {len(self.strikes)} kills, "
                    f"{self.counted} counted; recipients: {shown}"
                )

    async def wait_until_quiet(self) -> None:
        """Wait until nothing is open any more."""
        deadline = time.monotonic() + self.size.settle_seconds
        while time.monotonic() < deadline:
            if await count_open(self.engine) == 0:
                return
            await asyncio.sleep(0.5)
        self.surprises.append("not everything came to its end in time")

    async def _strike_processes(self, command: str, plan: Plan) -> None:
        """Start one process after the other and strike each."""
        while not self.is_over:
            strike = plan.against_worker() if command == "worker" else plan.against_api()
            fork = await self.forking.spawn(
                command,
                step=None if strike.step == ANYWHERE else strike.step,
                arrival=strike.arrival,
            )
            await self._reach(fork, strike)
            if strike.kind in SERVER_KINDS:
                await self._strike_around(fork, strike, plan)
            elif strike.kind is Kind.WORKER_STOPPED and len(self._stopped) < MOST_STOPPED:
                if await self._note(strike, fork):
                    stopped = asyncio.create_task(self._go_on_later(fork, plan))
                    self._stopped.add(stopped)
                    stopped.add_done_callback(self._stopped.discard)
            else:
                await self._end(fork, strike)

    async def _reach(self, fork: Fork, strike: Strike) -> None:
        """Wait for the step, or its time limit; a step that is not reached becomes any moment."""
        if strike.step in {ANYWHERE, AFTER_TERM}:
            await fork.wait_ended(strike.after_seconds)
        if strike.step == AFTER_TERM:
            fork.signal(signal.SIGTERM)
        if strike.step != ANYWHERE and not await fork.wait_until_still(STEP_SECONDS):
            strike.step = ANYWHERE

    async def _note(self, strike: Strike, fork: Fork | None = None) -> bool:
        """Count what is in flight while the struck process is stopped; False if it had ended."""
        if fork is not None and not await fork.freeze():
            # The API does not start without its database, and only this test sends a SIGTERM.
            if not fork.is_api and fork.code not in {0, -signal.SIGTERM}:
                self.surprises.append(f"{fork.name} ended by itself with code {fork.code}")
            return False
        with contextlib.suppress(*AWAY):
            async with self.engine.connect() as connection:
                names = {fork.name} if fork is not None else set()
                strike.held = await in_flight(
                    connection, alive=self.forking.alive | names, struck=fork.name if fork else None
                )
        self.strikes.append(strike)
        return True

    async def _end(self, fork: Fork, strike: Strike) -> None:
        if strike.kind is Kind.WORKER_STOPPED:
            strike.kind = Kind.WORKER_KILLED
        if not await self._note(strike, fork):
            return
        if strike.kind in TERMINATED:
            fork.signal(signal.SIGTERM)
            if await fork.go_to_its_end(ENDS_WITHIN_SECONDS):
                return
            self.surprises.append(f"{strike.kind} at {strike.step} not heeded by {fork.name}")
            fork.signal(signal.SIGUSR1)
            await fork.wait_ended(REPORTS_WITHIN_SECONDS)
        fork.signal(signal.SIGKILL)
        await fork.wait_ended(10)

    async def _go_on_later(self, fork: Fork, plan: Plan) -> None:
        """Let a stopped worker wake after the others have continued without it."""
        await asyncio.sleep(STOPPED_FOR_SECONDS)
        await self._survive(fork, plan)

    async def _strike_around(self, fork: Fork, strike: Strike, plan: Plan) -> None:
        """Strike a server while the process is stopped at its step, then let it continue."""
        if not await self._note(strike, fork):
            return
        await self._strike_server(strike, plan, struck=fork.name)
        await self._survive(fork, plan)

    async def _survive(self, fork: Fork, plan: Plan) -> None:
        fork.signal(signal.SIGCONT)
        strike = plan.against_survivor()
        if fork.is_api:
            strike.kind = Kind.API_KILLED
        await self._reach(fork, strike)
        await self._end(fork, strike)

    async def _strike_servers(self, plan: Plan) -> None:
        while not self.is_over:
            strike = plan.against_server()
            await asyncio.sleep(strike.after_seconds)
            await self._note(strike)
            await self._strike_server(strike, plan, struck=None)

    async def _strike_server(self, strike: Strike, plan: Plan, *, struck: str | None) -> None:
        with contextlib.suppress(RedisError, *AWAY):
            await self.servers.strike(strike.kind, struck=struck, fraction=plan.fraction())
