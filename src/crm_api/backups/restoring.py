"""Brings a backup back into an empty place, and lets nothing leave it by itself.

What was sent after the backup was made is not in it. So campaigns come back paused, and texts that
waited are not sent; the provider is asked first what has left since (``docs/backup.md``).
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

from crm_api import migrate
from crm_api.backups import archive, postgres, quarantine
from crm_api.backups.archive import PART_BYTES
from crm_api.backups.errors import BackupError
from crm_api.backups.making import Tell, count_rows
from crm_api.backups.manifest import Manifest, digest_of
from crm_api.data_dir import write_secret
from crm_api.db import open_engine
from crm_api.domain.media.store import MediaStore
from crm_api.postgres import require_direct
from crm_api.settings import Settings

_TELL_EVERY = 64 * PART_BYTES
_OBJECTS = text("""
    SELECT count(*) FROM pg_class c
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p', 'v', 'S')
""")
Members = Iterator[tuple[str, IO[bytes]]]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came back.

    Attributes:
        manifest: What the backup says about itself.
        media_files: How many pictures and recordings were written.
        paused: Campaigns that wait to be resumed.
        not_sent: Texts that waited and will not leave.
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
    tell: Tell,
) -> Restored:
    """Bring a backup back, and bring its schema up to this release.

    Args:
        settings: Where database, media and secret key are to be.
        source: The backup.
        identities: Keys, one of which opens it.
        now: The present instant.
        tell: Hears of the progress.

    Raises:
        BackupError: It cannot be read, does not fit, or the place is not empty.
        SettingsError: The database is not known.
    """
    try:
        file = source.open("rb")
    except OSError as error:
        raise BackupError(f"{source} cannot be read ({error.strerror})") from None
    database_url = await require_direct(settings)
    async with open_engine(database_url, pool_size=1) as engine:
        with file, archive.reading(file, identities) as members:
            manifest = await _prepare(settings, members, engine)
            media_files = await _bring_back(settings, database_url, members, tell=tell)
        await _compare(engine, manifest)
        tell("database: every table has the rows that it had")
        held = await quarantine.close(engine, manifest, now=now)
        await migrate.upgrade(database_url)
        await quarantine.ask_the_provider(engine, manifest, now=now)
    return Restored(
        manifest=manifest,
        media_files=media_files,
        paused=held.paused,
        not_sent=held.not_sent,
    )


async def _prepare(settings: Settings, members: Members, engine: AsyncEngine) -> Manifest:
    """Refuse what would not fit, before anything is written."""
    name, content = next(members, ("", None))
    if name != "manifest.json" or content is None:
        raise BackupError("the file is no backup of this program")
    manifest = Manifest.read(content.read())
    if not migrate.knows(manifest.revision):
        raise BackupError(
            f"the backup was made by crm-api {manifest.program}, whose schema "
            f"({manifest.revision}) is newer than this release; install that one or a later one"
        )
    if not await is_empty(engine):
        raise BackupError(
            "the database is not empty, and a restore replaces nothing; give an empty one, "
            "or another CRM_DATA_DIR"
        )
    if settings.secret_key is not None and manifest.secret_key_digest not in [
        digest_of(key) for key in settings.secret_keys()
    ]:
        raise BackupError(
            "CRM_SECRET_KEY is another one than the backup's: what is sealed with it could not be "
            "read; give the one that the service had, or name it in CRM_OTHER_SECRET_KEYS"
        )
    return manifest


async def is_empty(engine: AsyncEngine) -> bool:
    """Tell whether the database has nothing in it."""
    async with engine.connect() as connection:
        return not await connection.scalar(_OBJECTS)


async def _bring_back(
    settings: Settings, database_url: str, members: Members, *, tell: Tell
) -> int:
    """Write secret key and media, then the database, which is the last member."""
    store, files = MediaStore.from_settings(settings), 0
    for name, content in members:
        if name == "secret-key":
            _write_secret_key(settings, content.read())
        elif name.startswith("media/"):
            await bring_back_file(store, name.removeprefix("media/"), content)
            files += 1
            if files % 1000 == 0:
                tell(f"media: {files:,} files")
        elif name.startswith("database/"):
            parts = _database_parts(content, members, tell=tell)
            postgres.restore(database_url, parts)
            return files
    raise BackupError("the backup holds no database")


def _write_secret_key(settings: Settings, key: bytes) -> None:
    path = settings.data_dir / "secret-key"
    if settings.secret_key is not None:
        return
    if path.exists() and path.read_bytes().strip() != key:
        raise BackupError(f"{path} holds another key than the backup's; give an empty CRM_DATA_DIR")
    write_secret(path, key.decode())


async def bring_back_file(store: MediaStore, sha256: str, content: IO[bytes]) -> None:
    """Write a picture or recording, if it is what its name says.

    Raises:
        BackupError: It is not.
    """
    digest, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(max_size=PART_BYTES) as held:
        while chunk := content.read(PART_BYTES):
            digest.update(chunk)
            size += len(chunk)
            held.write(chunk)
        if digest.hexdigest() != sha256:
            raise BackupError(f"the file {sha256} is not what it was; take another backup")
        await store.put(sha256, held, size_bytes=size)


def _database_parts(first: IO[bytes], members: Members, *, tell: Tell) -> Iterator[bytes]:
    done, content = 0, first
    while True:
        part = content.read()
        if (done + len(part)) // _TELL_EVERY > done // _TELL_EVERY:
            tell(f"database: {(done + len(part)) // 2**20:,} MiB read")
        done += len(part)
        yield part
        name, following = next(members, ("", None))
        if following is None:
            return
        if not name.startswith("database/"):
            raise BackupError(f"the backup has an unknown part, {name!r}")
        content = following


async def _compare(engine: AsyncEngine, manifest: Manifest) -> None:
    """Make sure that every table has the rows that it had; ``alembic_version`` comes last."""
    async with engine.connect() as connection:
        found = await count_rows(connection)
    wanted = {name: rows for name, rows in manifest.tables.items() if name != migrate.TABLE}
    differ = [
        f"{name} {found.get(name, 0):,} of {rows:,}"
        for name, rows in wanted.items()
        if found.get(name) != rows
    ]
    if differ:
        raise BackupError(f"rows are missing after the restore: {', '.join(differ[:5])}")
