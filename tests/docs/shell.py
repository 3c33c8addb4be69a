"""The shell in which the blocks of one page run, so that its variables are kept."""

import os
import re
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

TIMEOUT_SECONDS = 240.0
"""Time limit for the commands of one block."""

_CURL = """#!/bin/sh
# Notes how each request was answered. A reader ends a stream with Ctrl-C, so a time that is over
# is no failure.
curl=$(PATH=${PATH#*:} command -v curl)
"$curl" --dump-header "$ANSWERS/$$" "$@"
status=$?
[ $status = 28 ] || exit $status
"""


class BlockError(Exception):
    """The commands of a block failed, or did not end in time."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a block.

    Attributes:
        refused: The statuses (400 or more) of the refused requests of the block.
    """

    output: str
    refused: tuple[int, ...] = ()


class Shell:
    """A bash process that runs one block after another, and ends when a command fails."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._own_folder = folder.with_name(folder.name + ".shell")
        self._answers = self._own_folder / "answers"
        self._answers.mkdir(parents=True)
        curl = self._own_folder / "curl"
        curl.write_text(_CURL)
        curl.chmod(0o755)
        path = f"{self._own_folder}:{environment['PATH']}"
        self._done, done = os.pipe()
        self._report = done
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],  # noqa: S607 - the reader's own
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**environment, "PATH": path, "ANSWERS": str(self._answers)},
            pass_fds=[done],
            start_new_session=True,
        )
        self._blocks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the shell and every process that the shell started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        os.close(self._done)
        os.close(self._report)

    def run(self, commands: str) -> Result:
        """Run the commands of a block.

        Raises:
            BlockError: A command failed, or all commands took longer than ``TIMEOUT_SECONDS``.
        """
        self._blocks += 1
        script, output = (self._own_folder / f"{self._blocks}.{end}" for end in ("sh", "out"))
        script.write_text(commands)
        self._write_line(
            f"set -eu; . '{script}' </dev/null >'{output}' 2>&1; set +eu; echo >&{self._report}"
        )
        has_ended = self._wait()
        printed = output.read_text(errors="replace")
        if not has_ended:
            raise BlockError(printed)
        return Result(output=printed, refused=self._refused())

    def value(self, name: str) -> str:
        """Return the value of a shell variable."""
        return self.run(f'printf %s "${name}"').output

    def _write_line(self, line: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):
            stdin.write(f"{line}\n".encode())
            stdin.flush()

    def _wait(self) -> bool:
        """Wait until the commands end; return False if they did not succeed in time.

        A command that fails ends the shell.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._done], [], [], 0.05)
            if ready:
                os.read(self._done, 64)
                return True
            if self._process.poll() is not None:
                return False
        return False

    def _refused(self) -> tuple[int, ...]:
        """Return the statuses of the refused requests of a block, and delete the stored headers."""
        statuses: list[int] = []
        for path in self._answers.iterdir():
            found = re.findall(r"^HTTP/\S+ (\d{3})", path.read_text(), re.MULTILINE)
            statuses += [int(status) for status in found[-1:]]
            path.unlink()
        return tuple(sorted(status for status in statuses if status >= 400))
