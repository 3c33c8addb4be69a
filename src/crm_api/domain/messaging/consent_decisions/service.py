"""Record decisions about a number: opt-outs, opt-ins and holds.

Each decision is one transaction with these steps:

1. Write the flag.
2. Withdraw the messages to the number that are not being sent yet.
3. Append an entry to the consent history. It names the messages that could not be withdrawn.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.consent import queries, reply_examples
from crm_api.domain.consent.consent_state import ConsentState, Decision, is_last_by_list
from crm_api.domain.consent.errors import ConsentDoesNotExpireError
from crm_api.domain.consent.models import (
    REPEATED_BY_LISTS,
    SUPPRESSING_FLAGS,
    ConsentAction,
    ConsentEntry,
    ConsentSource,
    ConsentWording,
    FlagType,
    hash_phone,
)
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.consent_decisions import flags
from crm_api.domain.messaging.consent_decisions.erased_numbers import lift_suppression
from crm_api.domain.messaging.consent_decisions.flags import flags_of, follow_decision
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.messaging.waiting import derive_waiting_of_number
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

FORGET_LINE_TYPE = text("""
    DELETE FROM phone_lookup WHERE phone = :phone AND source = 'provider_failure'
""")

SEALED_WITHIN_SECONDS = 1.0
"""How many seconds after a decision the job runs that links new entries into the consent chain (the
chain of digests that shows later changes of the consent history). One run links all entries that
were stored before the run."""
_LAST_ENTRY_ID = 2**63 - 1


class DecisionDetails(TypedDict):
    """A consent decision about a number: the common arguments of the functions in this module.

    Attributes:
        actor: ``person`` for the person's own message; otherwise the name of the user, API key or
            component.
        text_shown: The text that the person read and agreed to.
        evidence: What proves the decision, for example ``{"text": "stop texting me"}``.
        activity_id: The id of the message that shows the decision: the person's reply, or a message
            that the provider refused to send because of an opt-out.
        message_id: The id of the reply about which a user decided; None if not given.
        at: When the person decided; the default is ``now``. A time after ``now`` is replaced by
            ``now``.
        claimed_at: When the message was written, by the provider's clock. It is stored unchanged,
            even if it is after ``now``.
        now: The time of the transaction, by the clock of the database, because the clock of a host
            may be wrong.
        secret: Key of the hash that identifies the number in the history.
    """

    phone: str
    contact_id: UUID | None
    source: ConsentSource
    actor: str
    reason: str | None
    note: NotRequired[str | None]
    text_shown: NotRequired[str | None]
    evidence: NotRequired[dict[str, Any]]
    activity_id: NotRequired[UUID | None]
    message_id: NotRequired[UUID | None]
    at: NotRequired[datetime]
    claimed_at: NotRequired[datetime | None]
    now: datetime
    secret: bytes


async def opt_out(uow: UnitOfWork, **act: Unpack[DecisionDetails]) -> bool:
    """Opt a number out, so that it gets no more messages.

    The opt-out ends a hold. The contact's other numbers are opted out too. Every opt-out of the
    number gets a history entry, except an opt-out from an import or from the provider's stop list
    that repeats an opt-out from such a list (``is_last_by_list``). Each of the contact's other
    numbers gets an entry if its consent changes.

    Returns:
        True if the number was not opted out before.
    """
    others = await _others(uow, act)
    before, after = await _decide(uow, ConsentAction.OPT_OUT, act)
    is_new = after.opted_out and not before.opted_out
    if is_new or act["source"] not in REPEATED_BY_LISTS or not await _is_last_by_list(uow, act):
        await _remember(uow, ConsentAction.OPT_OUT, act)
    await _keep_example(uow, ConsentAction.OPT_OUT, act, before, others)
    await _share(uow, ConsentAction.OPT_OUT, act, others)
    return is_new


async def opt_in(uow: UnitOfWork, **act: Unpack[DecisionDetails]) -> bool:
    """Allow messages to a number again: remove its flags ``opted_out`` and ``opt_out_hold``.

    Every opt-in gets a history entry. A person's message opts in only the number that sent it. A
    user's decision opts in all numbers of the contact. Campaign recipients with the status ``held``
    may now get their message. Campaign recipients with the status ``skipped`` stay skipped.

    Returns:
        True if the number was opted out or on hold before, and now is neither.
    """
    others = await _others(uow, act)
    before, after = await _decide(uow, ConsentAction.OPT_IN, act)
    await _remember(uow, ConsentAction.OPT_IN, act)
    await _keep_example(uow, ConsentAction.OPT_IN, act, before, others)
    if act["source"] != ConsentSource.MESSAGE:
        await _share(uow, ConsentAction.OPT_IN, act, others)
    return bool(before.flags) and not after.flags


async def place_hold(uow: UnitOfWork, **act: Unpack[DecisionDetails]) -> bool:
    """Put a number on hold: it gets no campaign messages until a user decides about a reply.

    If the number is opted out, the hold is only added to the history. It takes effect if the
    opt-out ends later, by an opt-in that the person sent before the hold.

    Returns:
        True if the number is on hold now and was not on hold before.
    """
    others = await _others(uow, act)
    before, after = await _decide(uow, ConsentAction.HOLD, act)
    await _remember(uow, ConsentAction.HOLD, act)
    await _share(uow, ConsentAction.HOLD, act, others)
    return after.on_hold and not before.on_hold


async def release_hold(uow: UnitOfWork, **act: Unpack[DecisionDetails]) -> bool:
    """End the hold of a number, because a user decided that a reply was not an opt-out.

    Campaign recipients with the status ``held`` may now get their message.

    Returns:
        False if the number was not on hold; then its history gets no entry.
    """
    others = await _others(uow, act)
    before, _ = await _decide(uow, ConsentAction.RELEASE, act)
    if before.on_hold:
        await _remember(uow, ConsentAction.RELEASE, act)
        await _keep_example(uow, ConsentAction.RELEASE, act, before, others)
    await _share(uow, ConsentAction.RELEASE, act, others)
    return before.on_hold


async def opt_in_or_release(uow: UnitOfWork, **act: Unpack[DecisionDetails]) -> None:
    """Allow messages to a number again: release its hold, or opt it in.

    If a user decides that the reply of a number on hold is not an opt-out, the hold is released. An
    opt-in would also end a STOP that the person sent before this decision and that arrives later.

    The number is opted in if it is not on hold, or if ``source`` is a channel of the person, such
    as a web form. Then the person made a new decision.
    """
    await _others(uow, act)
    found = (await flags_of(uow.session, [act["phone"]], now=act["now"]))[act["phone"]]
    is_of_office = act["source"] in reply_examples.BY_THE_OFFICE
    is_release = is_of_office and ConsentState.of_flags(found) == ConsentState(on_hold=True)
    await (release_hold if is_release else opt_in)(uow, **act)


async def add_flag(
    uow: UnitOfWork, *, flag: str, expires_at: datetime | None, **act: Unpack[DecisionDetails]
) -> None:
    """Add a flag to a number.

    The flag ``opted_out`` is recorded as an opt-out, and ``opt_out_hold`` as a hold. The flag
    ``do_not_contact`` is also added to the contact's other numbers. If a flag stops messages, the
    waiting messages that it stops are withdrawn.

    Raises:
        ConsentDoesNotExpireError: ``expires_at`` was given for an opt-out or a hold.
    """
    if flag in {FlagType.OPTED_OUT, FlagType.OPT_OUT_HOLD}:
        if expires_at is not None:
            raise ConsentDoesNotExpireError(flag)
        await (opt_out if flag == FlagType.OPTED_OUT else place_hold)(uow, **act)
        return
    is_suppressing, now = flag in SUPPRESSING_FLAGS, act["now"]
    phones = [act["phone"], *(await _others(uow, act) if is_suppressing else ())]
    for phone in phones:
        await flags.put_flag(
            uow.session,
            phone=phone,
            flag=flag,
            reason=act["reason"],
            expires_at=expires_at,
            now=now,
        )
    if is_suppressing or flag == FlagType.INVALID_NUMBER:
        await sends.withdraw_numbers(uow, phones=phones, now=now)
    if flag == FlagType.BLOCKED_SENDER:
        await derive_waiting_of_number(uow.session, phone=act["phone"], now=now)


async def mark_invalid(uow: UnitOfWork, *, phone: str, reason: str, now: datetime) -> None:
    """Set the flag ``invalid_number`` on a number, and withdraw the messages that the flag stops.

    The flag stops only campaign messages and reminders of appointments. It is not a consent
    decision: the consent history gets no entry, and the contact's other numbers do not change.
    """
    new = flags.NewFlag(phone, FlagType.INVALID_NUMBER, reason)
    await flags.set_flags(uow.session, [new], now=now)
    await sends.withdraw_numbers(uow, phones=[phone], now=now)


async def remove_flag(uow: UnitOfWork, *, flag: str, **act: Unpack[DecisionDetails]) -> bool:
    """Remove a flag from a number.

    - ``opted_out``: The removal is an opt-in.
    - ``opt_out_hold``: The removal releases the hold.
    - ``do_not_contact``: The flag is also removed from the contact's other numbers. If a number
      belonged to an erased person, the opt-out or hold in its consent history is set again.
    - ``invalid_number``: A stored landline type is deleted.
    - ``blocked_sender``: The number's conversations can wait for an answer again.

    Returns:
        False if the number does not have the flag; then nothing changes.
    """
    phone, now = act["phone"], act["now"]
    if flag not in (await flags_of(uow.session, [phone], now=now))[phone]:
        return False
    if flag == FlagType.OPTED_OUT:
        await opt_in(uow, **act)
    elif flag == FlagType.OPT_OUT_HOLD:
        await release_hold(uow, **act)
    else:
        phones = [phone, *(await _others(uow, act) if flag in SUPPRESSING_FLAGS else ())]
        for one in phones:
            await flags.end_flags(uow.session, [(one, flag)])
            if flag == FlagType.INVALID_NUMBER:
                await uow.session.execute(FORGET_LINE_TYPE, {"phone": one})
            if flag == FlagType.DO_NOT_CONTACT:
                await lift_suppression(uow, phone=one, now=now, secret=act["secret"])
            if flag == FlagType.BLOCKED_SENDER:
                await derive_waiting_of_number(uow.session, phone=one, now=now)
    return True


async def lock_decisions(uow: UnitOfWork, *, phones: Iterable[str]) -> None:
    """Lock these numbers against consent decisions of other transactions.

    Another transaction that decides about one of the numbers waits until this transaction ends. The
    locks are taken in the order of the phone numbers, so that two transactions cannot deadlock.
    """
    await queries.lock_decisions(uow.session, phones=set(phones))


async def lock_people(uow: UnitOfWork, *, phones: Collection[str]) -> None:
    """For each person who has one of these numbers, lock all numbers of the person.

    A number without a contact is locked too. Other transactions that decide about these numbers
    wait until this transaction ends. The contacts are locked first. Otherwise, a merge could add a
    number that is not locked.
    """
    if phones:
        theirs = await queries.numbers_of_people(uow.session, phones=sorted(phones))
        await queries.lock_decisions(uow.session, phones=theirs)


async def history(
    uow: UnitOfWork, *, phone: str, secret: bytes, cursor: str | None, limit: int
) -> Page[tuple[ConsentEntry, ConsentWording | None]]:
    """List the consent history of a number, newest entry first.

    Each item is a pair: the entry, and the texts of the entry that can be erased, such as its note.
    Instead of erased texts, the pair contains None.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    phone_hash = hash_phone(phone, secret)
    cursors = Cursors("consent_history", phone_hash=phone_hash.hex())
    after = cursors.read(cursor)
    before_id = min(after[1].int, _LAST_ENTRY_ID) if after else None
    rows = await queries.history(
        uow.session, phone_hash=phone_hash, before_id=before_id, limit=limit + 1
    )
    return cursors.page(
        rows,
        limit=limit,
        position=lambda row: (row[0].created_at, UUID(int=row[0].id)),
    )


async def _is_last_by_list(uow: UnitOfWork, act: DecisionDetails) -> bool:
    phone_hash = hash_phone(act["phone"], act["secret"])
    return is_last_by_list(await queries.read_decisions(uow.session, phone_hash=phone_hash))


async def _others(uow: UnitOfWork, act: DecisionDetails) -> list[str]:
    """Lock consent decisions about all numbers of a contact; return the contact's other numbers.

    The contact has the number ``act["phone"]``, which is locked too. A merge may add a number while
    this function waits for a lock. So the numbers are read again until no new number appears.
    """
    known: set[str] = set()
    phones = await queries.numbers_of_person(uow.session, phone=act["phone"]) | {act["phone"]}
    while not phones <= known:
        known |= phones
        await lock_decisions(uow, phones=known)
        phones = await queries.numbers_of_person(uow.session, phone=act["phone"])
    return sorted(known - {act["phone"]})


async def _keep_example(
    uow: UnitOfWork,
    action: ConsentAction,
    act: DecisionDetails,
    before: ConsentState,
    others: Sequence[str],
) -> None:
    """If a user decided about a reply, store the reply as an example for the reply reader.

    The reply reader finds out what a reply means. The decision of the user is the label of the
    example.
    """
    await reply_examples.keep_reply_example(
        uow.session,
        action,
        before=before,
        phones=[act["phone"], *others],
        source=act["source"],
        message_id=act.get("message_id"),
        now=act["now"],
        secret=act["secret"],
    )


async def _share(
    uow: UnitOfWork, action: ConsentAction, act: DecisionDetails, others: Sequence[str]
) -> None:
    """Apply a consent decision to the contact's other numbers.

    For each number whose consent changes, an entry is appended to the consent history.
    """
    for phone in others:
        evidence = {**(act.get("evidence") or {}), "said_of": act["phone"]}
        shared: DecisionDetails = {**act, "phone": phone, "evidence": evidence}
        before, after = await _decide(uow, action, shared)
        if before != after:
            await _remember(uow, action, shared)


async def _decide(
    uow: UnitOfWork, action: ConsentAction, act: DecisionDetails
) -> tuple[ConsentState, ConsentState]:
    """Lock a number against other consent decisions, and apply this decision to its flags.

    Another transaction that decides about the number waits until this transaction ends.

    Returns:
        The consent of the number before and after the decision.
    """
    await queries.lock_decisions(uow.session, phones=[act["phone"]])
    return await follow_decision(
        uow,
        Decision(at=_said_at(act), action=action, source=act["source"]),
        phone=act["phone"],
        reason=act["reason"],
        now=act["now"],
        secret=act["secret"],
    )


def _said_at(act: DecisionDetails) -> datetime:
    """Return the time of a decision: ``at``, or ``now`` if ``at`` is missing or later than ``now``.

    Decisions are ordered by this time.
    """
    return min(act.get("at", act["now"]), act["now"])


async def _remember(uow: UnitOfWork, action: ConsentAction, act: DecisionDetails) -> None:
    """Append the history entry of a decision.

    If the decision is an opt-out or a hold, the evidence of the entry also lists the messages to
    the number that are already being sent.
    """
    evidence = dict(act.get("evidence") or {})
    if action in {ConsentAction.OPT_OUT, ConsentAction.HOLD}:
        phone = act["phone"]
        under_way = await sends.attempts_under_way(uow.session, phones=[phone])
        evidence["under_way"] = under_way.get(phone, [])
    await queries.add_entry(
        uow.session,
        phone_hash=hash_phone(act["phone"], act["secret"]),
        contact_id=act["contact_id"],
        action=action,
        source=act["source"],
        actor=act["actor"],
        activity_id=act.get("activity_id"),
        claimed_at=act.get("claimed_at"),
        occurred_at=_said_at(act),
        now=act["now"],
        phone=act["phone"],
        reason=act["reason"],
        note=act.get("note"),
        text_shown=act.get("text_shown"),
        evidence=evidence,
    )
    uow.after_commit(Job(name=JobName.SEAL_CONSENT, delay_seconds=SEALED_WITHIN_SECONDS))
