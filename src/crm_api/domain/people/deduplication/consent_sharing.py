"""When contacts are merged, give all their phone numbers the strictest of their consent states."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.domain.consent.models import SUPPRESSING_FLAGS, ConsentSource, FlagType
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork

REASON = "merged with a contact that has this flag"


async def lock_consent(uow: UnitOfWork, phones: Sequence[str]) -> None:
    """Take the consent locks of these phone numbers until the transaction ends."""
    await consent.lock_decisions(uow, phones=phones)


async def share_consent(
    uow: UnitOfWork,
    people: Sequence[Contact],
    phones: Sequence[str],
    *,
    merge_id: UUID,
    actor: str,
    secret: bytes,
    now: datetime,
) -> None:
    """If one of the contacts has a flag that stops messages, set this flag on all of ``phones``.

    Only the flags of the contacts' own numbers are copied. ``phones`` may also contain numbers of
    duplicates that were merged into the contacts earlier; the flags of these numbers are not
    copied. The reason: if a contact opted in again after the earlier merge, the duplicate's number
    may still be opted out, but the contact must stay opted in.
    """
    flags = await flags_of(uow.session, phones, now=now)
    wanted = {flag for one in people for flag in flags[one.phone] if flag in SUPPRESSING_FLAGS}
    if FlagType.OPTED_OUT in wanted:
        wanted.discard(FlagType.OPT_OUT_HOLD)
    sources = {flag: [one.phone for one in people if flag in flags[one.phone]] for flag in wanted}
    for flag in sorted(wanted):
        for phone in sorted(phones):
            if flag not in flags[phone]:
                await consent.add_flag(
                    uow,
                    flag=flag,
                    expires_at=None,
                    phone=phone,
                    contact_id=people[0].id,
                    source=ConsentSource.API,
                    actor=actor,
                    reason=REASON,
                    evidence={"merge_id": str(merge_id), "numbers": sources[flag]},
                    now=now,
                    secret=secret,
                )
