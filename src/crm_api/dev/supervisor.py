"""Keep child processes running: restart dead ones with back-off, and stop all in order."""

import asyncio
import signal
import socket
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
"""Waits before a child is started again."""
HEALTHY_AFTER_SECONDS = 60.0
"""A child that lived this long has a new problem when it dies, not the old one."""
_POLL_SECONDS = 0.1
_ENDS_AT_START = 5
"""A child that ends this often before all is ready will not get better."""

log = structlog.get_logger()


class Program:
    """One of our own processes: the API, the worker, the sandbox."""

    def __init__(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], held: Claim
    ) -> None:
        """Prepare; nothing is started."""
        self.name = name
        self._argv = argv
        self._environment = environment
        self._held = held
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The running process, or the last one."""
        return self._process

    def spawn(self) -> None:
        """Start the process and return at once; it dies with this one.

        Raises:
            StartError: The system refuses.
        """
        with explained(self._held.path):
            self._process = start(
                self._argv,
                account=own_account(),
                # Its database dies at the same moment, so there is nothing to end in order.
                death_signal=signal.SIGKILL,
                environment=self._environment,
                pass_fd=self._held.children_fd,
            )

    def is_alive(self) -> bool:
        """Return True if the process runs."""
        return self._process is not None and self._process.poll() is None

    def ending(self) -> str:
        """Describe how the last process ended."""
        code = self._process.returncode if self._process is not None else None
        if code is not None and code < 0:
            with suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit code {code}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self.is_alive():
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and everything that it started."""
        if self._process is not None:
            kill_group(self._process)
            self._process.wait()


@dataclass
class _Watched:
    """A child and its back-off.

    Attributes:
        start_at: When it is started again; None while it runs.
        failures: Consecutive exits; zero again once the child has run long enough.
        endings: All ends since the start.
    """

    child: Program | Server
    started_at: float = field(default_factory=time.monotonic)
    start_at: float | None = None
    failures: int = 0
    endings: int = 0

    def tend(self, now: float) -> None:
        """Detect that the child died, or restart it when its back-off is over."""
        if self.start_at is not None:
            if now >= self.start_at:
                self._start_again(now)
            return
        if self.child.is_alive():
            return
        if isinstance(self.child, Program):
            # What it started must not work beside its successor.
            self.child.kill()
        if now - self.started_at >= HEALTHY_AFTER_SECONDS:
            self.failures = 0
        wait_seconds = self._schedule(now)
        how = self.child.ending() if isinstance(self.child, Program) else "see its log"
        log.warning(
            "process ended; it is started again",
            child=self.child.name,
            ending=how,
            in_seconds=wait_seconds,
        )

    def _schedule(self, now: float) -> float:
        """Set when the child is started again; return the seconds until then."""
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
            log.error("process does not start", child=self.child.name, reason=str(error))  # noqa: TRY400 - one line, not a traceback
            self._schedule(now)


class Supervisor:
    """Runs programs beside embedded servers until a stop is requested."""

    def __init__(
        self, programs: Sequence[Program], *, servers: Sequence[Server], stop_seconds: float
    ) -> None:
        """Prepare; nothing is started.

        Args:
            programs: Programs to start.
            servers: Servers that run already and are only watched.
            stop_seconds: Time that the programs get to end their work before they are killed.
        """
        self._stop_seconds = stop_seconds
        self._programs = programs
        children: list[Program | Server] = [*servers, *programs]
        self._watched = [_Watched(child) for child in children]
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def request_stop(self) -> None:
        """Begin to stop; the second call stops waiting for running work."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(
        self, *, is_ready: Callable[[], bool], on_ready: Callable[[], None], ready_seconds: float
    ) -> None:
        """Start the programs and keep all children running; return when all programs have ended.

        Args:
            is_ready: Called until it returns True.
            on_ready: Called once after that.
            ready_seconds: Longest time until then.

        Raises:
            StartError: A program does not start, or not all is ready in time.
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
                        f"`{watched.child.name}` keeps ending; its log lines above say why"
                    )
            if time.monotonic() > deadline:
                raise StartError("the API is not ready in time; the log lines above say why")

    def _tend(self) -> None:
        for watched in self._watched:
            watched.tend(time.monotonic())

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    async def _wait_for_programs(self) -> None:
        """Return when all have ended, their time is over, or a second stop is requested."""
        deadline = time.monotonic() + self._stop_seconds
        while any(program.is_alive() for program in self._programs):
            if self._hurry.is_set() or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)


def require_free_port(host: str, port: int, *, takes: str) -> None:
    """Check that a port can be bound.

    Args:
        host: The address to listen on.
        port: The port.
        takes: The owner of the port and the setting that moves it, for the message.

    Raises:
        StartError: The port is taken or not ours, or the host is not an address of this machine.
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(f"CRM_HOST {host} is not an address: {error.strerror}") from error
    for family, kind, protocol, _, address in infos:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise StartError(f"port {port} on {host} cannot be used ({reason}): {takes}") from (
                    error
                )
