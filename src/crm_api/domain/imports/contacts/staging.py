"""SQL for one chunk of an import: write the contacts, count the results, store the changes.

The statements are listed in the order of execution. They use two temporary tables:

- ``import_person``: each person of the chunk (*staged*).
- ``import_plan``: each person for whom ``merge_plan`` has decided the result, such as ``created``
  (*planned*).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Result, RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.contacts.rows import COLUMNS
from crm_api.platform.database import affected, typed_rows

_NAMES = ", ".join(COLUMNS)

_SET = ", ".join(f"{name} = p.{name}" for name in COLUMNS)

_IS_NEW = "outcome IN ('created', 'revived')"

_DIGESTS = """
    SELECT position, hashtextextended(
        replace(outcome, 'revived', 'created') || coalesce(array_to_string(filled, ' '), '')
        || ' ' || coalesce(CAST(old AS text), ''), 0) AS digest
    FROM import_plan
"""


LOCK = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM contact WHERE phone = ANY (ARRAY(SELECT phone FROM import_person))
        ORDER BY phone FOR NO KEY UPDATE
    ) known
""")
"""Locks the contacts in the order of their phone numbers, as all code does, so that two
transactions cannot deadlock."""


async def lock_known_contacts(session: AsyncSession) -> None:
    """Lock the contacts of the people in this chunk, in the order of their phone numbers.

    These are the contacts that have the same phone number as a person in the temporary table
    ``import_person``. Deleted contacts are locked too.
    """
    await session.execute(LOCK)


@dataclass(frozen=True, slots=True)
class PersonWithoutZone:
    """A contact that an import updates, and whose zone key must still be computed.

    The zone key is computed from the address that the contact has after the import. Some parts of
    this address may come from the file, and other parts from the stored contact.
    """

    position: int
    timezone: str | None
    state: str | None
    postal_code: str | None
    phone: str
    attributes: dict[str, Any]


UNPLACED = text("""
    SELECT position, timezone, state, postal_code, phone, attributes FROM import_plan
    WHERE zone_key IS NULL AND outcome = 'updated'
""")


async def fetch_people_without_zone(session: AsyncSession) -> list[PersonWithoutZone]:
    """Return the existing contacts in this chunk of the import whose zone key must be computed.

    A zone key contains the states and time zones in which a person may be. Each result contains the
    address that the contact has after the import.
    """
    return typed_rows(PersonWithoutZone, await session.execute(UNPLACED))


PLACE = text("""
    UPDATE import_plan AS p SET zone_key = r.zone_key
    FROM unnest(CAST(:positions AS integer[]), CAST(:zone_keys AS text[]))
        AS r (position, zone_key)
    WHERE p.position = r.position
""")


async def set_zone_keys(session: AsyncSession, zone_keys: Mapping[int, str]) -> None:
    """Store the zone keys of people in the temporary table ``import_plan``.

    A zone key names the states and time zones in which a person may be.

    Args:
        zone_keys: The zone key of each person, by the position of the person in the chunk.
    """
    values = {"positions": list(zone_keys), "zone_keys": list(zone_keys.values())}
    await session.execute(PLACE, values)


UPDATE = text(f"""
    UPDATE contact AS c SET {_SET}, zone_key = p.zone_key, tags = p.tags,
        attributes = p.attributes, updated_at = :now,
        created_at = CASE WHEN p.outcome = 'revived' THEN :now ELSE c.created_at END,
        source = CASE WHEN p.outcome = 'revived' THEN 'import' ELSE c.source END,
        deleted_at = NULL
    FROM import_plan p
    WHERE c.id = p.contact_id AND p.outcome IN ('updated', 'revived')
      -- The array shows the planner that only few of all contacts are updated.
      AND c.id = ANY (ARRAY(
          SELECT contact_id FROM import_plan WHERE outcome IN ('updated', 'revived')
      ))
""")


async def update_known_contacts(session: AsyncSession, *, now: datetime) -> None:
    """Write the changed contacts. A deleted contact is restored with the data of the file."""
    await session.execute(UPDATE, {"now": now})


INSERT = text(f"""
    INSERT INTO contact (id, phone, {_NAMES}, zone_key, tags, attributes, source, created_at,
        updated_at)
    SELECT contact_id, phone, {_NAMES}, zone_key, tags, attributes, 'import', :now, :now
    FROM import_plan WHERE outcome = 'created' ORDER BY phone
    ON CONFLICT (phone) DO NOTHING
""")


async def insert_new_contacts(session: AsyncSession, *, now: datetime) -> int:
    """Insert the new contacts; return how many were inserted.

    A contact is left out if another transaction has just inserted a contact with the same phone
    number.
    """
    return _count(await session.execute(INSERT, {"now": now}))


DROP_LOST = text("""
    DELETE FROM import_plan p
    WHERE p.outcome = 'created' AND NOT EXISTS (SELECT 1 FROM contact c WHERE c.id = p.contact_id)
""")
"""Removes from the plan each new person whose contact was not inserted, because another transaction
inserted a contact with the same number first."""


async def drop_lost_people(session: AsyncSession) -> int:
    """Remove people from ``import_plan`` if another transaction just inserted their contact.

    The caller then calls ``merge_plan.plan_merge`` again, which finds these contacts.

    Returns:
        The number of removed people.
    """
    return _count(await session.execute(DROP_LOST))


ADD_MEMBERS = text("""
    INSERT INTO contact_list_member (list_id, contact_id, added_at)
    SELECT :list_id, contact_id, :now FROM import_plan ORDER BY contact_id
    ON CONFLICT DO NOTHING
""")


async def add_list_members(session: AsyncSession, *, list_id: UUID, now: datetime) -> None:
    """Add all people of the temporary table ``import_plan`` to a list.

    People who are already on the list are skipped.
    """
    await session.execute(ADD_MEMBERS, {"list_id": list_id, "now": now})


COUNT = text("SELECT outcome, count(*) AS people FROM import_plan GROUP BY outcome")


async def count_outcomes(session: AsyncSession) -> dict[str, int]:
    """Count the people of the chunk by what the import does with their contacts.

    The results are ``created``, ``revived`` (a deleted contact is restored), ``updated`` and
    ``unchanged``. People whose result is not decided are not counted.
    """
    found = await session.execute(COUNT)
    return {row.outcome: row.people for row in found}


COUNT_FIELDS = text("""
    SELECT field, count(*) FILTER (WHERE NOT is_old) AS filled,
        count(*) FILTER (WHERE is_old) AS overwritten
    FROM (
        SELECT unnest(filled), FALSE FROM import_plan WHERE outcome = 'updated'
        UNION ALL
        SELECT jsonb_object_keys(old - 'attributes'), TRUE FROM import_plan
        WHERE outcome = 'updated' AND old <> '{}'
        UNION ALL
        SELECT 'attributes.' || jsonb_object_keys(old -> 'attributes'), TRUE FROM import_plan
        WHERE outcome = 'updated' AND old ? 'attributes'
    ) AS each (field, is_old)
    GROUP BY field
""")


async def count_changed_fields(session: AsyncSession) -> dict[str, dict[str, int]]:
    """Count for each field how many existing contacts the import changes.

    Returns:
        Two numbers for each field that changes: ``filled`` counts the contacts whose field was
        empty before, and ``overwritten`` counts the contacts whose field had another value.
    """
    rows = await session.execute(COUNT_FIELDS)
    return {
        row["field"]: {"filled": row["filled"], "overwritten": row["overwritten"]}
        for row in rows.mappings()
    }


NEW_PHONES = text(f"SELECT phone FROM import_plan WHERE {_IS_NEW} ORDER BY position")


async def fetch_new_phones(session: AsyncSession) -> list[str]:
    """Return the phone numbers of contacts that the import adds or restores, in file order."""
    return list(await session.scalars(NEW_PHONES))


PHONES_WITH_NEW_ZONE = text("""
    SELECT phone FROM import_plan
    WHERE outcome IN ('updated', 'revived') AND zone_key <> old_zone_key
""")


async def fetch_phones_with_new_zone(session: AsyncSession) -> list[str]:
    """Return the phone numbers of existing contacts whose zone key the import changes.

    A zone key consists of the states and time zones in which a person may be.
    """
    return list(await session.scalars(PHONES_WITH_NEW_ZONE))


SAMPLE = text(f"""
    SELECT line, phone, contact_id, outcome, {_NAMES}, tags, attributes, filled, old
    FROM import_plan
    WHERE (outcome = 'updated') = :is_known AND outcome <> 'unchanged'
    ORDER BY position LIMIT :limit
""")


async def fetch_examples(
    session: AsyncSession, *, is_known: bool, limit: int
) -> Sequence[RowMapping]:
    """Return up to ``limit`` people of this chunk as examples of what the import does.

    People whose contact stays unchanged are left out.

    Args:
        is_known: True returns people whose existing contact is updated. False returns people who
            become new contacts.
        limit: The largest number of people to return.
    """
    values = {"is_known": is_known, "limit": limit}
    return (await session.execute(SAMPLE, values)).mappings().all()


STORE_OUTCOMES = text(f"""
    INSERT INTO contact_import_chunk (import_id, start, applied_at, outcomes, created_ids,
        changed_ids, changes)
    SELECT :import_id, :start, :now, coalesce(array_agg(digest ORDER BY position), '{{}}'),
        '{{}}', '{{}}', '{{}}'
    FROM ({_DIGESTS}) plan
""")


async def store_outcomes(
    session: AsyncSession, *, import_id: UUID, start: int, now: datetime
) -> None:
    """In a dry run, store a hash of what the import would do with each person of a chunk.

    When the dry run is committed, the hashes show for how many people the result has changed.
    """
    values = {"import_id": import_id, "start": start, "now": now}
    await session.execute(STORE_OUTCOMES, values)


COUNT_DIFFERENT_OUTCOMES = text(f"""
    SELECT count(*)
    FROM contact_import_chunk k
    CROSS JOIN LATERAL unnest(k.outcomes) WITH ORDINALITY AS planned (digest, position)
    JOIN (SELECT digest, row_number() OVER (ORDER BY position) AS position FROM ({_DIGESTS}) d) now
        USING (position)
    WHERE k.import_id = :dry_run_id AND k.start = :start AND planned.digest <> now.digest
""")


async def count_different_outcomes(session: AsyncSession, *, dry_run_id: UUID, start: int) -> int:
    """Count the people for whom the import of a chunk does not do what the dry run predicted."""
    values = {"dry_run_id": dry_run_id, "start": start}
    return int(await session.scalar(COUNT_DIFFERENT_OUTCOMES, values) or 0)


STORE_CHANGES = text(f"""
    INSERT INTO contact_import_chunk (import_id, start, applied_at, outcomes, created_ids,
        changed_ids, changes)
    SELECT :import_id, :start, :now, '{{}}',
        coalesce(array_agg(contact_id ORDER BY position) FILTER (WHERE is_new), '{{}}'),
        coalesce(array_agg(contact_id ORDER BY position) FILTER (WHERE NOT is_new), '{{}}'),
        coalesce(array_agg(change ORDER BY position) FILTER (WHERE NOT is_new), '{{}}')
    FROM (
        SELECT position, contact_id, {_IS_NEW} AS is_new,
            CASE WHEN outcome = 'updated' THEN jsonb_strip_nulls(jsonb_build_object(
                'filled', to_jsonb(nullif(filled, '{{}}')),
                'zone_key', nullif(old_zone_key, zone_key),
                'updated_at', old_updated_at
            )) || CASE WHEN old = '{{}}' THEN old ELSE jsonb_build_object('old', old) END
            END AS change
        FROM import_plan WHERE outcome <> 'unchanged'
    ) plan
""")


async def store_changes(
    session: AsyncSession, *, import_id: UUID, start: int, now: datetime
) -> None:
    """Store the ids of new contacts and the previous values of changed ones, for an undo."""
    values = {"import_id": import_id, "start": start, "now": now}
    await session.execute(STORE_CHANGES, values)


def _count(result: Result[Any]) -> int:
    return affected(result)
