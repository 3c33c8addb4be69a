"""The processes of the crash test, seen from the process that starts and kills them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.crash.holders import name_of, url_for

ROOT = Path(__file__).parents[2]
NO_VARIABLES: Mapping[str, str] = {}
STARTS_WITHIN_SECONDS = 180.0
"""Time limit for the start of a process. The first process starts only after the forking program
has imported all modules."""


class Fork:
    """One worker process or API process."""

    def __init__(self, pid: int, *, name: str, is_api: bool) -> None:
        self.pid = pid
        self.is_api = is_api
        self.name = name
        """The name under which the process logs in to the database."""
        self.stopped = asyncio.Event()
        """The event is set while the process is stopped, at its step or by a signal of the test."""
        self.ended = asyncio.Event()
        self.code: int | None = None

    def signal(self, number: signal.Signals) -> None:
        if number is signal.SIGCONT:
            self.stopped.clear()
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def freeze(self) -> bool:
        """Stop the process, so that its attempts in flight can be counted.

        Return False if the process has ended.
        """
        if not self.stopped.is_set():
            self.signal(signal.SIGSTOP)
            await self.wait_until_stopped_or_ended(10)
        return not self.ended.is_set()

    async def wait_until_stopped_or_ended(self, seconds: float) -> bool:
        """Wait until the process is stopped or has ended; False if neither happens in time."""
        waits = [asyncio.create_task(event.wait()) for event in (self.stopped, self.ended)]
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return bool(done)

    async def wait_ended(self, seconds: float) -> bool:
        """Wait until the process has ended; return False if it does not end in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), timeout=seconds)
        return self.ended.is_set()

    async def continue_until_ended(self, seconds: float) -> bool:
        """Continue the process each time it stops; return False if it does not end in time.

        The process may still stop at its step if SIGTERM came before the step.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended.is_set():
                    self.signal(signal.SIGCONT)
                    await self.wait_until_stopped_or_ended(seconds)
        return self.ended.is_set()


class Zygote:
    """The program that forks the processes. See the module ``zygote.py``."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, database_url: str
    ) -> None:
        self._process = process
        self._folder = folder
        self._database_url = database_url
        self._count = 0
        self._forks: dict[int, Fork] = {}
        self._started: asyncio.Queue[Fork] = asyncio.Queue()
        self._order_lock = asyncio.Lock()

    async def spawn(
        self,
        command: str,
        *,
        step: str | None = None,
        arrival: int = 1,
        env: Mapping[str, str] = NO_VARIABLES,
    ) -> Fork:
        """Start a worker or the API.

        Args:
            step: The step (named place in the code) at which the process stops itself; None for no
                step.
            arrival: How many times the process reaches the step until it stops there.
            env: Environment variables in addition to the common ones, or instead of them.
        """
        name = name_of(self._count)
        self._count += 1
        order = {
            "command": command,
            "name": name,
            "env": {**env, "CRM_DATABASE_URL": url_for(self._database_url, name)},
            "step": step,
            "arrival": arrival,
            "log": str(self._folder / f"{command}-{name}.log"),
        }
        writer = self._process.stdin
        if writer is None:
            raise RuntimeError("the forking program has no standard input")
        async with self._order_lock:
            writer.write(json.dumps(order).encode() + b"\n")
            await writer.drain()
            async with asyncio.timeout(STARTS_WITHIN_SECONDS):
                return await self._started.get()

    @property
    def alive(self) -> set[str]:
        """Names of the processes that have not ended and are not stopped."""
        return {fork.name for fork in self._forks.values() if not fork.stopped.is_set()}

    async def read_reports(self) -> None:
        """Read the reports of the forking program until it ends."""
        reader = self._process.stdout
        while reader is not None and (line := await reader.readline()):
            self._record_state(json.loads(line))

    def _record_state(self, message: Mapping[str, int | str]) -> None:
        pid = int(message["pid"])
        match message["state"]:
            case "started":
                self._forks[pid] = Fork(
                    pid, name=str(message["name"]), is_api=message["command"] == "serve"
                )
                self._started.put_nowait(self._forks[pid])
            case "stopped":
                self._forks[pid].stopped.set()
            case "ended":
                fork = self._forks.pop(pid)
                fork.code = int(message["code"])
                fork.ended.set()

    def kill_all(self) -> None:
        for fork in list(self._forks.values()):
            fork.signal(signal.SIGKILL)


@asynccontextmanager
async def zygote(
    folder: Path, env: Mapping[str, str], *, database_url: str
) -> AsyncIterator[Zygote]:
    """Start the program that forks the processes. All of them end when the block ends."""
    with (folder / "zygote.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.crash.zygote",
            cwd=ROOT,
            env=dict(env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    forking = Zygote(process, folder, database_url)
    reading = asyncio.create_task(forking.read_reports())
    try:
        yield forking
    finally:
        forking.kill_all()
        process.kill()
        await process.wait()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
