"""Lock the numbers of people, and read and write the history of consent decisions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.consent_state import Decision
from crm_api.domain.consent.models import (
    ConsentEntry,
    ConsentWording,
)

_LOCK_DECISIONS = text("SELECT pg_advisory_xact_lock(hashtextextended(:phone, 1))")


async def lock_decisions(session: AsyncSession, *, phone: str) -> None:
    """Wait until no other transaction decides about this number; then lock the number.

    The lock is an advisory lock. It ends with the transaction.
    """
    await session.execute(_LOCK_DECISIONS, {"phone": phone})


# The number of the contact, and the numbers of the duplicates that were merged into it.
_NUMBERS_OF_PERSON = text("""
    WITH head AS (
        SELECT coalesce(c.merged_into, c.id) AS id FROM contact c WHERE c.phone = :phone
    )
    SELECT c.phone FROM head h JOIN contact c ON c.id = h.id
    UNION
    SELECT c.phone FROM head h JOIN contact c ON c.merged_into = h.id
""")


async def numbers_of_person(session: AsyncSession, *, phone: str) -> set[str]:
    """Return every phone number of the person whose contact has ``phone``.

    These are the contact's own number and the numbers of the duplicates that were merged into the
    contact. The set is empty if no contact has the number.
    """
    return set(await session.scalars(_NUMBERS_OF_PERSON, {"phone": phone}))


# A merge of contacts conflicts with these locks. So no merge can change which numbers belong to a
# person until the transaction ends.
_LOCK_CONTACTS = text("""
    SELECT FROM contact WHERE phone = ANY(CAST(:phones AS text[])) ORDER BY phone FOR KEY SHARE
""")
_NUMBERS_OF_PEOPLE = text("""
    WITH head AS (
        SELECT DISTINCT coalesce(c.merged_into, c.id) AS id FROM contact c
        WHERE c.phone = ANY(CAST(:phones AS text[]))
    )
    SELECT unnest(CAST(:phones AS text[])) AS phone
    UNION
    SELECT c.phone FROM head h JOIN contact d ON d.merged_into = h.id JOIN contact c ON c.id = h.id
    UNION
    SELECT d.phone FROM head h JOIN contact d ON d.merged_into = h.id
    ORDER BY phone
""")


async def lock_contacts(session: AsyncSession, *, phones: Sequence[str]) -> None:
    """Lock the contacts that have these numbers (FOR KEY SHARE), in the order of the numbers."""
    await session.execute(_LOCK_CONTACTS, {"phones": list(phones)})


async def numbers_of_people(session: AsyncSession, *, phones: Sequence[str]) -> list[str]:
    """Lock the contacts that have these numbers, and return all numbers of these people.

    The result is ascending. It includes the given numbers, even if no contact has them.
    """
    await session.execute(_LOCK_CONTACTS, {"phones": list(phones)})
    return list(await session.scalars(_NUMBERS_OF_PEOPLE, {"phones": list(phones)}))


async def read_decisions(session: AsyncSession, *, phone_hash: bytes) -> list[Decision]:
    """Return the decisions about a number, in the order of arrival.

    The time of a decision is never later than the time at which its entry was stored. Releases
    before 0.2 stored future times that the provider had sent.
    """
    at = func.least(ConsentEntry.occurred_at, ConsentEntry.created_at)
    statement = (
        select(at, ConsentEntry.action, ConsentEntry.source)
        .where(ConsentEntry.phone_hash == phone_hash)
        .order_by(ConsentEntry.id)
    )
    return [Decision(*row) for row in await session.execute(statement)]


CANONICAL_WORDING = "jsonb_build_array(w.phone, w.reason, w.note, w.text_shown, w.evidence)::text"
"""SQL for the text that is hashed into ``wording_digest``.

Never change it, because stored digests would no longer match.
"""

_ADD_ENTRY = text(f"""
    WITH w AS (
        SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) AS salt,
               CAST(:phone AS text) AS phone, CAST(:reason AS text) AS reason,
               CAST(:note AS text) AS note, CAST(:text_shown AS text) AS text_shown,
               CAST(:evidence AS jsonb) AS evidence
    ), entry AS (
        INSERT INTO consent_entry
            (phone_hash, contact_id, action, source, actor, activity_id, claimed_at, occurred_at,
             created_at, wording_digest)
        SELECT CAST(:phone_hash AS bytea), CAST(:contact_id AS uuid), CAST(:action AS text),
               CAST(:source AS text), CAST(:actor AS text), CAST(:activity_id AS uuid),
               CAST(:claimed_at AS timestamptz), CAST(:occurred_at AS timestamptz),
               CAST(:now AS timestamptz),
               sha256(w.salt || convert_to({CANONICAL_WORDING}, 'UTF8'))
        FROM w
        RETURNING id
    ), unlinked AS (
        INSERT INTO consent_unlinked (entry_id) SELECT id FROM entry
    )
    INSERT INTO consent_wording (entry_id, phone, reason, note, text_shown, evidence, salt)
    SELECT entry.id, w.phone, w.reason, w.note, w.text_shown, w.evidence, w.salt FROM entry, w
    RETURNING entry_id
""").bindparams(bindparam("evidence", type_=JSONB))


async def add_entry(session: AsyncSession, **values: Any) -> int:  # noqa: ANN401 - bind values
    """Insert a consent entry, its words, and the request to link it; return the entry's id."""
    entry_id: int = (await session.execute(_ADD_ENTRY, values)).scalar_one()
    return entry_id


async def history(
    session: AsyncSession, *, phone_hash: bytes, before_id: int | None, limit: int
) -> list[tuple[ConsentEntry, ConsentWording | None]]:
    """Return decisions about a number, newest first, each with its words.

    Args:
        before_id: Only entries with a lower id; None starts with the newest entry.

    Returns:
        Pairs of an entry and its words; the words are None if they were erased.
    """
    statement = (
        select(ConsentEntry, ConsentWording)
        .outerjoin(ConsentWording, ConsentWording.entry_id == ConsentEntry.id)
        .where(ConsentEntry.phone_hash == phone_hash)
    )
    if before_id is not None:
        statement = statement.where(ConsentEntry.id < before_id)
    newest = statement.order_by(ConsentEntry.id.desc()).limit(limit)
    return [(entry, wording) for entry, wording in await session.execute(newest)]


_EVIDENCE_OF_MESSAGE = text("""
    SELECT w.evidence FROM consent_entry e JOIN consent_wording w ON w.entry_id = e.id
    WHERE e.phone_hash = :phone_hash AND e.source = 'message'
      AND w.evidence ->> 'message_id' = :message_id
    ORDER BY e.id LIMIT 1
""")


async def evidence_of_message(
    session: AsyncSession, *, phone_hash: bytes, message_id: str
) -> dict[str, Any] | None:
    """Return the evidence of the consent entry about a message; None if there is no such entry.

    Args:
        message_id: The id of the message at the provider. A message that came over an unknown line
            has only this id.
    """
    values = {"phone_hash": phone_hash, "message_id": message_id}
    evidence: dict[str, Any] | None = await session.scalar(_EVIDENCE_OF_MESSAGE, values)
    return evidence
