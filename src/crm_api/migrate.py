"""Runs the migrations, one process at a time, and says where the schema stands."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api import roles
from crm_api.db import open_engine
from crm_api.roles import Roles
from crm_api.settings import SettingsError

ADVISORY_LOCK = 0x63726D61
"""An arbitrary number of this program's: two migrations never run at once."""
TABLE = "alembic_version"
"""Where the database keeps its revision."""


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


def knows(revision: str) -> bool:
    """Tell whether a revision is one of this code's."""
    scripts = ScriptDirectory.from_config(config())
    return any(script.revision == revision for script in scripts.walk_revisions())


async def current_revision(engine: AsyncEngine) -> str | None:
    """Return the database's revision; None when it was never migrated."""
    async with engine.connect() as connection:
        exists = await connection.scalar(text("SELECT to_regclass('alembic_version')"))
        if exists is None:
            return None
        revision: str | None = await connection.scalar(
            text("SELECT version_num FROM alembic_version")
        )
        return revision


def _migrate(connection: Connection, *, target: str, is_down: bool) -> None:
    # Session-level: each revision is a transaction of its own, and the lock spans them all.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.execute(text("SET lock_timeout = '10s'"))
    connection.commit()
    settings = config()
    settings.attributes["connection"] = connection
    if is_down:
        command.downgrade(settings, target)
    else:
        command.upgrade(settings, target)
    connection.commit()


async def upgrade(database_url: str, *, revision: str = "head") -> None:
    """Bring the schema up to the revision, and what the roles may do on it; one process at a time.

    Raises:
        SettingsError: The database cannot be reached with this URL.
    """
    async with open_engine(database_url, pool_size=1) as engine:
        await _reach(engine)
        async with engine.connect() as connection:
            await connection.run_sync(_migrate, target=revision, is_down=False)
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
        await connection.run_sync(_migrate, target=revision, is_down=True)
