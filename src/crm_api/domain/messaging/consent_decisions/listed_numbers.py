"""Apply the opt-out columns of an imported contact file: opt-outs, holds, and ``do_not_contact``.

The import never removes an opt-out or ``do_not_contact``. A new opt-out replaces a hold. A flag
that the number already has is not written again. A repeated opt-out is added to the consent history
only if the last decision about the number is not from a list. The SQL handles many numbers per
statement.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import queries
from crm_api.domain.consent.consent_state import is_last_by_list
from crm_api.domain.consent.models import ConsentAction, ConsentSource, FlagType, hash_phone
from crm_api.domain.messaging.consent_decisions.bulk_decisions import NumberDecision, decide_in_bulk
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.messaging.consent_decisions.suppression import suppress_numbers
from crm_api.platform.database import UnitOfWork

ACTOR = "import"

_CONTACTS = text("""
    SELECT phone, id FROM contact
    WHERE phone = ANY (CAST(:phones AS text[])) AND deleted_at IS NULL
""")


@dataclass(frozen=True, kw_only=True)
class ListedNumber:
    """A number of an imported file, and the flags that the number must get.

    Attributes:
        action: ``opt_out``, or ``hold`` if it is unclear whether the list means an opt-out.
        is_do_not_contact: True if the number also gets the flag ``do_not_contact``.
        evidence: Where the number is in the file, for the consent history.
    """

    phone: str
    action: ConsentAction
    is_do_not_contact: bool
    evidence: dict[str, Any]


def strictest_entries(listed: Iterable[ListedNumber]) -> list[ListedNumber]:
    """Merge the entries of an imported file to one per number; return them ordered by number.

    If one of the entries of a number is an opt-out, the merged entry is an opt-out. If not, it is a
    hold. If one of the entries sets ``do_not_contact``, the merged entry sets this flag too.
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
    """Return, for each flag, how many numbers would get it from an imported file.

    Numbers that already have the flag are not counted.
    """
    flags = await flags_of(session, [one.phone for one in listed], now=now)
    counts = dict.fromkeys(_FLAGS, 0)
    for one in listed:
        for flag in _new_flags(one, flags[one.phone]):
            counts[flag] += 1
    return counts


async def apply_listed_numbers(
    uow: UnitOfWork, listed: Sequence[ListedNumber], *, reason: str, now: datetime, secret: bytes
) -> dict[FlagType, int]:
    """Set the flags of the numbers in an imported file.

    New opt-outs and holds are also added to the consent history. So is a repeated opt-out if the
    last decision about the number is not from a list.

    Args:
        listed: The result of ``strictest_entries``. The caller must have locked the contacts with
            these numbers.

    Returns:
        For each kind of flag, how many numbers got it now.
    """
    session = uow.session
    phones = [one.phone for one in listed]
    all_numbers = await queries.numbers_of_people(session, phones=phones)
    await queries.lock_decisions(session, phones={*all_numbers, *phones})
    counts = await count_new_flags(session, listed, now=now)
    flags = await flags_of(session, phones, now=now)
    repeated = [
        one.phone
        for one in listed
        if one.action == ConsentAction.OPT_OUT and FlagType.OPTED_OUT in flags[one.phone]
    ]
    unlisted = await _last_decided_elsewhere(session, phones=repeated, secret=secret)
    new = [
        one
        for one in listed
        if one.phone in unlisted or _new_flags(one, flags[one.phone]) - {FlagType.DO_NOT_CONTACT}
    ]
    contact_ids = await _contact_ids(session, phones=[one.phone for one in new])
    barred = [
        one.phone
        for one in listed
        if one.is_do_not_contact and FlagType.DO_NOT_CONTACT not in flags[one.phone]
    ]
    if barred:
        await suppress_numbers(uow, phones=barred, reason=reason, now=now)
    acts = [
        NumberDecision(
            phone=one.phone,
            contact_id=contact_ids.get(one.phone),
            action=one.action,
            source=ConsentSource.IMPORT,
            actor=ACTOR,
            reason=reason,
            evidence=one.evidence,
            at=now,
        )
        for one in new
    ]
    await decide_in_bulk(uow, acts, now=now, secret=secret)
    return counts


_FLAGS = (FlagType.OPTED_OUT, FlagType.DO_NOT_CONTACT, FlagType.OPT_OUT_HOLD)


def _new_flags(one: ListedNumber, flags: set[str]) -> set[FlagType]:
    """Return the flags that a number must get and does not have yet.

    If the number is already opted out, the flag ``opt_out_hold`` is not added.
    """
    wanted = {FlagType.DO_NOT_CONTACT} if one.is_do_not_contact else set()
    if one.action == ConsentAction.OPT_OUT:
        wanted.add(FlagType.OPTED_OUT)
    elif FlagType.OPTED_OUT not in flags:
        wanted.add(FlagType.OPT_OUT_HOLD)
    return wanted - flags


async def _last_decided_elsewhere(
    session: AsyncSession, *, phones: Sequence[str], secret: bytes
) -> set[str]:
    """Return the opted-out numbers whose last decision is not an opt-out from a list."""
    if not phones:
        return set()
    hashes = {phone: hash_phone(phone, secret) for phone in phones}
    said = await queries.read_decisions_of_numbers(session, hashes=list(hashes.values()))
    return {phone for phone, one in hashes.items() if not is_last_by_list(said.get(one, []))}


async def _contact_ids(session: AsyncSession, *, phones: Sequence[str]) -> dict[str, UUID]:
    rows = await session.execute(_CONTACTS, {"phones": list(phones)})
    return {row.phone: UUID(str(row.id)) for row in rows}
