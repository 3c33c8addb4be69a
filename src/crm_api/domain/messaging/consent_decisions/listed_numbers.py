"""Apply an imported suppression list: opt out its numbers, put them on hold, or set flags.

A suppression list never removes an opt-out or ``do_not_contact``. A new opt-out replaces a hold. A
flag that a number already has is not written again. The SQL handles many numbers per statement.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import queries
from crm_api.domain.consent.consent_state import ConsentState, Decision, apply_decision
from crm_api.domain.consent.models import ConsentAction, ConsentSource, FlagType, hash_phone
from crm_api.domain.messaging.consent_decisions import service
from crm_api.domain.messaging.consent_decisions.flags import flags_of, set_flags
from crm_api.domain.messaging.consent_decisions.suppression import suppress_numbers
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

ACTOR = "import"

_LOCK_DECISIONS = text("""
    SELECT pg_advisory_xact_lock(hashtextextended(number.phone, 1))
    FROM (
        SELECT one.phone FROM unnest(CAST(:phones AS text[])) AS one (phone)
        ORDER BY one.phone OFFSET 0
    ) number
""")
"""Locks in the order of the numbers, as every other transaction does, so that none deadlock."""

# Finds the numbers whose contact has several numbers because of a merge.
_SHARED = text("""
    SELECT c.phone FROM contact c
    WHERE c.phone = ANY (CAST(:phones AS text[])) AND (
        c.merged_into IS NOT NULL OR EXISTS (SELECT FROM contact d WHERE d.merged_into = c.id))
""")
_CONTACTS = text("""
    SELECT phone, id FROM contact
    WHERE phone = ANY (CAST(:phones AS text[])) AND deleted_at IS NULL
""")
_DECISIONS = text("""
    SELECT phone_hash, occurred_at, action, source FROM consent_entry
    WHERE phone_hash = ANY (CAST(:hashes AS bytea[])) ORDER BY id
""")
_OPEN = text("""
    SELECT DISTINCT phone FROM send_attempt
    WHERE phone = ANY (CAST(:phones AS text[])) AND is_open
""")
_END_HOLDS = text("""
    DELETE FROM contact_flag
    WHERE phone = ANY (CAST(:phones AS text[])) AND flag_type = 'opt_out_hold'
""")
_ADD_ENTRIES = text(f"""
    WITH w AS MATERIALIZED (
        SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) AS salt,
               decode(r.phone_hash, 'hex') AS phone_hash, r.phone, r.contact_id, r.action, r.reason,
               CAST(NULL AS text) AS note, CAST(NULL AS text) AS text_shown, r.evidence
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
            phone text, phone_hash text, contact_id uuid, action text, reason text, evidence jsonb)
    ), entry AS (
        INSERT INTO consent_entry
            (phone_hash, contact_id, action, source, actor, occurred_at, created_at,
             wording_digest)
        SELECT w.phone_hash, w.contact_id, w.action, CAST(:source AS text), CAST(:actor AS text),
               CAST(:now AS timestamptz), CAST(:now AS timestamptz),
               sha256(w.salt || convert_to({queries.CANONICAL_WORDING}, 'UTF8'))
        FROM w ORDER BY w.phone
        RETURNING id, phone_hash
    ), unlinked AS (
        INSERT INTO consent_unlinked (entry_id) SELECT id FROM entry
    )
    INSERT INTO consent_wording (entry_id, phone, reason, evidence, salt)
    SELECT entry.id, w.phone, w.reason, w.evidence, w.salt
    FROM entry JOIN w ON w.phone_hash = entry.phone_hash
""")


@dataclass(frozen=True, kw_only=True)
class ListedNumber:
    """A number of a suppression list, and what the list demands for it.

    Attributes:
        action: ``opt_out``, or ``hold`` if it is unclear whether the list means an opt-out.
        is_do_not_contact: The number also gets the flag ``do_not_contact``.
        evidence: Where the number is in the list, for the consent history.
    """

    phone: str
    action: ConsentAction
    is_do_not_contact: bool
    evidence: dict[str, Any]


def strictest_entries(listed: Iterable[ListedNumber]) -> list[ListedNumber]:
    """Merge the entries of a list that have the same number; return them ordered by number.

    The merged entry demands the strictest action of the entries.
    """
    found: dict[str, ListedNumber] = {}
    for one in listed:
        known = found.setdefault(one.phone, one)
        decisive = one if known.action != ConsentAction.OPT_OUT else known
        found[one.phone] = ListedNumber(
            phone=one.phone,
            action=decisive.action,
            is_do_not_contact=known.is_do_not_contact or one.is_do_not_contact,
            evidence=decisive.evidence,
        )
    return [found[phone] for phone in sorted(found)]


async def count_new_flags(
    session: AsyncSession, listed: Sequence[ListedNumber], *, now: datetime
) -> dict[FlagType, int]:
    """Return, for each flag, how many numbers of the list lack the flag and would get it."""
    flags = await flags_of(session, [one.phone for one in listed], now=now)
    counts = dict.fromkeys(_FLAGS, 0)
    for one in listed:
        for flag in _new_flags(one, flags[one.phone]):
            counts[flag] += 1
    return counts


async def apply_listed_numbers(
    uow: UnitOfWork, listed: Sequence[ListedNumber], *, reason: str, now: datetime, secret: bytes
) -> dict[FlagType, int]:
    """Set the flags that a list demands; append a consent entry for each new opt-out or hold.

    Args:
        listed: The result of ``strictest_entries``. The caller has locked the contacts with these
            numbers.

    Returns:
        For each flag, how many phone numbers got it and did not have it before.
    """
    session = uow.session
    phones = [one.phone for one in listed]
    all_numbers = await queries.numbers_of_people(session, phones=phones)
    await session.execute(_LOCK_DECISIONS, {"phones": sorted({*all_numbers, *phones})})
    counts = await count_new_flags(session, listed, now=now)
    flags = await flags_of(session, phones, now=now)
    new = [one for one in listed if _new_flags(one, flags[one.phone]) - {FlagType.DO_NOT_CONTACT}]
    shared = set(await session.scalars(_SHARED, {"phones": [one.phone for one in new]}))
    contact_ids = await _contact_ids(session, phones=[one.phone for one in new])
    barred = [
        one.phone
        for one in listed
        if one.is_do_not_contact and FlagType.DO_NOT_CONTACT not in flags[one.phone]
    ]
    if barred:
        await suppress_numbers(uow, phones=barred, reason=reason, now=now)
    for one in new:
        if one.phone in shared:
            act = service.DecisionDetails(
                phone=one.phone,
                contact_id=contact_ids.get(one.phone),
                source=ConsentSource.IMPORT,
                actor=ACTOR,
                reason=reason,
                evidence=one.evidence,
                now=now,
                secret=secret,
            )
            decide = service.opt_out if one.action == ConsentAction.OPT_OUT else service.place_hold
            await decide(uow, **act)
    alone = [one for one in new if one.phone not in shared]
    if alone:
        await _decide(uow, alone, flags, reason=reason, now=now, secret=secret)
        await _remember(uow, alone, contact_ids, reason=reason, now=now, secret=secret)
    return counts


_FLAGS = (FlagType.OPTED_OUT, FlagType.DO_NOT_CONTACT, FlagType.OPT_OUT_HOLD)


def _new_flags(one: ListedNumber, flags: set[str]) -> set[FlagType]:
    """Return the flags that a number lacks and must get. An opted-out number gets no hold."""
    wanted = {FlagType.DO_NOT_CONTACT} if one.is_do_not_contact else set()
    if one.action == ConsentAction.OPT_OUT:
        wanted.add(FlagType.OPTED_OUT)
    elif FlagType.OPTED_OUT not in flags:
        wanted.add(FlagType.OPT_OUT_HOLD)
    return wanted - flags


async def _decide(
    uow: UnitOfWork,
    alone: Sequence[ListedNumber],
    flags: dict[str, set[str]],
    *,
    reason: str,
    now: datetime,
    secret: bytes,
) -> None:
    """Set the flags of each number from its history and its list entry; withdraw its messages."""
    session = uow.session
    histories = await _decisions(session, hashes=[hash_phone(one.phone, secret) for one in alone])
    after: dict[str, ConsentState] = {}
    for one in alone:
        before = ConsentState(
            opted_out=FlagType.OPTED_OUT in flags[one.phone],
            on_hold=FlagType.OPT_OUT_HOLD in flags[one.phone],
        )
        new = Decision(at=now, action=one.action, source=ConsentSource.IMPORT)
        history = histories.get(hash_phone(one.phone, secret), [])
        after[one.phone] = apply_decision(history, new=new, now=before)
    opted_out = sorted(phone for phone, state in after.items() if state.opted_out)
    on_hold = sorted(phone for phone, state in after.items() if state.on_hold)
    for flag, phones in ((FlagType.OPTED_OUT, opted_out), (FlagType.OPT_OUT_HOLD, on_hold)):
        if phones:
            await set_flags(session, phones=phones, flag=flag, reason=reason, now=now)
    await session.execute(_END_HOLDS, {"phones": opted_out})
    await sends.withdraw_numbers(uow, phones=sorted(after), now=now)


async def _decisions(
    session: AsyncSession, *, hashes: Sequence[bytes]
) -> dict[bytes, list[Decision]]:
    found: dict[bytes, list[Decision]] = {}
    for row in await session.execute(_DECISIONS, {"hashes": list(hashes)}):
        decision = Decision(at=row.occurred_at, action=row.action, source=row.source)
        found.setdefault(bytes(row.phone_hash), []).append(decision)
    return found


async def _contact_ids(session: AsyncSession, *, phones: Sequence[str]) -> dict[str, UUID]:
    rows = await session.execute(_CONTACTS, {"phones": list(phones)})
    return {row.phone: UUID(str(row.id)) for row in rows}


async def _remember(
    uow: UnitOfWork,
    alone: Sequence[ListedNumber],
    contact_ids: dict[str, UUID],
    *,
    reason: str,
    now: datetime,
    secret: bytes,
) -> None:
    """Append one consent entry for each number.

    The entry names the messages that are already being sent, because they cannot be withdrawn.
    """
    session = uow.session
    phones = [one.phone for one in alone]
    is_open = set(await session.scalars(_OPEN, {"phones": phones}))
    rows = [
        {
            "phone": one.phone,
            "phone_hash": hash_phone(one.phone, secret).hex(),
            "contact_id": contact_ids.get(one.phone),
            "action": one.action,
            "reason": reason,
            "evidence": {
                **one.evidence,
                "under_way": await sends.attempts_under_way(session, phone=one.phone)
                if one.phone in is_open
                else [],
            },
        }
        for one in alone
    ]
    values = {
        "rows": orjson.dumps(rows).decode(),
        "source": ConsentSource.IMPORT,
        "actor": ACTOR,
        "now": now,
    }
    await session.execute(_ADD_ENTRIES, values)
    delay = service.SEALED_WITHIN_SECONDS
    uow.after_commit(Job(name=JobName.SEAL_CONSENT, delay_seconds=delay))
