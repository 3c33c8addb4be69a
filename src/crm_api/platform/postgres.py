"""Connect to PostgreSQL, directly or through a pooler in transaction mode.

Behind a pooler each transaction may run on another connection to the server, so no state of ours
may outlive a transaction: locks, settings, temporary tables. Work that needs a session (migrations,
dumps, LISTEN) gets a direct URL from ``require_direct``.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import asyncpg
from sqlalchemy.exc import DBAPIError

from crm_api.platform.settings import Settings, SettingsError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

KEPT_BY_POOLERS = {"timezone": "UTC"}
"""Session settings that PgBouncer itself restores on each connection."""
REFUSED_BY_POOLERS = {"jit": "off", "idle_in_transaction_session_timeout": "60000"}
REQUEST_SECONDS = 30
"""Statement timeout of requests: longer than any client waits for a response."""
WORK_SECONDS = 120
"""Statement timeout of workers: longer than a job's own timeout, for a process that is gone."""
_CONNECT_SECONDS = 5.0
_ON_ITS_WAY_SECONDS = 2.0
"""Time between PostgreSQL's own statement timeout and the arrival of its error here."""
DATABASE_UNREACHABLE = (
    OSError,
    TimeoutError,
    DBAPIError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""Errors of a database that cannot be reached, refuses connections, or ends one.

A new connection raises the driver's own error; a statement raises SQLAlchemy's. Not among them is
the driver's error for wrong data, which a raw ``COPY`` raises.
"""


class PooledConnection(asyncpg.Connection):
    """Sets the options that a pooler refuses for a session, in the same message as each BEGIN."""

    for_a_transaction = ""
    """Text after BEGIN; set once the connection is open."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's own signature
        """Run a statement; asyncpg begins its transactions with this."""
        if not args and query.startswith("BEGIN"):
            query = query.rstrip(";") + self.for_a_transaction
        return await super().execute(query, *args, timeout=timeout)


def driver_url(database_url: str) -> str:
    """Return the URL in the form of asyncpg and libpq."""
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
        timeout_seconds: Time after which connecting fails.
        session: Settings in addition to the time zone; a pooler may refuse them.
        connection_class: Class of the connection.
        answer_seconds: Time after which a statement is given up; None waits for ever.
    """
    return await asyncpg.connect(
        driver_url(database_url),
        timeout=timeout_seconds,
        command_timeout=answer_seconds,
        connection_class=connection_class,
        server_settings={"application_name": application, **KEPT_BY_POOLERS, **(session or {})},
    )


class Connector:
    """Opens the connections of one pool; the first one shows whether a pooler is between.

    A pooler refuses the settings that it cannot keep. If it is configured to ignore them instead
    (``ignore_startup_parameters``), the server's own values apply.
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
        """Open one connection."""
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
    """Return True if a pooler is between: it reports another process id than the server's."""
    return bool(await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid())


async def renames_statements(connection: Connection) -> bool:
    """Return True if a pooler supports prepared statements across connections.

    Such a pooler gives them names of its own.
    """
    async with connection.transaction():
        statement = await connection.prepare("SELECT name FROM pg_prepared_statements")
        names = {row["name"] for row in await statement.fetch()}
        return statement.get_name() not in names


def unreachable_sentence(error: BaseException) -> str:
    """Return a sentence for an operator: why the database cannot be reached, and what to do."""
    cause = getattr(error, "orig", None) or error
    why = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return (
        f"CRM_DATABASE_URL: the database cannot be reached ({why}); start it, or correct the "
        "address, user, password or name"
    )


async def require_direct(settings: Settings) -> str:
    """Return a URL on which a session stays a session: the direct URL if set, else the usual one.

    If the database cannot be reached, the usual URL is returned and the caller gets the error.

    Raises:
        SettingsError: No database is set, or a pooler is in between and no direct URL is set.
    """
    url = settings.require_database_url()
    if settings.database_direct_url is not None:
        return settings.database_direct_url
    try:
        connection: Any = await connect(url, application="crm-api")
    except (*DATABASE_UNREACHABLE, asyncpg.InterfaceError):
        return url
    try:
        if await is_pooled(connection):
            raise SettingsError(
                "CRM_DATABASE_DIRECT_URL is needed: CRM_DATABASE_URL leads to a pooler, and this "
                "command needs a session of its own; set the address of the database itself"
            )
    finally:
        connection.terminate()
    return url
