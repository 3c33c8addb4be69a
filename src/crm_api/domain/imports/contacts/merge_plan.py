"""SQL that decides how an import changes contacts, for all people of a chunk in one statement.

A dry run ends after this statement, so it computes its result in the same way as an import.

The option ``on_duplicate`` decides about a contact that exists (a deleted contact counts as new):

- ``fill`` sets only empty fields, and adds tags. If the address in the file contradicts the stored
  address, no part of the stored address changes. A mixture of two addresses would be wrong.
- ``overwrite`` sets every field for which the file has a value, and adds tags.
- ``skip`` changes nothing.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.contacts.models import OnDuplicate
from crm_api.domain.imports.contacts.rows import COLUMNS, PERSON, Record
from crm_api.domain.kit.contact_columns import ADDRESS_COLUMNS
from crm_api.domain.kit.zones import STATE_AS_WRITTEN

_TEXTS = ", ".join(f"{name} text" for name in COLUMNS)
MAKE_TABLES = (
    text(
        "CREATE TEMPORARY TABLE IF NOT EXISTS import_person (position integer, line integer, "
        "new_id uuid, "
        f"phone text, {_TEXTS}, zone_key text, tags text[], attributes jsonb) ON COMMIT DELETE ROWS"
    ),
    text(
        "CREATE TEMPORARY TABLE IF NOT EXISTS import_plan (position integer, line integer, "
        f"phone text, contact_id uuid, outcome text, {_TEXTS}, tags text[], attributes jsonb, "
        "zone_key text, old_zone_key text, old_updated_at timestamptz, filled text[], "
        "old jsonb) ON COMMIT DELETE ROWS"
    ),
    # An earlier statement of this transaction may have left rows in the temporary tables.
    text("TRUNCATE import_person, import_plan"),
)


_DIFFERS = " OR ".join(
    f"(c.{name} <> '' AND s.{name} <> '' AND lower(c.{name}) <> lower(s.{name}))"
    for name in ADDRESS_COLUMNS
)
_ZONE_FIELDS = ("timezone", "state", "postal_code")


def _merged(name: str, on_duplicate: OnDuplicate) -> str:
    if on_duplicate is OnDuplicate.SKIP:
        return f"CASE WHEN is_new THEN s.{name} ELSE c.{name} END"
    if on_duplicate is OnDuplicate.OVERWRITE:
        return f"coalesce(s.{name}, c.{name})"
    filled = f"coalesce(nullif(c.{name}, ''), s.{name}, c.{name})"
    return (
        f"CASE WHEN {_DIFFERS} THEN c.{name} ELSE {filled} END"
        if name in ADDRESS_COLUMNS
        else filled
    )


def _merged_tags(on_duplicate: OnDuplicate) -> str:
    added = (
        "c.tags || ARRAY(SELECT t FROM unnest(s.tags) WITH ORDINALITY AS u (t, n) "
        "WHERE t <> ALL (c.tags) ORDER BY n)"
    )
    kept = "TRUE" if on_duplicate is OnDuplicate.SKIP else "s.tags <@ c.tags"
    return f"CASE WHEN is_new THEN s.tags WHEN {kept} THEN c.tags ELSE {added} END"


def _merged_attributes(on_duplicate: OnDuplicate) -> str:
    known = {
        OnDuplicate.SKIP: "c.attributes",
        OnDuplicate.FILL: "s.attributes || c.attributes",
        OnDuplicate.OVERWRITE: "c.attributes || s.attributes",
    }[on_duplicate]
    return f"CASE WHEN is_new THEN s.attributes ELSE {known} END"


def _plan(on_duplicate: OnDuplicate) -> TextClause:
    """Return the SQL statement that decides what an import does with each person of a chunk.

    It reads the temporary table ``import_person``, and writes to the temporary table
    ``import_plan``. People who already have a row in ``import_plan`` are skipped.
    """
    merged = ", ".join(f"{_merged(name, on_duplicate)} AS {name}" for name in COLUMNS)
    stored = ", ".join(f"c.{name} AS old_{name}" for name in COLUMNS)
    changed = " OR ".join(f"{name} IS DISTINCT FROM old_{name}" for name in COLUMNS)
    new_zone = ", ".join(f"s.{name} AS file_{name}" for name in (*_ZONE_FIELDS, "attributes"))
    after, before, file = (
        ", ".join(
            [
                *(f"{prefix}{name}" for name in _ZONE_FIELDS),
                f"{prefix}attributes ->> '{STATE_AS_WRITTEN}'",
            ]
        )
        for prefix in ("", "old_", "file_")
    )
    filled = ", ".join(
        f"CASE WHEN {name} IS DISTINCT FROM old_{name} AND coalesce(old_{name}, '') = '' "
        f"THEN '{name}' END"
        for name in COLUMNS
    )
    old = ", ".join(
        f"'{name}', CASE WHEN {name} IS DISTINCT FROM old_{name} THEN nullif(old_{name}, '') END"
        for name in COLUMNS
    )
    return text(f"""
    INSERT INTO import_plan (position, line, phone, contact_id, outcome, {", ".join(COLUMNS)},
        tags, attributes, zone_key, old_zone_key, old_updated_at, filled, old)
    SELECT position, line, phone, contact_id, outcome, {", ".join(COLUMNS)}, tags, attributes,
        CASE
            WHEN outcome = 'created' OR outcome = 'revived' THEN zone_key
            WHEN ({after}) IS NOT DISTINCT FROM ({before}) THEN old_zone_key
            WHEN ({after}) IS NOT DISTINCT FROM ({file}) THEN zone_key
        END,
        old_zone_key, old_updated_at,
        CASE WHEN outcome = 'updated' THEN array_remove(ARRAY[
            {filled},
            CASE WHEN tags <> old_tags AND old_tags = '{{}}' THEN 'tags' END
        ], NULL) || ARRAY(
            SELECT 'attributes.' || k FROM jsonb_object_keys(attributes) AS k
            WHERE NOT old_attributes ? k ORDER BY k
        ) END,
        CASE WHEN outcome = 'updated' THEN jsonb_strip_nulls(jsonb_build_object(
            {old},
            'tags', CASE WHEN tags <> old_tags AND old_tags <> '{{}}' THEN to_jsonb(old_tags) END
        )) || coalesce((
            SELECT jsonb_build_object('attributes', jsonb_object_agg(k, v))
            FROM jsonb_each(old_attributes) AS e (k, v)
            WHERE attributes -> k <> v HAVING count(*) > 0
        ), '{{}}') END
    FROM (
        SELECT merged.*, CASE
            WHEN merged.is_merged THEN 'unchanged'
            WHEN merged.is_new THEN CASE WHEN is_known THEN 'revived' ELSE 'created' END
            WHEN {changed} OR tags <> old_tags OR attributes <> old_attributes THEN 'updated'
            ELSE 'unchanged'
        END AS outcome
        FROM (
            SELECT s.position, s.line, s.phone, s.zone_key, {new_zone},
                coalesce(k.merged_into, k.id, s.new_id) AS contact_id,
                k.id IS NOT NULL AS is_known, k.merged_into IS NOT NULL AS is_merged,
                k.zone_key AS old_zone_key, k.updated_at AS old_updated_at,
                n.is_new, {merged}, {stored},
                {_merged_tags(on_duplicate)} AS tags, c.tags AS old_tags,
                {_merged_attributes(on_duplicate)} AS attributes, c.attributes AS old_attributes
            FROM import_person s
            LEFT JOIN LATERAL (
                -- One index look-up per person: the planner does not know how few they are.
                SELECT * FROM contact WHERE contact.phone = s.phone OFFSET 0
            ) k ON TRUE
            LEFT JOIN LATERAL (SELECT k.*) c ON k.deleted_at IS NULL
            CROSS JOIN LATERAL (SELECT k.id IS NULL OR k.deleted_at IS NOT NULL AS is_new) n
            WHERE NOT EXISTS (SELECT 1 FROM import_plan d WHERE d.position = s.position)
            OFFSET 0  -- keeps the planner from computing each merged value once per use
        ) merged
    ) settled
""")


_PLAN = {on_duplicate: _plan(on_duplicate) for on_duplicate in OnDuplicate}


# A phone number in the file may belong to a duplicate that was merged into another contact. Then it
# is replaced by the phone number of that contact (the primary contact). The zone key is cleared, so
# that it is computed again. If several rows belong to one primary contact, only the first row gets
# its phone number. The other rows keep their numbers, and change nothing.
RESOLVE = text("""
    UPDATE import_person s SET phone = x.phone, zone_key = NULL
    FROM (
        SELECT DISTINCT ON (p.id) q.position, p.phone
        FROM import_person q
        JOIN contact d ON d.phone = q.phone AND d.merged_into IS NOT NULL
        JOIN contact p ON p.id = d.merged_into
        ORDER BY p.id, q.position
    ) x
    WHERE s.position = x.position
      AND NOT EXISTS (SELECT 1 FROM import_person t WHERE t.phone = x.phone)
""")


async def stage_people(session: AsyncSession, records: Sequence[Record]) -> None:
    """Empty the temporary tables, then copy the people of a file's rows to ``import_person``.

    If a person has the phone number of a merged duplicate, the number is replaced by the number of
    the contact that the duplicate was merged into.
    """
    for statement in MAKE_TABLES:
        await session.execute(statement)
    connection = await (await session.connection()).get_raw_connection()
    # This is the connection of asyncpg. The connection object of SQLAlchemy has no COPY.
    driver: Any = connection.driver_connection
    await driver.copy_records_to_table("import_person", records=records, columns=PERSON)
    await session.execute(RESOLVE)


async def plan_merge(session: AsyncSession, *, on_duplicate: OnDuplicate) -> None:
    """Decide what the import does with each person in the temporary table ``import_person``.

    The result for each person is written to the temporary table ``import_plan``. People who are
    already in ``import_plan`` keep the result that they have.
    """
    await session.execute(_PLAN[on_duplicate])
