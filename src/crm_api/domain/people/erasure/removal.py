"""SQL that an erasure uses to remove a person's data from the tables.

Some rows must have a unique phone number (contacts, conversations, recipients). These rows stay, so
that counts and references stay correct. Their phone number is replaced by ``erased:`` and an id.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import Base

CONVERSATIONS = text("""
    SELECT t.id FROM conversation t WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
    UNION
    SELECT t.id FROM line l JOIN conversation t ON t.line_id = l.id
    WHERE t.phone = ANY(CAST(:phones AS text[]))
""")


# The number may have belonged to another contact before. The messages of that other contact are not
# deleted, but their phone number is removed.
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
    UPDATE conversation t
    SET phone = 'erased:' || t.id, openphone_id = NULL, state = 'done', waiting_since = NULL,
        snoozed_until = NULL, assignee_id = NULL, decided_at = :now, decided_since = NULL,
        updated_at = :now
    WHERE t.id = ANY(CAST(:conversation_ids AS uuid[]))
""")


FORGET_TASKS = text("""
    DELETE FROM task t
    WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
       OR t.conversation_id = ANY(CAST(:conversation_ids AS uuid[]))
""")


# The row of the appointment is kept, so that it is still included in statistics. The data about the
# person is removed.
ERASE_APPOINTMENTS = text("""
    UPDATE appointment t
    SET contact_id = NULL, property_id = NULL, location = NULL, note = NULL,
        sequence = sequence + 1, updated_at = :now
    WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
""")


# The amounts of a quote are kept. Its references to the person and to the property are removed.
ERASE_QUOTES = text("""
    UPDATE quote t SET contact_id = NULL, property_id = NULL, updated_at = :now
    WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
""")


ERASE_INVOICES = text("""
    UPDATE invoice t SET contact_id = NULL, property_id = NULL, updated_at = :now
    WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
""")


FORGET_DRAFTS = text("""
    DELETE FROM conversation_draft t
    WHERE t.conversation_id = ANY(CAST(:conversation_ids AS uuid[]))
""")


FORGET_READING = text("""
    DELETE FROM conversation_read t
    WHERE t.conversation_id = ANY(CAST(:conversation_ids AS uuid[]))
""")


FORGET_TALK_NOTES = text("""
    DELETE FROM conversation_note t
    WHERE t.conversation_id = ANY(CAST(:conversation_ids AS uuid[]))
""")


# An outcome contains only amounts and dates, so the outcome and its credits are kept. The data
# about the person is removed from ``outcome_subject``.
ERASE_OUTCOMES = text("""
    UPDATE outcome_subject s
    SET contact_id = coalesce(s.contact_id, :contact_id), phone = NULL, external_id = NULL
    WHERE s.contact_id = ANY(CAST(:ids AS uuid[])) OR s.phone = ANY(CAST(:phones AS text[]))
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


# The phone number of a recipient is replaced by a value with the contact's id. This makes the value
# unique for each campaign and step. The row of the contact gets the same value, so the statement
# that computes the status of a recipient still finds the contact.
ERASE_MEMBERSHIPS = text("""
    UPDATE campaign_membership m SET phone = 'erased:' || m.contact_id, updated_at = :now
    WHERE m.phone = ANY(CAST(:phones AS text[]))
""")


# This statement changes only these fields, because the deletion of the contact has already cleared
# the other fields.
ERASE_CONTACT = text("""
    UPDATE contact c SET phone = 'erased:' || c.id, zone_key = :zone_key, updated_at = :now
    WHERE c.id = ANY(CAST(:ids AS uuid[]))
""")


# An import stores some of the changed contacts as examples. This removes the examples with the
# person's phone numbers.
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

    Rows that are counted, or that other rows refer to, stay without the data. Rows that are only
    about the person are deleted.

    Args:
        ids: The id of the contact, then the ids of its merged duplicates.
    """
    person: dict[str, Any] = {"ids": list(ids)}
    numbers = {"phones": list(phones)}
    conversations = list(await session.scalars(CONVERSATIONS, person | numbers))
    values = {"contact_id": ids[0], "conversation_ids": conversations, "now": now}
    await session.execute(ERASE_ACTIVITIES, person | values)
    await session.execute(ERASE_CONVERSATIONS, {"conversation_ids": conversations, "now": now})
    await session.execute(FORGET_TASKS, person | {"conversation_ids": conversations})
    for erase in (ERASE_APPOINTMENTS, ERASE_QUOTES, ERASE_INVOICES):
        await session.execute(erase, person | {"now": now})
    await session.execute(FORGET_DRAFTS, {"conversation_ids": conversations})
    await session.execute(FORGET_READING, {"conversation_ids": conversations})
    await session.execute(FORGET_TALK_NOTES, {"conversation_ids": conversations})
    await session.execute(ERASE_OUTCOMES, person | numbers | {"contact_id": ids[0]})
    await session.execute(ERASE_ATTEMPTS, numbers | {"now": now})
    await session.execute(ERASE_MEMBERSHIPS, numbers | {"now": now})
    await session.execute(FORGET_FAILURES, numbers)
    await session.execute(FORGET_STOPS, numbers)
    await session.execute(ERASE_SAMPLES, numbers)
    await session.execute(ERASE_CONTACT, person | {"zone_key": zone_key, "now": now})


async def delete_number_rows(session: AsyncSession, *, phones: Sequence[str]) -> None:
    """Delete the rows of these phone numbers from each table whose key is a phone number."""
    for table in Base.metadata.tables.values():
        if [column.name for column in table.primary_key] == ["phone"]:
            await session.execute(delete(table).where(table.c.phone.in_(phones)))


PROPERTIES_OF = text(
    "SELECT k.property_id FROM property_contact k WHERE k.contact_id = :contact_id"
)


async def fetch_property_ids(session: AsyncSession, *, contact_id: UUID) -> list[UUID]:
    """Return the ids of the properties that a contact belongs to."""
    return list(await session.scalars(PROPERTIES_OF, {"contact_id": contact_id}))


# Delete the properties that no longer belong to any contact.
DROP_UNUSED_PROPERTIES = text("""
    DELETE FROM property p
    WHERE p.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM property_contact k WHERE k.property_id = p.id)
""")


async def drop_unused_properties(session: AsyncSession, *, ids: Sequence[UUID]) -> None:
    """Delete the given properties if no contact belongs to them."""
    await session.execute(DROP_UNUSED_PROPERTIES, {"ids": list(ids)})
