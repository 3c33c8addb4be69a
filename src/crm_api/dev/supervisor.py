"""Keep child processes running, and stop all of them at the end.

A process that ends is started again. The wait before a restart grows with each failure in a row.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from crm_api.dev.server_processes import Server
from crm_api.domain.kit.backoff import Backoff
from crm_api.platform.data_dir import Claim, explained
from crm_api.platform.lifetimes import Lifetime
from crm_api.platform.processes import StartError, kill_group, own_account, start

RESTARTS = Backoff(first=timedelta(seconds=0.5), longest=timedelta(seconds=30))
"""Waits before a child process that has ended is started again."""
HEALTHY_AFTER_SECONDS = 60.0
"""If a child process has run at least this long when it ends, the wait before its restart is the
shortest wait again."""
_POLL_SECONDS = 0.1
_ENDS_AT_START = 5
"""If a child process ends this many times before the service is ready, the start fails."""

log = structlog.get_logger()


class Program:
    """One of our own processes: the API, the worker or the sandbox."""

    def __init__(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], held: Claim
    ) -> None:
        """Store the arguments. The method ``spawn`` starts the process."""
        self.name = name
        self._argv = argv
        self._environment = environment
        self._held = held
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process that was started last; None before the first start."""
        return self._process

    def spawn(self) -> None:
        """Start the process without waiting until it is ready.

        If the supervisor dies, the kernel kills the process.

        Raises:
            StartError: The system cannot start the process.
        """
        with explained(self._held.path):
            self._process = start(
                self._argv,
                account=own_account(),
                # If the supervisor dies, the kernel also ends the database. Then an orderly
                # shutdown of the program is not possible, so the signal is SIGKILL.
                death_signal=signal.SIGKILL,
                environment=self._environment,
                pass_fd=self._held.children_fd,
            )

    def is_alive(self) -> bool:
        """Return True if the process is running."""
        return self._process is not None and self._process.poll() is None

    def ending(self) -> str:
        """Return how the process ended: the name of a signal, or its exit code."""
        code = self._process.returncode if self._process is not None else None
        if code is not None and code < 0:
            with suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit code {code}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process, if it is running."""
        if self._process is not None and self.is_alive():
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and all processes that it started."""
        if self._process is not None:
            kill_group(self._process)
            self._process.wait()


@dataclass
class _Watched:
    """A child process, and when to start it again; all times are seconds of the monotonic clock.

    Attributes:
        started_at: When the child was last started.
        start_at: When the child will be started again; None while the child runs.
        failures: How many times in a row the child has ended. A run of at least
            ``HEALTHY_AFTER_SECONDS`` resets it to 0.
        endings: How many times the child has ended since the supervisor's start.
    """

    child: Program | Server
    started_at: float = field(default_factory=time.monotonic)
    start_at: float | None = None
    failures: int = 0
    endings: int = 0

    def tend(self, now: float) -> None:
        """Restart the program or server after it has ended.

        Call this function repeatedly. When a call finds that the program or server has ended, it
        only plans the time of the restart. When a later call finds that this time has come, it
        starts the program or server again.
        """
        if self.start_at is not None:
            if now >= self.start_at:
                self._start_again(now)
            return
        if self.child.is_alive():
            return
        if isinstance(self.child, Program):
            # Kill the remaining processes that the program has started. The restarted program
            # starts new processes.
            self.child.kill()
        if now - self.started_at >= HEALTHY_AFTER_SECONDS:
            self.failures = 0
        wait_seconds = self._schedule(now)
        how = self.child.ending() if isinstance(self.child, Program) else "see its log"
        log.warning(
            "process ended; restart planned",
            process_name=self.child.name,
            ending=how,
            restart_in_seconds=wait_seconds,
        )

    def _schedule(self, now: float) -> float:
        """Plan the next start of the child; return the seconds until then."""
        self.endings += 1
        self.failures += 1
        wait_seconds = RESTARTS.wait(self.failures).total_seconds()
        self.start_at = now + wait_seconds
        return wait_seconds

    def _start_again(self, now: float) -> None:
        self.started_at = now
        self.start_at = None
        try:
            self.child.spawn()
        except StartError as error:
            log.error("process start failed", process_name=self.child.name, error=str(error))  # noqa: TRY400 - one line, not a traceback
            self._schedule(now)


class Supervisor:
    """Runs programs until a stop is requested; restarts programs and embedded servers that end."""

    def __init__(
        self, programs: Sequence[Program], *, servers: Sequence[Server], stop_seconds: float
    ) -> None:
        """Store the arguments. The method ``run`` starts the programs.

        Args:
            programs: Programs to start.
            servers: Servers that are already running; they are restarted if they end.
            stop_seconds: How long the programs may work after SIGTERM before they are killed.
        """
        self._stop_seconds = stop_seconds
        self._programs = programs
        children: list[Program | Server] = [*servers, *programs]
        self._watched = [_Watched(child) for child in children]
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def request_stop(self) -> None:
        """Begin the shutdown; at a second request, kill the programs without waiting for them."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(
        self, *, is_ready: Callable[[], bool], on_ready: Callable[[], None], ready_seconds: float
    ) -> None:
        """Start the programs, keep them running until a stop is requested, then stop them.

        Args:
            is_ready: Returns True once the service is ready; it is called repeatedly.
            on_ready: Called once when the service is ready.
            ready_seconds: Longest time until the service must be ready.

        Raises:
            StartError: A program does not start, or the service is not ready in time.
        """
        async with Lifetime() as life:
            for program in self._programs:
                life.at_end(program.kill)
            life.at_end(self._wait_for_programs)
            for program in self._programs:
                life.at_end(program.ask_to_stop)
                program.spawn()
            await self._until_ready(is_ready, time.monotonic() + ready_seconds)
            if not self._stop.is_set():
                on_ready()
            while not await self._stops_within(_POLL_SECONDS):
                self._tend()

    async def _until_ready(self, is_ready: Callable[[], bool], deadline: float) -> None:
        while not await self._stops_within(_POLL_SECONDS):
            self._tend()
            if await asyncio.to_thread(is_ready):
                return
            for watched in self._watched:
                if watched.endings >= _ENDS_AT_START:
                    raise StartError(
                        f"the process `{watched.child.name}` has ended {_ENDS_AT_START} times "
                        "during the start; the log lines above say why"
                    )
            if time.monotonic() > deadline:
                raise StartError(
                    "the service did not become ready in time; the log lines above say why"
                )

    def _tend(self) -> None:
        for watched in self._watched:
            watched.tend(time.monotonic())

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    async def _wait_for_programs(self) -> None:
        """Wait until all programs have ended.

        The wait also ends after ``stop_seconds``, or when a stop is requested a second time.
        """
        deadline = time.monotonic() + self._stop_seconds
        while any(program.is_alive() for program in self._programs):
            if self._hurry.is_set() or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
