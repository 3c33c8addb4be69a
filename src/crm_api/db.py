"""The tables' base class, the engine, and the unit of work: one transaction and its nudges."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, event
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

from crm_api import tracing
from crm_api.jobs import Job, JobQueue
from crm_api.origin import Origin
from crm_api.pools import MeasuredPool
from crm_api.postgres import Connector


class Base(DeclarativeBase):
    """Every table; constraint names follow one convention so that migrations can name them."""

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


SessionFactory = async_sessionmaker[AsyncSession]


class UnitOfWork:
    """One transaction, and the jobs to nudge once it is committed.

    ``async with uow:`` begins; the end of the block commits, an exception rolls back and forgets
    the jobs. The entry point (route, worker function, command) opens it; services never do.
    """

    def __init__(self, sessions: SessionFactory, queue: JobQueue) -> None:
        self._sessions = sessions
        self._queue = queue
        self._session: AsyncSession | None = None
        self._jobs: list[Job] = []
        self.origin: Origin | None = None
        """The request that it belongs to; None for a read and outside of requests."""
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

    def after_commit(self, job: Job) -> None:
        """Nudge this job once the transaction is committed; forgotten on rollback."""
        if job not in self._jobs:
            self._jobs.append(job)

    async def commit_each(self) -> None:
        """Let every statement commit itself, for a change that is one statement and in a hurry.

        Saves the round trips of BEGIN and COMMIT. Called before the first statement. Where the
        sessions join somebody else's transaction, the commit is theirs.
        """
        if isinstance(self.session.bind, AsyncConnection):
            return
        await self.session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})

    async def __aenter__(self) -> Self:
        """Open a session; its transaction begins with the first statement."""
        self._session = self._sessions()
        self._jobs = []
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

    def held(self, begin: Callable[["UnitOfWork"], Awaitable[None]]) -> "HeldUnitOfWork":
        """Return a unit of work over the same database whose commit waits for a word.

        Args:
            begin: Called with the open transaction before anything else happens in it.
        """
        return HeldUnitOfWork(self._sessions, self._queue, begin)


class HeldUnitOfWork(UnitOfWork):
    """A transaction that outlives its block, for what has to be written with the answer.

    The end of a block keeps it open, and a further block goes on with it, until ``commit`` or
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
        """True from the first block on until the transaction has ended."""
        return self._session is not None

    async def __aenter__(self) -> Self:
        """Begin, or go on."""
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
        """Do nothing: this transaction is one, up to its end."""

    async def commit(self) -> None:
        """Commit and push the jobs, if something was begun."""
        if self._session is not None:
            await super().__aexit__(None, None, None)

    async def abandon(self) -> None:
        """Roll back and forget the jobs, if something was begun."""
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
    """Build the engine; nothing is connected yet.

    Args:
        database_url: ``postgresql+asyncpg://…``.
        pool_size: Connections this process may hold.
        application: Shown in ``pg_stat_activity``.
        statement_seconds: How long a statement may take; None sets no limit. One that is not
            answered soon after is given up here, and its connection with it: where a network
            forgets its connections, nobody ever tells that they are dead.
        ping: Ask each connection whether it still is one before it is used.
    """
    engine = create_async_engine(
        database_url,
        poolclass=MeasuredPool,
        # The driver reads the URL itself: it knows what libpq knows, such as `sslrootcert`.
        async_creator=Connector(
            database_url, application=application, statement_seconds=statement_seconds
        ),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=ping,
        hide_parameters=True,  # an error's text goes to the log, and parameters hold people
    )
    tracing.watch(engine)
    event.listen(engine.sync_engine, "handle_error", _give_up)
    return engine


def _give_up(context: ExceptionContext) -> None:
    """Open all connections anew once a statement was not answered: the others are as old.

    SQLAlchemy itself throws away only the one.
    """
    if isinstance(context.original_exception, TimeoutError):
        context.invalidate_pool_on_disconnect = True


def session_factory(engine: AsyncEngine) -> SessionFactory:
    """Build sessions that keep their objects readable after the commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def open_engine(database_url: str, **options: Any) -> AsyncIterator[AsyncEngine]:  # noqa: ANN401 - passed through to create_engine
    """Give an engine for the length of a block and dispose of it afterwards."""
    engine = create_engine(database_url, **options)
    try:
        yield engine
    finally:
        await engine.dispose()
