"""Keep the numbers of erased people, and their opt-outs and holds, in a form without personal data.

Only a keyed hash of the number remains. A transaction that stores the number again must also set
its flags again (``suppress_erased``): ``do_not_contact``, and the opt-out or hold that the consent
history shows. If a user removes ``do_not_contact``, the opt-out stays. Only an opt-in ends it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import queries, reply_examples
from crm_api.domain.consent.consent_state import ConsentState, Decision, state_after
from crm_api.domain.consent.models import (
    ConsentAction,
    ConsentSource,
    ConsentWording,
    ErasedNumber,
    hash_phone,
)
from crm_api.domain.messaging.consent_decisions.flags import (
    NewFlag,
    end_flags,
    erase_flags,
    flags_of,
    follow_decision,
    set_flags,
)
from crm_api.domain.messaging.consent_decisions.suppression import suppress_numbers
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

ERASED_REASON = "the person had their data erased"
"""The reason that is stored with the flag ``do_not_contact`` if the number of an erased person is
stored again."""

DECIDED_BEFORE = "decided before the person had their data erased"
"""The reason that is stored with a flag that is set again after an erasure."""
BY_THE_PERSON = "person"


async def suppress_erased(
    uow: UnitOfWork, *, phones: Collection[str], now: datetime, secret: bytes
) -> set[str]:
    """Set the flags again on numbers that belonged to an erased person.

    ``do_not_contact`` is set, unless a user removed it after the erasure. If the consent history
    shows an opt-out or a hold, its flag is set too. Call this function before you add a contact
    with one of the numbers, or queue a message to one of them.

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
    await restore_consent_state(uow, phones=gone, now=now, secret=secret)
    return set(barred)


async def wait_for_erasures(session: AsyncSession, phones: Collection[str]) -> None:
    """Wait until no erasure of these numbers runs, and lock the contact rows of the numbers.

    The next statement sees the result of the erasures. A new erasure waits for this transaction.
    For the order of locks see ``ARCHITECTURE.md``, "Transactions, time and locks".
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

    Flags, texts of consent entries, and replies stored as examples for the reply reader are
    deleted. The consent history keeps its entries, without numbers and texts.
    """
    hashes = [hash_phone(phone, secret) for phone in sorted(phones)]
    await note_erased_numbers(uow.session, hashes=hashes, now=now)
    await erase_words(uow.session, hashes=hashes)
    await reply_examples.erase_reply_examples(uow.session, hashes=hashes)
    await erase_flags(uow.session, phones=sorted(phones))


async def lift_suppression(uow: UnitOfWork, *, phone: str, now: datetime, secret: bytes) -> None:
    """Store that messages to the number of an erased person are allowed again.

    Call this function when a user has removed the flag ``do_not_contact``. If the consent history
    shows an opt-out or a hold, its flag is set again. If the number did not belong to an erased
    person, nothing changes. The caller must have locked the consent decisions about the number.
    """
    phone_hash = hash_phone(phone, secret)
    if await lift_erased(uow.session, phone_hash=phone_hash, now=now):
        await restore_consent_state(uow, phones=[phone], now=now, secret=secret)


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


async def keep_consent_state(
    uow: UnitOfWork,
    *,
    phones: Collection[str],
    contact_id: UUID,
    actor: str,
    now: datetime,
    secret: bytes,
) -> None:
    """Add the opt-out or hold of each number to the consent history, if the history lacks it.

    Call this function before an erasure deletes the flags: afterwards, only the history shows
    opt-outs and holds. The caller must first call ``lock_decisions`` for the numbers.
    """
    flags = await flags_of(uow.session, sorted(phones), now=now)
    for phone in sorted(phones):
        phone_hash = hash_phone(phone, secret)
        known = state_after(await queries.read_decisions(uow.session, phone_hash=phone_hash))
        action = _missing(ConsentState.of_flags(flags[phone]), known)
        if action is not None:
            source = ConsentSource.API
            new = Decision(at=now, action=action, source=source)
            await _append(
                uow, new, phone=phone, contact_id=contact_id, actor=actor, now=now, secret=secret
            )


async def restore_consent_state(
    uow: UnitOfWork, *, phones: Collection[str], now: datetime, secret: bytes
) -> None:
    """Set the opt-out or hold of each erased number again, as its consent history shows it.

    An opt-out replaces a hold. A number that already has the same or a stricter flag does not
    change. If a number gets a flag, its waiting messages are withdrawn. The caller must first call
    ``lock_decisions`` for the numbers.
    """
    flags = await flags_of(uow.session, sorted(phones), now=now)
    stopped = []
    for phone in sorted(phones):
        phone_hash = hash_phone(phone, secret)
        wanted = state_after(await queries.read_decisions(uow.session, phone_hash=phone_hash))
        if _missing(wanted, ConsentState.of_flags(flags[phone])) is None:
            continue
        new_flags = [NewFlag(phone, flag, DECIDED_BEFORE) for flag in wanted.flags]
        if new_flags:
            await set_flags(uow.session, new_flags, now=now)
        gone = [(phone, flag) for flag in ConsentState.of_flags(flags[phone]).flags - wanted.flags]
        if gone:
            await end_flags(uow.session, gone)
        stopped.append(phone)
    if stopped:
        await sends.withdraw_numbers(uow, phones=stopped, now=now)


async def keep_late_decision(
    uow: UnitOfWork,
    *,
    phone: str,
    action: ConsentAction,
    at: datetime,
    claimed_at: datetime | None,
    now: datetime,
    secret: bytes,
) -> None:
    """Record a consent decision from an erased person's message that arrived after the erasure.

    The decision is added to the consent history, without the text of the message. If a contact or a
    flag with this number exists again, the flags of the number change too. If the history already
    has the decision, nothing is done. The caller must first call ``lock_decisions`` for the number.

    Args:
        at: When the message was written or received, whichever was earlier.
        claimed_at: When the message was written, by the provider's clock.
    """
    phone_hash = hash_phone(phone, secret)
    if await is_message_known(uow.session, phone_hash=phone_hash, at=at, claimed_at=claimed_at):
        return
    new = Decision(at=at, action=action, source=ConsentSource.MESSAGE)
    if await is_in_use(uow.session, phone=phone):
        await follow_decision(uow, new, phone=phone, reason=DECIDED_BEFORE, now=now, secret=secret)
    await _append(
        uow,
        new,
        phone=phone,
        contact_id=None,
        actor=BY_THE_PERSON,
        claimed_at=claimed_at,
        now=now,
        secret=secret,
    )


def _missing(wanted: ConsentState, known: ConsentState) -> ConsentAction | None:
    """Return the decision that must still be stored to make consent as strict as ``wanted``.

    The result is None if ``known``, the stored consent, is already at least as strict. An opt-out
    is stricter than a hold, and a hold is stricter than no decision.
    """
    if wanted.opted_out and not known.opted_out:
        return ConsentAction.OPT_OUT
    if wanted.on_hold and not known.flags:
        return ConsentAction.HOLD
    return None


async def _append(
    uow: UnitOfWork,
    new: Decision,
    *,
    phone: str,
    contact_id: UUID | None,
    actor: str,
    now: datetime,
    secret: bytes,
    claimed_at: datetime | None = None,
) -> None:
    """Append an entry to the consent history; then delete the entry's phone number and wording.

    The wording is the reason, the note, the shown text and the evidence. The entry keeps only a
    hash of the number, because the data of the person must stay erased.
    """
    entry_id = await queries.add_entry(
        uow.session,
        phone_hash=hash_phone(phone, secret),
        contact_id=contact_id,
        action=new.action,
        source=new.source,
        actor=actor,
        activity_id=None,
        claimed_at=claimed_at,
        occurred_at=new.at,
        now=now,
        phone=phone,
        reason=None,
        note=None,
        text_shown=None,
        evidence={},
    )
    await erase_words_of(uow.session, entry_id=entry_id)
    uow.after_commit(Job(name=JobName.SEAL_CONSENT))


async def erase_words_of(session: AsyncSession, *, entry_id: int) -> None:
    """Delete the phone number and the wording of one entry of the consent history.

    The wording consists of the reason, the note, the text that the person read, and the evidence.
    The entry itself stays, with the hash of the number.
    """
    await session.execute(delete(ConsentWording).where(ConsentWording.entry_id == entry_id))


_IS_MESSAGE_KNOWN = text("""
    SELECT EXISTS (
        SELECT FROM consent_entry e
        WHERE e.phone_hash = :phone_hash AND e.source = 'message'
          AND (e.occurred_at = :at OR e.claimed_at = CAST(:claimed_at AS timestamptz)))
""")


async def is_message_known(
    session: AsyncSession, *, phone_hash: bytes, at: datetime, claimed_at: datetime | None
) -> bool:
    """Return whether the consent history of a number already has an entry for a message.

    The entry must have the source ``message``. At least one of these conditions must be true:

    - The entry's ``occurred_at`` equals ``at``.
    - The entry's ``claimed_at`` equals the argument ``claimed_at``.

    Args:
        at: When the message was written or received, whichever was earlier.
        claimed_at: When the message was written, by the provider's clock.
    """
    values = {"phone_hash": phone_hash, "at": at, "claimed_at": claimed_at}
    return bool(await session.scalar(_IS_MESSAGE_KNOWN, values))


_IS_IN_USE = text("""
    SELECT EXISTS (SELECT FROM contact WHERE phone = :phone)
        OR EXISTS (SELECT FROM contact_flag WHERE phone = :phone)
""")


async def is_in_use(session: AsyncSession, *, phone: str) -> bool:
    """Return True if a contact or a flag has this number."""
    return bool(await session.scalar(_IS_IN_USE, {"phone": phone}))
