"""Read and change the flags of phone numbers, and apply consent decisions to the flags."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import case, delete, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import queries
from crm_api.domain.consent.consent_state import ConsentState, Decision, apply_decision
from crm_api.domain.consent.models import SUPPRESSING_FLAGS, ContactFlag, hash_phone
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

EXPIRED_AT_ONCE = 5_000
"""The largest number of expired flags that one run of ``expire_flags`` deletes."""


async def flags_of(
    session: AsyncSession, phones: Sequence[str], *, now: datetime
) -> dict[str, set[str]]:
    """Return the names of the unexpired flags of each number; an empty set if it has no flag."""
    statement = (
        select(ContactFlag.phone, ContactFlag.flag_type)
        .where(
            ContactFlag.phone.in_(phones),
            or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now),
        )
        .order_by(ContactFlag.phone, ContactFlag.flag_type)
    )
    found: dict[str, set[str]] = {phone: set() for phone in phones}
    for row in await session.execute(statement):
        found[row.phone].add(row.flag_type)
    return found


async def flag_rows(session: AsyncSession, *, phone: str, now: datetime) -> list[ContactFlag]:
    """Return the rows of the unexpired flags of a number, ordered by the flag's name."""
    statement = (
        select(ContactFlag)
        .where(
            ContactFlag.phone == phone,
            or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now),
        )
        .order_by(ContactFlag.flag_type)
        .execution_options(populate_existing=True)
    )
    return list(await session.scalars(statement))


async def ends_of_flag(
    session: AsyncSession, phones: Sequence[str], *, flag: str, now: datetime
) -> list[datetime | None]:
    """Return when ``flag`` ends, for each number in ``phones`` that has it.

    Expired flags are ignored. The end is None if the flag never expires.
    """
    statement = select(ContactFlag.expires_at).where(
        ContactFlag.phone.in_(phones),
        ContactFlag.flag_type == flag,
        or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now),
    )
    return list(await session.scalars(statement))


async def find_suppressed_numbers(
    session: AsyncSession, phones: Sequence[str], *, now: datetime
) -> set[str]:
    """Return the numbers in ``phones`` with a flag in ``SUPPRESSING_FLAGS``.

    These flags stop campaign messages: an opt-out, a hold, and ``do_not_contact``. Expired flags
    are ignored.
    """
    found = await flags_of(session, phones, now=now)
    return {phone for phone, flags in found.items() if flags.intersection(SUPPRESSING_FLAGS)}


HELD = text("""
    SELECT c.id FROM contact c
    WHERE c.id = ANY(CAST(:contact_ids AS uuid[])) AND EXISTS (
        SELECT 1 FROM contact_flag f
        WHERE f.phone = c.phone AND f.flag_type = 'opt_out_hold'
          AND (f.expires_at IS NULL OR f.expires_at > :now))
""")


async def find_contacts_on_hold(
    session: AsyncSession, *, contact_ids: Sequence[UUID], now: datetime
) -> set[UUID]:
    """Return the ids of the contacts whose number has the flag ``opt_out_hold``."""
    values = {"contact_ids": list(contact_ids), "now": now}
    return set(await session.scalars(HELD, values))


async def follow_decision(
    uow: UnitOfWork,
    new: Decision,
    *,
    phone: str,
    reason: str | None,
    now: datetime,
    secret: bytes,
) -> tuple[ConsentState, ConsentState]:
    """Derive a number's consent from its history and a new decision, and set the number's flags.

    The caller must first call ``lock_decisions`` for the number, and afterwards append the decision
    to the history. If the number is now opted out or on hold, its waiting messages are withdrawn.
    If not, campaign recipients with the status ``held`` may get their message. If an opt-out has
    ended, its confirmation is withdrawn.

    Returns:
        The consent of the number before and after the decision.
    """
    before = ConsentState.of_flags((await flags_of(uow.session, [phone], now=now))[phone])
    history = await queries.read_decisions(uow.session, phone_hash=hash_phone(phone, secret))
    after = apply_decision(history, new=new, now=before)
    if after.flags:
        new_flags = [NewFlag(phone, flag, reason) for flag in after.flags]
        await set_flags(uow.session, new_flags, now=now)
    gone = [(phone, flag) for flag in before.flags - after.flags]
    if gone:
        await end_flags(uow.session, gone)
    if before.opted_out and not after.opted_out:
        await sends.withdraw_confirmations(uow.session, phones=[phone], now=now)
    if after.flags:
        await sends.withdraw_numbers(uow, phones=[phone], now=now)
    else:
        await sends.restore_held_recipients(uow, phones=[phone], now=now)
    return before, after


class NewFlag(NamedTuple):
    """A flag to set on a number, and why; None as ``expires_at`` means that it never expires."""

    phone: str
    flag: str
    reason: str | None
    expires_at: datetime | None = None


SET_FLAGS = text("""
    INSERT INTO contact_flag AS f (id, phone, flag_type, reason, expires_at, created_at)
    SELECT uuid_v7(), one.phone, one.flag, one.reason, one.expires_at, :now
    FROM unnest(CAST(:phones AS text[]), CAST(:flags AS text[]), CAST(:reasons AS text[]),
                CAST(:ends AS timestamptz[])) AS one (phone, flag, reason, expires_at)
    ORDER BY one.phone, one.flag
    ON CONFLICT (phone, flag_type) DO UPDATE
    SET reason = excluded.reason, expires_at = excluded.expires_at,
        created_at = excluded.created_at
    WHERE f.expires_at IS NOT NULL
      AND (excluded.expires_at IS NULL OR excluded.expires_at > f.expires_at)
""")


async def set_flags(session: AsyncSession, new: Sequence[NewFlag], *, now: datetime) -> None:
    """Set flags on phone numbers, and never shorten a flag.

    If a number already has the flag, the new flag replaces it only if the new flag ends later. A
    flag without an expiry ends later than every other flag. All rows are locked in the order of the
    numbers, even unchanged rows. So decisions about a number run one after the other, without
    deadlocks.

    Args:
        new: A pair of number and flag may occur only once.
    """
    values = {
        "phones": [one.phone for one in new],
        "flags": [one.flag for one in new],
        "reasons": [one.reason for one in new],
        "ends": [one.expires_at for one in new],
        "now": now,
    }
    await session.execute(SET_FLAGS, values)


END_FLAGS = text("""
    DELETE FROM contact_flag f
    USING unnest(CAST(:phones AS text[]), CAST(:flags AS text[])) AS ended (phone, flag)
    WHERE f.phone = ended.phone AND f.flag_type = ended.flag
""")


async def end_flags(session: AsyncSession, ended: Sequence[tuple[str, str]]) -> None:
    """Remove flags from several numbers; ``ended`` has pairs of a number and a flag's name."""
    values = {"phones": [phone for phone, _ in ended], "flags": [flag for _, flag in ended]}
    await session.execute(END_FLAGS, values)


async def put_flag(
    session: AsyncSession,
    *,
    phone: str,
    flag: str,
    reason: str | None,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    """Set a flag on a number; if the flag already exists, replace the flag's reason and expiry.

    If the existing flag has expired, its creation time is replaced too.
    """
    statement = insert(ContactFlag).values(
        id=new_id(),
        phone=phone,
        flag_type=flag,
        reason=reason,
        expires_at=expires_at,
        created_at=now,
    )
    new = statement.excluded
    begun = case((ContactFlag.expires_at <= now, new.created_at), else_=ContactFlag.created_at)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["phone", "flag_type"],
            set_={"reason": new.reason, "expires_at": new.expires_at, "created_at": begun},
        )
    )


async def erase_flags(session: AsyncSession, *, phones: Sequence[str]) -> None:
    """Remove every flag from these numbers."""
    await session.execute(delete(ContactFlag).where(ContactFlag.phone.in_(phones)))


EXPIRE_FLAGS = text("""
    DELETE FROM contact_flag f
    USING (
        SELECT id FROM contact_flag WHERE expires_at <= :now
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ) ended
    WHERE f.id = ended.id
    RETURNING f.id
""")


async def expire_flags(uow: UnitOfWork, *, now: datetime, limit: int = EXPIRED_AT_ONCE) -> int:
    """Delete up to ``limit`` expired flags; flags that expired first are deleted first.

    The deletion does not change which messages are sent, because expired flags have no effect.

    Returns:
        The number of deleted flags; less than ``limit`` if no expired flag is left.
    """
    return len((await uow.session.execute(EXPIRE_FLAGS, {"now": now, "limit": limit})).all())
