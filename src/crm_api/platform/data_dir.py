"""Lock the data directory, and store secrets and the settings of `crm-api up` in it."""

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
"""Longest wait until a killed process and its embedded servers have ended.

PostgreSQL may need this time to write a checkpoint.
"""
_RUNNING = "running.env"
_MOVED = "moved-to"


@dataclass(frozen=True)
class Claim:
    """A data directory that this process has locked.

    Attributes:
        path: Absolute path of the directory.
        children_fd: File descriptor of ``children.lock``. Every child process inherits it. So this
            file stays locked until the last child has ended, even if this process is killed.
    """

    path: Path
    children_fd: int


@contextmanager
def claim(path: Path) -> Iterator[Claim]:
    """Create the data directory if it is missing, and lock it until the block ends.

    First wait until the servers of a killed process have ended. Without this wait, two servers
    would write the same files and damage them.

    Raises:
        StartError: Another process has locked the directory, the servers of a killed process do not
            end, or the directory cannot be written.
    """
    path = path.absolute()
    with explained(path):
        # If root starts this process, the embedded servers run as the user `nobody`. This user must
        # be able to enter the directory.
        path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        up_fd = os.open(path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(up_fd, seconds=0.5) and not _lock_after_the_dying(up_fd):
            owner = os.pread(up_fd, 32, 0).decode().strip()
            raise StartError(
                f"crm-api is already running in {path} (process {owner}); "
                "stop it, or set CRM_DATA_DIR to another directory"
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
    """Replace an OSError of the ``with`` block by a StartError that says what to do.

    Raises:
        StartError: The disk is full, or the directory cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StartError(disk_full(path)) from error
        raise StartError(
            f"the data directory {path} cannot be used ({error.strerror}); "
            "set CRM_DATA_DIR to a directory that this user may write to"
        ) from error


def disk_full(path: Path) -> str:
    """Return the error message for a full disk: it names ``path`` and says what to do."""
    return (
        f"the disk that holds {path} is full; free some space, "
        "or set CRM_DATA_DIR to a directory on another disk"
    )


def secret_file(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in a file; create the file if it is missing or empty.

    A new file has mode 0600 and contains the value that ``make`` returns.

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
    """Write a secret file (mode 0600); after a crash, the file is either complete or unchanged.

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
    """Return a random secret: 32 bytes as 43 characters of URL-safe base64."""
    return secrets.token_urlsafe(32)


def mark_moved(path: Path, *, to: str, at: str) -> None:
    """Record that the database was moved, so that `crm-api up` refuses the old copy in ``path``.

    Args:
        path: The data directory.
        to: Host, port and name of the new database, such as ``db.example.com:5432/crm``. The text
            must not contain spaces.
        at: When the database was moved, in ISO 8601.
    """
    write_secret(path / _MOVED, f"{to} {at}")


def refuse_moved(path: Path) -> None:
    """Refuse a data directory whose database was moved elsewhere.

    Raises:
        StartError: The database was moved. Its old copy would send messages a second time.
    """
    try:
        to, at = (path / _MOVED).read_text().split()
    except FileNotFoundError:
        return
    raise StartError(
        f"the database of {path} was moved to {to} on {at[:10]}; the copy that is left here would "
        "send messages a second time. Set CRM_DATABASE_URL to the new database "
        "(docs/how-to/backup.md)"
    )


def announce(path: Path, variables: Mapping[str, str]) -> None:
    """Store the settings of this process (`crm-api up`) in the data directory.

    Other commands read the settings with ``running_settings``.

    Args:
        path: The data directory.
        variables: The settings: the name of each environment variable with its value.
    """
    write_secret(path / _RUNNING, "\n".join(f"{name}={value}" for name, value in variables.items()))


def withdraw(path: Path) -> None:
    """Remove the settings that ``announce`` stored.

    `crm-api up` calls this function when it ends.
    """
    with suppress(OSError):
        (path / _RUNNING).unlink(missing_ok=True)


def running_settings(path: Path) -> dict[str, str]:
    """Return the settings of the `crm-api up` process that uses this data directory.

    If no such process is running, the result is empty.
    """
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
    """Lock ``up.lock`` after a killed process has released it, and return True.

    Return False without locking the file in these cases:

    - The process that holds the lock was not killed.
    - The killed process does not end within ``LEFT_OVER_SECONDS``.
    """
    deadline = time.monotonic() + LEFT_OVER_SECONDS
    while _is_dying(os.pread(fd, 32, 0).decode().strip()) and time.monotonic() < deadline:
        if _lock(fd, seconds=0.5):
            return True
    return False


def _is_dying(pid: str) -> bool:
    """Return True if the process has ended or has a pending SIGKILL.

    Return False on a system without ``/proc``, because the state of a process cannot be read there.
    """
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
    # The process that started the servers has died. On Linux, the kernel then sends a signal to the
    # servers, so that they end. Other systems send no signal, so this code sends the signals.
    for pid, command in _holders(path):
        if "crm_api" in command:
            _signal(pid, signal.SIGKILL)
    _signal_server(path / "postgres" / "postmaster.pid", "postgres", signal.SIGINT)
    _signal_server(path / "redis" / "redis.pid", "server", signal.SIGTERM)
    if not _lock(children_fd, seconds=LEFT_OVER_SECONDS):
        named = ", ".join(f"{command[:40]} ({pid})" for pid, command in _holders(path))
        raise StartError(
            f"processes of an earlier run still use {path}: "
            f"{named or 'look for postgres, valkey-server and crm_api in `ps`'}; stop them first"
        )


def _holders(path: Path) -> list[tuple[int, str]]:
    """Return the pid and the command line of each process that keeps ``children.lock`` open.

    Every child process of `crm-api up` keeps this file open until it ends. The result does not
    include this process. On systems other than Linux, the result is empty.
    """
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
    """Send a signal to the process whose id is in a pid file.

    If the name of the process' program does not contain ``name``, send nothing. A different program
    name means that the server has ended, and that another process has got the same id.
    """
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
