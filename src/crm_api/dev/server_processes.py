"""Run PostgreSQL and Valkey (or Redis) as child processes: create files, start, wait, stop."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from crm_api.platform.data_dir import Claim, disk_full, explained
from crm_api.platform.processes import Account, StartError, child_command, kill_group, start
from crm_api.platform.server_programs import major_version

DATABASE = "crm"
SERVICE_LOGIN = "crm_service"
"""Database login of the processes of the service. It does not own the tables (see
``database_roles``)."""
_REDIS_SOCKET = "redis.sock"
_POSTGRES_SOCKETS = (".s.PGSQL.5432", ".s.PGSQL.5432.lock")
_LOG_LIMIT = 10_000_000
_FULL_BELOW = 1_000_000
"""Number of free bytes. If an embedded server does not start and the disk has fewer free bytes, the
error says that the disk is full."""
_BUILTIN_LOCALE_SINCE = 17
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
"""Environment variables of the embedded servers. The variables of this process are not passed on,
because they contain secrets."""
_PRELOADED = re.compile("LD_PRELOAD|FAKETIME.*")
"""Pattern of the environment variables that are passed on to the embedded servers. A test sets them
to use a fake time (with libfaketime). All processes need the same time. Otherwise, leases would
expire too early or too late."""


class Server(ABC):
    """A server that runs as a child process and writes a log file."""

    name = ""

    def __init__(self, held: Claim, account: Account, folder: Path, sockets: Path) -> None:
        self._held = held
        self._account = account
        self._folder = folder
        self._sockets = sockets
        self._log = held.path / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def spawn(self) -> None:
        """Start the process, without waiting until it answers."""

    def is_alive(self) -> bool:
        """Return True if the process is running."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, *, seconds: float = 120) -> None:
        """Wait until the server answers; the first start after a crash can take long.

        Raises:
            StartError: The server has ended, or did not answer within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while not self._answers():
            if not self.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise StartError(self._explanation())
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask the server to stop, and kill it if it does not stop; return within 25 seconds."""
        process = self._process
        if process is None:
            return
        for number, seconds in self._stop_signals():
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
        kill_group(process)
        process.wait()
        self._process = None

    @abstractmethod
    def _stop_signals(self) -> Sequence[tuple[signal.Signals, float]]:
        """Return the signals that stop the server, each with the seconds to wait for its effect."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return True if the server accepts connections."""

    def _run(self, argv: Sequence[str], death_signal: signal.Signals) -> None:
        with explained(self._held.path), self._open_log() as log:
            self._process = start(
                argv,
                account=self._account,
                death_signal=death_signal,
                environment=_environment(),
                pass_fd=self._held.children_fd,
                output=log,
                folder=self._folder,
            )

    def _open_log(self) -> IO[bytes]:
        is_long = self._log.exists() and self._log.stat().st_size > _LOG_LIMIT
        return self._log.open("wb" if is_long else "ab")

    def _explanation(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-40:]
        return _explain(self.name, lines, self._held.path) + f" (more in {self._log})"


class Postgres(Server):
    """PostgreSQL, with the database ``crm``, on a Unix socket in a private folder."""

    name = "postgres"

    def __init__(
        self,
        held: Claim,
        account: Account,
        folder: Path,
        sockets: Path,
        *,
        binaries: Path,
        fsync: bool,
    ) -> None:
        """Store the arguments. The method ``spawn`` starts the server.

        Args:
            held: The locked data directory.
            account: The user account of the server.
            folder: Folder of the server's files.
            sockets: Folder of the Unix sockets.
            binaries: Folder of PostgreSQL's programs.
            fsync: False makes the server faster but unsafe; for tests.
        """
        super().__init__(held, account, folder, sockets)
        self._binaries = binaries
        self._fsync = fsync

    @property
    def url(self) -> str:
        """URL of the database with the login of its owner; the host is the folder of the socket."""
        return self._url("postgres")

    @property
    def service_url(self) -> str:
        """URL of the database with the limited login of the service."""
        return self._url(SERVICE_LOGIN)

    def _url(self, login: str) -> str:
        return f"postgresql+asyncpg://{login}@/{DATABASE}?host={quote(str(self._sockets))}"

    def spawn(self) -> None:
        """Start PostgreSQL; before the first start, create its files.

        Raises:
            StartError: The files are of another major version of PostgreSQL, or cannot be written.
        """
        program = str(self._binaries / "postgres")
        major = major_version(program)
        self._make_cluster(program, major)
        found = (self._folder / "PG_VERSION").read_text().strip()
        if found != str(major):
            raise StartError(
                f"the files in {self._folder} are of PostgreSQL {found}, but this release has "
                f"PostgreSQL {major}. Run `crm-api backup FILE --recipient age1…` with the release "
                "that wrote them, and then `crm-api restore FILE --identity KEYFILE --data-dir "
                "NEW` with this release; from then on, use NEW as CRM_DATA_DIR"
            )
        # This process has locked the directory, so no server runs in it, and these files are from
        # an earlier run. They are removed, because PostgreSQL would refuse to start if the
        # operating system still lists the killed process whose id is in the pid file.
        (self._folder / "postmaster.pid").unlink(missing_ok=True)
        for name in _POSTGRES_SOCKETS:
            (self._sockets / name).unlink(missing_ok=True)
        options = ["max_connections=100", "shared_buffers=128MB", "unix_socket_permissions=0700"]
        if not self._fsync:
            options += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        flags = [part for option in options for part in ("-c", option)]
        argv = [program, "-D", str(self._folder), "-h", "", "-k", str(self._sockets), *flags]
        self._run(argv, signal.SIGINT)

    def _make_cluster(self, program: str, major: int) -> None:
        if (self._folder / "PG_VERSION").exists():
            return
        # The files are created in another folder, which is renamed at the end. So the folder of the
        # database never contains incomplete files, even after an interruption.
        fresh = self._folder.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        make_folder(fresh, self._account)
        builtin = ("--locale-provider=builtin", "--locale=C.UTF-8")
        locale = builtin if major >= _BUILTIN_LOCALE_SINCE else ("--locale=C",)
        common = ("-A", "trust", "-E", "UTF8", "-U", "postgres", "-D", str(fresh))
        sync = () if self._fsync else ("--no-sync",)
        initdb = str(self._binaries / "initdb")
        self._finish([initdb, *common, *locale, *sync], cwd=fresh)
        single = [program, "--single", "-D", str(fresh), "postgres"]
        self._finish(single, cwd=fresh, text=f"CREATE DATABASE {DATABASE};\n")
        self._folder.rmdir()
        fresh.rename(self._folder)

    def _finish(self, argv: Sequence[str], *, cwd: Path, text: str = "") -> None:
        command = child_command(argv, account=self._account, death_signal=signal.SIGKILL)
        done = subprocess.run(  # noqa: S603 - our own commands, no shell
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            env=_environment(),
            start_new_session=True,
            check=False,
        )
        reason = done.stderr.splitlines()
        if done.returncode != 0 or any(re.search("ERROR|FATAL|PANIC", line) for line in reason):
            shutil.rmtree(cwd, ignore_errors=True)
            raise StartError(_explain(self.name, reason, self._held.path))

    def _stop_signals(self) -> Sequence[tuple[signal.Signals, float]]:
        # SIGINT requests a fast shutdown with a checkpoint. If it takes too long, SIGQUIT requests
        # an immediate shutdown, after which the next start needs a recovery.
        return ((signal.SIGINT, 20), (signal.SIGQUIT, 5))

    def _answers(self) -> bool:
        with suppress(OSError):
            lines = (self._folder / "postmaster.pid").read_text().splitlines()
            # Line 8 of this file is "ready" when the server accepts connections. The program pg_ctl
            # checks this line too. Line 1 must be the id of the process that was started here.
            # While the file is being written, it may be empty.
            return (
                self._process is not None
                and lines[:1] == [str(self._process.pid)]
                and [line.strip() for line in lines[7:8]] == ["ready"]
            )
        return False


class Redis(Server):
    """Valkey (or Redis) on a Unix socket in a private folder, with an append-only file."""

    name = "redis"

    def __init__(
        self, held: Claim, account: Account, folder: Path, sockets: Path, *, program: Path
    ) -> None:
        super().__init__(held, account, folder, sockets)
        self._program = program

    @property
    def url(self) -> str:
        """URL of Redis; its path is the Unix socket."""
        return f"unix://{quote(str(self._sockets / _REDIS_SOCKET))}"

    def spawn(self) -> None:
        """Start the server.

        Raises:
            StartError: The server's files cannot be written.
        """
        path = str(self._sockets / _REDIS_SOCKET)
        Path(path).unlink(missing_ok=True)
        argv = [str(self._program), "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
        argv += ["--dir", str(self._folder), "--pidfile", str(self._folder / "redis.pid")]
        argv += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        self._run(argv, signal.SIGTERM)

    def _stop_signals(self) -> Sequence[tuple[signal.Signals, float]]:
        return ((signal.SIGTERM, 10),)

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self._sockets / _REDIS_SOCKET))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        return False


def make_folder(folder: Path, account: Account) -> None:
    """Create a private folder that belongs to the user account of the server.

    If the folder exists, this user account becomes the owner of all its files.

    Raises:
        StartError: The folder cannot be created, or this process may not change its owner or its
            rights.
    """
    owner = account.file_owner
    with explained(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        status = folder.stat()
        if (status.st_uid, status.st_gid) == owner:
            return
        # The owner of the folder itself is changed last. So if the change is interrupted, the next
        # start repeats it.
        for parent, folders, files in os.walk(folder, topdown=False):
            for name in (*folders, *files):
                os.chown(Path(parent) / name, *owner, follow_symlinks=False)
        os.chown(folder, *owner)


def _environment() -> dict[str, str]:
    preloaded = {name: value for name, value in os.environ.items() if _PRELOADED.fullmatch(name)}
    return _ENVIRONMENT | preloaded


def _explain(name: str, lines: Sequence[str], folder: Path) -> str:
    """Return one line that says why a server does not start, based on the end of its output."""
    has_no_room = shutil.disk_usage(folder).free < _FULL_BELOW
    if has_no_room or any("No space left on device" in line for line in lines):
        return disk_full(folder)
    relevant = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|error:|# ", line)]
    reason = (relevant or list(lines) or ["it printed nothing"])[-1].strip()
    # Remove the time and the process id at the beginning of the log line.
    reason = re.sub(r"^.*?(?=FATAL|PANIC|ERROR)", "", reason)
    return f"the embedded {name} server does not start: {reason[:300]}"
