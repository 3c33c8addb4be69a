"""The tables' base class, the engine, and the unit of work: one transaction and its nudges."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Row, Text, event
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
from crm_api.platform.pools import MeasuredPool
from crm_api.platform.postgres import Connector
from crm_api.platform.request_context import RequestOrigin


class Base(DeclarativeBase):
    """Base of every table; constraint names follow one convention, so migrations can name them."""

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


def typed_rows(kind: type[TypedRow], rows: Iterable[Row[Any]]) -> list[TypedRow]:
    """Return the rows of a result as objects of a dataclass.

    Args:
        kind: Its fields have the names of the statement's columns.
        rows: What ``session.execute`` returned.
    """
    return [typed_row(kind, row) for row in rows]


@overload
def typed_row(kind: type[TypedRow], row: Row[Any]) -> TypedRow: ...
@overload
def typed_row(kind: type[TypedRow], row: Row[Any] | None) -> TypedRow | None: ...
def typed_row(kind: type[TypedRow], row: Row[Any] | None) -> TypedRow | None:
    """Return one row as an object of a dataclass; None for no row."""
    return None if row is None else kind(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


SessionFactory = async_sessionmaker[AsyncSession]


class UnitOfWork:
    """One transaction, and the jobs to nudge after its commit.

    ``async with uow:`` begins; the end of the block commits; an exception rolls back and forgets
    the jobs. The entry point (route, worker function, command) opens it; use cases never do.
    """

    def __init__(self, sessions: SessionFactory, queue: JobQueue) -> None:
        self._sessions = sessions
        self._queue = queue
        self._session: AsyncSession | None = None
        self._jobs: list[Job] = []
        self._database_now: datetime | None = None
        self.origin: RequestOrigin | None = None
        """The request that the transaction belongs to; None for a read and outside of requests."""
        self.is_audited = False
        """True once this transaction holds an entry of the audit log."""

    @property
    def session(self) -> AsyncSession:
        """The open session.

        Raises:
            RuntimeError: Outside the ``async with`` block.
        """
        if self._session is None:
            msg = "The unit of work is not open; use `async with uow:`."
            raise RuntimeError(msg)
        return self._session

    async def database_now(self) -> datetime:
        """Return the instant of this transaction by the database's clock.

        It is read once and stays the same until the transaction ends, so that setting the clock
        between two statements does no harm. Decisions about consent use this instant, never the
        host's clock.
        """
        if self._database_now is None:
            self._database_now = await read_database_now(self.session)
        return self._database_now

    def after_commit(self, job: Job) -> None:
        """Nudge this job after the commit; a rollback forgets it."""
        if job not in self._jobs:
            self._jobs.append(job)

    async def commit_each(self) -> None:
        """Let every statement commit itself; for a change that is one statement and must be fast.

        Saves the round trips of BEGIN and COMMIT. Call it before the first statement. If the
        session joined a transaction of its caller, that caller still commits.
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

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit and push the jobs, or roll back."""
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
        """Undo everything that the block does: changes of rows, audit log entries, queued jobs.

        Build the answer inside the block: the rows cannot be read after it.
        """
        jobs = list(self._jobs)
        savepoint = await self.session.begin_nested()
        try:
            yield
        finally:
            await savepoint.rollback()
            self._jobs = jobs
            # Nothing has changed, so the commit needs no audit log entry either.
            self.is_audited = True

    def nudging(self, queue: JobQueue) -> "UnitOfWork":
        """Return a unit of work over the same database that nudges jobs in another queue."""
        return UnitOfWork(self._sessions, queue)

    def held(self, begin: Callable[["UnitOfWork"], Awaitable[None]]) -> "HeldUnitOfWork":
        """Return a unit of work over the same database that commits only when asked to.

        Args:
            begin: Called with the open transaction before anything else happens in it.
        """
        return HeldUnitOfWork(self._sessions, self._queue, begin)


class HeldUnitOfWork(UnitOfWork):
    """Transaction that outlives its block, for data that is written together with the response.

    The end of a block keeps it open, and the next block continues it, until ``commit`` or
    ``abandon``. An exception out of a block rolls it back at once.
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
        """True from the first block until the transaction has ended."""
        return self._session is not None

    async def __aenter__(self) -> Self:
        """Begin the transaction, or continue it."""
        if self._session is not None:
            return self
        await super().__aenter__()
        try:
            await self._begin(self)
        except BaseException:
            await self.abandon()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Keep the transaction open, or roll it back."""
        if exc_type is not None:
            await super().__aexit__(exc_type, exc, traceback)

    async def commit_each(self) -> None:
        """Do nothing: this transaction stays one until its end."""

    async def commit(self) -> None:
        """Commit and push the jobs, if a block was entered."""
        if self._session is not None:
            await super().__aexit__(None, None, None)

    async def abandon(self) -> None:
        """Roll back and forget the jobs, if a block was entered."""
        if self._session is not None:
            await super().__aexit__(GeneratorExit, None, None)


UnitOfWorkFactory = Callable[[], UnitOfWork]


def create_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    application: str = "crm-api",
    statement_seconds: int | None = None,
    ping: bool = False,
) -> AsyncEngine:
    """Build the engine without connecting.

    Args:
        database_url: ``postgresql+asyncpg://…``.
        pool_size: Most connections of this process.
        application: Shown in ``pg_stat_activity``.
        statement_seconds: Longest time of a statement; None sets no limit. A statement that gets no
            answer soon after that is given up here, and its connection is closed: when a network
            drops connections, neither side is notified.
        ping: Check each connection before it is used.
    """
    engine = create_async_engine(
        database_url,
        poolclass=MeasuredPool,
        # The driver reads the URL itself, because it knows libpq's options, such as `sslrootcert`.
        async_creator=Connector(
            database_url, application=application, statement_seconds=statement_seconds
        ),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=ping,
        hide_parameters=True,  # an error's text goes to the log, and parameters hold personal data
    )
    tracing.watch(engine)
    event.listen(engine.sync_engine, "handle_error", _give_up)
    return engine


def _give_up(context: ExceptionContext) -> None:
    """Reconnect the whole pool after a statement got no answer: the other connections are as old.

    SQLAlchemy itself discards only the one connection.
    """
    if isinstance(context.original_exception, TimeoutError):
        context.invalidate_pool_on_disconnect = True


def session_factory(engine: AsyncEngine) -> SessionFactory:
    """Return a factory of sessions whose objects stay readable after the commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def open_engine(database_url: str, **options: Any) -> AsyncIterator[AsyncEngine]:  # noqa: ANN401 - passed through to create_engine
    """Yield an engine until the block ends, then dispose of it."""
    engine = create_engine(database_url, **options)
    try:
        yield engine
    finally:
        await engine.dispose()
