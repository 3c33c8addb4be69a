"""PostgreSQL's own programs for dumps: what they are told, and where they fail."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import IO

from sqlalchemy import make_url

from crm_api.backups.errors import BackupError
from crm_api.embedded import find_postgres
from crm_api.processes import StartError
from crm_api.servers import major_version

CHUNK_BYTES = 1024 * 1024
_NEEDS_TLS = ("require", "verify-ca", "verify-full")


def program(name: str, database_url: str) -> Path:
    """Find ``pg_dump`` or ``pg_restore``: the newer of the path's and the embedded server's.

    An older one than the server refuses to dump it. The embedded ones do not speak TLS.

    Raises:
        BackupError: There is none.
    """
    found = [Path(on_path)] if (on_path := which(name)) else []
    if make_url(database_url).query.get("sslmode") not in _NEEDS_TLS:
        with suppress(StartError):
            found += [beside for beside in [find_postgres() / name] if beside.is_file()]
    if not found:
        raise BackupError(f"{name} was not found; install PostgreSQL's client programs")
    return max(found, key=major_version)


def environment(database_url: str) -> dict[str, str]:
    """Say where the database is, by the variables of libpq; a password is on no command line."""
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
    """Give the dump of the database as that snapshot sees it, in pieces.

    Raises:
        BackupError: ``pg_dump`` failed.
    """
    command = [
        str(program("pg_dump", database_url)),
        "--format=custom",
        "--compress=gzip:3",
        "--no-owner",
        "--no-privileges",
        # Without its row no process starts on the restored database; it is written at the end.
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
    """Bring a dump into an empty database, all of it or nothing.

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
            with suppress(BrokenPipeError):  # it says why it ended
                running.stdin.close()
        except BaseException:
            # The dump is not whole: nothing of it may be committed.
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
