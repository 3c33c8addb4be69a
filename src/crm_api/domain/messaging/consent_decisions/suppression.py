"""Set the flag ``do_not_contact`` for an uploaded list of numbers, or after a person was erased.

After an erasure, the service keeps only a keyed hash of the phone number. If a transaction stores
the number again, the same transaction sets ``do_not_contact`` again. It also restores the person's
own opt-out or hold (``erased_numbers.py``). So no message can be sent before these flags are set.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import queries, reply_examples
from crm_api.domain.consent.models import ErasedNumber, FlagType, hash_phone
from crm_api.domain.messaging.consent_decisions import erased_numbers, flags
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork

ERASED_REASON = "the person had their data erased"
"""The reason that is stored with the flag ``do_not_contact`` if the number of an erased person is
stored again."""


async def suppress_numbers(
    uow: UnitOfWork, *, phones: Sequence[str], reason: str, now: datetime
) -> None:
    """Set ``do_not_contact`` on numbers, without expiry; withdraw their waiting messages.

    If a number belongs to a contact that has several numbers because of a merge, all numbers of the
    contact get the flag. An existing flag without an expiry keeps its reason. The consent history
    gets no entry, because no consent decision was made.
    """
    phones = await queries.numbers_of_people(uow.session, phones=phones)
    new = [flags.NewFlag(phone, FlagType.DO_NOT_CONTACT, reason) for phone in phones]
    await flags.set_flags(uow.session, new, now=now)
    await sends.withdraw_numbers(uow, phones=phones, now=now)


async def suppress_erased(
    uow: UnitOfWork, *, phones: Collection[str], now: datetime, secret: bytes
) -> set[str]:
    """Set the flags again on numbers that belonged to an erased person.

    - The flag ``do_not_contact`` is set, unless a user removed this flag after the erasure.
    - An opt-out or a hold is set, if the consent history of the number shows it.

    Other numbers do not change. Call this function before you add a contact with one of the
    numbers, or queue a message to one of them.

    Returns:
        The numbers that now have ``do_not_contact`` because of an erasure.
    """
    if not phones:
        return set()
    hashes = {hash_phone(phone, secret): phone for phone in phones}
    found = await find_erased_numbers(uow.session, hashes=list(hashes))
    if not found:
        return set()
    gone = sorted(hashes[row.phone_hash] for row in found)
    barred = sorted(hashes[row.phone_hash] for row in found if row.lifted_at is None)
    # The contact rows are locked first, and the consent decisions about the numbers second. All
    # transactions use this order, so that they cannot deadlock.
    await queries.lock_contacts(uow.session, phones=gone)
    await queries.lock_decisions(uow.session, phones=gone)
    if barred:
        await suppress_numbers(uow, phones=barred, reason=ERASED_REASON, now=now)
    await erased_numbers.restore_consent_state(uow, phones=gone, now=now, secret=secret)
    return set(barred)


async def lock_contacts(session: AsyncSession, phones: Collection[str]) -> None:
    """Lock the contact rows of these numbers until the transaction ends.

    This function waits for a running erasure of these contacts, so the next statement sees the
    result of the erasure. A new erasure waits for this transaction. For the order of locks see
    ``ARCHITECTURE.md``, "Transactions, time and locks".
    """
    if phones:
        await queries.lock_contacts(session, phones=sorted(phones))


async def erased_since(
    session: AsyncSession, phones: Collection[str], *, secret: bytes
) -> dict[str, datetime]:
    """Return, for each number of an erased person, when the person's data was erased.

    A number without an erasure is missing in the result. The caller must not store messages and
    calls that are older than the erasure of their number.
    """
    if not phones:
        return {}
    hashes = {hash_phone(phone, secret): phone for phone in phones}
    found = await find_erased_numbers(session, hashes=list(hashes))
    return {hashes[row.phone_hash]: row.erased_at for row in found}


async def erase_consent_of(
    uow: UnitOfWork, *, phones: Collection[str], now: datetime, secret: bytes
) -> None:
    """Store the hashes of an erased person's numbers, and delete the consent data of the numbers.

    These data are deleted: the flags, the texts of the consent entries (such as reason and note),
    and the person's replies that were stored as examples for the reply reader. The consent history
    keeps its entries, without the numbers and the texts.
    """
    hashes = [hash_phone(phone, secret) for phone in sorted(phones)]
    await note_erased_numbers(uow.session, hashes=hashes, now=now)
    await erase_words(uow.session, hashes=hashes)
    await reply_examples.erase_reply_examples(uow.session, hashes=hashes)
    await flags.erase_flags(uow.session, phones=sorted(phones))


async def lift_suppression(uow: UnitOfWork, *, phone: str, now: datetime, secret: bytes) -> None:
    """Store that messages to the number of an erased person are allowed again.

    Call this function when a user has removed the flag ``do_not_contact`` from the number. If the
    consent history shows that the number is opted out or on hold, the opt-out or hold is set again.
    If the number does not belong to an erased person, nothing changes.

    The caller must have locked the consent decisions about the number.
    """
    phone_hash = hash_phone(phone, secret)
    if await lift_erased(uow.session, phone_hash=phone_hash, now=now):
        await erased_numbers.restore_consent_state(uow, phones=[phone], now=now, secret=secret)


async def find_erased_numbers(
    session: AsyncSession, *, hashes: Sequence[bytes]
) -> Sequence[ErasedNumber]:
    """Return the stored rows of erased people's numbers that have one of these hashes.

    A row contains the hash of a number, but not the number.
    """
    statement = select(ErasedNumber).where(ErasedNumber.phone_hash.in_(hashes))
    statement = statement.execution_options(populate_existing=True)
    return (await session.scalars(statement)).all()


async def note_erased_numbers(
    session: AsyncSession, *, hashes: Sequence[bytes], now: datetime
) -> None:
    """Store the hashes of erased numbers, so that the numbers get no more messages.

    If messages to such a number were allowed again after an earlier erasure, this permission ends.
    """
    rows = [{"phone_hash": one, "erased_at": now} for one in hashes]
    statement = insert(ErasedNumber).values(rows)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["phone_hash"],
            set_={"erased_at": statement.excluded.erased_at, "lifted_at": None},
        )
    )


async def lift_erased(session: AsyncSession, *, phone_hash: bytes, now: datetime) -> bool:
    """Record that messages to the number of an erased person are allowed again.

    Returns:
        False if no person with this number was erased; then nothing changes.
    """
    statement = update(ErasedNumber).where(ErasedNumber.phone_hash == phone_hash)
    lifted = statement.values(lifted_at=now).returning(ErasedNumber.phone_hash)
    return await session.scalar(lifted) is not None


ERASE_WORDS = text("""
    DELETE FROM consent_wording w USING consent_entry e
    WHERE e.phone_hash = ANY(CAST(:hashes AS bytea[])) AND w.entry_id = e.id
""")


async def erase_words(session: AsyncSession, *, hashes: Sequence[bytes]) -> None:
    """Delete the number and the texts of all consent entries about these numbers.

    The texts are the reason, the note, the text that the person read, and the evidence. The entries
    themselves stay.
    """
    await session.execute(ERASE_WORDS, {"hashes": list(hashes)})
