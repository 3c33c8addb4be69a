"""Kill three workers, the API, PostgreSQL and Redis repeatedly while campaigns run."""

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
from tests.crash.kills import AFTER_TERM, ANYWHERE, SERVER_KINDS, Kill, Kind, Plan
from tests.crash.servers import Servers
from tests.crash.verdict import count_open

WORKERS = 3
SECONDS_A_KILL = 6.0
"""Time limit of a run, divided by the number of counted kills to reach. It is long, so that it ends
only a run in which too few kills count."""
STEP_SECONDS = 5.0
"""Time limit in which a process must reach its step (a named place in its code). After this time,
the process is killed where it is."""
STOPPED_FOR_SECONDS = 33.0
"""How long a worker is stopped. The time is longer than the sum of the lease (20 s), the grace (10
s, the wait before a look-up at the provider) and the work after them."""
MOST_STOPPED = 4
ENDS_WITHIN_SECONDS = 30.0
"""Time limit in which a process must end after SIGTERM. The longest call to the provider takes 3.3
s."""
REPORTS_WITHIN_SECONDS = 2.0
TERMINATED = frozenset({Kind.WORKER_TERMINATED, Kind.API_TERMINATED})
DATABASE_UNREACHABLE = (DBAPIError, OSError, TimeoutError)
"""Errors that occur while the database cannot be reached."""
PROGRESS_SECONDS = 15.0

_PROGRESS = text("""
    SELECT status, count(*) AS people FROM campaign_membership GROUP BY status ORDER BY status
""")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a crash run.

    Attributes:
        counted_kills: Number of counted kills, after which nothing more is killed. A kill counts if
            attempts were in flight (claimed or calling).
        campaigns: Number of campaigns at the start. Another campaign starts whenever fewer than
            ``backlog`` recipients wait.
        kinds: Kinds of kill for workers; None means every kind.
        has_users_and_server_kills: True if users pause and cancel campaigns and opt people out
            during the run, and servers are killed too.
        throttles: True if the provider responds to some messages with a request to wait (429).
            These messages wait for minutes.
        rate_per_second: Messages per second of all workers together, while processes are killed.
        final_rate_per_second: Messages per second of the workers that finish the work after the
            last kill.
        settle_seconds: How long the work may take to end after the last kill.
    """

    counted_kills: int
    people: int
    campaign_size: int
    campaigns: int = 2
    backlog: int = 0
    rate_per_second: float = 40
    final_rate_per_second: float = 150
    kinds: Sequence[Kind] | None = None
    has_users_and_server_kills: bool = True
    throttles: bool = True
    settle_seconds: float = 900


@dataclass(kw_only=True)
class CrashRun:
    """A crash run: the processes and servers that can be killed, and the kills so far."""

    size: Size
    seed: int
    port: int
    """Port of the API."""
    engine: AsyncEngine
    forking: Zygote
    servers: Servers
    crowd: Crowd
    provider: httpx.AsyncClient
    kills: list[Kill] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    """Unexpected events of the run, as sentences."""
    _stopped: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def counted(self) -> int:
        return sum(kill.counts for kill in self.kills)

    @property
    def is_over(self) -> bool:
        return self.counted >= self.size.counted_kills

    async def prepare(self) -> None:
        """Create contacts and lines, and start the first campaigns."""
        api = await self.forking.spawn("serve")
        await self.crowd.create_people(self.size.people)
        await self.crowd.add_provider_faults(throttles=self.size.throttles)
        for _ in range(self.size.campaigns):
            await self.crowd.start_campaign()
        api.signal(signal.SIGTERM)
        await api.wait_ended(ENDS_WITHIN_SECONDS)

    async def kill_until_counted(self) -> None:
        """Kill processes and servers until enough kills have counted.

        Then start processes that finish the work.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.size.counted_kills * SECONDS_A_KILL):
                await self._kill_all_targets()
        if not self.is_over:
            self.unexpected.append(
                f"{self.counted} kills counted, {self.size.counted_kills} were asked for"
            )
        fast = {"CRM_OPENPHONE_RATE_PER_SECOND": str(self.size.final_rate_per_second)}
        for command in ("serve", *["worker"] * WORKERS):
            await self.forking.spawn(command, env=fast)
        await self.crowd.resume_paused_campaigns()
        if self._stopped:
            await asyncio.wait(self._stopped)

    async def _kill_all_targets(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self.crowd.keep_recipients_waiting(backlog=self.size.backlog))
            ]
            if self.size.has_users_and_server_kills:
                background.append(tasks.create_task(self.crowd.act_as_users()))
            async with asyncio.TaskGroup() as slots:
                for number in range(WORKERS):
                    plan = Plan(self.seed, f"worker {number}", kinds=self.size.kinds)
                    slots.create_task(self._kill_processes("worker", plan))
                slots.create_task(self._kill_processes("serve", Plan(self.seed, "api")))
                if self.size.has_users_and_server_kills:
                    slots.create_task(self._kill_servers(Plan(self.seed, "servers")))
            for task in background:
                task.cancel()

    async def report_progress(self, report: Callable[[str], None]) -> None:
        """Report the progress of the run periodically."""
        begun = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            with contextlib.suppress(*DATABASE_UNREACHABLE):
                async with self.engine.connect() as connection:
                    rows = list(await connection.execute(_PROGRESS))
                shown = ", ".join(f"{row.people} {row.status}" for row in rows)
                report(
                    f"{time.monotonic() - begun:.0f} s: {len(self.kills)} kills, "
                    f"{self.counted} counted; recipients: {shown}"
                )

    async def wait_until_quiet(self) -> None:
        """Wait until no recipient, attempt, campaign or event is open any more."""
        deadline = time.monotonic() + self.size.settle_seconds
        while time.monotonic() < deadline:
            if await count_open(self.engine) == 0:
                return
            await asyncio.sleep(0.5)
        self.unexpected.append("some work did not end in time")

    async def _kill_processes(self, command: str, plan: Plan) -> None:
        """Start one process after another, and apply the next planned kill to each."""
        while not self.is_over:
            kill = plan.next_worker_kill() if command == "worker" else plan.next_api_kill()
            fork = await self.forking.spawn(
                command,
                step=None if kill.step == ANYWHERE else kill.step,
                arrival=kill.arrival,
            )
            await self._wait_for_step(fork, kill)
            if kill.kind in SERVER_KINDS:
                await self._kill_server_at_step(fork, kill, plan)
            elif kill.kind is Kind.WORKER_STOPPED and len(self._stopped) < MOST_STOPPED:
                if await self._record(kill, fork):
                    stopped = asyncio.create_task(self._continue_later(fork, plan))
                    self._stopped.add(stopped)
                    stopped.add_done_callback(self._stopped.discard)
            else:
                await self._kill_process(fork, kill)

    async def _wait_for_step(self, fork: Fork, kill: Kill) -> None:
        """Wait until the process has reached the step of the kill.

        If the process does not reach the step in time, the kill is recorded as a kill at any
        moment.
        """
        if kill.step in {ANYWHERE, AFTER_TERM}:
            await fork.wait_ended(kill.after_seconds)
        if kill.step == AFTER_TERM:
            fork.signal(signal.SIGTERM)
        if kill.step != ANYWHERE and not await fork.wait_until_stopped_or_ended(STEP_SECONDS):
            kill.step = ANYWHERE

    async def _record(self, kill: Kill, fork: Fork | None = None) -> bool:
        """Stop the process, count the attempts in flight, and record the kill.

        Return False if the process had already ended; then the kill is not recorded.
        """
        if fork is not None and not await fork.freeze():
            # Two kinds of end are expected. The API ends if it cannot reach its database at the
            # start. An end by SIGTERM comes from this test.
            if not fork.is_api and fork.code not in {0, -signal.SIGTERM}:
                self.unexpected.append(f"{fork.name} ended by itself with code {fork.code}")
            return False
        with contextlib.suppress(*DATABASE_UNREACHABLE):
            async with self.engine.connect() as connection:
                names = {fork.name} if fork is not None else set()
                kill.held = await in_flight(
                    connection, alive=self.forking.alive | names, killed=fork.name if fork else None
                )
        self.kills.append(kill)
        return True

    async def _kill_process(self, fork: Fork, kill: Kill) -> None:
        if kill.kind is Kind.WORKER_STOPPED:
            kill.kind = Kind.WORKER_KILLED
        if not await self._record(kill, fork):
            return
        if kill.kind in TERMINATED:
            fork.signal(signal.SIGTERM)
            if await fork.continue_until_ended(ENDS_WITHIN_SECONDS):
                return
            self.unexpected.append(f"{kill.kind} at {kill.step} was ignored by {fork.name}")
            fork.signal(signal.SIGUSR1)
            await fork.wait_ended(REPORTS_WITHIN_SECONDS)
        fork.signal(signal.SIGKILL)
        await fork.wait_ended(10)

    async def _continue_later(self, fork: Fork, plan: Plan) -> None:
        """Continue a stopped worker after the other workers have taken over its work.

        Kill the worker later.
        """
        await asyncio.sleep(STOPPED_FOR_SECONDS)
        await self._continue_and_kill(fork, plan)

    async def _kill_server_at_step(self, fork: Fork, kill: Kill, plan: Plan) -> None:
        """Kill a server while the process is stopped at a step.

        Then continue the process, and kill it later.
        """
        if not await self._record(kill, fork):
            return
        await self._kill_server(kill, plan, killed=fork.name)
        await self._continue_and_kill(fork, plan)

    async def _continue_and_kill(self, fork: Fork, plan: Plan) -> None:
        fork.signal(signal.SIGCONT)
        kill = plan.next_survivor_kill()
        if fork.is_api:
            kill.kind = Kind.API_KILLED
        await self._wait_for_step(fork, kill)
        await self._kill_process(fork, kill)

    async def _kill_servers(self, plan: Plan) -> None:
        while not self.is_over:
            kill = plan.next_server_kill()
            await asyncio.sleep(kill.after_seconds)
            await self._record(kill)
            await self._kill_server(kill, plan, killed=None)

    async def _kill_server(self, kill: Kill, plan: Plan, *, killed: str | None) -> None:
        with contextlib.suppress(RedisError, *DATABASE_UNREACHABLE):
            await self.servers.kill(kill.kind, killed=killed, fraction=plan.fraction())
