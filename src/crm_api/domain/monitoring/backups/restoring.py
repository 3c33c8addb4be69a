"""Restore a backup into an empty database.

The backup does not contain the messages that were sent after it was made. Therefore a restore
pauses campaigns, drops queued messages, and requests a reconciliation, which reads the missing
messages from the provider. Campaigns send again only after a user resumes them
(``docs/how-to/backup.md``).
"""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import pyrage
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.monitoring.backups import archive, postgres, quarantine
from crm_api.domain.monitoring.backups.archive import PART_BYTES, BackupError, Manifest, digest_of
from crm_api.domain.monitoring.backups.making import Report, count_rows
from crm_api.platform import migration_runner, schema_revisions
from crm_api.platform.data_dir import write_secret
from crm_api.platform.database import open_engine
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings

_REPORT_EVERY = 64 * PART_BYTES
_OBJECTS = text("""
    SELECT count(*) FROM pg_class c
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p', 'v', 'S')
""")
_CLEAR = (
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA public AUTHORIZATION pg_database_owner",
    "GRANT USAGE ON SCHEMA public TO PUBLIC",
)
Members = Iterator[tuple[str, IO[bytes]]]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The result of a restore.

    Attributes:
        manifest: The description of the backup.
        media_files: The number of restored media files.
        paused: The number of paused campaigns; a user must resume them.
        not_sent: The number of queued messages that will not be sent.
    """

    manifest: Manifest
    media_files: int
    paused: int
    not_sent: int


async def restore(
    settings: Settings,
    source: Path,
    identities: list[pyrage.x25519.Identity],
    *,
    now: datetime,
    report: Report,
    again: bool = False,
) -> Restored:
    """Restore a backup into an empty database, and migrate the schema to this release.

    Args:
        identities: The private keys. One of them must be able to decrypt the file.
        report: Receives sentences about the progress.
        again: If True, first delete the data that an interrupted restore has left.

    Raises:
        BackupError: The backup cannot be read or decrypted, or it needs a newer release or another
            secret key. Or the database is not empty, or the numbers of rows differ after the
            restore.
        SettingsError: The settings do not name the database.
    """
    try:
        file = source.open("rb")
    except OSError as error:
        raise BackupError(f"{source} cannot be read ({error.strerror})") from None
    database_url = await require_direct(settings)
    async with open_engine(database_url, pool_size=1) as engine:
        with file, archive.reading(file, identities) as members:
            manifest = await _prepare(settings, members, engine, again=again)
            media_files = await _restore_content(settings, database_url, members, report=report)
        await _compare(engine, manifest)
        report("database: every table has the number of rows that the backup names")
        paused = await quarantine.pause_sending(engine, manifest, now=now)
        await migration_runner.upgrade(database_url)
        await quarantine.request_reconciliation(engine, manifest, now=now)
    return Restored(
        manifest=manifest,
        media_files=media_files,
        paused=paused.campaigns,
        not_sent=paused.messages,
    )


async def _prepare(
    settings: Settings, members: Members, engine: AsyncEngine, *, again: bool
) -> Manifest:
    """Check that the backup can be restored here, and that the database is empty.

    This release must know the schema of the backup. If the settings have secret keys, one of them
    must be the key of the backup. If ``again`` is True, the data of an interrupted restore are
    deleted from the database.
    """
    name, content = next(members, ("", None))
    if name != "manifest.json" or content is None:
        raise BackupError("this file is not a backup of crm-api; choose another file")
    manifest = Manifest.read(content.read())
    if not schema_revisions.knows(manifest.revision):
        raise BackupError(
            f"the backup was made by crm-api {manifest.program}, whose schema "
            f"({manifest.revision}) is newer than this release; install that release or a later one"
        )
    if settings.secret_key is not None and manifest.secret_key_digest not in [
        digest_of(key) for key in settings.secret_keys()
    ]:
        raise BackupError(
            "CRM_SECRET_KEY differs from the key that encrypted the backup; set it to the key that "
            "the service had when the backup was made, or add that key to CRM_OTHER_SECRET_KEYS"
        )
    await _require_empty(engine, again=again)
    return manifest


async def _require_empty(engine: AsyncEngine, *, again: bool) -> None:
    """Check that the database is empty.

    If ``again`` is True, and the database has data of an interrupted restore, delete these data.

    Raises:
        BackupError: The database has other data, or it has data of an interrupted restore and
            ``again`` is False.
    """
    if await is_empty(engine):
        return
    async with engine.begin() as connection:
        schema_state = await schema_revisions.read_schema_state(connection)
        if not schema_state.is_half_restored:
            raise BackupError(
                "the database is not empty, and a restore never replaces data; set "
                "CRM_DATABASE_URL to an empty database or, for the embedded database, set "
                "CRM_DATA_DIR to a new folder"
            )
        if not again:
            raise BackupError(schema_revisions.HALF_RESTORED)
        for statement in _CLEAR:
            await connection.execute(text(statement))


async def is_empty(engine: AsyncEngine) -> bool:
    """Return whether the schema ``public`` of the database has no tables, views or sequences."""
    async with engine.connect() as connection:
        return not await connection.scalar(_OBJECTS)


async def _restore_content(
    settings: Settings, database_url: str, members: Members, *, report: Report
) -> int:
    """Restore the secret key, then the media files, then the database.

    Returns:
        The number of media files.
    """
    store, files = MediaStore.from_settings(settings), 0
    for name, content in members:
        if name == "secret-key":
            _write_secret_key(settings, content.read())
        elif name.startswith("media/"):
            await restore_media_file(store, name.removeprefix("media/"), content)
            files += 1
            if files % 1000 == 0:
                report(f"media: {files:,} files")
        elif name.startswith("database/"):
            parts = _database_parts(content, members, report=report)
            postgres.restore(database_url, parts)
            return files
    raise BackupError("the backup contains no database; use another backup")


def _write_secret_key(settings: Settings, key: bytes) -> None:
    path = settings.data_dir / "secret-key"
    if settings.secret_key is not None:
        return
    if path.exists() and path.read_bytes().strip() != key:
        raise BackupError(
            f"the secret key in {path} differs from the key in the backup; use an empty "
            "CRM_DATA_DIR"
        )
    write_secret(path, key.decode())


async def restore_media_file(store: MediaStore, sha256: str, content: IO[bytes]) -> None:
    """Check the digest of a media file, and write the file to the media store.

    Raises:
        BackupError: The content does not have the digest ``sha256``.
    """
    digest, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(max_size=PART_BYTES) as held:
        while chunk := content.read(PART_BYTES):
            digest.update(chunk)
            size += len(chunk)
            held.write(chunk)
        if digest.hexdigest() != sha256:
            raise BackupError(
                f"the media file {sha256} is damaged in the backup; use another backup"
            )
        await store.put(sha256, held, size_bytes=size)


def _database_parts(first: IO[bytes], members: Members, *, report: Report) -> Iterator[bytes]:
    """Yield the dump in parts; yield the last part only after the whole backup was verified.

    The reason: ``pg_restore`` may commit as soon as it has the last part.
    """
    done, content = 0, first
    while True:
        part = content.read()
        if (done + len(part)) // _REPORT_EVERY > done // _REPORT_EVERY:
            report(f"database: {(done + len(part)) // 2**20:,} MiB read")
        done += len(part)
        name, following = next(members, ("", None))
        yield part
        if following is None:
            return
        if not name.startswith("database/"):
            raise BackupError(
                f"the backup has an unknown member, {name!r}; restore it with the release that "
                "made it"
            )
        content = following


async def _compare(engine: AsyncEngine, manifest: Manifest) -> None:
    """Check that every table has the number of rows that the manifest states.

    ``alembic_version`` is left out, because it is written later.
    """
    async with engine.connect() as connection:
        found = await count_rows(connection)
    wanted = {
        name: rows for name, rows in manifest.tables.items() if name != schema_revisions.TABLE
    }
    differ = [
        f"{name} {found.get(name, 0):,} of {rows:,}"
        for name, rows in wanted.items()
        if found.get(name) != rows
    ]
    if differ:
        raise BackupError(
            f"rows are missing after the restore: {', '.join(differ[:5])}; use another backup"
        )
