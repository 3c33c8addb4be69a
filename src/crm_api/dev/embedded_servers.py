"""Run PostgreSQL and Redis in a data directory, for machines that have no such servers."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crm_api.dev.server_processes import Postgres, Redis, Server, make_folder
from crm_api.platform.data_dir import Claim, claim, explained, refuse_moved
from crm_api.platform.processes import choose_account, own_account
from crm_api.platform.server_programs import find_postgres, find_redis

_SOCKET_PATH_LIMIT = 107
"""Largest number of bytes in the path of a Unix socket. It is the size of the kernel's field
``sun_path``, without the zero at its end."""
_LONGEST_SOCKET = "/.s.PGSQL.5432.lock"


@dataclass(frozen=True)
class ServerUrls:
    """URLs of the started servers; None for a server that was not requested.

    Attributes:
        database_url: The database, with the login of its owner.
        redis_url: Redis.
        service_url: The database, with the limited login of the service.
    """

    database_url: str | None = None
    redis_url: str | None = None
    service_url: str | None = None


class EmbeddedServers:
    """The embedded servers of one data directory; they run from ``start()`` to ``stop()``."""

    def __init__(
        self,
        held: Claim,
        *,
        postgres: bool,
        redis: bool,
        fsync: bool = True,
        is_moving: bool = False,
    ) -> None:
        """Store the arguments. The method ``start`` starts the servers.

        Args:
            held: The locked data directory.
            postgres: True to start PostgreSQL.
            redis: True to start Redis.
            fsync: False makes PostgreSQL faster but unsafe; for tests.
            is_moving: True for `crm-api move`. PostgreSQL then starts even if its data was already
                moved to another server.
        """
        self._is_moving = is_moving
        self._held = held
        self._wants_postgres = postgres
        self._wants_redis = redis
        self._fsync = fsync
        self._started: list[Server] = []
        self._sockets: Path | None = None

    @property
    def has_postgres(self) -> bool:
        """True if the method ``start`` also starts PostgreSQL."""
        return self._wants_postgres

    @property
    def processes(self) -> tuple[Server, ...]:
        """The servers that were started, in the order of their start."""
        return tuple(self._started)

    @property
    def worker_socket(self) -> Path:
        """Path of the socket on which the worker exports its metrics.

        Raises:
            RuntimeError: ``start`` was not called yet.
        """
        if self._sockets is None:
            raise RuntimeError("Call start() first; it creates the folder of the sockets.")
        return self._sockets / "worker.sock"

    def start(self) -> ServerUrls:
        """Start the requested servers; return their URLs when all servers accept connections.

        Raises:
            StartError: A server cannot start; the message is one line that says why.
        """
        if self._wants_postgres and not self._is_moving:
            refuse_moved(self._held.path)
        database_url = redis_url = service_url = None
        binaries = find_postgres() if self._wants_postgres else None
        program = find_redis() if self._wants_redis else None
        refuses_root = binaries / "postgres" if binaries is not None else program
        path = self._held.path
        account = own_account() if refuses_root is None else choose_account(refuses_root, path)
        self._sockets = _socket_folder(path)
        make_folder(self._sockets, account)
        if program is not None:
            folder = path / "redis"
            make_folder(folder, account)
            redis = Redis(self._held, account, folder, self._sockets, program=program)
            self._spawn(redis)
            redis_url = redis.url
        if binaries is not None:
            folder = path / "postgres"
            make_folder(folder, account)
            postgres = Postgres(
                self._held, account, folder, self._sockets, binaries=binaries, fsync=self._fsync
            )
            self._spawn(postgres)
            database_url, service_url = postgres.url, postgres.service_url
        for server in self._started:
            server.wait_ready()
        return ServerUrls(database_url, redis_url, service_url)

    def stop(self) -> None:
        """Stop the servers in the order in which they were started, and remove the sockets.

        A server that does not stop within a time limit is killed.
        """
        with ExitStack() as stack:
            stack.callback(self._remove_sockets)
            while self._started:
                stack.callback(self._started.pop().stop)

    def _remove_sockets(self) -> None:
        if self._sockets is not None and self._sockets.parent != self._held.path:
            shutil.rmtree(self._sockets, ignore_errors=True)
            with suppress(OSError):
                (self._held.path / "sockets-at").unlink()

    def _spawn(self, server: Server) -> None:
        self._started.append(server)
        server.spawn()


@contextmanager
def servers(
    data_dir: Path,
    *,
    postgres: bool = True,
    redis: bool = True,
    fsync: bool = True,
    is_moving: bool = False,
) -> Iterator[ServerUrls]:
    """Lock a data directory, run its servers until the block ends, and yield their URLs.

    Args:
        data_dir: It is created if it is missing.
        postgres: True to start PostgreSQL, with the database ``crm``.
        fsync: False makes PostgreSQL faster but unsafe; for tests.
        is_moving: True for `crm-api move`. PostgreSQL then starts even if its data was already
            moved to another server.

    Raises:
        StartError: Another process uses the directory, or a server cannot start. The message is one
            line.
    """
    with claim(data_dir) as held:
        embedded = EmbeddedServers(
            held, postgres=postgres, redis=redis, fsync=fsync, is_moving=is_moving
        )
        try:
            yield embedded.start()
        finally:
            embedded.stop()


def _socket_folder(path: Path) -> Path:
    """Return the folder for sockets: usually ``run`` in the data directory.

    If the path of this folder is too long for a socket, create and return a folder in ``/tmp``.
    """
    note = path / "sockets-at"
    with explained(path):
        if note.exists():
            # An earlier process was killed before it deleted its temporary folder.
            _remove_own(Path(note.read_text().strip()))
            note.unlink()
        folder = path / "run"
        if len(os.fsencode(folder)) + len(_LONGEST_SOCKET) <= _SOCKET_PATH_LIMIT:
            return folder
        short = Path(tempfile.mkdtemp(prefix="crm-", dir="/tmp"))
        note.write_text(str(short))
        return short


def _remove_own(folder: Path) -> None:
    if folder.name.startswith("crm-") and folder.parent == Path("/tmp"):  # noqa: S108 - as above
        shutil.rmtree(folder, ignore_errors=True)
