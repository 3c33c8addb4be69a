"""Moves a service from the embedded servers to others, and makes sure that nothing was lost.

Nothing of it runs meanwhile, so nothing can have been sent that is not in it: unlike a restored
backup, what is moved goes on where it was. The old copy never sends again: before the new database
can be used, the data directory says where its database went (``data_dir.mark_moved``).
"""

import io
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from crm_api import migrate
from crm_api.backups import postgres
from crm_api.backups.errors import BackupError
from crm_api.backups.making import Snapshot, Tell, list_tables, open_snapshot
from crm_api.backups.restoring import bring_back_file, is_empty
from crm_api.data_dir import mark_moved
from crm_api.db import open_engine
from crm_api.domain.media.errors import MediaObjectMissingError
from crm_api.domain.media.store import MediaStore
from crm_api.domain.schemas import format_instant
from crm_api.postgres import require_direct
from crm_api.settings import Settings

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
"""By table: how many rows, and the sum of their digests. By sequence: where it stands."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What was moved.

    Attributes:
        rows: In all tables.
        tables: That were compared row by row.
        media_files: Copied to ``CRM_MEDIA_URL``; 0 when that is not set.
        missing_media: Files that the database names and nothing holds.
        waiting_files: Uploads that still wait in the data directory.
    """

    rows: int
    tables: int
    media_files: int
    missing_media: int
    waiting_files: int


async def move(settings: Settings, source_url: str, *, now: datetime, tell: Tell) -> Moved:
    """Copy the database of the data directory, compare the copies, and let the new one be used.

    Called again after it was cut off, it goes on.

    Args:
        settings: Where database, media and secret key are to be, and the data directory.
        source_url: The embedded database, which nothing else uses.
        now: The present instant.
        tell: Hears of the progress.

    Raises:
        BackupError: The place is not empty, or the copies differ.
        SettingsError: The database or the secret key is not known.
    """
    _require_same_key(settings)
    target_url = await require_direct(settings)
    async with (
        open_snapshot(source_url) as snapshot,
        open_engine(source_url, pool_size=1) as source,
        open_engine(target_url, pool_size=1) as target,
    ):
        if not migrate.knows(snapshot.revision):
            raise BackupError(
                f"the database here ({snapshot.revision}) is of a later release than this one; "
                "move it with that release"
            )
        if await _is_unused(target):
            tell(f"database: {sum(snapshot.tables.values()):,} rows to copy")
            postgres.restore(target_url, postgres.dump(source_url, snapshot=snapshot.name))
        moved = await _compare(source, target)
        tell(f"database: {moved.tables} tables have the same rows on both sides")
        media_files, missing = await _copy_media(settings, snapshot)
        # From here on the old copy is none: a crash leaves two that do not start, never two
        # that do.
        mark_moved(settings.data_dir, to=_place(target_url), at=format_instant(now))
        async with target.begin() as connection:
            await connection.execute(_SET_REVISION, {"revision": snapshot.revision})
    await migrate.upgrade(target_url)
    return replace(moved, media_files=media_files, missing_media=missing)


def _require_same_key(settings: Settings) -> None:
    """Refuse a key under which nothing that is sealed here could be read.

    Raises:
        BackupError: ``CRM_SECRET_KEY`` is another one than the data directory's.
        SettingsError: There is none at all.
    """
    given = settings.secret_keys()
    kept = settings.data_dir / "secret-key"
    if kept.exists() and kept.read_bytes().strip() not in given:
        raise BackupError(
            f"CRM_SECRET_KEY is another one than {kept} holds: what is sealed and signed with that "
            "could not be read; give its text, or leave the setting out"
        )


async def _is_unused(target: AsyncEngine) -> bool:
    """Tell whether the place is empty; False when an earlier try has filled it.

    Raises:
        BackupError: Something else is in it.
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
    """Read every row on both sides.

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
            f"the copy is not what is here, in {', '.join(differ[:5])}; nothing was switched over: "
            "empty the database of CRM_DATABASE_URL and try again"
        )
    rows = sum(count for name, (count, _) in wanted.items() if not name.startswith("sequence "))
    tables = sum(1 for name in wanted if not name.startswith("sequence "))
    return Moved(rows=rows, tables=tables, media_files=0, missing_media=0, waiting_files=waiting)


async def digests(connection: AsyncConnection) -> Digests:
    """Sum up every table, whatever the order of its rows."""
    found: Digests = {}
    for name in await list_tables(connection):
        if name == migrate.TABLE:
            continue
        quoted = connection.dialect.identifier_preparer.quote(name)
        statement = text(f"""
            SELECT count(*), coalesce(sum(CAST(CAST('x' || substr(encode(sha256(
                convert_to(CAST(t AS text), 'UTF8')), 'hex'), 1, 16) AS bit(64)) AS bigint)), 0)
            FROM {quoted} t
        """)  # noqa: S608 - a table's name, quoted
        count, total = (await connection.execute(statement)).one()
        found[name] = (count, str(total))
    for name, value in await connection.execute(_SEQUENCES):
        found[f"sequence {name}"] = (value, "")
    return found


async def _copy_media(settings: Settings, snapshot: Snapshot) -> tuple[int, int]:
    """Bring the files of the data directory to where they are to be; how many, and how many lack.

    Each is named by its digest, and one that is there already is not sent again.
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
    """Name a database without its user and password."""
    url = make_url(database_url)
    host = url.host or str(url.query.get("host", ""))
    return f"{host}:{url.port or 5432}/{url.database}"
