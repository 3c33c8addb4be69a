"""Servers that the embedded packages lack: PgBouncer, and PostgreSQL and Redis with TLS.

`.ci/run` installs these servers from Debian's packages. If a server is missing, its tests are
skipped with a message.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy import make_url
from tests.free_ports import free_port

from crm_api.cli.doctor_database_checks import OLDEST_POSTGRES
from crm_api.platform.processes import NOBODY, Account, child_command, choose_account, own_account
from crm_api.platform.server_programs import major_version

CERTIFICATE = Path(__file__).parents[1] / "fixtures" / "smtp" / "localhost.pem"
"""A self-signed certificate for `localhost` and 127.0.0.1."""
KEY = CERTIFICATE.with_suffix(".key")
PASSWORD = "p@ss/word: 100%"  # noqa: S105 - made up, with characters that a URL must escape
ESCAPED = "p%40ss%2Fword%3A%20100%25"
SECONDS = 20.0
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def installed(name: str, *, what: str) -> Path:
    """Return the path of a program; if it is missing, skip the test with a reason."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{what} is not installed")
    return Path(found)


@contextmanager
def running(
    argv: Sequence[str], *, account: Account, is_ready: Callable[[], bool], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends. The block begins when the server is ready."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            child_command(argv, account=account, death_signal=9),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
        )
    try:
        wait_until(lambda: is_ready() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(is_true: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_up(cluster: Path) -> bool:
    """Return True if PostgreSQL's pid file says that PostgreSQL is ready."""
    with suppress(FileNotFoundError):
        return "ready" in (cluster / "postmaster.pid").read_text().split()
    return False


@dataclass(frozen=True)
class Pooler:
    """A PgBouncer in front of the tests' database."""

    url: str
    direct_url: str


@contextmanager
def pgbouncer(folder: Path, database_url: str, **settings: object) -> Iterator[Pooler]:
    """Run PgBouncer in transaction mode, with its default settings and the given settings."""
    program = installed("pgbouncer", what="PgBouncer")
    port = free_port()
    url = make_url(database_url)
    host = unquote(str(url.query["host"]))
    lines = [
        "[databases]",
        f"* = host={host} user={url.username}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        "pool_mode = transaction",
        *(f"{name} = {value}" for name, value in settings.items()),
    ]
    config = folder / f"pgbouncer-{port}.ini"
    config.write_text("\n".join(lines) + "\n")
    argv = [str(program), str(config)]
    with running(
        argv,
        account=owner_of(Path(host)),
        is_ready=lambda: _answers(port),
        log=folder / "pgbouncer.log",
    ):
        through = f"postgresql+asyncpg://{url.username}@127.0.0.1:{port}/{url.database}"
        yield Pooler(url=through, direct_url=database_url)


def owner_of(sockets: Path) -> Account:
    """Return the account that can use the server's folder.

    ``choose_account`` chose this account.
    """
    status = sockets.stat()
    if os.geteuid() != 0:
        return own_account()
    if status.st_uid == 0:
        return Account("namespace", NOBODY, NOBODY)
    return Account("switch", status.st_uid, status.st_gid)


@contextmanager
def postgres_with_tls(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL that requires TLS and a password; yield its URL without parameters."""
    found = [path for place in _PLACES for path in Path("/").glob(place[1:])]
    versions = {major_version(path / "postgres"): path for path in found}
    if max(versions, default=0) < OLDEST_POSTGRES // 10_000:
        pytest.skip("a PostgreSQL that speaks TLS is not installed")
    binaries = versions[max(versions)]
    account = choose_account(binaries / "postgres", folder)
    home = folder / "tls-postgres"
    home.mkdir(mode=0o700)
    for name, source in (("server.crt", CERTIFICATE), ("server.key", KEY), ("password", None)):
        path = home / name
        path.write_bytes(PASSWORD.encode() if source is None else source.read_bytes())
        path.chmod(0o600)
    for path in (home, *home.iterdir()):
        os.chown(path, *account.file_owner)
    cluster, port = home / "cluster", free_port()
    initdb = ["-D", str(cluster), "-U", "crm", "--pwfile", str(home / "password"), "--no-sync"]
    made = subprocess.run(  # noqa: S603 - as above
        child_command(
            [str(binaries / "initdb"), *initdb, "-A", "scram-sha-256"],
            account=account,
            death_signal=9,
        ),
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (cluster / "pg_hba.conf").write_text("hostssl all all 127.0.0.0/8 scram-sha-256\n")
    options = [
        f"port={port}",
        "listen_addresses=127.0.0.1,127.0.0.2",
        f"unix_socket_directories={home}",
        "ssl=on",
        f"ssl_cert_file={home / 'server.crt'}",
        f"ssl_key_file={home / 'server.key'}",
        "fsync=off",
    ]
    argv = [str(binaries / "postgres"), "-D", str(cluster)]
    argv += [part for option in options for part in ("-c", option)]
    with running(
        argv, account=account, is_ready=lambda: is_up(cluster), log=folder / "tls-postgres.log"
    ):
        yield f"postgresql://crm:{ESCAPED}@localhost:{port}/postgres"


@dataclass(frozen=True)
class TlsRedis:
    """A Redis that accepts TLS only."""

    port: int

    def url(self, user: str, query: str = "") -> str:
        query = query or f"?ssl_ca_certs={CERTIFICATE}"
        return f"rediss://{user}@localhost:{self.port}/0{query}"


@contextmanager
def redis_with_tls(folder: Path, *rules: str) -> Iterator[TlsRedis]:
    """Run a Redis with TLS, and with the users that these ACL (access control) rules define."""
    for name in ("valkey-server", "redis-server"):
        if program := shutil.which(name):
            break
    else:
        pytest.skip("a Redis or Valkey that speaks TLS is not installed")
    port = free_port()
    acl = folder / f"users-{port}.acl"
    acl.write_text("".join(f"{rule}\n" for rule in ("user default off", *rules)))
    argv = [program, "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"]
    argv += ["--tls-cert-file", str(CERTIFICATE), "--tls-key-file", str(KEY)]
    argv += ["--tls-ca-cert-file", str(CERTIFICATE), "--tls-auth-clients", "no"]
    argv += ["--save", "", "--dir", str(folder), "--aclfile", str(acl)]
    log = folder / "tls-redis.log"
    with running(argv, account=own_account(), is_ready=lambda: _answers(port), log=log):
        yield TlsRedis(port)
