"""Opt-outs, opt-ins and holds: the flag on the number, what it stops, and the history of it.

Every decision is one transaction in this order: the flag; what waits or is claimed for the number
is taken back (R10 of the send protocol); then the entry, because only now it is certain which
texts had passed the gate already and are named in it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.consent import queries
from crm_api.domain.consent.errors import ConsentDoesNotExpireError
from crm_api.domain.consent.flags import expire_flags, flag_rows, flags_of, held, suppressed
from crm_api.domain.consent.hashing import hash_phone
from crm_api.domain.consent.models import (
    REPEATED_BY_LISTS,
    SUPPRESSING_FLAGS,
    ConsentAction,
    ConsentEntry,
    ConsentSource,
    ConsentWording,
    FlagType,
)
from crm_api.domain.consent.off_limits import lift, put_off_limits, suppress_erased
from crm_api.domain.consent.standing import Standing, fold
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.sends import service as sends
from crm_api.jobs import Job, JobName

__all__ = [
    "Act",
    "add_flag",
    "expire_flags",
    "flag_rows",
    "flags_of",
    "hash_phone",
    "held",
    "history",
    "hold",
    "opt_in",
    "opt_out",
    "put_off_limits",
    "release",
    "remove_flag",
    "suppress_erased",
    "suppressed",
    "take_turns",
]

SEALED_WITHIN_SECONDS = 1.0
"""Entries of so long are linked into the chain by one run."""
_LAST_ENTRY_ID = 2**63 - 1


class Act(TypedDict):
    """A decision about a number, and how it came; what every function here takes.

    ``actor`` is ``person`` for the recipient's own text, else the API key's name. ``evidence`` is
    for example ``{"text": "stop texting me"}``, ``activity_id`` the message that said so.
    ``text_shown`` is what the person read and agreed to. ``at`` is when it was said, for a text
    that may arrive late; else now. ``secret`` keys the hash that names the number in the history.
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
    at: NotRequired[datetime]
    now: datetime
    secret: bytes


async def opt_out(uow: UnitOfWork, **act: Unpack[Act]) -> bool:
    """Stop every text to a number; an ``opt_out_hold`` on it is thereby confirmed.

    Repeating it changes no flag. It leaves an entry each time, because each is an act of its own;
    an import or the provider's list only repeats what is known and leaves none.

    Returns:
        True when the number was not opted out before.
    """
    others = await _others(uow, act)
    before, after = await _decide(uow, ConsentAction.OPT_OUT, act)
    is_new = after.opted_out and not before.opted_out
    if is_new or act["source"] not in REPEATED_BY_LISTS:
        await _remember(uow, ConsentAction.OPT_OUT, act)
    await _share(uow, ConsentAction.OPT_OUT, act, others)
    return is_new


async def opt_in(uow: UnitOfWork, **act: Unpack[Act]) -> bool:
    """Allow texts to a number again; ``opted_out`` and ``opt_out_hold`` are taken off.

    What was held goes on; what was skipped stays skipped. Each time leaves an entry. A text that
    says so is about the number that it came from, a colleague's word about all of the person's.

    Returns:
        True when the number was opted out or held before and is free now.
    """
    others = await _others(uow, act)
    before, after = await _decide(uow, ConsentAction.OPT_IN, act)
    await _remember(uow, ConsentAction.OPT_IN, act)
    if act["source"] != ConsentSource.MESSAGE:
        await _share(uow, ConsentAction.OPT_IN, act, others)
    return bool(before.flags) and not after.flags


async def hold(uow: UnitOfWork, **act: Unpack[Act]) -> bool:
    """Hold campaign texts to a number until a person decides.

    An opted-out number needs no hold; the entry is left all the same, for an opt-in that was said
    earlier may still arrive.

    Returns:
        True when the number is held now and was not before.
    """
    others = await _others(uow, act)
    before, after = await _decide(uow, ConsentAction.HOLD, act)
    await _remember(uow, ConsentAction.HOLD, act)
    await _share(uow, ConsentAction.HOLD, act, others)
    return after.on_hold and not before.on_hold


async def release(uow: UnitOfWork, **act: Unpack[Act]) -> bool:
    """End a hold: the text was no opt-out, and what was held goes on.

    Returns:
        False, and no entry is left, when the number was not held.
    """
    others = await _others(uow, act)
    before, _ = await _decide(uow, ConsentAction.RELEASE, act)
    if before.on_hold:
        await _remember(uow, ConsentAction.RELEASE, act)
    await _share(uow, ConsentAction.RELEASE, act, others)
    return before.on_hold


async def add_flag(
    uow: UnitOfWork, *, flag: str, expires_at: datetime | None, **act: Unpack[Act]
) -> None:
    """Put a flag on a number; ``opted_out`` is an opt-out and ``opt_out_hold`` a hold.

    A flag that suppresses takes back what waits for the number.

    Raises:
        ConsentDoesNotExpireError: An opt-out or a hold was given an end.
    """
    if flag in {FlagType.OPTED_OUT, FlagType.OPT_OUT_HOLD}:
        if expires_at is not None:
            raise ConsentDoesNotExpireError(flag)
        await (opt_out if flag == FlagType.OPTED_OUT else hold)(uow, **act)
        return
    is_suppressing, now = flag in SUPPRESSING_FLAGS, act["now"]
    phones = [act["phone"], *(await _others(uow, act) if is_suppressing else ())]
    for phone in phones:
        await queries.put_flag(
            uow.session,
            phone=phone,
            flag=flag,
            reason=act["reason"],
            expires_at=expires_at,
            now=now,
        )
    if is_suppressing:
        await sends.withdraw_numbers(uow, phones=phones, now=now)


async def remove_flag(uow: UnitOfWork, *, flag: str, **act: Unpack[Act]) -> bool:
    """Take a flag off a number; for ``opted_out`` that is an opt-in, for a hold its release.

    Without ``do_not_contact`` a number may be texted again even if its person was once erased.

    Returns:
        False, and nothing is changed, when the flag did not stand.
    """
    phone, now = act["phone"], act["now"]
    if flag not in (await flags_of(uow.session, [phone], now=now))[phone]:
        return False
    if flag == FlagType.OPTED_OUT:
        await opt_in(uow, **act)
    elif flag == FlagType.OPT_OUT_HOLD:
        await release(uow, **act)
    else:
        phones = [phone, *(await _others(uow, act) if flag in SUPPRESSING_FLAGS else ())]
        for one in phones:
            await queries.remove_flags(uow.session, phone=one, flags=[flag], now=now)
            if flag == FlagType.DO_NOT_CONTACT:
                await lift(uow, phone=one, now=now, secret=act["secret"])
    return True


async def take_turns(uow: UnitOfWork, *, phones: Iterable[str]) -> None:
    """Wait until no other transaction decides about these numbers; ends with the transaction."""
    for phone in sorted(set(phones)):
        await queries.take_turns(uow.session, phone=phone)


async def history(
    uow: UnitOfWork, *, phone: str, secret: bytes, cursor: str | None, limit: int
) -> Page[tuple[ConsentEntry, ConsentWording | None]]:
    """List the decisions about a number, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    phone_hash = hash_phone(phone, secret)
    cursors = Cursors("consent_history", phone_hash=phone_hash.hex())
    after = cursors.read(cursor)
    before_id = min(after[1].int, _LAST_ENTRY_ID) if after else None
    rows = await queries.history(
        uow.session, phone_hash=phone_hash, before_id=before_id, limit=limit + 1
    )
    return cursors.page(
        [(entry, wording) for entry, wording in rows],
        limit=limit,
        position=lambda row: (row[0].created_at, UUID(int=row[0].id)),
    )


async def _others(uow: UnitOfWork, act: Act) -> list[str]:
    """Return the other numbers of whoever has this one: they were merged into one person.

    All take turns, in order; a merge takes them too, so whoever waited for one looks again.
    """
    known: set[str] = set()
    phones = await queries.numbers_of_person(uow.session, phone=act["phone"]) | {act["phone"]}
    while not phones <= known:
        known |= phones
        await take_turns(uow, phones=known)
        phones = await queries.numbers_of_person(uow.session, phone=act["phone"])
    return sorted(known - {act["phone"]})


async def _share(uow: UnitOfWork, action: ConsentAction, act: Act, others: Sequence[str]) -> None:
    """Let a decision hold for the person's other numbers; an entry is left where it changes one."""
    for phone in others:
        evidence = {**(act.get("evidence") or {}), "said_of": act["phone"]}
        shared: Act = {**act, "phone": phone, "evidence": evidence}
        before, after = await _decide(uow, action, shared)
        if before != after:
            await _remember(uow, action, shared)


async def _decide(uow: UnitOfWork, action: ConsentAction, act: Act) -> tuple[Standing, Standing]:
    """Bring the flags to what the history and this decision tell; the standing before and after.

    Decisions about one number take turns, so that two at once see each other.
    """
    phone, now = act["phone"], act["now"]
    await queries.take_turns(uow.session, phone=phone)
    standing = (await flags_of(uow.session, [phone], now=now))[phone]
    before = Standing(
        opted_out=FlagType.OPTED_OUT in standing, on_hold=FlagType.OPT_OUT_HOLD in standing
    )
    said = await queries.decisions(uow.session, phone_hash=hash_phone(phone, act["secret"]))
    after = fold(said, new=(act.get("at", now), action), now=before)
    for flag in sorted(after.flags):
        await queries.stand_flag(uow.session, phone=phone, flag=flag, reason=act["reason"], now=now)
    gone = sorted(before.flags - after.flags)
    if gone:
        await queries.remove_flags(uow.session, phone=phone, flags=gone, now=now)
    if after.flags:
        await sends.withdraw_numbers(uow, phones=[phone], now=now)
    else:
        await sends.restore_numbers(uow, phones=[phone], now=now)
    return before, after


async def _remember(uow: UnitOfWork, action: ConsentAction, act: Act) -> None:
    """Append the entry, with the texts that are under way and cannot be recalled."""
    evidence = dict(act.get("evidence") or {})
    if action in {ConsentAction.OPT_OUT, ConsentAction.HOLD}:
        evidence["under_way"] = await sends.under_way(uow.session, phone=act["phone"])
    await queries.add_entry(
        uow.session,
        phone_hash=hash_phone(act["phone"], act["secret"]),
        contact_id=act["contact_id"],
        action=action,
        source=act["source"],
        actor=act["actor"],
        activity_id=act.get("activity_id"),
        occurred_at=act.get("at", act["now"]),
        now=act["now"],
        phone=act["phone"],
        reason=act["reason"],
        note=act.get("note"),
        text_shown=act.get("text_shown"),
        evidence=evidence,
    )
    uow.after_commit(Job(name=JobName.SEAL_CONSENT, delay_seconds=SEALED_WITHIN_SECONDS))
