"""The base class of all tables, the engine, and the unit of work (one transaction)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self, TypeVar, cast, overload
from uuid import UUID

from sqlalchemy import CursorResult, DateTime, MetaData, Result, Row, Text, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import Uuid

from crm_api.platform import tracing
from crm_api.platform.database_time import read_database_now
from crm_api.platform.jobs import Job, JobQueue
from crm_api.platform.measured_pool import MeasuredPool
from crm_api.platform.postgres import Connector
from crm_api.platform.request_context import RequestOrigin

POOL_SIZE = 10
"""The largest number of connections of one process to the database, unless the caller sets it."""


class Base(DeclarativeBase):
    """Base class of every table. It gives each constraint a name, because migrations need names."""

    metadata = MetaData(
        naming_convention={
            "ix": "idx_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a plain class attribute
        datetime: DateTime(timezone=True),
        str: Text(),
        UUID: Uuid(),
        dict[str, Any]: JSONB(none_as_null=True),
        list[Any]: JSONB(),
    }


TypedRow = TypeVar("TypedRow")


def typed_rows(kind: type[TypedRow], rows: Iterable[Row[tuple[object, ...]]]) -> list[TypedRow]:
    """Turn the rows of a result into objects of a dataclass, in the same order.

    Args:
        kind: The dataclass; each of its fields has the name of a column.
        rows: The result of ``session.execute``.
    """
    found = list(rows)
    names = found[0]._fields if found else ()
    return [kind(**dict(zip(names, row, strict=True))) for row in found]


@overload
def typed_row(kind: type[TypedRow], row: Row[tuple[object, ...]]) -> TypedRow: ...
@overload
def typed_row(kind: type[TypedRow], row: Row[tuple[object, ...]] | None) -> TypedRow | None: ...
def typed_row(kind: type[TypedRow], row: Row[tuple[object, ...]] | None) -> TypedRow | None:
    """Turn one row into an object of the dataclass ``kind``; return None if ``row`` is None."""
    return None if row is None else kind(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


SessionFactory = async_sessionmaker[AsyncSession]


class UnitOfWork:
    """One transaction, and the background jobs to request after its commit.

    ``async with uow:`` begins the transaction; the end of the block commits it. After an exception,
    the transaction is rolled back, and the jobs are not requested. Usually, the route, job or
    command opens the block, and the functions of ``domain`` get the open unit of work.
    """

    def __init__(self, sessions: SessionFactory, queue: JobQueue) -> None:
        self._sessions = sessions
        self._queue = queue
        self._session: AsyncSession | None = None
        self._jobs: list[Job] = []
        self._database_now: datetime | None = None
        self.origin: RequestOrigin | None = None
        """The API request that makes the changes of this transaction.

        None outside a request, and in a request that only reads.
        """
        self.is_audited = False
        """True once this transaction has written an audit log entry."""

    @property
    def session(self) -> AsyncSession:
        """The open session of the transaction.

        Raises:
            RuntimeError: This property was read outside the ``async with`` block.
        """
        if self._session is None:
            raise RuntimeError("The unit of work is not open; use `async with uow:`.")
        return self._session

    async def database_now(self) -> datetime:
        """Return the time of this transaction by the database's clock.

        The clock is read once in each transaction. All calls in the same transaction return the
        same time, even if the clock is set between two calls. Decisions about consent use this
        time, never the host's clock.
        """
        if self._database_now is None:
            self._database_now = await read_database_now(self.session)
        return self._database_now

    def after_commit(self, job: Job) -> None:
        """Request a run of this job after the commit; a rollback drops the request."""
        if job not in self._jobs:
            self._jobs.append(job)

    async def commit_each(self) -> None:
        """Commit every statement separately. This saves the round trips of BEGIN and COMMIT.

        Use this method for a change that consists of one statement and must be fast. The caller
        must call it before the first statement. The method has no effect in tests.
        """
        if isinstance(self.session.bind, AsyncConnection):
            return
        await self.session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})

    async def __aenter__(self) -> Self:
        """Open a session; its transaction begins with the first statement."""
        self._session = self._sessions()
        self._jobs = []
        self._database_now = None
        self.is_audited = False
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        """Commit and then request the jobs; after an exception, roll back and request no jobs."""
        session, self._session = self.session, None
        try:
            if exc_type is None:
                await session.commit()
            else:
                await session.rollback()
        finally:
            await session.close()
        if exc_type is None:
            for job in self._jobs:
                await self._queue.push(job)

    @asynccontextmanager
    async def rehearsal(self) -> AsyncIterator[None]:
        """Run the block as a dry run: at its end, undo all changes, and discard the requested jobs.

        Audit log entries are also discarded.

        Build the response inside the block. After the block, rows that the block has created or
        changed cannot be read.
        """
        jobs = list(self._jobs)
        savepoint = await self.session.begin_nested()
        try:
            yield
        finally:
            await savepoint.rollback()
            self._jobs = jobs
            # All changes were undone, so the request needs no audit log entry. Without this
            # assignment, the request would add an entry before the commit.
            self.is_audited = True

    def nudging(self, queue: JobQueue) -> "UnitOfWork":
        """Return a new unit of work on the same database, with another job queue.

        The jobs that the new unit of work requests go to ``queue``.
        """
        return UnitOfWork(self._sessions, queue)

    def held(self, begin: Callable[["UnitOfWork"], Awaitable[None]]) -> "HeldUnitOfWork":
        """Return a new unit of work whose transaction stays open after its ``async with`` block.

        The next ``async with`` block continues the transaction. Only the method ``commit``
        commits it.

        Args:
            begin: Function that is called at the beginning of the transaction. Its argument is the
                new unit of work.
        """
        return HeldUnitOfWork(self._sessions, self._queue, begin)


class HeldUnitOfWork(UnitOfWork):
    """Transaction that stays open after its ``async with`` block.

    The next block continues the same transaction. The method ``commit`` or ``abandon`` ends the
    transaction. If an exception leaves a block, the transaction is rolled back immediately. An
    idempotent request uses this class, to commit a change together with the stored response.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        queue: JobQueue,
        begin: Callable[[UnitOfWork], Awaitable[None]],
    ) -> None:
        super().__init__(sessions, queue)
        self._begin = begin

    @property
    def is_open(self) -> bool:
        """True from the start of the first ``async with`` block until the commit or rollback."""
        return self._session is not None

    async def __aenter__(self) -> Self:
        """Begin the transaction, or continue the transaction that an earlier block has begun."""
        if self._session is not None:
            return self
        await super().__aenter__()
        try:
            await self._begin(self)
        except BaseException:
            await self.abandon()
            raise
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        """Keep the transaction open after the block; after an exception, roll it back."""
        if exc_type is not None:
            await super().__aexit__(exc_type)

    async def commit_each(self) -> None:
        """Do nothing: all statements of this unit of work must be committed together."""

    async def commit(self) -> None:
        """Commit the transaction, then request the jobs that were passed to ``after_commit()``.

        If no transaction is open, do nothing.
        """
        if self._session is not None:
            await super().__aexit__(None)

    async def abandon(self) -> None:
        """Roll back the transaction, and discard the jobs that were requested in it.

        If no transaction is open, do nothing.
        """
        if self._session is not None:
            await super().__aexit__(GeneratorExit)


UnitOfWorkFactory = Callable[[], UnitOfWork]
Entity = TypeVar("Entity")


async def get_or_raise(
    session: AsyncSession, table: type[Entity], row_id: object, missing: type[Exception]
) -> Entity:
    """Read a row by its primary key from the database, even if the session has already loaded it.

    Args:
        session: The session.
        table: The class of the table.
        row_id: The primary key.
        missing: The class of the error to raise if the row does not exist.
    """
    found = await session.get(table, row_id, populate_existing=True)
    if found is None:
        raise missing
    return found


def affected(result: Result[Any]) -> int:
    """Return how many rows an INSERT, UPDATE or DELETE has changed."""
    return cast("CursorResult[Any]", result).rowcount


def create_engine(
    database_url: str,
    *,
    pool_size: int = POOL_SIZE,
    application: str = "crm-api",
    statement_seconds: int | None = None,
    ping: bool = False,
) -> AsyncEngine:
    """Return an engine with a connection pool; the first statement opens a connection.

    Args:
        database_url: ``postgresql+asyncpg://…``.
        application: Application name in ``pg_stat_activity``.
        statement_seconds: Timeout of a statement at the server; None sets no timeout. If the server
            does not respond within two more seconds, TimeoutError is raised and the connection is
            closed.
        ping: Whether a pooled connection is tested each time before it is used.
    """
    engine = create_async_engine(
        database_url,
        poolclass=MeasuredPool,
        # The driver asyncpg parses the URL, because it knows the options of libpq, such as
        # `sslrootcert`. SQLAlchemy does not know them.
        async_creator=Connector(
            database_url, application=application, statement_seconds=statement_seconds
        ),
        pool_size=pool_size,
        # The connection that was used last is used next, so that few connections do most of the
        # work. The reason: on each connection, PostgreSQL plans a statement again at each of its
        # first five runs. This takes 5 ms for the largest statements.
        pool_use_lifo=True,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=ping,
        # The text of an error is logged, and the parameters of a statement may be personal data.
        hide_parameters=True,
    )
    tracing.watch(engine)
    event.listen(engine.sync_engine, "handle_error", _give_up)
    return engine


def _give_up(context: ExceptionContext) -> None:
    """Replace all connections of the pool if a statement got no response in time.

    The network has probably dropped all connections. SQLAlchemy alone would replace only the
    connection of this statement.
    """
    if isinstance(context.original_exception, TimeoutError):
        context.invalidate_pool_on_disconnect = True


def session_factory(engine: AsyncEngine) -> SessionFactory:
    """Return a factory of sessions. Objects that a session loaded can be read after its commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def open_engine(database_url: str, **options: Any) -> AsyncIterator[AsyncEngine]:  # noqa: ANN401 - passed through to create_engine
    """Yield a new engine; close its connections when the block ends."""
    engine = create_engine(database_url, **options)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def open_uow(database_url: str, queue: JobQueue) -> AsyncIterator[UnitOfWork]:
    """Yield an open unit of work with its own connection; the end of the block commits it."""
    async with (
        open_engine(database_url, pool_size=1) as engine,
        UnitOfWork(session_factory(engine), queue) as uow,
    ):
        yield uow
