"""Run ``pg_dump`` and ``pg_restore``, the programs of PostgreSQL for dumps."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import IO

from sqlalchemy import make_url

from crm_api.domain.monitoring.backups.archive import BackupError
from crm_api.platform.processes import StartError
from crm_api.platform.server_programs import find_postgres, major_version

CHUNK_BYTES = 1024 * 1024
_NEEDS_TLS = ("require", "verify-ca", "verify-full")


def program(name: str, database_url: str) -> Path:
    """Return the path of ``pg_dump`` or ``pg_restore``.

    There can be two copies of the program: one on ``PATH``, and one that belongs to the embedded
    PostgreSQL. The newer copy is used, because ``pg_dump`` refuses a server that is newer than
    itself. The embedded copy does not support TLS, so it is not used if the database requires TLS.

    Raises:
        BackupError: The program was not found.
    """
    found = [Path(on_path)] if (on_path := which(name)) else []
    if make_url(database_url).query.get("sslmode") not in _NEEDS_TLS:
        with suppress(StartError):
            found += [beside for beside in [find_postgres() / name] if beside.is_file()]
    if not found:
        raise BackupError(f"{name} was not found; install the client programs of PostgreSQL")
    return max(found, key=major_version)


def environment(database_url: str) -> dict[str, str]:
    """Return the environment variables for a program that connects to the database.

    The address and the password are in variables that libpq reads, so they do not appear on a
    command line.
    """
    url = make_url(database_url)
    found = {
        "PGHOST": url.host or str(url.query.get("host", "")),
        "PGPORT": str(url.port or url.query.get("port", "")),
        "PGUSER": url.username or "",
        "PGPASSWORD": url.password or "",
        "PGDATABASE": url.database or "",
        **{
            f"PG{name.upper()}": str(url.query.get(name, ""))
            for name in ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")
        },
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    return {name: value for name, value in found.items() if value}


def dump(database_url: str, *, snapshot: str) -> Iterator[bytes]:
    """Dump the database as it is in an exported snapshot; yield the dump in chunks of 1 MiB.

    Raises:
        BackupError: ``pg_dump`` failed.
    """
    command = [
        str(program("pg_dump", database_url)),
        "--format=custom",
        "--compress=gzip:3",
        "--no-owner",
        "--no-privileges",
        # The service does not start if this table is empty. A restore writes the row of this table
        # in the same transaction in which it pauses all sending.
        "--exclude-table-data=public.alembic_version",
        f"--snapshot={snapshot}",
        "--lock-wait-timeout=60s",
    ]
    with subprocess.Popen(  # noqa: S603 - our own command, no shell
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(database_url),
    ) as running:
        out, errors = _pipes(running)
        while chunk := out.read(CHUNK_BYTES):
            yield chunk
        said = errors.read().decode(errors="replace")
    if running.returncode != 0:
        raise BackupError(f"pg_dump failed: {_last_line(said)}")


def restore(database_url: str, chunks: Iterable[bytes]) -> None:
    """Restore a dump into an empty database in one transaction.

    Raises:
        BackupError: ``pg_restore`` failed; the database is unchanged.
    """
    command = [
        str(program("pg_restore", database_url)),
        "--dbname=",
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
    ]
    with subprocess.Popen(  # noqa: S603 - our own command, no shell
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(database_url),
    ) as running:
        if running.stdin is None or running.stderr is None:
            raise RuntimeError("pg_restore was started without pipes.")
        try:
            for chunk in chunks:
                running.stdin.write(chunk)
            running.stdin.close()
        except BrokenPipeError:
            # pg_restore has ended too early. Its error output contains the reason.
            with suppress(BrokenPipeError):
                running.stdin.close()
        except BaseException:
            # The dump is incomplete, so pg_restore must not commit what it has restored.
            running.kill()
            raise
        said = running.stderr.read().decode(errors="replace")
    if running.returncode != 0:
        raise BackupError(f"pg_restore failed, so nothing was changed: {_last_line(said)}")


def _pipes(running: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if running.stdout is None or running.stderr is None:
        raise RuntimeError("pg_dump was started without pipes.")
    return running.stdout, running.stderr


def _last_line(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line]
    return lines[-1] if lines else "it printed no reason"
