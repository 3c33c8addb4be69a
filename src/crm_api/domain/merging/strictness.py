"""The strictest consent of the numbers of one person holds for all of them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.consent.models import SUPPRESSING_FLAGS, ConsentSource, FlagType
from crm_api.domain.contacts.models import Contact

REASON = "merged with a number that asked for it"


async def take_turns(uow: UnitOfWork, phones: Sequence[str]) -> None:
    """Wait until nobody else decides about these numbers; ends with the transaction."""
    await consent.take_turns(uow, phones=phones)


async def share(
    uow: UnitOfWork,
    people: Sequence[Contact],
    phones: Sequence[str],
    *,
    merge_id: UUID,
    actor: str,
    secret: bytes,
    now: datetime,
) -> None:
    """Put what stops texts to one of these people on all numbers that do not have it yet.

    A number that was merged before counts by its person: who was opted in again since, stays so.
    """
    stands = await consent.flags_of(uow.session, phones, now=now)
    wanted = {flag for one in people for flag in stands[one.phone] if flag in SUPPRESSING_FLAGS}
    if FlagType.OPTED_OUT in wanted:
        wanted.discard(FlagType.OPT_OUT_HOLD)
    told_by = {flag: [one.phone for one in people if flag in stands[one.phone]] for flag in wanted}
    for flag in sorted(wanted):
        for phone in sorted(phones):
            if flag not in stands[phone]:
                await consent.add_flag(
                    uow,
                    flag=flag,
                    expires_at=None,
                    phone=phone,
                    contact_id=people[0].id,
                    source=ConsentSource.API,
                    actor=actor,
                    reason=REASON,
                    evidence={"merge_id": str(merge_id), "numbers": told_by[flag]},
                    now=now,
                    secret=secret,
                )
