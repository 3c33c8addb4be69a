"""What the suite needs from the machine: a small disk that can be filled, a clock that can be set.

If a machine lacks one of them, the faults that need it are not run, and the table says so.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

DISK_BYTES = 220 * 1024 * 1024
"""Enough for a fresh database and some minutes of work."""
BLOCK = 1024 * 1024
_CLONE_NEWNS = 0x00020000
_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


class Need(StrEnum):
    """What a fault needs; a machine may lack the first three."""

    SMALL_DISK = "a small disk"
    CLOCKS = "clocks"
    API_CLOCK = "a clock of the API"
    """The worker has the machine's clock, so libfaketime does not slow it down."""
    UP = "crm-api up"
    """The company runs under `crm-api up`."""


def take_own_mounts() -> str | None:
    """Give this process and its children their own mounts; return the reason if this fails."""
    if os.geteuid() != 0:
        return "not run: only root can mount the disk that is filled"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        return f"not run: the process cannot get its own mounts ({os.strerror(ctypes.get_errno())})"
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "--make-rprivate", "/"], check=False).returncode:  # noqa: S603 - our own arguments
        return "not run: the process cannot get its own mounts"
    return None


@dataclass(frozen=True)
class Disk:
    """A small file system in memory."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Use up every free byte."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            for size in (BLOCK, 4096):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """Mount a small disk until the block ends; the caller must have its own mounts."""
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={DISK_BYTES},mode=0711"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        _run("umount", "--lazy", str(path))


def _run(program: str, *words: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(program)
    subprocess.run([found, *words], check=True)  # noqa: S603 - our own arguments


def find_clock_library() -> Path | None:
    """Return libfaketime, which steps the clock of one process; None if it is not installed."""
    for pattern in _LIBRARIES:
        for found in Path("/").glob(pattern[1:]):
            return found
    return None


@dataclass(frozen=True)
class Clock:
    """The wall clock of one process; its monotonic clock is not changed."""

    library: Path
    file: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """Variables for the start of the process."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: float) -> None:
        """Set the clock this many seconds ahead of the machine's clock."""
        # The process reads the file each time it reads the clock, so replace the file at once.
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.replace(self.file)
