"""Record consent decisions about many numbers with few SQL statements.

Decisions about people who have several numbers are an exception: ``service`` records them one by
one. Such a decision needs about 15 statements, because it applies to all numbers of the person.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.domain.consent import queries
from crm_api.domain.consent.consent_state import (
    ConsentState,
    Decision,
    apply_decision,
    is_last_by_list,
)
from crm_api.domain.consent.models import (
    REPEATED_BY_LISTS,
    ConsentAction,
    ConsentSource,
    FlagType,
    hash_phone,
)
from crm_api.domain.messaging.consent_decisions import flags, service
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

_ONE_BY_ONE = {
    ConsentAction.OPT_OUT: service.opt_out,
    ConsentAction.OPT_IN: service.opt_in,
    ConsentAction.HOLD: service.place_hold,
}
Change = tuple[ConsentState, ConsentState]
"""The consent state of a number before a decision, and its consent state after the decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberDecision:
    """An opt-out, opt-in or hold of a number; ``service.DecisionDetails`` explains the fields."""

    phone: str
    contact_id: UUID | None
    action: ConsentAction
    source: ConsentSource
    actor: str
    reason: str | None
    evidence: dict[str, Any]
    activity_id: UUID | None = None
    at: datetime
    claimed_at: datetime | None = None


async def decide_in_bulk(
    uow: UnitOfWork, decisions: Sequence[NumberDecision], *, now: datetime, secret: bytes
) -> list[bool]:
    """Record consent decisions; those about the same number are recorded in the given order.

    The caller must first lock the contacts that have these numbers, and then the decisions about
    all numbers of these contacts (``service.lock_decisions``).

    Returns:
        For each decision, in the same order: True if it changed the consent of the number.
    """
    if not decisions:
        return []
    phones = [one.phone for one in decisions]
    shared = await queries.find_shared_numbers(uow.session, phones=phones)
    changed = [False] * len(decisions)
    left: dict[int, NumberDecision] = {}
    for index, one in enumerate(decisions):
        if one.phone in shared:
            changed[index] = await _decide_alone(uow, one, now=now, secret=secret)
        else:
            left[index] = one
    while left:
        # Each round makes only one decision about a number. The next round makes a second decision
        # about the number, so that it sees the result of the first decision.
        first: dict[str, int] = {}
        for index, one in left.items():
            first.setdefault(one.phone, index)
        some = [left.pop(index) for index in first.values()]
        changes = await _decide_each(uow, some, now=now, secret=secret)
        for one in some:
            changed[first[one.phone]] = _is_change(one, changes[one.phone])
    return changed


async def _decide_alone(
    uow: UnitOfWork, one: NumberDecision, *, now: datetime, secret: bytes
) -> bool:
    return await _ONE_BY_ONE[one.action](
        uow,
        phone=one.phone,
        contact_id=one.contact_id,
        source=one.source,
        actor=one.actor,
        reason=one.reason,
        evidence=one.evidence,
        activity_id=one.activity_id,
        at=one.at,
        claimed_at=one.claimed_at,
        now=now,
        secret=secret,
    )


def _is_change(one: NumberDecision, change: Change) -> bool:
    before, after = change
    if one.action == ConsentAction.OPT_OUT:
        return after.opted_out and not before.opted_out
    if one.action == ConsentAction.HOLD:
        return after.on_hold and not before.on_hold
    return bool(before.flags) and not after.flags


async def _decide_each(
    uow: UnitOfWork, decisions: Sequence[NumberDecision], *, now: datetime, secret: bytes
) -> dict[str, Change]:
    """Apply consent decisions to the flags, waiting messages and histories of their numbers.

    Each number may have only one decision.

    Returns:
        For each number: its consent before and after its decision.
    """
    session = uow.session
    had = await flags.flags_of(session, [one.phone for one in decisions], now=now)
    hashes = {one.phone: hash_phone(one.phone, secret) for one in decisions}
    said = await queries.read_decisions_of_numbers(session, hashes=list(hashes.values()))
    changes: dict[str, Change] = {}
    for one in decisions:
        before = ConsentState.of_flags(had[one.phone])
        new = Decision(at=min(one.at, now), action=one.action, source=one.source)
        after = apply_decision(said.get(hashes[one.phone], []), new=new, now=before)
        changes[one.phone] = (before, after)
    wanted = [
        flags.NewFlag(one.phone, flag, one.reason)
        for one in decisions
        for flag in changes[one.phone][1].flags
    ]
    if wanted:
        await flags.set_flags(session, wanted, now=now)
    gone = [
        (phone, flag)
        for phone, (before, after) in changes.items()
        for flag in before.flags - after.flags
    ]
    if gone:
        await flags.end_flags(session, gone)
    opted_in = sorted(phone for phone, flag in gone if flag == FlagType.OPTED_OUT)
    if opted_in:
        await sends.withdraw_confirmations(session, phones=opted_in, now=now)
    stopped = sorted(phone for phone, (_, after) in changes.items() if after.flags)
    if stopped:
        await sends.withdraw_numbers(uow, phones=stopped, now=now)
    free = sorted(changes.keys() - set(stopped))
    if free:
        await sends.restore_held_recipients(uow, phones=free, now=now)
    known = {one.phone for one in decisions if is_last_by_list(said.get(hashes[one.phone], []))}
    await _remember(uow, decisions, changes, hashes, known=known, now=now)
    return changes


async def _remember(
    uow: UnitOfWork,
    decisions: Sequence[NumberDecision],
    changes: Mapping[str, Change],
    hashes: Mapping[str, bytes],
    *,
    known: Collection[str],
    now: datetime,
) -> None:
    """Append an entry to the consent history for each decision.

    The entry of an opt-out or a hold also lists the messages to the number that are already being
    sent. Exception: An opt-out from an import or from the provider's stop list (the numbers that
    the provider refuses) gets no entry if it repeats an opt-out from such a list.

    Args:
        known: The numbers whose last decision is an opt-out from a list.
    """
    noted = [
        one
        for one in decisions
        if one.action != ConsentAction.OPT_OUT
        or one.source not in REPEATED_BY_LISTS
        or one.phone not in known
        or _is_change(one, changes[one.phone])
    ]
    if not noted:
        return
    phones = [one.phone for one in noted]
    under_way = await sends.attempts_under_way(uow.session, phones=phones)
    entries = []
    for one in noted:
        evidence = dict(one.evidence)
        if one.action != ConsentAction.OPT_IN:
            evidence["under_way"] = under_way.get(one.phone, [])
        entries.append(
            {
                "phone_hash": hashes[one.phone],
                "contact_id": one.contact_id,
                "action": one.action,
                "source": one.source,
                "actor": one.actor,
                "activity_id": one.activity_id,
                "claimed_at": one.claimed_at,
                "occurred_at": min(one.at, now),
                "now": now,
                "phone": one.phone,
                "reason": one.reason,
                "evidence": evidence,
            }
        )
    await queries.add_entries(uow.session, entries)
    delay = service.SEALED_WITHIN_SECONDS
    uow.after_commit(Job(name=JobName.SEAL_CONSENT, delay_seconds=delay))
