"""Separate databases for tests, and the plans that PostgreSQL makes for statements of the code."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event, make_url, text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
)

from crm_api.platform.database import open_engine

Call = Callable[[AsyncSession], Awaitable[object]]
_PLANNED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


def url_of(database_url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    url = make_url(database_url).set(database=name)
    return url.render_as_string(hide_password=False)


@asynccontextmanager
async def own_database(
    engine: AsyncEngine, name: str, *, template: str = "template1"
) -> AsyncIterator[str]:
    """Create a database from a template, yield its URL, and drop the database after the block.

    Args:
        template: The database to copy; the default template is empty.
    """
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        await plain.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        try:
            yield url_of(engine.url.render_as_string(hide_password=False), name)
        finally:
            await plain.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@asynccontextmanager
async def connected_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with open_engine(database_url, pool_size=2) as engine:
        yield engine


@dataclass
class Plan:
    """The indexes that the statements of one call use, and the tables that they read completely."""

    indexes: set[str] = field(default_factory=set)
    in_order: set[str] = field(default_factory=set)
    """Indexes that are read in their order, so the read can stop when the page is full."""
    scanned: set[str] = field(default_factory=set)

    def add(self, node: dict[str, Any], parents: dict[str, str | None]) -> None:
        """Add a plan node and its child nodes; a partition is added as its whole table or index."""
        if "Index Name" in node:
            name = parents.get(node["Index Name"]) or node["Index Name"]
            self.indexes.add(name)
            if node["Node Type"] in {"Index Scan", "Index Only Scan"}:
                self.in_order.add(name)
        self.indexes.update(node.get("Conflict Arbiter Indexes", ()))
        if node["Node Type"] == "Seq Scan":
            self.scanned.add(parents.get(node["Relation Name"], node["Relation Name"]) or "")
        for child in node.get("Plans", ()):
            self.add(child, parents)


@contextmanager
def _recorded(engine: AsyncEngine) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def remember(*given: Any) -> None:
        _, _, statement, parameters, *_ = given
        if statement.lstrip().upper().startswith(_PLANNED):
            seen.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", remember)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", remember)


REMOVE_STATISTICS = (
    "DELETE FROM pg_statistic WHERE starelid >= 16384",
    """UPDATE pg_class SET reltuples = -1, relpages = 0, relallvisible = 0
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'i')""",
)
"""Statements that remove the statistics of all tables; a bulk load leaves the same state."""


async def plan_of(engine: AsyncEngine, call: Call, *, without_statistics: bool = False) -> Plan:
    """Run a call of the code, return the plan of all its statements, and roll back.

    Args:
        without_statistics: Remove the planner's statistics before the plans are made.
    """
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    plan = Plan()
    async with sessions() as session:
        with _recorded(engine) as statements:
            await call(session)
        connection = await session.connection()
        for statement in REMOVE_STATISTICS if without_statistics else ():
            await connection.exec_driver_sql(statement)
        for statement, parameters in statements:
            answer = await connection.exec_driver_sql(
                f"EXPLAIN (FORMAT JSON) {statement}", parameters
            )
            _add(plan, answer.scalar_one(), await _parents(connection))
        await session.rollback()
    return plan


async def generic_plan_of(engine: AsyncEngine, call: Call) -> Plan:
    """Return the generic plan of a call, which knows no values.

    On a pooled connection, PostgreSQL changes to the generic plan after some runs.
    """
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    plan = Plan()
    async with sessions() as session:
        with _recorded(engine) as statements:
            await call(session)
        connection = await session.connection()
        await connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        for statement, _ in statements:
            await connection.exec_driver_sql(f"PREPARE probe AS {statement}")
            count = await connection.scalar(
                text(
                    "SELECT cardinality(parameter_types) FROM pg_prepared_statements "
                    "WHERE name = 'probe'"
                )
            )
            values = f"({', '.join(['NULL'] * count)})" if count else ""
            answer = await connection.exec_driver_sql(
                f"EXPLAIN (FORMAT JSON) EXECUTE probe {values}"
            )
            _add(plan, answer.scalar_one(), await _parents(connection))
            await connection.exec_driver_sql("DEALLOCATE probe")
        await session.rollback()
    return plan


async def _parents(connection: AsyncConnection) -> dict[str, str | None]:
    """Return the table or index of which each item is a partition; None for an empty partition."""
    # A partition without statistics counts as filled only if its file is large, because tests that
    # roll back also leave some space in the file.
    found = await connection.exec_driver_sql("""
        SELECT c.relname, CASE
                WHEN c.relkind = 'i' OR c.reltuples > 0
                    OR (c.reltuples < 0 AND pg_relation_size(c.oid) > 100000) THEN p.relname
            END AS whole
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_class p ON p.oid = i.inhparent
    """)
    return {row.relname: row.whole for row in found}


def _add(plan: Plan, answer: Any, parents: dict[str, str | None]) -> None:
    [document] = json.loads(answer) if isinstance(answer, str) else answer
    plan.add(document["Plan"], parents)
