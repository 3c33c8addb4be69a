import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from redis import Redis
from sqlalchemy import text

from crm_api.dev import server_processes
from crm_api.dev.embedded_servers import ServerUrls, servers
from crm_api.platform import data_dir, processes
from crm_api.platform.database import open_engine
from crm_api.platform.processes import Account, StartError
from crm_api.platform.server_programs import find_postgres

OWNER_PROGRAM = """
import sys
from pathlib import Path
from crm_api.dev.embedded_servers import servers

with servers(Path(sys.argv[1])) as urls:
    print(urls.database_url, urls.redis_url, flush=True)
    sys.stdin.read()
"""
"""Program that runs the servers of a folder in its own process, until its standard input ends."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield the path of a data directory.

    The path is short, and other users cannot read the folder.
    """
    path = Path(tempfile.mkdtemp(prefix="crm-test-"))
    yield path / "data"
    shutil.rmtree(path)


def start_owner(folder: Path, *, account: Account | None = None) -> subprocess.Popen[str]:
    command = processes.child_command(
        [sys.executable, "-c", OWNER_PROGRAM, str(folder)],
        account=account or processes.own_account(),
        death_signal=signal.SIGKILL,
    )
    return subprocess.Popen(  # noqa: S603 - our own command
        command,
        cwd=folder.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_urls(run: subprocess.Popen[str]) -> ServerUrls:
    assert run.stdout is not None
    database_url, redis_url = run.stdout.readline().split()
    return ServerUrls(database_url, redis_url)


async def execute(urls: ServerUrls, statement: str) -> object:
    assert urls.database_url is not None
    async with open_engine(urls.database_url, pool_size=1) as engine, engine.begin() as connection:
        result = await connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


def redis(urls: ServerUrls) -> "Redis":
    assert urls.redis_url is not None
    return Redis.from_url(urls.redis_url, decode_responses=True)


@pytest.mark.parametrize("mode", [0o700, 0o755])
async def test_row_and_redis_entry_survive_a_restart(folder: Path, mode: int) -> None:
    # If root runs the test, the servers run as the user "nobody". If "nobody" has no access to the
    # folder, they run in a user namespace.
    folder.parent.chmod(mode)
    with servers(folder) as urls:
        await execute(urls, "CREATE TABLE kept AS SELECT 7 AS value")
        with redis(urls) as client:
            client.set("kept", "7")

    with servers(folder) as urls:
        row = await execute(urls, "SELECT value FROM kept")
        with redis(urls) as client:
            entry = client.get("kept")

    assert row == 7
    assert entry == "7"


async def test_database_is_durable_and_has_a_fixed_sort_order(folder: Path) -> None:
    with servers(folder, redis=False) as urls:
        durable = await execute(
            urls, "SELECT current_setting('fsync') || current_setting('synchronous_commit')"
        )
        locale = await execute(urls, "SELECT datlocale FROM pg_database WHERE datname = 'crm'")

    assert durable == "onon"
    assert locale == "C.UTF-8"
    assert urls.redis_url is None


def test_servers_listen_only_on_sockets_in_a_private_folder(folder: Path) -> None:
    with servers(folder, fsync=False) as urls:
        mode = stat.S_IMODE((folder / "run").stat().st_mode)
        sockets = {path.name for path in (folder / "run").iterdir() if path.is_socket()}

    assert mode == 0o700
    assert sockets == {".s.PGSQL.5432", "redis.sock"}
    assert urls.database_url == f"postgresql+asyncpg://postgres@/crm?host={folder}/run"


def test_stop_leaves_no_process(folder: Path) -> None:
    with servers(folder, fsync=False):
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (folder / "postgres" / "postmaster.pid").exists()


async def test_killed_owner_loses_no_data_and_does_not_block_the_next_start(folder: Path) -> None:
    run = start_owner(folder)
    with run:
        urls = read_urls(run)
        await execute(urls, "CREATE TABLE kept AS SELECT 7 AS value")
        with redis(urls) as client:
            client.set("kept", "7")
        run.send_signal(signal.SIGKILL)

    with servers(folder) as urls:
        row = await execute(urls, "SELECT value FROM kept")
        with redis(urls) as client:
            entry = client.get("kept")

    assert row == 7
    assert entry == "7"


def test_second_start_on_the_same_folder_is_refused_in_one_line(folder: Path) -> None:
    with (
        servers(folder, postgres=False),
        pytest.raises(StartError, match=rf"already running in .*\(process {os.getpid()}\)"),
        servers(folder, postgres=False),
    ):
        pass


def test_files_of_another_version_are_refused_in_one_line(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("9\n")

    with pytest.raises(StartError, match=r"are of PostgreSQL 9.*crm-api restore FILE"):
        servers(folder, redis=False).__enter__()


async def test_stale_pid_file_that_names_a_living_process_does_not_block_the_start(
    folder: Path,
) -> None:
    with servers(folder, redis=False, fsync=False):
        left = (folder / "postgres" / "postmaster.pid").read_text()
    lines = left.splitlines()
    (folder / "postgres" / "postmaster.pid").write_text("\n".join([str(os.getppid()), *lines[1:]]))

    with servers(folder, redis=False, fsync=False) as urls:
        assert await execute(urls, "SELECT 1") == 1


def zombie(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process with PostgreSQL's account; return it when it has ended but is not reaped.

    Until a process is reaped (its parent has read its exit status), the system still lists it.
    """
    account = processes.choose_account(find_postgres() / "postgres", folder)
    dead = processes.start(
        ["/bin/true"], account=account, death_signal=signal.SIGKILL, environment={}
    )
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    return dead


async def test_server_that_was_killed_and_not_reaped_does_not_block_the_start(folder: Path) -> None:
    with servers(folder, redis=False, fsync=False):
        lock = folder / "run" / ".s.PGSQL.5432.lock"
        lines, status = lock.read_text().splitlines(), lock.stat()
    dead = zombie(folder)
    lock.write_text("\n".join([str(dead.pid), *lines[1:]]))
    os.chown(lock, status.st_uid, status.st_gid)

    with servers(folder, redis=False, fsync=False) as urls:
        assert await execute(urls, "SELECT 1") == 1
    dead.wait()


async def test_kill_of_everything_does_not_block_the_start(folder: Path) -> None:
    run = start_owner(folder)
    with run:
        urls = read_urls(run)
        await execute(urls, "CREATE TABLE kept AS SELECT 7 AS value")
        for process in [*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid)]:
            # A process may already have ended together with its parent.
            with suppress(psutil.NoSuchProcess):
                process.kill()

        with servers(folder) as urls:
            row = await execute(urls, "SELECT value FROM kept")

    assert row == 7


def test_start_waits_for_a_run_that_is_being_killed(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    dead = zombie(folder.parent)
    held = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.write(held, f"{dead.pid}\n".encode())

    with ThreadPoolExecutor() as pool:
        start = pool.submit(lambda: data_dir.claim(folder).__enter__().path)
        wait([start], timeout=1.5)
        was_refused = start.done()
        os.close(held)
        assert start.result(timeout=30) == folder
    dead.wait()
    assert not was_refused


async def test_incomplete_cluster_is_created_again(folder: Path) -> None:
    (folder / "postgres.new" / "base").mkdir(parents=True)

    with servers(folder, redis=False, fsync=False) as urls:
        assert await execute(urls, "SELECT 1") == 1


async def test_long_path_gets_short_sockets_that_are_removed(folder: Path) -> None:
    deep = folder / ("x" * 60) / ("y" * 60)

    with servers(deep, fsync=False) as urls:
        assert urls.database_url is not None
        sockets = Path(urls.database_url.partition("host=")[2])
        assert await execute(urls, "SELECT 1") == 1

    assert len(str(sockets)) < 60
    assert sockets not in set(sockets.parent.iterdir())


async def test_ordinary_user_can_run_the_servers() -> None:
    # If root runs the test, ``choose_account`` chooses the account of an ordinary user, in one of
    # two ways.
    root = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    account = processes.choose_account(Path(sys.executable), root.parent)
    os.chown(root, *account.file_owner)
    try:
        with start_owner(root / "data", account=account) as run:
            urls = read_urls(run)
            answer = await execute(urls, "SELECT 1")
            owner = (root / "data" / "postgres").stat().st_uid
    finally:
        shutil.rmtree(root)

    assert answer == 1
    assert owner == account.file_owner[0]
    assert run.returncode == 0


def test_folder_that_cannot_be_used_is_reported_in_one_line(folder: Path) -> None:
    folder.write_text("a file, not a folder")

    with pytest.raises(StartError, match="cannot be used"):
        servers(folder).__enter__()


def test_server_that_cannot_start_is_reported_with_its_reason_in_one_line(folder: Path) -> None:
    with servers(folder, redis=False, fsync=False):
        pass
    (folder / "postgres" / "postgresql.conf").write_text("max_connections = many\n")

    with pytest.raises(
        StartError, match=r"the embedded postgres server does not start: FATAL: .*contains errors"
    ) as caught:
        servers(folder, redis=False, fsync=False).__enter__()
    assert "\n" not in str(caught.value)


def test_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    log_lines = ['PANIC:  could not write to file "pg_wal/xlogtemp.1": No space left on device']

    line = server_processes._explain("postgres", log_lines, tmp_path)

    assert line == data_dir.disk_full(tmp_path)


def test_secret_file_is_created_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "secret-key"

    first = data_dir.secret_file(path, data_dir.new_secret)
    path.chmod(0o644)
    second = data_dir.secret_file(path, data_dir.new_secret)

    assert first == second
    assert len(first) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_server_with_an_empty_pid_file_is_not_ready(tmp_path: Path) -> None:
    with data_dir.claim(tmp_path) as held:
        server = server_processes.Postgres(
            held, processes.own_account(), tmp_path, tmp_path, binaries=tmp_path, fsync=False
        )
        server._process = subprocess.Popen(["/bin/true"])
        (tmp_path / "postmaster.pid").touch()

        answers = server._answers()

        server._process.wait()
    assert answers is False
