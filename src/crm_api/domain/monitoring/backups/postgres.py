"""Run PostgreSQL's own programs for dumps: their arguments, and how they fail."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import IO

from sqlalchemy import make_url

from crm_api.domain.monitoring.backups.errors import BackupError
from crm_api.platform.processes import StartError
from crm_api.platform.server_programs import find_postgres, major_version

CHUNK_BYTES = 1024 * 1024
_NEEDS_TLS = ("require", "verify-ca", "verify-full")


def program(name: str, database_url: str) -> Path:
    """Return ``pg_dump`` or ``pg_restore``: the newer of the one on PATH and the embedded one.

    A program older than the server refuses to dump it. The embedded ones do not support TLS.

    Raises:
        BackupError: There is no such program.
    """
    found = [Path(on_path)] if (on_path := which(name)) else []
    if make_url(database_url).query.get("sslmode") not in _NEEDS_TLS:
        with suppress(StartError):
            found += [beside for beside in [find_postgres() / name] if beside.is_file()]
    if not found:
        raise BackupError(f"{name} was not found; install PostgreSQL's client programs")
    return max(found, key=major_version)


def environment(database_url: str) -> dict[str, str]:
    """Return the database's address as libpq variables, which keep passwords off command lines."""
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
    """Yield the dump of the database at a snapshot, in chunks.

    Raises:
        BackupError: ``pg_dump`` failed.
    """
    command = [
        str(program("pg_dump", database_url)),
        "--format=custom",
        "--compress=gzip:3",
        "--no-owner",
        "--no-privileges",
        # No process starts without this table's row; a restore writes the row at its end.
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
    """Restore a dump into an empty database, completely or not at all.

    Raises:
        BackupError: ``pg_restore`` failed.
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
            raise RuntimeError("The pipes were asked for.")
        try:
            for chunk in chunks:
                running.stdin.write(chunk)
            running.stdin.close()
        except BrokenPipeError:
            with suppress(BrokenPipeError):  # pg_restore prints why it ended
                running.stdin.close()
        except BaseException:
            # The dump is incomplete: pg_restore must not commit it.
            running.kill()
            raise
        said = running.stderr.read().decode(errors="replace")
    if running.returncode != 0:
        raise BackupError(f"pg_restore failed, nothing was changed: {_last_line(said)}")


def _pipes(running: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if running.stdout is None or running.stderr is None:
        raise RuntimeError("The pipes were asked for.")
    return running.stdout, running.stderr


def _last_line(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line]
    return lines[-1] if lines else "it said nothing"
