"""SQL on erasures.

Rows that are unique by number (contact, conversation, recipient) get ``erased:`` and an id in place
of the number. The rows stay, so that counts and references stay correct.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.erasure import Erasure, ErasureStatus
from crm_api.platform.database import Base, typed_row


@dataclass(frozen=True, slots=True)
class ErasedPerson:
    """The contact of a person who is to be erased. It may be deleted already."""

    id: UUID
    phone: str
    first_name: str | None
    last_name: str | None
    email: str | None
    deleted_at: datetime | None


# The id of a merged duplicate also finds the contact.
FIND_PERSON = text("""
    SELECT c.id, c.phone, c.first_name, c.last_name, c.email, c.deleted_at
    FROM contact c
    WHERE c.id = coalesce(
            (SELECT d.merged_into FROM contact d WHERE d.id = :contact_id), :contact_id)
      AND c.phone NOT LIKE 'erased:%'
""")


async def find_person(session: AsyncSession, *, contact_id: UUID) -> ErasedPerson | None:
    """Return a contact, also a deleted one; None if it was erased or does not exist.

    The id of a merged duplicate finds the contact that it was merged into.
    """
    found = await session.execute(FIND_PERSON, {"contact_id": contact_id})
    return typed_row(ErasedPerson, found.one_or_none())


# FOR UPDATE, because a transaction that adds data for a number holds a share lock on its contact
# row. So that data is either committed and visible to the next statement, or added after the
# erasure. All code locks contacts in the order of their numbers.
LOCK_NUMBERS = text("""
    SELECT c.id FROM contact c
    WHERE c.id = :contact_id OR c.merged_into = :contact_id
       OR c.phone = ANY(CAST(:phones AS text[]))
    ORDER BY c.phone FOR UPDATE
""")


async def lock_person_rows(
    session: AsyncSession, *, contact_id: UUID, phones: Sequence[str]
) -> None:
    """Lock a contact, its merged duplicates and the contacts with these numbers, by number."""
    values = {"contact_id": contact_id, "phones": list(phones)}
    await session.execute(LOCK_NUMBERS, values)


NUMBERS_OF_CONTACTS = text(
    "SELECT c.phone FROM contact c WHERE c.phone = ANY(CAST(:phones AS text[])) ORDER BY c.phone"
)


async def find_contact_numbers(session: AsyncSession, *, phones: Sequence[str]) -> list[str]:
    """Return those of the given numbers that belong to a contact, in order."""
    return list(await session.scalars(NUMBERS_OF_CONTACTS, {"phones": list(phones)}))


CANCEL_QUEUED = text("""
    UPDATE activity a SET status = 'failed', error_code = 'erased', updated_at = :now
    WHERE a.status = 'queued' AND a.phone = ANY(CAST(:phones AS text[])) AND a.origin <> 'campaign'
""")


async def cancel_queued_messages(
    session: AsyncSession, *, phones: Sequence[str], now: datetime
) -> None:
    """Mark the queued messages to these numbers as failed, except campaign messages."""
    await session.execute(CANCEL_QUEUED, {"phones": list(phones), "now": now})


# Duplicates merged into the contact are the same person.
MERGED = text("SELECT d.id, d.phone FROM contact d WHERE d.merged_into = :contact_id")


async def fetch_merged(session: AsyncSession, *, contact_id: UUID) -> dict[UUID, str]:
    """Return the numbers of the duplicates that were merged into a contact, by contact id."""
    rows = await session.execute(MERGED, {"contact_id": contact_id})
    return {row.id: row.phone for row in rows}


# Earlier numbers of the person, without those that another contact has now.
FORMER_NUMBERS = text("""
    SELECT DISTINCT x.phone FROM (
        SELECT a.phone FROM activity a WHERE a.contact_id = ANY(CAST(:ids AS uuid[]))
        UNION ALL
        SELECT t.phone FROM conversation t WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
    ) x
    WHERE x.phone ~ '^[+][0-9]+$' AND NOT EXISTS (
        SELECT 1 FROM contact c
        WHERE c.phone = x.phone AND c.id <> ALL(CAST(:ids AS uuid[])))
""")


async def fetch_former_numbers(session: AsyncSession, *, ids: Sequence[UUID]) -> list[str]:
    """Return the earlier numbers of these contacts, except numbers that another contact has now."""
    return list(await session.scalars(FORMER_NUMBERS, {"ids": list(ids)}))


PROPERTIES_OF = text(
    "SELECT k.property_id FROM property_contact k WHERE k.contact_id = :contact_id"
)


async def fetch_property_ids(session: AsyncSession, *, contact_id: UUID) -> list[UUID]:
    """Return the ids of the properties that a contact belongs to."""
    return list(await session.scalars(PROPERTIES_OF, {"contact_id": contact_id}))


# A property without other contacts is removed too.
DROP_UNUSED_PROPERTIES = text("""
    DELETE FROM property p
    WHERE p.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM property_contact k WHERE k.property_id = p.id)
""")


async def drop_unused_properties(session: AsyncSession, *, ids: Sequence[UUID]) -> None:
    """Delete those of the given properties that no contact belongs to."""
    await session.execute(DROP_UNUSED_PROPERTIES, {"ids": list(ids)})


# Attempts that may have been sent and are not settled. Claimed messages were withdrawn before.
UNDER_WAY = text("""
    SELECT count(*) FROM send_attempt a
    WHERE a.phone = ANY(CAST(:phones AS text[])) AND (a.is_open OR a.status = 'parked')
""")


async def count_open_attempts(session: AsyncSession, *, phones: Sequence[str]) -> int:
    """Count the attempts to send to these numbers whose outcome is not known yet."""
    return int(await session.scalar(UNDER_WAY, {"phones": list(phones)}) or 0)


CONVERSATIONS = text("""
    SELECT t.id FROM conversation t WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
    UNION
    SELECT t.id FROM line l JOIN conversation t ON t.line_id = l.id
    WHERE t.phone = ANY(CAST(:phones AS text[]))
""")

# Another contact may have had the number before. The messages of that contact stay, without the
# number.
ERASE_ACTIVITIES = text("""
    UPDATE activity a
    SET phone = 'erased:' || a.id, updated_at = :now,
        contact_id = CASE WHEN x.is_theirs THEN :contact_id ELSE a.contact_id END,
        body = CASE WHEN NOT x.is_theirs THEN a.body END,
        media = CASE WHEN x.is_theirs THEN '[]' ELSE a.media END,
        call = CASE WHEN x.is_theirs THEN '{}' ELSE a.call END
    FROM (
        SELECT b.id, b.contact_id IS NULL OR b.contact_id = ANY(CAST(:ids AS uuid[])) AS is_theirs
        FROM activity b
        WHERE b.contact_id = ANY(CAST(:ids AS uuid[]))
           OR b.conversation_id = ANY(CAST(:conversation_ids AS uuid[]))
    ) x
    WHERE a.id = x.id
""")

ERASE_CONVERSATIONS = text("""
    UPDATE conversation t SET phone = 'erased:' || t.id, openphone_id = NULL
    WHERE t.id = ANY(CAST(:conversation_ids AS uuid[]))
""")

ERASE_ATTEMPTS = text("""
    UPDATE send_attempt a
    SET phone = 'erased:' || a.id, body = '', error_detail = NULL, updated_at = :now
    WHERE a.phone = ANY(CAST(:phones AS text[]))
""")

FORGET_FAILURES = text("""
    DELETE FROM number_failure f WHERE f.phone = ANY(CAST(:phones AS text[]))
""")

FORGET_STOPS = text("""
    DELETE FROM provider_stop s WHERE s.phone = ANY(CAST(:phones AS text[]))
""")

# The contact's id makes the value unique for each campaign and step. It equals the value in the
# contact's row, so that the statement that derives a recipient's status finds the erased contact.
ERASE_MEMBERSHIPS = text("""
    UPDATE campaign_membership m SET phone = 'erased:' || m.contact_id, updated_at = :now
    WHERE m.phone = ANY(CAST(:phones AS text[]))
""")

# The other fields were cleared when the contact was deleted.
ERASE_CONTACT = text("""
    UPDATE contact c SET phone = 'erased:' || c.id, zone_key = :zone_key, updated_at = :now
    WHERE c.id = ANY(CAST(:ids AS uuid[]))
""")

# Imports store examples of changed contacts.
ERASE_SAMPLES = text("""
    UPDATE contact_import i
    SET sample = coalesce((
        SELECT jsonb_agg(x.one ORDER BY x.place)
        FROM jsonb_array_elements(i.sample) WITH ORDINALITY AS x (one, place)
        WHERE NOT (x.one ->> 'phone' = ANY(CAST(:phones AS text[])))), '[]')
    WHERE EXISTS (
        SELECT 1 FROM jsonb_array_elements(i.sample) AS x (one)
        WHERE x.one ->> 'phone' = ANY(CAST(:phones AS text[])))
""")


async def erase_person(
    session: AsyncSession,
    *,
    ids: Sequence[UUID],
    phones: Sequence[str],
    zone_key: str,
    now: datetime,
) -> None:
    """Remove a person's data from messages, conversations, recipients, imports and contacts.

    The rows stay, because they are counted or other rows refer to them.

    Args:
        ids: The id of the contact, then the ids of the duplicates that were merged into it.
    """
    person: dict[str, Any] = {"ids": list(ids)}
    numbers = {"phones": list(phones)}
    conversations = list(await session.scalars(CONVERSATIONS, person | numbers))
    values = {"contact_id": ids[0], "conversation_ids": conversations, "now": now}
    await session.execute(ERASE_ACTIVITIES, person | values)
    await session.execute(ERASE_CONVERSATIONS, {"conversation_ids": conversations})
    await session.execute(ERASE_ATTEMPTS, numbers | {"now": now})
    await session.execute(ERASE_MEMBERSHIPS, numbers | {"now": now})
    await session.execute(FORGET_FAILURES, numbers)
    await session.execute(FORGET_STOPS, numbers)
    await session.execute(ERASE_SAMPLES, numbers)
    await session.execute(ERASE_CONTACT, person | {"zone_key": zone_key, "now": now})


async def delete_number_rows(session: AsyncSession, *, phones: Sequence[str]) -> None:
    """Delete the rows of these numbers from every table whose primary key is the phone number."""
    for table in Base.metadata.tables.values():
        if [column.name for column in table.primary_key] == ["phone"]:
            await session.execute(delete(table).where(table.c.phone.in_(phones)))


# No index finds these rows. So the job runs these statements, not the request.
ERASE_CHANGES = text("""
    UPDATE contact_import_chunk k
    SET changes[array_position(k.changed_ids, CAST(:contact_id AS uuid))] = '{}'
    WHERE k.changed_ids @> ARRAY[CAST(:contact_id AS uuid)]
""")

FORMER_MEMBERSHIPS = text("""
    UPDATE campaign_membership m SET phone = 'erased:' || m.contact_id
    WHERE m.contact_id = :contact_id AND m.phone NOT LIKE 'erased:%'
""")


async def erase_remains(session: AsyncSession, *, contact_id: UUID) -> None:
    """Remove a contact's values from import changes, and its earlier numbers from recipients."""
    await session.execute(ERASE_CHANGES, {"contact_id": contact_id})
    await session.execute(FORMER_MEMBERSHIPS, {"contact_id": contact_id})


# Files of the contact's messages, except those that a worker is fetching now.
FREE_MEDIA = text("""
    WITH gone AS (
        DELETE FROM media_fetch f USING activity a
        WHERE a.contact_id = :contact_id AND f.activity_id = a.id
          AND NOT (f.status IN ('pending', 'failed') AND f.attempts > 0
                   AND f.next_attempt_at > CAST(:now AS timestamptz)
                   AND f.updated_at > CAST(:now AS timestamptz) - interval '5 minutes')
        RETURNING f.id, f.media_id
    )
    SELECT DISTINCT g.media_id FROM gone g WHERE g.media_id IS NOT NULL
""")

DROP_MEDIA = text("""
    DELETE FROM media m
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM media_fetch f WHERE f.media_id = m.id)
    RETURNING m.sha256
""")


async def release_media(session: AsyncSession, *, contact_id: UUID, now: datetime) -> list[str]:
    """Remove the files of a contact's messages from the database.

    Returns:
        The names in the media store of files that no other message uses.
    """
    ids = list(await session.scalars(FREE_MEDIA, {"contact_id": contact_id, "now": now}))
    return list(await session.scalars(DROP_MEDIA, {"ids": ids})) if ids else []


FETCHES_LEFT = text("""
    SELECT EXISTS (
        SELECT 1 FROM media_fetch f JOIN activity a ON a.id = f.activity_id
        WHERE a.contact_id = :contact_id)
""")


async def has_fetches(session: AsyncSession, *, contact_id: UUID) -> bool:
    """Return True if files of a contact's messages are still to be fetched."""
    return bool(await session.scalar(FETCHES_LEFT, {"contact_id": contact_id}))


STILL_STORED = text("SELECT m.sha256 FROM media m WHERE m.sha256 = ANY(CAST(:names AS text[]))")


async def find_stored_objects(session: AsyncSession, *, names: Sequence[str]) -> set[str]:
    """Return those of the given files in the media store that a message uses."""
    return set(await session.scalars(STILL_STORED, {"names": list(names)}))


async def find_erasure(session: AsyncSession, *, erasure_id: UUID) -> Erasure | None:
    """Read an erasure from the database; None if no erasure has this id."""
    return await session.get(Erasure, erasure_id, populate_existing=True)


async def fetch_erasures(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Erasure]:
    """Fetch up to ``limit`` erasures older than the position ``after``, newest first."""
    statement = select(Erasure)
    if after is not None:
        statement = statement.where(tuple_(Erasure.created_at, Erasure.id) < after)
    ordered = statement.order_by(Erasure.created_at.desc(), Erasure.id.desc()).limit(limit)
    return list(await session.scalars(ordered))


async def claim_due_erasure(
    session: AsyncSession, *, now: datetime, lease_until: datetime
) -> Erasure | None:
    """Claim the erasure that is due longest; None if none is due."""
    due = (
        select(Erasure.id)
        .where(Erasure.status == ErasureStatus.SWEEPING, Erasure.next_at <= now)
        .order_by(Erasure.next_at, Erasure.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(Erasure)
        .where(Erasure.id == due)
        .values(next_at=lease_until)
        .returning(Erasure)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def lock_erasure(session: AsyncSession, *, erasure_id: UUID) -> Erasure | None:
    """Lock an erasure until the transaction ends and return it; None if it is completed."""
    statement = select(Erasure).where(
        Erasure.id == erasure_id, Erasure.status == ErasureStatus.SWEEPING
    )
    locked = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(locked)
