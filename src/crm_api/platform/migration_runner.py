"""Run the migrations, one process at a time, and report the state of the schema."""

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
"""An arbitrary number of this program, so that two migrations never run at once."""
TABLE = "alembic_version"
"""Table in which the database stores its revision."""
LOCK_SECONDS = 10
"""While a statement waits for a table, all later statements on the table wait too."""
STATEMENT_SECONDS = 900
"""Statement timeout. A revision that needs longer, such as a concurrent index, sets its own."""
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
    "the database holds half of a restore (or of a move) that was cut off, and nothing starts on "
    "it. Run the same `crm-api restore FILE --identity KEYFILE` with `--again`: it clears the "
    "database and restores it whole. Continue a move with the same `crm-api move`"
)


@dataclass(frozen=True)
class Release:
    """A line of ``migrations/releases.txt``.

    Attributes:
        version: Version of the program.
        revision: Revision of its schema.
        commit: Commit of its code.
    """

    version: str
    revision: str
    commit: str


def _directory() -> Path:
    installed = Path(__file__).parents[1] / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"


def config() -> Config:
    """Return Alembic's configuration; it needs no file and no working directory."""
    settings = Config()
    settings.set_main_option("script_location", str(_directory()).replace("%", "%%"))
    return settings


def head_revision() -> str:
    """Return the newest revision of this code.

    Raises:
        RuntimeError: The installation has no migrations.
    """
    head = ScriptDirectory.from_config(config()).get_current_head()
    if head is None:
        raise RuntimeError("There are no migrations beside this code; the installation is broken.")
    return head


@cache
def _revisions() -> frozenset[str]:
    scripts = ScriptDirectory.from_config(config())
    return frozenset(script.revision for script in scripts.walk_revisions())


def knows(revision: str) -> bool:
    """Return True if this code has the revision."""
    return revision in _revisions()


def releases() -> list[Release]:
    """Return all releases, oldest first."""
    lines = (_directory() / "releases.txt").read_text().splitlines()
    return [Release(*line.split()) for line in lines if line and not line.startswith("#")]


def serves_since() -> str:
    """Return the revision of the oldest code that still runs on this code's schema.

    It is that of the release before this code; newer revisions may only add to its schema.
    """
    head = head_revision()
    earlier = [release.revision for release in releases() if release.revision != head]
    return earlier[-1] if earlier else head


@dataclass(frozen=True)
class SchemaState:
    """State of a database's schema.

    Attributes:
        revision: None if it was never migrated.
        since: The revision of the oldest code that it serves, as stored by the last migration.
        is_half_restored: True if it has tables and no revision. A restore and a move write the
            revision last; a migration writes it together with its tables.
    """

    revision: str | None
    since: str | None
    is_half_restored: bool = False

    @property
    def is_later(self) -> bool:
        """True if a later release has migrated it."""
        return self.revision is not None and not knows(self.revision)

    def trouble(self) -> str | None:
        """Return why this code cannot run on the schema, and what to do; None if it can.

        During a rollout, and after a step back, code of the last release runs on the schema of the
        next release.
        """
        if self.revision == head_revision():
            return None
        if self.is_half_restored:
            return HALF_RESTORED
        if not self.is_later:
            return (
                f"the database's schema is at {self.revision or 'nothing'}, and this release "
                f"needs {head_revision()}: run `crm-api migrate` first"
            )
        if self.since is not None and knows(self.since):
            return None
        return (
            f"the database's schema ({self.revision}) is a later release's and does not serve "
            f"this one ({head_revision()}) any more: start that release or a newer one"
        )


async def read_schema_state(connection: AsyncConnection) -> SchemaState:
    """Read the state of the schema from the database."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return SchemaState(None, None)
    row = (await connection.execute(_SCHEMA_STATE)).one()
    return SchemaState(
        row.revision,
        (row.remark or "").removeprefix(_SINCE) or None,
        is_half_restored=row.revision is None and row.has_tables,
    )


async def current_revision(engine: AsyncEngine) -> str | None:
    """Return the database's revision; None if it was never migrated."""
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
    """Run the revisions up or down to the target; wait while another process migrates.

    Args:
        connection: To the database; it keeps the lock until it is closed.
        target: A revision, ``head`` or ``base``.
        is_down: True if the target is older than the schema.
        lock_seconds: How long a statement waits for a table in use.
        pause_seconds: Pause before the next try, so that other statements get through.

    Raises:
        StartError: A table stays in use.
    """
    # Session-level: each revision is a transaction of its own, and the lock must cover all of them.
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
    # A role that owns nothing may run this too, if there is nothing to change.
    if since is not None and stored != f"{_SINCE}{since}":
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{_SINCE}{since}'"))
    connection.commit()


def _refuse_unless_locked(error: DBAPIError, *, tries: int) -> None:
    """Return if the revision found its table in use and may be tried again; earlier ones stay.

    Raises:
        DBAPIError: The revision failed for another reason.
        StartError: It was tried ``LOCK_TRIES`` times.
    """
    if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
        raise error
    if tries == LOCK_TRIES:
        raise StartError(
            f"a table was in use too long, {LOCK_TRIES} times in a row, so the migration stopped "
            "before the change that needs it; end the statement or transaction that uses it "
            "(pg_stat_activity shows it), and run the migration again"
        ) from error


async def upgrade(database_url: str, *, revision: str = "head") -> None:
    """Upgrade the schema and the rights of the roles on it; one process at a time.

    The schema of a later release is left unchanged, if it still serves this code.

    Raises:
        SettingsError: The database cannot be reached with this URL.
        StartError: The schema belongs to a later release that does not serve this code, is half
            restored, or is in use.
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
            # The lock is held until the connection closes.
            await database_roles.renew(connection)
            await connection.commit()


async def make_roles(database_url: str, *, login: str | None = None) -> Roles:
    """Create the roles of ``database_roles``, or update their rights; waits for a migration.

    Args:
        database_url: With the login of the tables' owner.
        login: A login of the service to create too; it has no password.

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
    """Downgrade the schema to the revision; ``base`` removes everything."""
    async with open_engine(database_url, pool_size=1) as engine, engine.connect() as connection:
        await connection.run_sync(run, target=revision, is_down=True)


async def require_matching_schema(settings: Settings) -> None:
    """Check that the database has the schema of this release, or one that serves it.

    If the database cannot be reached, only a warning is logged; `/readyz` checks again.

    Raises:
        StartError: The schema does not fit.
    """
    try:
        async with (
            open_engine(settings.require_database_url(), pool_size=1) as engine,
            engine.connect() as connection,
        ):
            schema_state = await read_schema_state(connection)
    except DATABASE_UNREACHABLE as error:
        log.warning("the schema was not checked", error=type(error).__name__)
        return
    if trouble := schema_state.trouble():
        raise StartError(trouble)
    if schema_state.is_later:
        log.warning(
            "the schema is of a later release and serves this one", at=schema_state.revision
        )
