"""Find out which schema a database has, and whether this code can run on it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from crm_api.platform.database import open_engine
from crm_api.platform.postgres import DATABASE_UNREACHABLE
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings

log = structlog.get_logger()

TABLE = "alembic_version"
"""Name of the table that stores the revision of the database schema."""
SINCE = "serves code since "
"""Beginning of the comment on the table ``alembic_version``. The rest of the comment is the
revision ``SchemaState.since``."""
_SCHEMA_STATE = text("""
    SELECT (SELECT version_num FROM alembic_version) AS revision,
           obj_description(CAST('alembic_version' AS regclass), 'pg_class') AS remark,
           EXISTS (SELECT FROM pg_class
                   WHERE relnamespace = CAST('public' AS regnamespace) AND relkind IN ('r', 'p')
                     AND relname <> 'alembic_version') AS has_tables
""")
HALF_RESTORED = (
    "a restore or a move into this database was interrupted, so the database is incomplete. After "
    "a restore, run the same `crm-api restore FILE --identity KEYFILE` with `--again`, which "
    "clears the database and restores it completely. After a move, run the same `crm-api move` "
    "again"
)


@dataclass(frozen=True)
class Release:
    """A release of this program, from ``migrations/releases.txt``.

    Attributes:
        version: Version of the program.
        revision: The newest schema revision in the release.
        commit: Git commit of the release.
    """

    version: str
    revision: str
    commit: str


def directory() -> Path:
    """Return the folder of the migrations, in an installation or in the repository."""
    installed = Path(__file__).parents[1] / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"


@cache
def _revisions() -> tuple[str, ...]:
    """Return all schema revisions (ids of migrations), oldest first, from the names of the files.

    Alembic reads the revisions from the files' contents, which takes 10 MB and 0.2 s of CPU time.
    So Alembic is imported only by commands that run migrations. A test checks that this function
    and Alembic return the same revisions.
    """
    files = (directory() / "versions").glob("[0-9]*.py")
    return tuple(sorted("_".join(file.stem.split("_")[:2]) for file in files))


def head_revision() -> str:
    """Return the newest schema revision among the migrations of this code.

    Raises:
        RuntimeError: The installation contains no migrations.
    """
    if not _revisions():
        raise RuntimeError("The installation contains no migrations; install crm-api again.")
    return _revisions()[-1]


def knows(revision: str) -> bool:
    """Return True if this code contains the migration with this revision."""
    return revision in _revisions()


def releases() -> list[Release]:
    """Return all releases, oldest first."""
    lines = (directory() / "releases.txt").read_text().splitlines()
    return [Release(*line.split()) for line in lines if line and not line.startswith("#")]


def serves_since() -> str:
    """Return the schema revision of the oldest release that can run on the schema of this code.

    A release can run on its own schema and on the schema of the next release. So the result is the
    revision of the release before this code. Releases with the same revision as this code are
    skipped. If there is no other release, the result is the revision of this code.
    """
    head = head_revision()
    earlier = [release.revision for release in releases() if release.revision != head]
    return earlier[-1] if earlier else head


@dataclass(frozen=True)
class SchemaState:
    """The state of a database's schema.

    Attributes:
        revision: The id of the last applied migration; None if none is stored.
        since: The revision of the oldest release that can run on this schema; None if unknown.
        is_half_restored: True if a restore of a backup, or a move of data to this database, was
            interrupted. Then the
            database has tables but no revision.
    """

    revision: str | None
    since: str | None
    is_half_restored: bool = False

    @property
    def is_later(self) -> bool:
        """True if a later release has migrated the schema to a revision unknown to this code."""
        return self.revision is not None and not knows(self.revision)

    def trouble(self) -> str | None:
        """Return why this code cannot run on the schema, and what to do; None if it can run.

        A release can also run on the schema of the next release, as it must during a rollout and
        after a rollback of the code.
        """
        if self.revision == head_revision():
            return None
        if self.is_half_restored:
            return HALF_RESTORED
        if not self.is_later:
            return (
                f"the database's schema has revision {self.revision or '(none)'}, but this "
                f"release needs {head_revision()}; run `crm-api migrate` first"
            )
        if self.since is not None and knows(self.since):
            return None
        return (
            f"a later release has migrated the database's schema ({self.revision}), and this "
            f"release ({head_revision()}) cannot run on it; start that release or a newer one"
        )


async def read_schema_state(connection: AsyncConnection) -> SchemaState:
    """Read the revision of the database's schema, and which releases can run on the schema."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return SchemaState(None, None)
    row = (await connection.execute(_SCHEMA_STATE)).one()
    return SchemaState(
        row.revision,
        (row.remark or "").removeprefix(SINCE) or None,
        is_half_restored=row.revision is None and row.has_tables,
    )


async def current_revision(engine: AsyncEngine) -> str | None:
    """Return the revision of the database's schema; None if no migration ever ran."""
    async with engine.connect() as connection:
        return (await read_schema_state(connection)).revision


async def require_matching_schema(settings: Settings) -> None:
    """Check that this code can run on the database's schema.

    If the database cannot be reached, only log a warning, because `/readyz` checks again.

    Raises:
        StartError: This code cannot run on the schema; the message says what to do.
    """
    try:
        async with (
            open_engine(settings.require_database_url(), pool_size=1) as engine,
            engine.connect() as connection,
        ):
            schema_state = await read_schema_state(connection)
    except DATABASE_UNREACHABLE as error:
        log.warning("database unreachable; could not check its schema", error=type(error).__name__)
        return
    if trouble := schema_state.trouble():
        raise StartError(trouble)
    if schema_state.is_later:
        log.warning("schema belongs to a later release", revision=schema_state.revision)
