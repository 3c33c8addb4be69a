"""How this program connects to PostgreSQL: directly, or through a pooler in transaction mode.

Behind a pooler each transaction may run on another connection to the server, so nothing of ours may
live longer than a transaction: locks, settings, temporary tables. What cannot do without a session
(migrations, dumps, LISTEN) asks ``require_direct`` for a way past the pooler.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import asyncpg

from crm_api.settings import Settings, SettingsError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

KEPT_BY_POOLERS = {"timezone": "UTC"}
"""Settings of a session that PgBouncer hands from connection to connection by itself."""
REFUSED_BY_POOLERS = {"jit": "off", "idle_in_transaction_session_timeout": "60000"}
REQUEST_SECONDS = 30
"""How long a statement of a request may take: longer than anyone waits for an answer."""
WORK_SECONDS = 120
"""The same for the worker; beyond a job's own time-out, for one whose process is gone."""
_CONNECT_SECONDS = 5.0
_ON_ITS_WAY_SECONDS = 2.0
"""From the end that PostgreSQL itself puts to a statement until that is told here."""


class PooledConnection(asyncpg.Connection):
    """Says at each BEGIN, in the same message, what a pooler does not take for the session."""

    for_a_transaction = ""
    """What follows on BEGIN; given once it is connected."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's own signature
        """Run a statement; asyncpg begins its transactions with this."""
        if not args and query.startswith("BEGIN"):
            query = query.rstrip(";") + self.for_a_transaction
        return await super().execute(query, *args, timeout=timeout)


def driver_url(database_url: str) -> str:
    """Return the URL as asyncpg and libpq take it."""
    return database_url.replace("postgresql+asyncpg://", "postgresql://", 1)


async def connect(
    database_url: str,
    *,
    application: str,
    timeout_seconds: float = _CONNECT_SECONDS,
    session: Mapping[str, str] | None = None,
    connection_class: "type[Connection]" = asyncpg.Connection,
    answer_seconds: float | None = None,
) -> Connection:
    """Open one connection.

    Args:
        database_url: With ``sslmode``, ``sslrootcert`` and the like in its query.
        application: Shown in ``pg_stat_activity``.
        timeout_seconds: Then it is away.
        session: Settings beside the time zone; a pooler may refuse them.
        connection_class: Whose methods are wanted.
        answer_seconds: Then a statement is given up; None waits for ever.
    """
    return await asyncpg.connect(
        driver_url(database_url),
        timeout=timeout_seconds,
        command_timeout=answer_seconds,
        connection_class=connection_class,
        server_settings={"application_name": application, **KEPT_BY_POOLERS, **(session or {})},
    )


class Connector:
    """Opens the connections of one pool; after the first it knows whether a pooler is between.

    A pooler tells itself by refusing what it cannot keep. Where it was told to ignore that
    instead (``ignore_startup_parameters``), the server's own values hold.
    """

    def __init__(
        self, database_url: str, *, application: str, statement_seconds: int | None = None
    ) -> None:
        self._url = database_url
        self._application = application
        self._session = dict(REFUSED_BY_POOLERS)
        if statement_seconds is not None:
            self._session["statement_timeout"] = str(statement_seconds * 1000)
        self._answer_seconds = (
            None if statement_seconds is None else statement_seconds + _ON_ITS_WAY_SECONDS
        )
        self._is_pooled = False

    async def __call__(self) -> Connection:
        """Open one."""
        if not self._is_pooled:
            try:
                return await connect(
                    self._url,
                    application=self._application,
                    session=self._session,
                    answer_seconds=self._answer_seconds,
                )
            except asyncpg.ProtocolViolationError as error:
                if "startup parameter" not in str(error):
                    raise
                self._is_pooled = True
        connection: Any = await connect(
            self._url,
            application=self._application,
            connection_class=PooledConnection,
            answer_seconds=self._answer_seconds,
        )
        connection.for_a_transaction = "; ".join(
            ["", *(f"SET LOCAL {name} = {value}" for name, value in self._session.items())]
        )
        return cast("Connection", connection)


async def is_pooled(connection: Connection) -> bool:
    """Tell whether a pooler is between: it names another process than the one that answers."""
    return bool(await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid())


async def renames_statements(connection: Connection) -> bool:
    """Tell whether a pooler follows prepared statements from connection to connection.

    One that does gives them names of its own.
    """
    async with connection.transaction():
        statement = await connection.prepare("SELECT name FROM pg_prepared_statements")
        names = {row["name"] for row in await statement.fetch()}
        return statement.get_name() not in names


async def require_direct(settings: Settings) -> str:
    """Return a URL on which a session is a session: what was set for that, or the usual one.

    A database that cannot be reached is left to the caller to find out.

    Raises:
        SettingsError: No database is named, or a pooler is in between and no way past it is set.
    """
    url = settings.require_database_url()
    if settings.database_direct_url is not None:
        return settings.database_direct_url
    try:
        connection: Any = await connect(url, application="crm-api")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return url
    try:
        if await is_pooled(connection):
            raise SettingsError(
                "CRM_DATABASE_DIRECT_URL is needed: CRM_DATABASE_URL leads to a pooler, and this "
                "takes a session of its own; give the address of the database itself"
            )
    finally:
        connection.terminate()
    return url
