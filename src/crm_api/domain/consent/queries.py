"""SQL on flags and on the consent history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, case, delete, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import (
    ConsentEntry,
    ConsentWording,
    ContactFlag,
    ErasedNumber,
)
from crm_api.ids import new_id

HELD = text("""
    SELECT c.id FROM contact c
    WHERE c.id = ANY(CAST(:contact_ids AS uuid[])) AND EXISTS (
        SELECT 1 FROM contact_flag f
        WHERE f.phone = c.phone AND f.flag_type = 'opt_out_hold'
          AND (f.expires_at IS NULL OR f.expires_at > :now))
""")


async def held(
    session: AsyncSession, *, contact_ids: Sequence[UUID], now: datetime
) -> Sequence[UUID]:
    """Fetch those of the contacts whose number is on hold."""
    found = await session.execute(HELD, {"contact_ids": list(contact_ids), "now": now})
    return found.scalars().all()


async def stand_flag(
    session: AsyncSession, *, phone: str, flag: str, reason: str | None, now: datetime
) -> bool:
    """Put a flag on a number for good; False when it already stands so, and then keep that row."""
    statement = insert(ContactFlag).values(
        id=new_id(), phone=phone, flag_type=flag, reason=reason, created_at=now
    )
    told = statement.excluded
    # The row is locked also where nothing changes, so that two decisions take turns.
    statement = statement.on_conflict_do_update(
        index_elements=["phone", "flag_type"],
        set_={"reason": told.reason, "expires_at": None, "created_at": told.created_at},
        where=ContactFlag.expires_at.is_not(None),
    )
    return await session.scalar(statement.returning(ContactFlag.id)) is not None


STAND_FLAGS = text("""
    INSERT INTO contact_flag AS f (id, phone, flag_type, reason, created_at)
    SELECT uuid_v7(), one.phone, :flag, :reason, :now
    FROM unnest(CAST(:phones AS text[])) AS one (phone) ORDER BY one.phone
    ON CONFLICT (phone, flag_type) DO UPDATE
    SET reason = excluded.reason, expires_at = NULL, created_at = excluded.created_at
    WHERE f.expires_at IS NOT NULL
""")


async def stand_flags(
    session: AsyncSession, *, phones: Sequence[str], flag: str, reason: str | None, now: datetime
) -> None:
    """Put a flag on numbers for good; where it already stands so, that row is kept."""
    values = {"phones": list(phones), "flag": flag, "reason": reason, "now": now}
    await session.execute(STAND_FLAGS, values)


async def put_flag(
    session: AsyncSession,
    *,
    phone: str,
    flag: str,
    reason: str | None,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    """Put a flag on a number, or replace its reason and expiry; one that had ended begins anew."""
    statement = insert(ContactFlag).values(
        id=new_id(),
        phone=phone,
        flag_type=flag,
        reason=reason,
        expires_at=expires_at,
        created_at=now,
    )
    told = statement.excluded
    begun = case((ContactFlag.expires_at <= now, told.created_at), else_=ContactFlag.created_at)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["phone", "flag_type"],
            set_={"reason": told.reason, "expires_at": told.expires_at, "created_at": begun},
        )
    )


async def remove_flags(
    session: AsyncSession, *, phone: str, flags: Sequence[str], now: datetime
) -> set[str]:
    """Take flags off a number; the names of those that stood."""
    statement = (
        delete(ContactFlag)
        .where(ContactFlag.phone == phone, ContactFlag.flag_type.in_(flags))
        .returning(ContactFlag.flag_type, ContactFlag.expires_at)
    )
    rows = await session.execute(statement)
    return {name for name, expires_at in rows if expires_at is None or expires_at > now}


async def flags_of(
    session: AsyncSession, *, phones: Sequence[str], now: datetime
) -> Sequence[Row[str, str]]:
    """Fetch (phone, flag) of every flag that stands on these numbers."""
    statement = (
        select(ContactFlag.phone, ContactFlag.flag_type)
        .where(
            ContactFlag.phone.in_(phones),
            or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now),
        )
        .order_by(ContactFlag.phone, ContactFlag.flag_type)
    )
    return (await session.execute(statement)).all()


async def flag_rows(session: AsyncSession, *, phone: str, now: datetime) -> Sequence[ContactFlag]:
    """Fetch the flags that stand on a number, by name."""
    statement = (
        select(ContactFlag)
        .where(
            ContactFlag.phone == phone,
            or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now),
        )
        .order_by(ContactFlag.flag_type)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).all()


_EXPIRE = text("""
    DELETE FROM contact_flag f
    USING (
        SELECT id FROM contact_flag WHERE expires_at <= :now
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ) ended
    WHERE f.id = ended.id
    RETURNING f.id
""")


async def expire_flags(session: AsyncSession, *, now: datetime, limit: int) -> int:
    """Remove flags that have ended, the longest ended first; how many."""
    return len((await session.execute(_EXPIRE, {"now": now, "limit": limit})).all())


async def erased(
    session: AsyncSession, *, hashes: Sequence[bytes]
) -> Sequence[Row[bytes, datetime, datetime | None]]:
    """Fetch which of these numbers' persons were erased, and when."""
    number = ErasedNumber
    statement = select(number.phone_hash, number.erased_at, number.lifted_at)
    return (await session.execute(statement.where(number.phone_hash.in_(hashes)))).all()


async def note_erased(session: AsyncSession, *, hashes: Sequence[bytes], now: datetime) -> None:
    """Keep the hashes of erased numbers; one that was lifted is barred again."""
    rows = [{"phone_hash": one, "erased_at": now} for one in hashes]
    statement = insert(ErasedNumber).values(rows)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["phone_hash"],
            set_={"erased_at": statement.excluded.erased_at, "lifted_at": None},
        )
    )


async def lift_erased(session: AsyncSession, *, phone_hash: bytes, now: datetime) -> None:
    """Note that an erased number may be texted again."""
    statement = update(ErasedNumber).where(ErasedNumber.phone_hash == phone_hash)
    await session.execute(statement.values(lifted_at=now))


ERASE_WORDS = text("""
    DELETE FROM consent_wording w USING consent_entry e
    WHERE e.phone_hash = ANY(CAST(:hashes AS bytea[])) AND w.entry_id = e.id
""")


async def erase_words(session: AsyncSession, *, hashes: Sequence[bytes]) -> None:
    """Remove number and words of all decisions about these numbers; the entries stay."""
    await session.execute(ERASE_WORDS, {"hashes": list(hashes)})


async def erase_flags(session: AsyncSession, *, phones: Sequence[str]) -> None:
    """Remove every flag of these numbers."""
    await session.execute(delete(ContactFlag).where(ContactFlag.phone.in_(phones)))


_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended(:phone, 1))")


async def take_turns(session: AsyncSession, *, phone: str) -> None:
    """Wait until no other transaction decides about this number; ends with the transaction."""
    await session.execute(_TAKE_TURNS, {"phone": phone})


# The contact's own number, and those of the duplicates that were merged into it.
_NUMBERS_OF_PERSON = text("""
    WITH head AS (
        SELECT coalesce(c.merged_into, c.id) AS id FROM contact c WHERE c.phone = :phone
    )
    SELECT c.phone FROM head h JOIN contact c ON c.id = h.id
    UNION
    SELECT c.phone FROM head h JOIN contact c ON c.merged_into = h.id
""")


async def numbers_of_person(session: AsyncSession, *, phone: str) -> set[str]:
    """Fetch all numbers of whoever has this one; nobody may."""
    return set(await session.scalars(_NUMBERS_OF_PERSON, {"phone": phone}))


# A merge waits for these numbers' row, or has to be over: either way it is known who is who.
_HOLD_NUMBERS = text("""
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


async def numbers_of_people(session: AsyncSession, *, phones: Sequence[str]) -> list[str]:
    """Fetch these numbers with all others of the same people, and hold who has them."""
    await session.execute(_HOLD_NUMBERS, {"phones": list(phones)})
    return list(await session.scalars(_NUMBERS_OF_PEOPLE, {"phones": list(phones)}))


async def decisions(session: AsyncSession, *, phone_hash: bytes) -> list[tuple[datetime, str]]:
    """Fetch when and what was decided about a number, in the order of arrival."""
    statement = (
        select(ConsentEntry.occurred_at, ConsentEntry.action)
        .where(ConsentEntry.phone_hash == phone_hash)
        .order_by(ConsentEntry.id)
    )
    return [(at, action) for at, action in await session.execute(statement)]


CANONICAL_WORDING = "jsonb_build_array(w.phone, w.reason, w.note, w.text_shown, w.evidence)::text"
"""The text under a wording's digest; never changed, or the digests that are there fit no more."""

_ADD_ENTRY = text(f"""
    WITH w AS (
        SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) AS salt,
               CAST(:phone AS text) AS phone, CAST(:reason AS text) AS reason,
               CAST(:note AS text) AS note, CAST(:text_shown AS text) AS text_shown,
               CAST(:evidence AS jsonb) AS evidence
    ), entry AS (
        INSERT INTO consent_entry
            (phone_hash, contact_id, action, source, actor, activity_id, occurred_at, created_at,
             wording_digest)
        SELECT CAST(:phone_hash AS bytea), CAST(:contact_id AS uuid), CAST(:action AS text),
               CAST(:source AS text), CAST(:actor AS text), CAST(:activity_id AS uuid),
               CAST(:occurred_at AS timestamptz), CAST(:now AS timestamptz),
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
    """Append a decision and its wording; the entry's id."""
    entry_id: int = (await session.execute(_ADD_ENTRY, values)).scalar_one()
    return entry_id


async def history(
    session: AsyncSession, *, phone_hash: bytes, before_id: int | None, limit: int
) -> Sequence[Row[ConsentEntry, ConsentWording | None]]:
    """Fetch the decisions about a number, newest first, each with its wording if it is kept."""
    statement = (
        select(ConsentEntry, ConsentWording)
        .outerjoin(ConsentWording, ConsentWording.entry_id == ConsentEntry.id)
        .where(ConsentEntry.phone_hash == phone_hash)
    )
    if before_id is not None:
        statement = statement.where(ConsentEntry.id < before_id)
    return (await session.execute(statement.order_by(ConsentEntry.id.desc()).limit(limit))).all()
