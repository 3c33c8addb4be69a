"""Keep the opt-outs and holds of erased people, and set them again if a number is stored again.

The erasure of a person deletes the flags of the number, because a flag contains the number. The
consent history keeps its entries, which contain only a hash of the number. If the number is stored
again later, this module reads the history, and sets the opt-out or the hold again.

Only an opt-in ends an opt-out: the person sends START, or a user documents an opt-in. Removing the
flag ``do_not_contact`` does not end the opt-out.

A number on hold gets no campaign messages until a user decides about a reply.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import queries
from crm_api.domain.consent.consent_state import ConsentState, Decision, state_after
from crm_api.domain.consent.models import (
    ConsentAction,
    ConsentSource,
    ConsentWording,
    hash_phone,
)
from crm_api.domain.messaging.consent_decisions.flags import (
    NewFlag,
    end_flags,
    flags_of,
    follow_decision,
    set_flags,
)
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

DECIDED_BEFORE = "decided before the person had their data erased"
"""The reason that is stored with a flag that is set again after an erasure."""
BY_THE_PERSON = "person"


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

    A number on hold gets no campaign messages until a user decides about a reply.

    Call this function before an erasure deletes the flags of the numbers. After the erasure, only
    the history shows whether a number is opted out or on hold. The caller must first call
    ``lock_decisions`` for the numbers, so that no other transaction decides about them.
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

    An erased number is a number of a person whose data was erased. If a number already has the same
    or a stricter flag, nothing changes. An opt-out replaces a hold. If a number gets a flag, its
    waiting messages are withdrawn.

    Call ``lock_decisions`` for the numbers first, so that no other transaction decides about them.
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

    The person wrote the message before the erasure. The decision, such as an opt-out, is added to
    the consent history of the number, without the text of the message. If the history already has
    an entry for this message, nothing happens. If a contact or a flag with the number was added
    after the erasure, the decision also changes the flags of the number.

    The caller must call ``lock_decisions`` for the number first.

    Args:
        at: The earlier of two times: when the message was written, and when it was received.
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

    The wording consists of the reason, the note, the text that the person read, and the evidence.
    The phone number and the wording are deleted because the data of the person must stay erased.
    The entry keeps a hash of the number.
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

    An entry belongs to the message if the entry has the source ``message``, and at least one of
    these conditions is true:

    - The entry's ``occurred_at`` is equal to the argument ``at``.
    - The entry's ``claimed_at`` is equal to the argument ``claimed_at``.

    Args:
        session: The session.
        phone_hash: The hash of the number.
        at: The earlier of two times: when the message was written, and when it was received.
        claimed_at: When the message was written, by the provider's clock; None if unknown.
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
