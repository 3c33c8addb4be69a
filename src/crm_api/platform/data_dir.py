"""The data directory: its lock, its secret files, and the address of a running ``up``."""

import errno
import fcntl
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crm_api.platform.processes import StartError

LEFT_OVER_SECONDS = 30.0
"""Time that the servers of a killed run get to end; a checkpoint takes the longest."""
_RUNNING = "running.env"
_MOVED = "moved-to"


@dataclass(frozen=True)
class Claim:
    """A data directory that this process holds.

    Attributes:
        path: Absolute.
        children_fd: Children keep it open, so that its lock lasts until the last one has ended,
            even if this process is killed.
    """

    path: Path
    children_fd: int


@contextmanager
def claim(path: Path) -> Iterator[Claim]:
    """Create the data directory and hold it until the block ends.

    Waits for servers that a killed run left behind, because a second server on the same files
    would damage them.

    Raises:
        StartError: Another run holds it, its servers do not end, or it cannot be written.
    """
    path = path.absolute()
    with explained(path):
        # Root's servers run as the user nobody, who must be able to pass through.
        path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        up_fd = os.open(path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(up_fd, seconds=0.5) and not _lock_after_the_dying(up_fd):
            owner = os.pread(up_fd, 32, 0).decode().strip()
            raise StartError(
                f"crm-api is already running in {path} (process {owner}); "
                "stop it, or give another CRM_DATA_DIR"
            )
        with explained(path):
            os.ftruncate(up_fd, 0)
            os.pwrite(up_fd, f"{os.getpid()}\n".encode(), 0)
            children_fd = os.open(path / "children.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _wait_for_left_overs(path, children_fd)
            yield Claim(path, children_fd)
        finally:
            os.close(children_fd)
    finally:
        os.close(up_fd)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the usual failures of a disk into one line.

    Raises:
        StartError: The disk is full, read-only, or belongs to another user.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StartError(disk_full(path)) from error
        raise StartError(
            f"the data directory {path} cannot be used ({error.strerror}); "
            "give a CRM_DATA_DIR that this user may write"
        ) from error


def disk_full(path: Path) -> str:
    """Return the message for a full disk."""
    return f"the disk that holds {path} is full; free some space, or give another CRM_DATA_DIR"


def secret_file(path: Path, make: Callable[[], str]) -> str:
    """Read a secret, or create it in a file that only its owner can read (mode 0600).

    Raises:
        StartError: The file cannot be read or written.
    """
    with explained(path.parent), suppress(FileNotFoundError):
        path.chmod(0o600)
        if kept := path.read_text().strip():
            return kept
    made = make()
    write_secret(path, made)
    return made


def write_secret(path: Path, value: str) -> None:
    """Write a secret file (mode 0600) completely or not at all.

    Raises:
        StartError: The file cannot be written.
    """
    with explained(path.parent):
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(fd, "w") as file:
                file.write(value + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def new_secret() -> str:
    """Return a random text of 43 characters."""
    return secrets.token_urlsafe(32)


def mark_moved(path: Path, *, to: str, at: str) -> None:
    """Store where the database of this data directory went, so that the old copy never sends."""
    write_secret(path / _MOVED, f"{to} {at}")


def refuse_moved(path: Path) -> None:
    """Refuse a data directory whose database was moved elsewhere.

    Raises:
        StartError: It was moved. A second copy would send messages a second time.
    """
    try:
        to, at = (path / _MOVED).read_text().split()
    except FileNotFoundError:
        return
    raise StartError(
        f"the database of {path} was moved to {to} on {at[:10]}, and what is left here would send "
        "a second time; set CRM_DATABASE_URL to the new one (docs/how-to/backup.md)"
    )


def announce(path: Path, variables: Mapping[str, str]) -> None:
    """Store the settings of a running ``up``; other commands use ``running_settings``."""
    write_secret(path / _RUNNING, "\n".join(f"{name}={value}" for name, value in variables.items()))


def withdraw(path: Path) -> None:
    """Remove what ``announce`` stored."""
    with suppress(OSError):
        (path / _RUNNING).unlink(missing_ok=True)


def running_settings(path: Path) -> dict[str, str]:
    """Return the settings of a running ``up`` in this data directory; empty if none runs."""
    try:
        fd = os.open(path / "up.lock", os.O_RDONLY)
    except OSError:
        return {}
    try:
        if _lock(fd, seconds=0, shared=True):
            return {}
        lines = (path / _RUNNING).read_text().splitlines()
    except OSError:
        return {}
    finally:
        os.close(fd)
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _lock(fd: int, *, seconds: float, shared: bool = False) -> bool:
    deadline = time.monotonic() + seconds
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _lock_after_the_dying(fd: int) -> bool:
    """Lock the file of a killed run that has not ended yet; False if the run is alive."""
    deadline = time.monotonic() + LEFT_OVER_SECONDS
    while _is_dying(os.pread(fd, 32, 0).decode().strip()) and time.monotonic() < deadline:
        if _lock(fd, seconds=0.5):
            return True
    return False


def _is_dying(pid: str) -> bool:
    """Return True if a process is gone, not reaped, or about to be killed; Linux only."""
    if not pid.isdecimal() or not Path("/proc/self").exists():
        return False
    try:
        lines = Path("/proc", pid, "status").read_text().splitlines()
    except OSError:
        return True
    status = dict(line.split(":", 1) for line in lines)
    pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    is_dead = status["State"].strip()[:1] in {"Z", "X"}
    return is_dead or bool(pending >> (signal.SIGKILL - 1) & 1)


def _wait_for_left_overs(path: Path, children_fd: int) -> None:
    if _lock(children_fd, seconds=0):
        return
    # On Linux the kernel has signalled the servers; on other systems nothing has.
    for pid, command in _holders(path):
        if "crm_api" in command:
            _signal(pid, signal.SIGKILL)
    _signal_server(path / "postgres" / "postmaster.pid", "postgres", signal.SIGINT)
    _signal_server(path / "redis" / "redis.pid", "server", signal.SIGTERM)
    if not _lock(children_fd, seconds=LEFT_OVER_SECONDS):
        named = ", ".join(f"{command[:40]} ({pid})" for pid, command in _holders(path))
        raise StartError(
            f"processes of an earlier run still use {path}: "
            f"{named or 'see postgres, valkey-server and crm_api in `ps`'}; stop them first"
        )


def _holders(path: Path) -> list[tuple[int, str]]:
    """List pid and command line of processes that hold the children's lock; Linux only."""
    lock = (path / "children.lock").stat()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            held = [fd.stat() for fd in (process / "fd").iterdir() if fd.exists()]
            is_ours = any((fd.st_dev, fd.st_ino) == (lock.st_dev, lock.st_ino) for fd in held)
            if is_ours and int(process.name) != os.getpid():
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found.append((int(process.name), command))
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(OSError):
        os.kill(pid, number)


def _signal_server(pid_file: Path, name: str, number: signal.Signals) -> None:
    """Signal the process of a pid file, unless another program has that number now."""
    with suppress(OSError, ValueError, IndexError):
        pid = int(pid_file.read_text().split()[0])
        command = subprocess.run(  # noqa: S603 - a number of our own
            ["ps", "-o", "comm=", "-p", str(pid)],  # noqa: S607 - where `ps` is, varies
            capture_output=True,
            text=True,
            check=False,
        )
        if name in command.stdout:
            _signal(pid, number)
