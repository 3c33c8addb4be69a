"""What the chaos test needs from the machine: a small disk to fill, and a clock to set.

If a machine lacks one of them, the faults that need it are not run. The table of the run then says
so.
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
"""Size of the small disk: enough for a new database and some minutes of work."""
BLOCK = 1024 * 1024
_CLONE_NEWNS = 0x00020000
_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


class Need(StrEnum):
    """What a fault needs. A machine may lack the first three of these things."""

    SMALL_DISK = "a small disk"
    CLOCKS = "clocks"
    API_CLOCK = "a clock of the API"
    """Only the API gets a clock that can be set. The worker uses the machine's clock, so that
    libfaketime does not slow the worker down."""
    UP = "crm-api up"
    """All processes of the installation run under `crm-api up`."""


def take_own_mounts() -> str | None:
    """Give this process and its children a mount namespace; return the reason if this fails."""
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
    """A small file system in memory. A fault fills it."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Fill the disk until no byte is free."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            for size in (BLOCK, 4096):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """Mount a small disk until the block ends.

    Call ``take_own_mounts`` first, so that other processes do not see the disk.
    """
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
    """Return the file of libfaketime, which can set the clock of one process.

    Return None if libfaketime is not installed.
    """
    for pattern in _LIBRARIES:
        for found in Path("/").glob(pattern[1:]):
            return found
    return None


@dataclass(frozen=True)
class Clock:
    """The wall clock of one process. The monotonic clock of the process is not changed."""

    library: Path
    file: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables that the process needs when it starts."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: float) -> None:
        """Set the clock ``seconds`` ahead of the machine's clock, or behind it if negative."""
        # The process reads the file each time it reads the clock. Replace the whole file in one
        # step, so that the process never reads half of it.
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.replace(self.file)
