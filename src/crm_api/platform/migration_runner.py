"""Run the migrations, in one process at a time, and check which schema the database has."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from crm_api.platform import database_roles
from crm_api.platform.database import open_engine
from crm_api.platform.database_roles import Roles
from crm_api.platform.postgres import DATABASE_UNREACHABLE, unreachable_sentence
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings, SettingsError

log = structlog.get_logger()

ADVISORY_LOCK = 0x63726D61
"""Number of the advisory lock that a migration holds, so that two never run at once."""
TABLE = "alembic_version"
"""Table that stores the revision of the schema."""
LOCK_SECONDS = 10
"""Lock timeout: other statements on a table are blocked while a migration waits for it."""
STATEMENT_SECONDS = 900
"""Statement timeout of migrations. A revision that needs longer sets its own."""
LOCK_TRIES = 5
LOCK_PAUSE_SECONDS = 3.0
_LOCK_NOT_AVAILABLE = "55P03"
_SINCE = "serves code since "
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


def _directory() -> Path:
    installed = Path(__file__).parents[1] / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"


def config() -> Config:
    """Return Alembic's configuration with the path of the migrations; no ini file is read."""
    settings = Config()
    settings.set_main_option("script_location", str(_directory()).replace("%", "%%"))
    return settings


def head_revision() -> str:
    """Return the newest schema revision among the migrations of this code.

    Raises:
        RuntimeError: The installation contains no migrations.
    """
    head = ScriptDirectory.from_config(config()).get_current_head()
    if head is None:
        raise RuntimeError("The installation contains no migrations; install crm-api again.")
    return head


@cache
def _revisions() -> frozenset[str]:
    scripts = ScriptDirectory.from_config(config())
    return frozenset(script.revision for script in scripts.walk_revisions())


def knows(revision: str) -> bool:
    """Return True if this code contains the migration with this revision."""
    return revision in _revisions()


def releases() -> list[Release]:
    """Return all releases, oldest first."""
    lines = (_directory() / "releases.txt").read_text().splitlines()
    return [Release(*line.split()) for line in lines if line and not line.startswith("#")]


def serves_since() -> str:
    """Return the revision of the oldest release whose code still runs on this code's schema.

    The oldest such release is the previous release: migrations after a release only add to the
    schema of that release.
    """
    head = head_revision()
    earlier = [release.revision for release in releases() if release.revision != head]
    return earlier[-1] if earlier else head


@dataclass(frozen=True)
class SchemaState:
    """State of a database's schema.

    Attributes:
        revision: The revision of the schema; None if no migration ever ran.
        since: The revision of the oldest release whose code runs on this schema. The last migration
            stored it; None if unknown.
        is_half_restored: True if the database has tables but no revision. That means that a restore
            or a move was interrupted, because both write the revision last.
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

        During a rollout, and after a rollback of the code, a release runs on the schema of the next
        release. That is allowed.
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
    """Read from the database the revision of its schema, and which releases can run on it."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return SchemaState(None, None)
    row = (await connection.execute(_SCHEMA_STATE)).one()
    return SchemaState(
        row.revision,
        (row.remark or "").removeprefix(_SINCE) or None,
        is_half_restored=row.revision is None and row.has_tables,
    )


async def current_revision(engine: AsyncEngine) -> str | None:
    """Return the revision of the database's schema; None if no migration ever ran."""
    async with engine.connect() as connection:
        return (await read_schema_state(connection)).revision


def run(
    connection: Connection,
    *,
    target: str,
    is_down: bool = False,
    lock_seconds: float = LOCK_SECONDS,
    pause_seconds: float = LOCK_PAUSE_SECONDS,
) -> None:
    """Run the migrations up or down to the target; wait while another process migrates.

    Args:
        connection: A connection for this call only. Closing it releases the advisory lock.
        target: A revision, ``head`` or ``base``.
        is_down: True to downgrade.
        lock_seconds: How long a statement waits for a table that is in use.
        pause_seconds: Pause before the next try; during the pause, waiting statements can run.

    Raises:
        StartError: A table was in use during every one of ``LOCK_TRIES`` tries.
    """
    # A session-level lock, because it must cover all revisions and each one commits separately.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.execute(text(f"SET lock_timeout = '{int(lock_seconds * 1000)}ms'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_SECONDS}s'"))
    connection.commit()
    settings = config()
    settings.attributes["connection"] = connection
    move = command.downgrade if is_down else command.upgrade
    for tries in range(1, LOCK_TRIES + 1):
        try:
            move(settings, target)
            break
        except DBAPIError as error:
            connection.rollback()
            _refuse_unless_locked(error, tries=tries)
            time.sleep(pause_seconds)
    at = connection.scalar(text("SELECT version_num FROM alembic_version"))
    since = serves_since() if at == head_revision() else at
    stored = connection.scalar(text("SELECT obj_description(CAST('alembic_version' AS regclass))"))
    # Compare first: a role that does not own the table cannot comment on it.
    if since is not None and stored != f"{_SINCE}{since}":
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{_SINCE}{since}'"))
    connection.commit()


def _refuse_unless_locked(error: DBAPIError, *, tries: int) -> None:
    """Raise an error, unless a lock timeout was the cause and another try is allowed.

    Revisions that were applied before the failed revision stay applied.

    Raises:
        DBAPIError: The revision failed for another reason.
        StartError: The revision failed on the lock timeout ``LOCK_TRIES`` times.
    """
    if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
        raise error
    if tries == LOCK_TRIES:
        raise StartError(
            f"the migration stopped, because a table that it must change was in use at each of "
            f"{LOCK_TRIES} tries; find the transaction that uses the table in pg_stat_activity, "
            "end it, and run the migration again"
        ) from error


async def upgrade(database_url: str, *, revision: str = "head") -> None:
    """Upgrade the schema, then grant the database roles their rights on it.

    A schema of a later release is left unchanged if this code can run on it.

    Raises:
        SettingsError: The database cannot be reached with this URL.
        StartError: This code cannot run on the schema of a later release, a restore was
            interrupted, or a table was in use at every try.
    """
    async with open_engine(database_url, pool_size=1) as engine:
        await _reach(engine)
        async with engine.connect() as connection:
            schema_state = await read_schema_state(connection)
        if schema_state.is_half_restored:
            raise StartError(HALF_RESTORED)
        if schema_state.is_later:
            if trouble := schema_state.trouble():
                raise StartError(trouble)
            return
        async with engine.connect() as connection:
            await connection.run_sync(run, target=revision)
            # The migration's advisory lock is still held here, until the connection closes.
            await database_roles.renew(connection)
            await connection.commit()


async def make_roles(database_url: str, *, login: str | None = None) -> Roles:
    """Create the database roles that ``database_roles`` describes, and grant them their rights.

    If a migration is running, this function first waits until the migration ends.

    Args:
        database_url: URL of the database, with the login of the role that owns the tables.
        login: Name of a login to create. It gets no password, and belongs to the group of the
            service. If None, no login is created.

    Raises:
        SettingsError: The database cannot be reached with this URL.
    """
    async with open_engine(database_url, pool_size=1) as engine:
        await _reach(engine)
        async with engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}
            )
            made = await database_roles.make(connection)
            if login is not None:
                await database_roles.make_login(connection, login, group=made.service)
            return made


async def _reach(engine: AsyncEngine) -> None:
    try:
        async with engine.connect():
            return
    except DATABASE_UNREACHABLE as error:
        raise SettingsError(unreachable_sentence(error)) from error


async def downgrade(database_url: str, *, revision: str) -> None:
    """Downgrade the schema to the revision; ``base`` removes all tables and their data."""
    async with open_engine(database_url, pool_size=1) as engine, engine.connect() as connection:
        await connection.run_sync(run, target=revision, is_down=True)


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
