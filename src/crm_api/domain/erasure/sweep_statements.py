"""Searches every table for what still names an erased person, a few megabytes a transaction.

The tables are those of the metadata, so that one that is added later is searched too. A number
or an e-mail address that is found is replaced; a ledger's copy of what somebody sent goes whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Column, Table, Text, TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import Base
from crm_api.domain.erasure.needles import Needles

BLOCKS = 1_000
"""Pages of a table that a statement reads: 8 MB."""
APPEND_ONLY = frozenset({"audit_log", "consent_entry", "consent_link"})
"""They name nobody but by ids and keyed hashes, and nothing in them changes."""
AT_ONCE = frozenset({"consent_unlinked", "erased_number", "erasure"})
"""Emptied of the person when the erasure was asked for, or holding only its own data."""
IDENTITY = frozenset({"phone"})
"""Columns that are one number each: erased by it at once, and never a mention of somebody."""
WHOLE = {
    "webhook_event": (
        "payload = '{\"erased\": true}', type = 'erased', status = 'ignored', last_error = NULL, "
        "error_code = NULL"
    ),
}
"""What becomes of a row that names the person, where a row is a copy of something that was sent.

An erased event is of a type that nobody knows, so that a replay of it changes nothing.
"""
ONLY = {"webhook_event": "status NOT IN ('pending', 'failed')"}
"""Rows that may be touched: what is not applied yet is, first."""
BORN = ("created_at", "received_at")
"""When a row came; what came after the erasure is the person's new word."""

WAITING = text("""
    SELECT EXISTS (
        SELECT 1 FROM webhook_event e
        WHERE e.status IN ('pending', 'failed') AND e.received_at <= :before
          AND (e.payload::text ~ :numbers OR e.payload::text ~* :words))
""")
# Of a table in months the largest: a search of some pages takes these of every month.
PAGES = text("""
    SELECT max(pg_relation_size(part.oid)) / current_setting('block_size')::bigint
    FROM (
        SELECT to_regclass(:name)::oid AS oid
        UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:name)
    ) part
""")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The statement that searches one table."""

    table: str
    statement: TextClause


def sweeps() -> list[Sweep]:
    """Write the statement of every table that can name somebody, in the order of their names."""
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    return [
        Sweep(table=table.name, statement=text(written))
        for table in tables
        if table.name not in APPEND_ONLY | AT_ONCE and (written := _statement(table))
    ]


async def sweep(
    session: AsyncSession, one: Sweep, *, block: int, needles: Needles, before: datetime
) -> tuple[int, bool]:
    """Search some pages of a table from this one on.

    Returns:
        How many rows named the person, and whether the table goes on.
    """
    values = {
        "low": f"({block},0)",
        "high": f"({block + BLOCKS},0)",
        "numbers": needles.number_pattern(),
        "words": needles.word_pattern(),
        "before": before,
    }
    wanted = {name: values[name] for name in one.statement._bindparams}  # noqa: SLF001 - a table without times takes no `before`
    found = len((await session.execute(one.statement, wanted)).all())
    pages = await session.scalar(PAGES, {"name": f'"{one.table}"'})
    return found, block + BLOCKS < int(pages or 0)


async def is_waited_for(session: AsyncSession, *, needles: Needles, before: datetime) -> bool:
    """Say whether an event that names the person is not applied yet."""
    values = {
        "numbers": needles.number_pattern(),
        "words": needles.word_pattern(),
        "before": before,
    }
    return bool(await session.scalar(WAITING, values))


def _statement(table: Table) -> str | None:
    columns = list(_searched(table))
    if not columns:
        return None
    where = " OR ".join(
        f"{_as_text(column)} ~ :numbers OR {_as_text(column)} ~* :words" for column in columns
    )
    born = next((name for name in BORN if name in table.c), None)
    limits = [
        "t.ctid >= CAST(CAST(:low AS text) AS tid)",
        "t.ctid < CAST(CAST(:high AS text) AS tid)",
        f"({where})",
        *([f"t.{born} <= :before"] if born else []),
        *([f"t.{ONLY[table.name]}"] if table.name in ONLY else []),
    ]
    changed = WHOLE.get(table.name) or ", ".join(
        f'"{column.name}" = {_redacted(column)}' for column in columns
    )
    return f'UPDATE "{table.name}" t SET {changed} WHERE {" AND ".join(limits)} RETURNING 1'


def _searched(table: Table) -> Iterator[Column[object]]:
    for column in table.columns:
        is_own = column.computed is None and not column.primary_key and not column.foreign_keys
        if is_own and column.name not in IDENTITY and _is_text(column):
            yield column


def _is_text(column: Column[object]) -> bool:
    kind = column.type
    if isinstance(kind, ARRAY):
        return isinstance(kind.item_type, Text)
    return isinstance(kind, (Text, JSONB))


def _as_text(column: Column[object]) -> str:
    if isinstance(column.type, Text):
        return f't."{column.name}"'
    return f't."{column.name}"::text'


def _redacted(column: Column[object]) -> str:
    # Zero, because it may stand for a number of JSON as well as within its texts.
    without = (
        f"regexp_replace(regexp_replace({_as_text(column)}, :numbers, '0', 'g'), "
        ":words, 'erased', 'gi')"
    )
    if isinstance(column.type, ARRAY):
        return f"{without}::text[]"
    return f"{without}::jsonb" if isinstance(column.type, JSONB) else without
