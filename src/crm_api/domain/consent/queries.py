"""Lock the phone numbers of people, and read and write the history of consent decisions."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.consent_state import Decision
from crm_api.domain.consent.models import ConsentEntry, ConsentWording, FlagType

_IS_BLOCKED = f"""EXISTS (
    SELECT 1 FROM contact_flag blocking
    WHERE blocking.phone = {{phone}} AND blocking.flag_type = '{FlagType.BLOCKED_SENDER}'
      AND (blocking.expires_at IS NULL OR blocking.expires_at > CAST(:now AS timestamptz)))"""


def is_blocked_sender(*, phone: str) -> str:
    """Return an SQL condition that is true while a phone number has the flag ``blocked_sender``.

    Messages and calls from such a number need no answer. They do not mark the conversation as
    waiting for an answer, and they cause neither a notice nor an away reply.

    Args:
        phone: The SQL expression of the phone number.
    """
    return _IS_BLOCKED.format(phone=phone)


# The phone numbers are locked in ascending order, as in all other transactions, so that two
# transactions cannot deadlock.
_LOCK_DECISIONS = text("""
    SELECT pg_advisory_xact_lock(hashtextextended(number.phone, 1))
    FROM (
        SELECT DISTINCT one.phone FROM unnest(CAST(:phones AS text[])) AS one (phone)
        ORDER BY one.phone OFFSET 0
    ) number
""")


async def lock_decisions(session: AsyncSession, *, phones: Collection[str]) -> None:
    """Lock phone numbers, so that no other transaction decides about them at the same time.

    If another transaction has locked a number, this function waits. The locks are advisory locks
    and end with the transaction. They are taken in the ascending order of the numbers.
    """
    await session.execute(_LOCK_DECISIONS, {"phones": list(phones)})


# This selects the number of the contact, and the numbers of the duplicates that were merged into
# it.
_NUMBERS_OF_PERSON = text("""
    WITH head AS (
        SELECT coalesce(c.merged_into, c.id) AS id FROM contact c WHERE c.phone = :phone
    )
    SELECT c.phone FROM head h JOIN contact c ON c.id = h.id
    UNION
    SELECT c.phone FROM head h JOIN contact c ON c.merged_into = h.id
""")


async def numbers_of_person(session: AsyncSession, *, phone: str) -> set[str]:
    """Return every phone number of the person to whom ``phone`` belongs.

    The result contains the number of the person's contact, and the numbers of the duplicates that
    were merged into this contact. ``phone`` may be any of these numbers. The result is empty if no
    contact has ``phone``.
    """
    return set(await session.scalars(_NUMBERS_OF_PERSON, {"phone": phone}))


# A merge of contacts waits for these locks. So until the transaction ends, no merge can change
# which numbers belong to a person.
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
    """Lock the contacts with these phone numbers (FOR KEY SHARE), in ascending order of number."""
    await session.execute(_LOCK_CONTACTS, {"phones": list(phones)})


async def numbers_of_people(session: AsyncSession, *, phones: Sequence[str]) -> list[str]:
    """Return the given phone numbers and all other numbers of the same people, in ascending order.

    A person has several numbers if duplicates were merged into the person's contact. A given number
    is in the result even if it belongs to no contact. The contacts with the given numbers are
    locked first.
    """
    await session.execute(_LOCK_CONTACTS, {"phones": list(phones)})
    return list(await session.scalars(_NUMBERS_OF_PEOPLE, {"phones": list(phones)}))


# This selects the numbers whose contact has several numbers because of a merge.
_SHARED_NUMBERS = text("""
    SELECT c.phone FROM contact c
    WHERE c.phone = ANY(CAST(:phones AS text[])) AND (
        c.merged_into IS NOT NULL OR EXISTS (SELECT FROM contact d WHERE d.merged_into = c.id))
""")


async def find_shared_numbers(session: AsyncSession, *, phones: Sequence[str]) -> set[str]:
    """Return the given phone numbers whose owners have more than one phone number.

    A person has several phone numbers if contacts were merged.
    """
    return set(await session.scalars(_SHARED_NUMBERS, {"phones": list(phones)}))


# `least` is needed for entries that were stored by releases before 0.2. These releases stored
# future times that the provider had sent. A decision cannot be later than the storage of its entry,
# so `created_at` is the latest possible time.
_DECISIONS = text("""
    SELECT phone_hash, least(occurred_at, created_at) AS at, action, source FROM consent_entry
    WHERE phone_hash = ANY(CAST(:hashes AS bytea[])) ORDER BY id
""")


async def read_decisions_of_numbers(
    session: AsyncSession, *, hashes: Sequence[bytes]
) -> dict[bytes, list[Decision]]:
    """Return the decisions about each of these phone numbers, in the order of arrival.

    The result has no key for a number without decisions.
    """
    found: dict[bytes, list[Decision]] = {}
    for row in await session.execute(_DECISIONS, {"hashes": list(hashes)}):
        decision = Decision(at=row.at, action=row.action, source=row.source)
        found.setdefault(bytes(row.phone_hash), []).append(decision)
    return found


async def read_decisions(session: AsyncSession, *, phone_hash: bytes) -> list[Decision]:
    """Return the decisions about a phone number, in the order of arrival."""
    found = await read_decisions_of_numbers(session, hashes=[phone_hash])
    return found.get(phone_hash, [])


CANONICAL_WORDING = "jsonb_build_array(w.phone, w.reason, w.note, w.text_shown, w.evidence)::text"
"""SQL for the text that is hashed into ``wording_digest``.

Never change it, because stored digests would no longer match.
"""

_ADD_ENTRIES = text(f"""
    WITH w AS MATERIALIZED (
        SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) AS salt,
               decode(r.phone_hash, 'hex') AS hash, r.*
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
            phone_hash text, contact_id uuid, action text, source text, actor text,
            activity_id uuid, claimed_at timestamptz, occurred_at timestamptz, now timestamptz,
            phone text, reason text, note text, text_shown text, evidence jsonb)
    ), entry AS (
        INSERT INTO consent_entry
            (phone_hash, contact_id, action, source, actor, activity_id, claimed_at, occurred_at,
             created_at, wording_digest)
        SELECT w.hash, w.contact_id, w.action, w.source, w.actor, w.activity_id, w.claimed_at,
               w.occurred_at, w.now,
               sha256(w.salt || convert_to({CANONICAL_WORDING}, 'UTF8'))
        FROM w ORDER BY w.phone
        RETURNING id, phone_hash
    ), unlinked AS (
        INSERT INTO consent_unlinked (entry_id) SELECT id FROM entry
    )
    INSERT INTO consent_wording (entry_id, phone, reason, note, text_shown, evidence, salt)
    SELECT entry.id, w.phone, w.reason, w.note, w.text_shown, w.evidence, w.salt
    FROM entry JOIN w ON w.hash = entry.phone_hash
    RETURNING entry_id
""")


async def add_entries(session: AsyncSession, entries: Sequence[Mapping[str, Any]]) -> list[int]:
    """Insert consent entries with their texts, and return the ids of the entries.

    The ids are also stored in ``consent_unlinked``, so that a worker adds the entries to the hash
    chain.

    Args:
        entries: The arguments of ``add_entry`` for each entry. No two entries may have the same
            phone number.
    """
    rows = [{**entry, "phone_hash": entry["phone_hash"].hex()} for entry in entries]
    # asyncpg uses its own class for UUIDs. orjson cannot write this class, so each UUID is
    # converted by `str`.
    values = {"rows": orjson.dumps(rows, default=str).decode()}
    return list(await session.scalars(_ADD_ENTRIES, values))


async def add_entry(session: AsyncSession, **values: Any) -> int:  # noqa: ANN401 - bind values
    """Insert one consent entry (a decision about a phone number), and return its id.

    ``values`` contains the columns of the entry, and its texts, such as the note.
    """
    (entry_id,) = await add_entries(session, [values])
    return entry_id


async def history(
    session: AsyncSession, *, phone_hash: bytes, before_id: int | None, limit: int
) -> list[tuple[ConsentEntry, ConsentWording | None]]:
    """Return decisions about a phone number, newest first, each with its texts.

    Args:
        before_id: Only entries with a lower id are returned; None for no such limit.

    Returns:
        Pairs of an entry and its texts. The texts are None if they were erased.
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


_EVIDENCE_OF_MESSAGES = text("""
    SELECT DISTINCT ON (message.message_id) message.message_id, w.evidence
    FROM unnest(CAST(:hashes AS bytea[]), CAST(:message_ids AS text[]))
        AS message (phone_hash, message_id)
    JOIN consent_entry e ON e.phone_hash = message.phone_hash AND e.source = 'message'
    JOIN consent_wording w ON w.entry_id = e.id
        AND w.evidence ->> 'message_id' = message.message_id
    ORDER BY message.message_id, e.id
""")


async def evidence_of_messages(
    session: AsyncSession, messages: Mapping[str, bytes]
) -> dict[str, dict[str, Any]]:
    """Return the evidence of the consent decisions that the given messages caused.

    Args:
        messages: Maps the provider's id of each message to the hash of the sender's phone number.

    Returns:
        The evidence by the provider's message id. A message without a decision is left out.
    """
    values = {"hashes": list(messages.values()), "message_ids": list(messages)}
    found = await session.execute(_EVIDENCE_OF_MESSAGES, values)
    return {row.message_id: row.evidence for row in found}
