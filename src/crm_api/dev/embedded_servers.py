"""PostgreSQL and Redis for a machine without them: find, start and stop their programs."""

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
"""Bytes: the kernel's ``sun_path`` without its final zero."""
_LONGEST_SOCKET = "/.s.PGSQL.5432.lock"


@dataclass(frozen=True)
class ServerUrls:
    """Addresses of the started servers; None for one that was not requested.

    ``service_url`` is the database's address with the login of the service, which owns nothing.
    """

    database_url: str | None = None
    redis_url: str | None = None
    service_url: str | None = None


class EmbeddedServers:
    """The embedded servers of one data directory, from ``start`` to ``stop``."""

    def __init__(
        self,
        held: Claim,
        *,
        postgres: bool,
        redis: bool,
        fsync: bool = True,
        is_moving: bool = False,
    ) -> None:
        """Store the claim on the data directory and the wanted servers; nothing is started.

        A database that was moved elsewhere starts only with ``is_moving``.
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
        """True if this run starts the database itself."""
        return self._wants_postgres

    @property
    def processes(self) -> tuple[Server, ...]:
        """The started servers in that order, for the supervisor."""
        return tuple(self._started)

    @property
    def worker_socket(self) -> Path:
        """Socket on which the worker exports its metrics.

        Raises:
            RuntimeError: ``start`` was not called.
        """
        if self._sockets is None:
            msg = "start() makes the folder of the sockets"
            raise RuntimeError(msg)
        return self._sockets / "worker.sock"

    def start(self) -> ServerUrls:
        """Start the wanted servers; return when all of them answer.

        Raises:
            StartError: A server cannot start; one line says why.
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
        """Stop all in bounded time: Redis first, then PostgreSQL."""
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
    """Claim a data directory and run its servers until the block ends.

    Args:
        data_dir: Created if missing; no second run may use it at the same time.
        postgres: Start PostgreSQL, with a database ``crm``.
        redis: Start Valkey.
        fsync: False trades the safety of the data for speed; for tests.
        is_moving: Start a database that was moved elsewhere too.

    Raises:
        StartError: A server cannot start; one line says why.
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
    """Choose the folder of the sockets: a short temporary folder if the path is too long."""
    note = path / "sockets-at"
    with explained(path):
        if note.exists():
            # A killed run could not remove its own folder.
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
