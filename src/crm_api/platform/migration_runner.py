"""Run the migrations, in one process at a time."""

import time
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.platform import database_roles
from crm_api.platform.database import open_engine
from crm_api.platform.database_roles import Roles
from crm_api.platform.postgres import DATABASE_UNREACHABLE, unreachable_sentence
from crm_api.platform.processes import StartError
from crm_api.platform.schema_revisions import (
    HALF_RESTORED,
    SINCE,
    directory,
    head_revision,
    read_schema_state,
    serves_since,
)
from crm_api.platform.settings import SettingsError

if TYPE_CHECKING:
    from alembic.config import Config

ADVISORY_LOCK = 0x63726D61
"""Key of the advisory lock that a migration holds, so that only one migration runs at a time."""
LOCK_SECONDS = 10
"""Lock timeout of migrations. It is short, because a migration that waits for a table blocks other
statements that use the table."""
STATEMENT_SECONDS = 900
"""Statement timeout of migrations. A revision that needs more time sets its own timeout."""
LOCK_TRIES = 5
LOCK_PAUSE_SECONDS = 3.0
_LOCK_NOT_AVAILABLE = "55P03"


def config() -> "Config":
    """Return Alembic's configuration with the path of the migrations; no ini file is read."""
    from alembic.config import Config  # noqa: PLC0415 - as in `_move`

    settings = Config()
    settings.set_main_option("script_location", str(directory()).replace("%", "%%"))
    return settings


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
        connection: A connection for this run only. Closing it releases the advisory lock.
        target: A revision, ``head`` or ``base``.
        lock_seconds: Seconds that a statement waits for a table that other statements use. After
            this wait, this try of the migration fails.
        pause_seconds: Seconds between two tries of the migration. In this pause, other statements
            that wait for the table can run.

    Raises:
        StartError: A table was in use during every one of ``LOCK_TRIES`` tries.
    """
    # The lock belongs to the session, not to a transaction, because each revision commits
    # separately and the lock must be held during all revisions.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.execute(text(f"SET lock_timeout = '{int(lock_seconds * 1000)}ms'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_SECONDS}s'"))
    connection.commit()
    for tries in range(1, LOCK_TRIES + 1):
        try:
            if target != "head" or _read_revision(connection) != head_revision():
                _move(connection, target, is_down=is_down)
            break
        except DBAPIError as error:
            connection.rollback()
            _refuse_unless_locked(error, tries=tries)
            time.sleep(pause_seconds)
    at = _read_revision(connection)
    since = serves_since() if at == head_revision() else at
    stored = connection.scalar(text("SELECT obj_description(CAST('alembic_version' AS regclass))"))
    # The comment is written only if it differs, because a role that does not own the table cannot
    # write it.
    if since is not None and stored != f"{SINCE}{since}":
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{SINCE}{since}'"))
    connection.commit()


def _read_revision(connection: Connection) -> str | None:
    revision: str | None = None
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is not None:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    connection.commit()
    return revision


def _move(connection: Connection, target: str, *, is_down: bool) -> None:
    """Let Alembic run the migrations up or down to the target.

    Alembic and the migrations are imported inside functions, because the import takes about a
    second of CPU time. If the schema is up to date, the caller does not call this function, so a
    start of the service saves this time.
    """
    from alembic import command  # noqa: PLC0415 - see above

    settings = config()
    settings.attributes["connection"] = connection
    move = command.downgrade if is_down else command.upgrade
    move(settings, target)


def _refuse_unless_locked(error: DBAPIError, *, tries: int) -> None:
    """Raise an error after a failed migration; return if the migration may be tried again.

    Earlier migrations that were already applied stay applied.

    Raises:
        DBAPIError: The migration failed for another reason than the lock timeout.
        StartError: The lock timeout ended the last of ``LOCK_TRIES`` tries.
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
    """Upgrade the schema, then grant the database roles their rights on its tables.

    If a later release has migrated the schema, and this code can run on the migrated schema, do
    nothing.

    Raises:
        SettingsError: The database cannot be reached with this URL.
        StartError: One of these conditions is true:

            - A later release has migrated the schema, and this code cannot run on it.
            - A restore into the database was interrupted.
            - At every try, other statements used a table that a migration needs.
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
            # The migration lock is held until the connection closes. So no other migration changes
            # rights at the same time.
            await database_roles.renew(connection)
            await connection.commit()


async def make_roles(database_url: str, *, login: str | None = None) -> Roles:
    """Create the service role and the report role (see ``database_roles``); grant their rights.

    If a migration is running, wait until it ends.

    Args:
        database_url: URL with the login of the role that owns the tables.
        login: Name of a login to create as a member of the service role, without a password; None
            creates none.

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
