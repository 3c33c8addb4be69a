"""Make a backup while the service may run. All data in the backup is from one moment."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tarfile import TarFile

import pyrage
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from crm_api.domain.messaging.media.errors import MediaObjectMissingError
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.monitoring.backups import archive, postgres
from crm_api.domain.monitoring.backups.archive import (
    FORMAT,
    PART_BYTES,
    BackupError,
    Manifest,
    add_member,
    digest_of,
)
from crm_api.platform import schema_revisions
from crm_api.platform.database import open_engine
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings

Report = Callable[[str], None]
"""A function that shows a sentence about the progress to the user who runs the command."""
_REPORT_EVERY = 64 * PART_BYTES
_TABLES = text("""
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition
    ORDER BY c.relname
""")
_MEDIA = text("SELECT sha256, size_bytes FROM media ORDER BY sha256")


@dataclass(frozen=True, kw_only=True)
class Made:
    """The result of making a backup.

    Attributes:
        path: The backup file.
        size_bytes: The length of the backup file.
        manifest: The description inside the backup.
        missing_media: The number of media files that are in the database but not in the media
            store. They are not in the backup.
    """

    path: Path
    size_bytes: int
    manifest: Manifest
    missing_media: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of the database at one moment, readable while the snapshot's transaction is open.

    Attributes:
        name: The name of the exported snapshot, for ``pg_dump``.
        server: The version of PostgreSQL.
        revision: The revision of the schema.
        tables: The number of rows of each table.
        media: The SHA-256 and the length of each media file.
    """

    name: str
    server: str
    revision: str
    tables: dict[str, int]
    media: list[tuple[str, int]]


def choose_target(wanted: Path, *, made_at: datetime) -> Path:
    """Return the path of the backup file.

    If ``wanted`` is a folder, return the path of a new file in this folder. The name of the file
    contains the time ``made_at``. Otherwise return ``wanted``.

    Raises:
        BackupError: The file already exists.
    """
    name = f"crm-{made_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.tar.age"
    target = wanted / name if wanted.is_dir() else wanted
    if target.exists():
        raise BackupError(
            f"{target} exists, and a backup is never overwritten; choose another file name"
        )
    return target


async def make(
    settings: Settings,
    target: Path,
    recipients: list[pyrage.x25519.Recipient],
    *,
    made_at: datetime,
    report: Report,
) -> Made:
    """Write a backup to a file. The service may run meanwhile.

    Args:
        target: The backup file, which must not exist.
        recipients: The public keys whose owners can read the backup.
        made_at: The current time. If an operator has returned the database to an earlier state,
            ``made_at`` is the time of that earlier state.
        report: Receives sentences about the progress.

    Raises:
        BackupError: The file cannot be written, or the database cannot be dumped.
        SettingsError: The settings do not name the database or the secret key.
    """
    secret_key = settings.secret_keys()[0]
    database_url = await require_direct(settings)
    part = target.with_name(target.name + ".part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise BackupError(f"{target} cannot be written ({error.strerror})") from None
    missing = 0
    try:
        with os.fdopen(handle, "wb") as file:
            async with open_snapshot(database_url) as snapshot:
                manifest = _describe(snapshot, secret_key=secret_key, made_at=made_at)
                with archive.writing(file, recipients) as members:
                    add_member(
                        members, "manifest.json", manifest.model_dump_json(indent=2).encode()
                    )
                    if settings.secret_key is None:
                        add_member(members, "secret-key", secret_key)
                    missing = await _add_media(members, settings, snapshot.media, report=report)
                    _add_database(members, database_url, snapshot, report=report)
            file.flush()
            os.fsync(file.fileno())
            size_bytes = file.tell()
        part.rename(target)
    except OSError as error:
        raise BackupError(f"{target} cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
    return Made(path=target, size_bytes=size_bytes, manifest=manifest, missing_media=missing)


@asynccontextmanager
async def open_snapshot(database_url: str) -> AsyncIterator[Snapshot]:
    """Open a snapshot of the database that can be read until the ``async with`` block ends.

    Raises:
        BackupError: The database has no schema.
    """
    async with open_engine(database_url, pool_size=1) as engine:
        revision = await schema_revisions.current_revision(engine)
        if revision is None:
            raise BackupError("the database is empty, so there is nothing to back up")
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="REPEATABLE READ")
            # The dump of the database may take longer than the usual time limits of PostgreSQL.
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            yield Snapshot(
                name=str(await connection.scalar(text("SELECT pg_export_snapshot()"))),
                server=str(await connection.scalar(text("SHOW server_version"))),
                revision=revision,
                tables=await count_rows(connection),
                media=[(row.sha256, row.size_bytes) for row in await connection.execute(_MEDIA)],
            )


async def list_tables(connection: AsyncConnection) -> list[str]:
    """Return the names of all tables, ascending. A partitioned table counts as one table."""
    return [str(name) for name in await connection.scalars(_TABLES)]


async def count_rows(connection: AsyncConnection) -> dict[str, int]:
    """Return the number of rows of every table, by the name of the table."""
    counts = {}
    for name in await list_tables(connection):
        quoted = connection.dialect.identifier_preparer.quote(name)
        statement = text(f"SELECT count(*) FROM {quoted}")
        counts[name] = int(await connection.scalar(statement) or 0)
    return counts


def _describe(snapshot: Snapshot, *, secret_key: bytes, made_at: datetime) -> Manifest:
    return Manifest(
        format=FORMAT,
        made_at=made_at,
        program=version("crm-api"),
        revision=snapshot.revision,
        server=snapshot.server,
        secret_key_digest=digest_of(secret_key),
        tables=snapshot.tables,
        media_files=len(snapshot.media),
        media_bytes=sum(size for _, size in snapshot.media),
    )


async def _add_media(
    members: TarFile, settings: Settings, media: list[tuple[str, int]], *, report: Report
) -> int:
    """Add the media files to the archive; return how many are missing in the media store."""
    store, missing, done = MediaStore.from_settings(settings), 0, 0
    for position, (sha256, size) in enumerate(media, 1):
        try:
            stream = await store.read(sha256, start=0, end=size)
            content = b"".join([bytes(chunk) async for chunk in stream])
        except MediaObjectMissingError:
            missing += 1
            continue
        add_member(members, f"media/{sha256}", content)
        if (done + size) // _REPORT_EVERY > done // _REPORT_EVERY:
            report(f"media: {position:,} of {len(media):,} files")
        done += size
    return missing


def _add_database(
    members: TarFile, database_url: str, snapshot: Snapshot, *, report: Report
) -> None:
    done = 0
    dump = postgres.dump(database_url, snapshot=snapshot.name)
    for position, part in enumerate(_parts(dump)):
        add_member(members, f"database/{position:05}", part)
        if (done + len(part)) // _REPORT_EVERY > done // _REPORT_EVERY:
            report(f"database: {(done + len(part)) // 2**20:,} MiB dumped")
        done += len(part)


def _parts(chunks: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= PART_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held)
