"""Move a service from the embedded servers to others, and check that nothing was lost.

No process runs meanwhile, so every message that was sent is in the database. Unlike a restored
backup, a moved service therefore continues without a pause for checks. The old copy never sends
again: before the new database can be used, the data directory records where its database went
(``data_dir.mark_moved``).
"""

import io
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.media.errors import MediaObjectMissingError
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.monitoring.backups import postgres
from crm_api.domain.monitoring.backups.errors import BackupError
from crm_api.domain.monitoring.backups.making import Report, Snapshot, list_tables, open_snapshot
from crm_api.domain.monitoring.backups.restoring import bring_back_file, is_empty
from crm_api.platform import migration_runner
from crm_api.platform.data_dir import mark_moved
from crm_api.platform.database import open_engine
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings

_SEQUENCES = text("""
    SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences
    WHERE schemaname = 'public' ORDER BY 1
""")
_REVISION = text("SELECT version_num FROM alembic_version")
_SET_REVISION = text("INSERT INTO alembic_version (version_num) VALUES (:revision)")
_WAITING_FILES = text("""
    SELECT (SELECT count(*) FROM contact_import WHERE status IN ('pending', 'running'))
         + (SELECT count(*) FROM do_not_contact_upload WHERE status IN ('pending', 'running'))
""")

Digests = dict[str, tuple[int, str]]
"""By table: number of rows, and the sum of their digests. By sequence: its last value."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Result of a move.

    Attributes:
        rows: Number of rows in all tables.
        tables: Number of tables that were compared row by row.
        media_files: Number of files copied to ``CRM_MEDIA_URL``; 0 when that is not set.
        missing_media: Number of files that the database names and the old store does not have.
        waiting_files: Number of uploads that still wait in the data directory.
    """

    rows: int
    tables: int
    media_files: int
    missing_media: int
    waiting_files: int


async def move(settings: Settings, source_url: str, *, now: datetime, report: Report) -> Moved:
    """Copy the database of the data directory, compare the copies, and enable the new one.

    It can be called again after an interruption and then continues.

    Args:
        settings: The new database, media and secret key, and the data directory.
        source_url: The embedded database, which nothing else uses.
        now: The current instant.
        report: Receives progress lines.

    Raises:
        BackupError: The new database is not empty, or the copies differ.
        SettingsError: The settings do not name the database or the secret key.
    """
    _require_same_key(settings)
    target_url = await require_direct(settings)
    async with (
        open_snapshot(source_url) as snapshot,
        open_engine(source_url, pool_size=1) as source,
        open_engine(target_url, pool_size=1) as target,
    ):
        if not migration_runner.knows(snapshot.revision):
            raise BackupError(
                f"the database here ({snapshot.revision}) was written by a later release; move it "
                "with that release"
            )
        if await _is_unused(target):
            report(f"database: {sum(snapshot.tables.values()):,} rows to copy")
            postgres.restore(target_url, postgres.dump(source_url, snapshot=snapshot.name))
        moved = await _compare(source, target)
        report(f"database: {moved.tables} tables have the same rows on both sides")
        media_files, missing = await _copy_media(settings, snapshot)
        # From here on the old copy is disabled: after a crash, neither copy starts; at no time
        # can both start.
        mark_moved(settings.data_dir, to=_place(target_url), at=format_instant(now))
        async with target.begin() as connection:
            await connection.execute(_SET_REVISION, {"revision": snapshot.revision})
    await migration_runner.upgrade(target_url)
    return replace(moved, media_files=media_files, missing_media=missing)


def _require_same_key(settings: Settings) -> None:
    """Refuse a secret key that cannot decrypt what is stored here.

    Raises:
        BackupError: ``CRM_SECRET_KEY`` differs from the key in the data directory.
        SettingsError: There is no secret key.
    """
    given = settings.secret_keys()
    kept = settings.data_dir / "secret-key"
    if kept.exists() and kept.read_bytes().strip() not in given:
        raise BackupError(
            f"CRM_SECRET_KEY differs from the key in {kept}, with which the data here is encrypted "
            "and signed; set it to that key, or do not set it"
        )


async def _is_unused(target: AsyncEngine) -> bool:
    """Return whether the target is empty; False when an earlier, interrupted move filled it.

    Raises:
        BackupError: It contains something else.
    """
    if await is_empty(target):
        return True
    async with target.connect() as connection:
        table = await connection.scalar(text("SELECT to_regclass('public.alembic_version')"))
        if table is None or await connection.scalar(_REVISION) is not None:
            raise BackupError(
                "the database of CRM_DATABASE_URL is not empty, and a move replaces nothing; "
                "give an empty one"
            )
    return False


async def _compare(source: AsyncEngine, target: AsyncEngine) -> Moved:
    """Compare every row of both databases.

    Raises:
        BackupError: They differ.
    """
    async with source.connect() as here, target.connect() as there:
        wanted, found = await digests(here), await digests(there)
        waiting = int(await here.scalar(_WAITING_FILES) or 0)
    differ = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    if differ:
        raise BackupError(
            f"the copy differs in {', '.join(differ[:5])}; nothing was switched over: empty the "
            "database of CRM_DATABASE_URL and try again"
        )
    rows = sum(count for name, (count, _) in wanted.items() if not name.startswith("sequence "))
    tables = sum(1 for name in wanted if not name.startswith("sequence "))
    return Moved(rows=rows, tables=tables, media_files=0, missing_media=0, waiting_files=waiting)


async def digests(connection: AsyncConnection) -> Digests:
    """Return a digest of every table, independent of the order of rows."""
    found: Digests = {}
    for name in await list_tables(connection):
        if name == migration_runner.TABLE:
            continue
        quoted = connection.dialect.identifier_preparer.quote(name)
        statement = text(f"""
            SELECT count(*), coalesce(sum(CAST(CAST('x' || substr(encode(sha256(
                convert_to(CAST(t AS text), 'UTF8')), 'hex'), 1, 16) AS bit(64)) AS bigint)), 0)
            FROM {quoted} t
        """)
        count, total = (await connection.execute(statement)).one()
        found[name] = (count, str(total))
    for name, value in await connection.execute(_SEQUENCES):
        found[f"sequence {name}"] = (value, "")
    return found


async def _copy_media(settings: Settings, snapshot: Snapshot) -> tuple[int, int]:
    """Copy the media files to the new store; return how many were copied and how many missing.

    A file is named by its digest. One that the new store already has is not uploaded again.
    """
    if settings.media_url is None:
        return 0, 0
    old, new = MediaStore(settings.data_dir / "media"), MediaStore.from_settings(settings)
    missing = 0
    for sha256, size in snapshot.media:
        try:
            stream = await old.read(sha256, start=0, end=size)
            content = b"".join([bytes(chunk) async for chunk in stream])
        except MediaObjectMissingError:
            missing += 1
            continue
        await bring_back_file(new, sha256, io.BytesIO(content))
    return len(snapshot.media) - missing, missing


def _place(database_url: str) -> str:
    """Return host, port and name of a database, without user and password."""
    url = make_url(database_url)
    host = url.host or str(url.query.get("host", ""))
    return f"{host}:{url.port or 5432}/{url.database}"
