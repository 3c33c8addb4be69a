"""A comparison of two schemas that finds changes which break the code of the last release.

The schemas before and after a revision are read from PostgreSQL's catalogues, so the exact
statements of the revision do not matter. Only the way an index is built is read from the
statements.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_PARTS = text("""
    SELECT 'table' AS kind, CAST(c.relname AS text) AS owner, '' AS name,
           -- Partitions may come; what is filed apart from the table it was is rewritten.
           CASE c.relkind WHEN 'r' THEN CAST(c.relfilenode AS text) ELSE '' END AS definition
    FROM pg_class c
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition
    UNION ALL
    SELECT 'column', c.relname, a.attname,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                     CASE WHEN a.attnotnull THEN 'not null' END,
                     CASE WHEN a.atthasdef OR a.attidentity <> '' THEN 'default' END)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'constraint', c.relname, k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.connamespace = CAST('public' AS regnamespace) AND k.contype IN ('c', 'u', 'p', 'f', 'x')
      AND NOT c.relispartition
    UNION ALL
    SELECT CASE WHEN i.indisunique THEN 'unique index' ELSE 'index' END, c.relname, x.relname,
           regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? USING ', '')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND NOT c.relispartition
    UNION ALL
    SELECT 'function', '', CAST(CAST(p.oid AS regprocedure) AS text),
           pg_get_function_result(p.oid)
    FROM pg_proc p
    WHERE p.pronamespace = CAST('public' AS regnamespace) AND p.prokind = 'f'
      -- Code does not call a trigger's function.
      AND p.prorettype <> CAST('trigger' AS regtype)
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
""")
_PLAIN_INDEX = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)(?:IF\s+NOT\s+EXISTS\s+)?"
    r'"?(\w+)"?\s+ON\s+(?!ONLY\s)(?:public\.)?"?(\w+)"?',
    re.IGNORECASE,
)
"""Finds the statements that build an index without ``CONCURRENTLY``.

An index ``ON ONLY`` a partitioned table is allowed, because its statement reads no row. The indexes
of the months are then built concurrently.
"""
_CHECKED_AT_ONCE = re.compile(
    r'ALTER\s+TABLE\s+(?:ONLY\s+)?(?:public\.)?"?(\w+)"?\s+ADD\s+CONSTRAINT\s+"?(\w+)"?\s+'
    r"(?:CHECK|FOREIGN\s+KEY)(?![^;]*NOT\s+VALID)",
    re.IGNORECASE,
)
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Schema:
    """The definition of every part of the schema, by kind, table and name."""

    parts: dict[Key, str]

    @property
    def tables(self) -> set[str]:
        return {owner for kind, owner, _ in self.parts if kind == "table"}

    def of(self, kind: str) -> dict[tuple[str, str], str]:
        found = ((key, value) for key, value in self.parts.items() if key[0] == kind)
        return {(owner, name): definition for (_, owner, name), definition in found}


async def read_schema(connection: AsyncConnection) -> Schema:
    rows = await connection.execute(_PARTS)
    return Schema({(row.kind, row.owner, row.name): row.definition for row in rows})


def breaking_changes(before: Schema, after: Schema, statements: Iterable[str] = ()) -> list[str]:
    """Return the changes that break the earlier code, or block it for a long time."""
    found = [*_missing(before, after), *_tightened(before, after), *_rewritten(before, after)]
    for statement in statements:
        for index, table in _PLAIN_INDEX.findall(statement):
            if table in before.tables & after.tables:
                found.append(f"{table}: index {index} is not built concurrently")
        for table, rule in _CHECKED_AT_ONCE.findall(statement):
            if table in before.tables & after.tables:
                found.append(f"{table}: {rule} is checked under a lock, not NOT VALID first")
    return sorted(found)


def _missing(before: Schema, after: Schema) -> Iterator[str]:
    for table in before.tables - after.tables:
        yield f"{table}: the table is missing"
    columns = after.of("column")
    for table, column in before.of("column"):
        if table in after.tables and (table, column) not in columns:
            yield f"{table}.{column}: the column is missing"
    functions = after.of("function")
    for (_, name), result in before.of("function").items():
        if functions.get(("", name)) != result:
            yield f"{name}: the function is missing or returns another type"
    # The earlier code names the columns of a unique index in ON CONFLICT, so such an index must
    # still exist.
    kept = {(table, definition) for (table, _), definition in after.of("unique index").items()}
    for (table, name), definition in before.of("unique index").items():
        if table in after.tables and (table, definition) not in kept:
            yield f"{table}: {name} no longer makes rows unique"


def _tightened(before: Schema, after: Schema) -> Iterator[str]:
    known = before.of("column")
    for (table, column), definition in after.of("column").items():
        if (table, column) in known:
            yield from _stricter(f"{table}.{column}", known[table, column], definition)
        elif table in before.tables and _must_be_given(definition):
            yield f"{table}.{column}: a new column that must be given"
    for kind in ("constraint", "unique index"):
        rules = {(table, rule) for (table, _), rule in before.of(kind).items()}
        for (table, name), rule in after.of(kind).items():
            is_twice = kind == "unique index" and ("constraint", table, name) in after.parts
            if table in before.tables and (table, rule) not in rules and not is_twice:
                yield from _new_rule(before, table, name, rule)


def _stricter(name: str, was: str, now: str) -> Iterator[str]:
    if _type_of(was) != _type_of(now):
        yield f"{name}: its type changes"
    if "not null" in now and "not null" not in was:
        yield f"{name}: it may no longer be empty"
    elif _must_be_given(now) and not _must_be_given(was):
        yield f"{name}: its default is missing"


def _must_be_given(definition: str) -> bool:
    return "not null" in definition and "default" not in definition


def _new_rule(before: Schema, table: str, name: str, definition: str) -> Iterator[str]:
    earlier = before.parts.get(("constraint", table, name))
    if earlier is not None and _only_adds_states(earlier, definition):
        return
    yield f"{table}: {name} is a new rule for what is written"


def _only_adds_states(earlier: str, definition: str) -> bool:
    """Return True if the new constraint allows all earlier states, and is otherwise the same."""
    words = [set(re.findall(r"'([^']*)'", rule)) for rule in (earlier, definition)]
    shapes = [re.sub(r"ARRAY\[.*?\]| NOT VALID", "", rule) for rule in (earlier, definition)]
    return shapes[0] == shapes[1] and words[0] <= words[1]


def _rewritten(before: Schema, after: Schema) -> Iterator[str]:
    files: dict[tuple[str, str], str] = after.of("table")
    for key, file in before.of("table").items():
        if files.get(key, file) != file:
            yield f"{key[0]}: the table is rewritten under a lock"


def _type_of(definition: str) -> str:
    return re.sub(r" (not null|default)\b.*", "", definition)


def listed(page: str, title: str) -> set[str]:
    """Return the changes that a section of a page lists with a reason."""
    section = page.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]
    return set(re.findall(r"^\| `([^`]+)` \| \S.{20,} \|$", section, re.MULTILINE))
