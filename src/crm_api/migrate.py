"""Runs the migrations, one process at a time, and says where the schema stands."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from crm_api import roles
from crm_api.db import open_engine
from crm_api.processes import StartError
from crm_api.roles import Roles
from crm_api.settings import SettingsError

ADVISORY_LOCK = 0x63726D61
"""An arbitrary number of this program's: two migrations never run at once."""
TABLE = "alembic_version"
"""Where the database keeps its revision."""
LOCK_SECONDS = 10
"""While a statement waits for a table, whoever comes after it waits too."""
STATEMENT_SECONDS = 900
"""A revision that needs longer, such as an index built concurrently, sets its own."""
LOCK_TRIES = 5
LOCK_PAUSE_SECONDS = 3.0
_LOCK_NOT_AVAILABLE = "55P03"
_SINCE = "serves code since "
_STANDING = text("""
    SELECT (SELECT version_num FROM alembic_version) AS revision,
           obj_description(CAST('alembic_version' AS regclass), 'pg_class') AS remark
""")


@dataclass(frozen=True)
class Release:
    """A line of ``migrations/releases.txt``.

    Attributes:
        version: Of the program.
        revision: Of its schema.
        commit: Its code.
    """

    version: str
    revision: str
    commit: str


def _directory() -> Path:
    installed = Path(__file__).parent / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "migrations"


def config() -> Config:
    """Return Alembic's configuration; it needs no file and no working directory."""
    settings = Config()
    settings.set_main_option("script_location", str(_directory()).replace("%", "%%"))
    return settings


def head_revision() -> str:
    """Return the newest revision that this code knows."""
    head = ScriptDirectory.from_config(config()).get_current_head()
    if head is None:
        raise RuntimeError("There are no migrations beside this code; the installation is broken.")
    return head


@cache
def _revisions() -> frozenset[str]:
    scripts = ScriptDirectory.from_config(config())
    return frozenset(script.revision for script in scripts.walk_revisions())


def knows(revision: str) -> bool:
    """Tell whether a revision is one of this code's."""
    return revision in _revisions()


def releases() -> list[Release]:
    """Read which releases there were, oldest first."""
    lines = (_directory() / "releases.txt").read_text().splitlines()
    return [Release(*line.split()) for line in lines if line and not line.startswith("#")]


def serves_since() -> str:
    """Return the revision of the oldest code that still runs on this code's schema.

    It is the last release before this code: what came in since may only add to its schema.
    """
    head = head_revision()
    earlier = [release.revision for release in releases() if release.revision != head]
    return earlier[-1] if earlier else head


@dataclass(frozen=True)
class Standing:
    """Where the schema of a database stands.

    Attributes:
        revision: None when it was never migrated.
        since: The revision of the oldest code that it serves, as whoever migrated it wrote down.
    """

    revision: str | None
    since: str | None

    @property
    def is_later(self) -> bool:
        """True when a later release has migrated it."""
        return self.revision is not None and not knows(self.revision)

    def trouble(self) -> str | None:
        """Say why this code cannot run on it, and what to do; None when it can.

        While a new release is rolled out, and after a step back, code of the last release runs
        on the schema of the next.
        """
        if self.revision == head_revision():
            return None
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


async def read_standing(connection: AsyncConnection) -> Standing:
    """Ask the database where its schema stands."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return Standing(None, None)
    row = (await connection.execute(_STANDING)).one()
    return Standing(row.revision, (row.remark or "").removeprefix(_SINCE) or None)


async def current_revision(engine: AsyncEngine) -> str | None:
    """Return the database's revision; None when it was never migrated."""
    async with engine.connect() as connection:
        return (await read_standing(connection)).revision


def run(
    connection: Connection,
    *,
    target: str,
    is_down: bool = False,
    lock_seconds: float = LOCK_SECONDS,
    pause_seconds: float = LOCK_PAUSE_SECONDS,
) -> None:
    """Run the revisions up or down to the target; waits while another process does.

    Args:
        connection: To the database; it keeps the lock until it is closed.
        target: A revision, ``head`` or ``base``.
        is_down: Whether the target lies before where the schema is.
        lock_seconds: How long a statement waits for a table in use.
        pause_seconds: Before it is tried again, so that others get through.

    Raises:
        StartError: A table stays in use.
    """
    # Session-level: each revision is a transaction of its own, and the lock spans them all.
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
    told = connection.scalar(text("SELECT obj_description(CAST('alembic_version' AS regclass))"))
    # A role that owns nothing may run this too, where there is nothing to do.
    if since is not None and told != f"{_SINCE}{since}":
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{_SINCE}{since}'"))
    connection.commit()


def _refuse_unless_locked(error: DBAPIError, *, tries: int) -> None:
    """Let a revision that found its table busy be tried again; what ran before it stays.

    Raises:
        DBAPIError: It failed otherwise.
        StartError: It was tried often enough.
    """
    if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
        raise error
    if tries == LOCK_TRIES:
        raise StartError(
            f"a table was in use too long, {LOCK_TRIES} times in a row, so the migration stopped "
            "before the change that needs it; end what uses it (pg_stat_activity shows a long "
            "transaction), and run it again"
        ) from error


async def upgrade(database_url: str, *, revision: str = "head") -> None:
    """Bring the schema up to the revision, and what the roles may do on it; one process at a time.

    The schema of a later release is left as it is, if it still serves this code.

    Raises:
        SettingsError: The database cannot be reached with this URL.
        StartError: The schema is a later release's that does not serve this code, or is in use.
    """
    async with open_engine(database_url, pool_size=1) as engine:
        await _reach(engine)
        async with engine.connect() as connection:
            standing = await read_standing(connection)
        if standing.is_later:
            if trouble := standing.trouble():
                raise StartError(trouble)
            return
        async with engine.connect() as connection:
            await connection.run_sync(run, target=revision)
            # The lock is held until the connection closes.
            await roles.renew(connection)
            await connection.commit()


async def make_roles(database_url: str, *, login: str | None = None) -> Roles:
    """Make the roles of ``roles.py``, or bring up what they may do; waits for a migration.

    Args:
        database_url: As the owner of the tables.
        login: One of the service to make too; it has no password.

    Raises:
        SettingsError: The database cannot be reached with this URL.
    """
    async with open_engine(database_url, pool_size=1) as engine:
        await _reach(engine)
        async with engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}
            )
            made = await roles.make(connection)
            if login is not None:
                await roles.make_login(connection, login, group=made.service)
            return made


async def _reach(engine: AsyncEngine) -> None:
    try:
        async with engine.connect():
            return
    except (OSError, DBAPIError, asyncpg.PostgresError) as error:
        cause = getattr(error, "orig", None) or error
        why = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise SettingsError(
            f"CRM_DATABASE_URL: the database cannot be reached ({why}); start it, or correct the "
            "address, user, password or name"
        ) from error


async def downgrade(database_url: str, *, revision: str) -> None:
    """Bring the schema down to the revision; ``base`` removes everything."""
    async with open_engine(database_url, pool_size=1) as engine, engine.connect() as connection:
        await connection.run_sync(run, target=revision, is_down=True)
