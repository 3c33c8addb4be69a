"""Numbers that must not be texted although no person said so here: lists, and who was erased.

Of an erased number only a keyed hash is left. Wherever such a number comes in again, its flag is
put back in the same transaction, before anything can be sent to it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import UnitOfWork
from crm_api.domain.consent import queries
from crm_api.domain.consent.hashing import hash_phone
from crm_api.domain.consent.models import FlagType
from crm_api.domain.sends import service as sends

ERASED_REASON = "the person had their data erased"
"""Stands on the flag of a number that comes in again."""


async def put_off_limits(
    uow: UnitOfWork, *, phones: Sequence[str], reason: str, now: datetime
) -> None:
    """Flag numbers ``do_not_contact`` for good and take back what waits for them.

    With a number that was merged all numbers of the person are meant.

    A reason that stands stays; nothing is said by the persons, so no entry is left.
    """
    phones = await queries.numbers_of_people(uow.session, phones=phones)
    await queries.stand_flags(
        uow.session, phones=phones, flag=FlagType.DO_NOT_CONTACT, reason=reason, now=now
    )
    await sends.withdraw_numbers(uow, phones=phones, now=now)


async def suppress_erased(
    uow: UnitOfWork, *, phones: Collection[str], now: datetime, secret: bytes
) -> set[str]:
    """Put ``do_not_contact`` back on those of these numbers whose person was erased.

    Called wherever a contact comes into being or a text is about to be made, before that; one
    look by index when nobody was.

    Returns:
        The numbers that were.
    """
    if not phones:
        return set()
    hashes = {hash_phone(phone, secret): phone for phone in phones}
    found = await queries.erased(uow.session, hashes=list(hashes))
    barred = sorted(hashes[row.phone_hash] for row in found if row.lifted_at is None)
    if barred:
        await put_off_limits(uow, phones=barred, reason=ERASED_REASON, now=now)
    return set(barred)


async def erased_since(
    session: AsyncSession, phones: Collection[str], *, secret: bytes
) -> dict[str, datetime]:
    """Return when the persons of numbers were erased; what is older must not come back."""
    if not phones:
        return {}
    hashes = {hash_phone(phone, secret): phone for phone in phones}
    found = await queries.erased(session, hashes=list(hashes))
    return {hashes[row.phone_hash]: row.erased_at for row in found}


async def note_erased(
    uow: UnitOfWork, *, phones: Collection[str], now: datetime, secret: bytes
) -> None:
    """Keep the hash of numbers whose person is erased, and take away their flags and words.

    What was decided stays in the history, without number and words.
    """
    hashes = [hash_phone(phone, secret) for phone in sorted(phones)]
    await queries.note_erased(uow.session, hashes=hashes, now=now)
    await queries.erase_words(uow.session, hashes=hashes)
    await queries.erase_flags(uow.session, phones=sorted(phones))


async def lift(uow: UnitOfWork, *, phone: str, now: datetime, secret: bytes) -> None:
    """Let a number be texted again although its person was once erased, by a user's word."""
    await queries.lift_erased(uow.session, phone_hash=hash_phone(phone, secret), now=now)
