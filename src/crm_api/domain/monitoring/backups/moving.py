"""Move a service from the embedded servers to other servers, and check that nothing was lost.

No process of the service may run during the move. So the copy contains every sent message, and the
moved service may send immediately. The data directory records the move (``data_dir.mark_moved``)
before the new database can be used. So ``crm-api up`` never starts on the old database again.
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
from crm_api.domain.monitoring.backups.archive import BackupError
from crm_api.domain.monitoring.backups.making import Report, Snapshot, list_tables, open_snapshot
from crm_api.domain.monitoring.backups.restoring import is_empty, restore_media_file
from crm_api.platform import migration_runner, schema_revisions
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
"""The content of a database, in a form that can be compared with another database.

- For a table, the key is its name. The value is the number of rows, and the sum of the digests of
  the rows.
- For a sequence, the key is ``sequence``, a space and its name. The value is the last value of the
  sequence, and an empty text.
"""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """The result of moving the service from the embedded servers to other servers.

    Attributes:
        rows: The number of rows of all tables together.
        tables: The number of tables whose rows were compared.
        media_files: Media files in the store of ``CRM_MEDIA_URL`` after the move; 0 without this
            setting.
        missing_media: Media files that are in the database but not in the old store.
        waiting_files: Uploaded files in the data directory that are not imported yet.
    """

    rows: int
    tables: int
    media_files: int
    missing_media: int
    waiting_files: int


async def move(settings: Settings, source_url: str, *, now: datetime, report: Report) -> Moved:
    """Copy the embedded database to a new one, compare both databases, and enable the new one.

    After an interruption, call this function again; the move then continues.

    Args:
        source_url: The embedded database. Nothing else may use it during the move.
        report: Receives sentences about the progress.

    Raises:
        BackupError: The new database is not empty, the databases differ after the copy, or the
            schema is newer than this release.
        SettingsError: The settings do not name the database or the secret key.
    """
    _require_same_key(settings)
    target_url = await require_direct(settings)
    async with (
        open_snapshot(source_url) as snapshot,
        open_engine(source_url, pool_size=1) as source,
        open_engine(target_url, pool_size=1) as target,
    ):
        if not schema_revisions.knows(snapshot.revision):
            raise BackupError(
                f"the schema of the embedded database ({snapshot.revision}) is newer than this "
                "release; run `crm-api move` of the newer release"
            )
        if await _is_unused(target):
            report(f"database: {sum(snapshot.tables.values()):,} rows to copy")
            postgres.restore(target_url, postgres.dump(source_url, snapshot=snapshot.name))
        moved = await _compare(source, target)
        report(f"database: {moved.tables} tables have the same rows in both databases")
        media_files, missing = await _copy_media(settings, snapshot)
        # The service must never run on both databases. So the old database is disabled before the
        # new database is enabled. After a crash between these two steps, the service starts on
        # neither of them.
        mark_moved(settings.data_dir, to=_place(target_url), at=format_instant(now))
        async with target.begin() as connection:
            await connection.execute(_SET_REVISION, {"revision": snapshot.revision})
    await migration_runner.upgrade(target_url)
    return replace(moved, media_files=media_files, missing_media=missing)


def _require_same_key(settings: Settings) -> None:
    """Check that the secret key of the settings can decrypt the embedded database.

    Raises:
        BackupError: ``CRM_SECRET_KEY`` differs from the key in the data directory.
        SettingsError: There is no secret key.
    """
    given = settings.secret_keys()
    kept = settings.data_dir / "secret-key"
    if kept.exists() and kept.read_bytes().strip() not in given:
        raise BackupError(
            f"CRM_SECRET_KEY differs from the key in {kept}, with which the data is encrypted; set "
            "CRM_SECRET_KEY to that key, or remove it from the environment"
        )


async def _is_unused(target: AsyncEngine) -> bool:
    """Return True if the new database is empty, False if an interrupted move has filled it.

    Raises:
        BackupError: The new database has other data.
    """
    if await is_empty(target):
        return True
    async with target.connect() as connection:
        table = await connection.scalar(text("SELECT to_regclass('public.alembic_version')"))
        if table is None or await connection.scalar(_REVISION) is not None:
            raise BackupError(
                "the database of CRM_DATABASE_URL is not empty, and a move never replaces data; "
                "use an empty database"
            )
    return False


async def _compare(source: AsyncEngine, target: AsyncEngine) -> Moved:
    """Check that the embedded and the new database have the same rows and sequences.

    Raises:
        BackupError: The two databases differ.
    """
    async with source.connect() as here, target.connect() as there:
        wanted, found = await digests(here), await digests(there)
        waiting = int(await here.scalar(_WAITING_FILES) or 0)
    differ = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    if differ:
        raise BackupError(
            "the new database (the one that CRM_DATABASE_URL names) differs from the embedded "
            f"database in {', '.join(differ[:5])}. The service still uses the embedded database, "
            "so do not change it. Empty only the new database and run the command again"
        )
    rows = sum(count for name, (count, _) in wanted.items() if not name.startswith("sequence "))
    tables = sum(1 for name in wanted if not name.startswith("sequence "))
    return Moved(rows=rows, tables=tables, media_files=0, missing_media=0, waiting_files=waiting)


async def digests(connection: AsyncConnection) -> Digests:
    """Return a digest of the content of every table, and the value of every sequence, by name.

    The digest of a table does not depend on the order of the rows.
    """
    found: Digests = {}
    for name in await list_tables(connection):
        if name == schema_revisions.TABLE:
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
    """Copy the media files to the store of ``CRM_MEDIA_URL``, if that setting is set.

    Files that the store has already are not copied.

    Returns:
        The number of files that are now in the new store, and the number of files that are missing
        in the old store. Both are 0 if ``CRM_MEDIA_URL`` is not set.
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
        await restore_media_file(new, sha256, io.BytesIO(content))
    return len(snapshot.media) - missing, missing


def _place(database_url: str) -> str:
    """Return the host, port and name of a database as one text, without user and password."""
    url = make_url(database_url)
    host = url.host or str(url.query.get("host", ""))
    return f"{host}:{url.port or 5432}/{url.database}"
