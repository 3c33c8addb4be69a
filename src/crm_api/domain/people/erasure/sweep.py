"""Search the tables for data about an erased person, a few megabytes in each transaction.

Every table is searched, except the tables in ``APPEND_ONLY`` and ``AT_ONCE``. A found phone number
or e-mail address is replaced. A provider event that contains one is replaced as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import ARRAY, Column, Table, Text, TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.erasure.search_terms import SearchTerms
from crm_api.platform.database import Base

BLOCKS = 1_000
"""The number of pages of a table that one statement reads: 8 MB."""
APPEND_ONLY = frozenset(
    {"attribution_rule", "audit_log", "consent_entry", "consent_link", "outcome"}
)
"""Tables that the search after an erasure leaves out, because their rows are never changed.

About persons, these tables contain only ids and keyed hashes.
"""
AT_ONCE = frozenset({"consent_unlinked", "erased_number", "erasure"})
"""Tables that the search after an erasure leaves out. The request of the erasure has already
cleared them, or they contain only data about erasures."""
IDENTITY = "phone"
"""The name of the column with a phone number.

The erasure request replaces the number in the rows that it finds. The later search replaces the
number in the remaining rows.
"""
ERASED_NAMES = {
    "activity": "'erased:' || t.id",
    "campaign_membership": "'erased:' || t.contact_id",
    "contact": "'erased:' || t.id",
    "conversation": "'erased:' || t.id",
    "send_attempt": "'erased:' || t.id",
}
"""The SQL of the value that replaces the phone number, by table."""
CHANGED = frozenset({"campaign_membership", "contact"})
"""Tables in which an older row may get the phone number again after the erasure.

The ``updated_at`` of such a row is later than the erasure. The search does not replace the phone
number in such a row.
"""
REMOVED = {
    "consent_wording": (
        "EXISTS (SELECT FROM consent_entry e WHERE e.id = t.entry_id AND e.created_at <= :before)"
    ),
    "contact_flag": "t.created_at <= :before",
    "number_failure": "t.created_at <= :before",
    "phone_lookup": "t.checked_at <= :before",
    "provider_stop": "t.created_at <= :before",
}
"""Tables in which rows with the phone number are deleted, and an SQL condition for each table.

The condition selects the rows that were stored before the erasure. Only these rows are deleted.
"""
WHOLE = {
    "webhook_event": (
        "payload = '{\"erased\": true}', type = 'erased', status = 'ignored', last_error = NULL, "
        "error_code = NULL"
    ),
}
"""The new values of a row that contains data of the person, by table. All these columns are
replaced.

An erased event gets the type ``erased``, which no code processes. So replaying the event changes
nothing.
"""
ONLY = {"webhook_event": "status NOT IN ('pending', 'failed')"}
"""The condition for rows that may be replaced, by table.

A received event must be processed before it is replaced.
"""
BORN = ("created_at", "received_at")
"""Columns that store when a row was added. Rows that were added after the erasure do not change."""

WAITING = text("""
    SELECT EXISTS (
        SELECT 1 FROM webhook_event e
        WHERE e.status IN ('pending', 'failed') AND e.received_at <= :before
          AND (e.payload::text ~ :numbers OR e.payload::text ~* :words))
""")
# The number of pages of a table. For a partitioned table, this is the size of the largest
# partition, because one statement searches the same range of pages in every partition.
PAGES = text("""
    SELECT max(pg_relation_size(part.oid)) / current_setting('block_size')::bigint
    FROM (
        SELECT to_regclass(:name)::oid AS oid
        UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:name)
    ) part
""")


@dataclass(frozen=True, kw_only=True)
class TableSearch:
    """A statement that searches one table, and changes or deletes the rows that it finds."""

    table: str
    statement: TextClause


@cache
def table_searches() -> tuple[TableSearch, ...]:
    """Return the statements that search the tables for a person's data, ordered by table name.

    The statements are built only once, because building them takes longer than searching an empty
    table.
    """
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    return tuple(
        TableSearch(table=table.name, statement=text(written))
        for table in tables
        if table.name not in APPEND_ONLY | AT_ONCE
        for written in (_removal(table), _statement(table))
        if written
    )


async def search_pages(
    session: AsyncSession, one: TableSearch, *, block: int, terms: SearchTerms, before: datetime
) -> tuple[int, bool]:
    """Search a part of a table, and change or delete the rows that match.

    Args:
        block: The first page (block) to search, from 0. ``BLOCKS`` pages are searched.
        before: The time of the erasure request. Rows that are known to be newer do not change.

    Returns:
        The number of rows with data about the person, and whether more pages follow.
    """
    values = {
        "low": f"({block},0)",
        "high": f"({block + BLOCKS},0)",
        "numbers": terms.number_pattern(),
        "words": terms.word_pattern(),
        "before": before,
    }
    wanted = {name: values[name] for name in one.statement._bindparams}  # noqa: SLF001 - a table without times has no `before`
    found = len((await session.execute(one.statement, wanted)).all())
    pages = await session.scalar(PAGES, {"name": f'"{one.table}"'})
    return found, block + BLOCKS < int(pages or 0)


async def has_waiting_events(
    session: AsyncSession, *, terms: SearchTerms, before: datetime
) -> bool:
    """Return True if an event of the provider about the person is not processed yet.

    Events that were received after the instant ``before`` are ignored.
    """
    values = {
        "numbers": terms.number_pattern(),
        "words": terms.word_pattern(),
        "before": before,
    }
    return bool(await session.scalar(WAITING, values))


_PAGE_RANGE = (
    "t.ctid >= CAST(CAST(:low AS text) AS tid)",
    "t.ctid < CAST(CAST(:high AS text) AS tid)",
)


def _removal(table: Table) -> str | None:
    if table.name not in REMOVED:
        return None
    limits = [*_PAGE_RANGE, f"t.{IDENTITY} ~ :numbers", REMOVED[table.name]]
    return f'DELETE FROM "{table.name}" t WHERE {" AND ".join(limits)} RETURNING 1'


def _statement(table: Table) -> str | None:
    columns = list(_searched(table))
    if not columns:
        return None
    conditions = [
        f"{_as_text(column)} ~ :numbers OR {_as_text(column)} ~* :words" for column in columns
    ]
    changed = [f'"{column.name}" = {_redacted(column)}' for column in columns]
    name = ERASED_NAMES.get(table.name)
    if name is not None:
        is_theirs = f"t.{IDENTITY} ~ :numbers"
        if table.name in CHANGED:
            is_theirs = f"({is_theirs} AND t.updated_at <= :before)"
        conditions.append(is_theirs)
        changed.append(f"{IDENTITY} = CASE WHEN {is_theirs} THEN {name} ELSE t.{IDENTITY} END")
    born = next((name for name in BORN if name in table.c), None)
    limits = [
        *_PAGE_RANGE,
        f"({' OR '.join(conditions)})",
        *([f"t.{born} <= :before"] if born else []),
        *([f"t.{ONLY[table.name]}"] if table.name in ONLY else []),
    ]
    written = WHOLE.get(table.name) or ", ".join(changed)
    return f'UPDATE "{table.name}" t SET {written} WHERE {" AND ".join(limits)} RETURNING 1'


def _searched(table: Table) -> Iterator[Column[object]]:
    for column in table.columns:
        is_own = column.computed is None and not column.primary_key and not column.foreign_keys
        if is_own and column.name != IDENTITY and _is_text(column):
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
    # Numbers are replaced by 0, because 0 is valid as a JSON number and also inside a JSON string.
    without = (
        f"regexp_replace(regexp_replace({_as_text(column)}, :numbers, '0', 'g'), "
        ":words, 'erased', 'gi')"
    )
    if isinstance(column.type, ARRAY):
        return f"{without}::text[]"
    return f"{without}::jsonb" if isinstance(column.type, JSONB) else without
