"""Connect to PostgreSQL, directly or through a pooler (such as PgBouncer) in transaction mode.

Behind such a pooler, locks, settings and temporary tables can be lost when their transaction ends.
So no code may use them after the end of the transaction. Work that needs a session (migrations,
dumps, LISTEN) gets a direct URL from ``require_direct``.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import asyncpg
from sqlalchemy.exc import DBAPIError

from crm_api.platform.settings import Settings, SettingsError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

KEPT_BY_POOLERS = {"timezone": "UTC"}
"""Session settings that PgBouncer sets again when a client gets another server connection."""
REFUSED_BY_POOLERS = {"jit": "off", "idle_in_transaction_session_timeout": "60000"}
"""Session settings that PgBouncer does not accept. If a client sends them when it connects,
PgBouncer refuses the connection."""
REQUEST_SECONDS = 30
"""Statement timeout of API requests in seconds. Most clients do not wait so long for a response."""
WORK_SECONDS = 120
"""Statement timeout of workers in seconds. It is longer than the usual time limit of a job. So it
usually ends only statements of workers that have died."""
_CONNECT_SECONDS = 5.0
_ON_ITS_WAY_SECONDS = 2.0
"""How many seconds longer than the statement timeout the client waits. In this time, the timeout
error of PostgreSQL can arrive."""
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
"""Errors that occur if the database is unreachable, refuses a connection, or has ended a
connection.

There are errors of asyncpg, which occur when a connection is opened, and errors of SQLAlchemy,
which occur when a statement runs. The error of asyncpg for wrong data, which a raw ``COPY`` can
raise, is not in this list.
"""


class PooledConnection(asyncpg.Connection):
    """Connection through a pooler; sends the session settings with each transaction.

    The pooler refuses session settings while a connection is opened. Therefore this class appends
    SET LOCAL statements to each BEGIN. This costs no extra round trip.
    """

    for_a_transaction = ""
    """The SET LOCAL statements that are appended to each BEGIN. This value is set after the
    connection is open."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's own signature
        """Run a statement; after a BEGIN, also run the SET LOCAL statements of this connection.

        The SET LOCAL statements are in the attribute ``for_a_transaction``.
        asyncpg calls this method whenever it begins a transaction.
        """
        if not args and query.startswith("BEGIN"):
            query = query.rstrip(";") + self.for_a_transaction
        return await super().execute(query, *args, timeout=timeout)


def driver_url(database_url: str) -> str:
    """Return the URL with the scheme ``postgresql://``, as asyncpg and libpq expect it."""
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
        database_url: URL of the database; its query may contain libpq's TLS options.
        application: Application name in ``pg_stat_activity``.
        timeout_seconds: Timeout for opening the connection.
        session: Additional session settings. A pooler may refuse the settings.
        answer_seconds: Timeout in this process for each statement; None waits without a limit.
    """
    return await asyncpg.connect(
        driver_url(database_url),
        timeout=timeout_seconds,
        command_timeout=answer_seconds,
        connection_class=connection_class,
        server_settings={"application_name": application, **KEPT_BY_POOLERS, **(session or {})},
    )


class Connector:
    """Opens the connections of one connection pool, directly or through a pooler like PgBouncer.

    If the pooler refuses session settings, each transaction sends the settings at its beginning. If
    the pooler ignores the settings (``ignore_startup_parameters``), the defaults of the database
    server apply.
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
        """Open one connection with the session settings of this pool."""
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
    """Return True if the connection goes through a pooler.

    A pooler sends asyncpg an id of its own instead of the id of the server process.
    """
    return bool(await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid())


async def renames_statements(connection: Connection) -> bool:
    """Return True if the pooler supports prepared statements.

    Such a pooler changes the name of each prepared statement. To find out whether the pooler does
    so, this function prepares a statement. The result is True if the server does not know the name
    that this process has given to the statement.
    """
    async with connection.transaction():
        statement = await connection.prepare("SELECT name FROM pg_prepared_statements")
        names = {row["name"] for row in await statement.fetch()}
        return statement.get_name() not in names


def unreachable_sentence(error: BaseException) -> str:
    """Return a sentence that says why the database cannot be reached, and what to do."""
    cause = getattr(error, "orig", None) or error
    why = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return (
        f"CRM_DATABASE_URL: the database cannot be reached ({why}); start it, or correct the "
        "address, user, password or name"
    )


async def require_direct(settings: Settings) -> str:
    """Return a database URL without a pooler such as PgBouncer, for work that needs a session.

    The result is ``CRM_DATABASE_DIRECT_URL`` if set. If not, this function opens a test connection
    with ``CRM_DATABASE_URL`` to find out whether there is a pooler, and returns this URL. If the
    test connection fails, the URL is returned unchecked, and the caller must handle an unreachable
    database.

    Raises:
        SettingsError: No database URL is set, or ``CRM_DATABASE_URL`` leads to a pooler and no
            direct URL is set.
    """
    url = settings.require_database_url()
    if settings.database_direct_url is not None:
        return settings.database_direct_url
    try:
        connection: Any = await connect(url, application="crm-api")
        try:
            pooled = await is_pooled(connection)
        finally:
            connection.terminate()
    except (*DATABASE_UNREACHABLE, asyncpg.InterfaceError):
        return url
    if pooled:
        raise SettingsError(
            "CRM_DATABASE_URL leads to a pooler, but this command needs a session; set "
            "CRM_DATABASE_DIRECT_URL to the address of the database server"
        )
    return url
