"""Set the flag ``do_not_contact`` on phone numbers, and withdraw their waiting messages."""

from collections.abc import Sequence
from datetime import datetime

from crm_api.domain.consent import queries
from crm_api.domain.consent.models import FlagType
from crm_api.domain.messaging.consent_decisions import flags
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork


async def suppress_numbers(
    uow: UnitOfWork,
    *,
    phones: Sequence[str],
    reason: str,
    expires_at: datetime | None = None,
    now: datetime,
) -> None:
    """Set ``do_not_contact`` on numbers, by default without expiry; withdraw waiting messages.

    If a number belongs to a contact that has several numbers because of a merge, all numbers of the
    contact get the flag. An existing flag stays unchanged, unless the new flag ends later. The
    consent history gets no entry, because no consent decision was made.
    """
    phones = await queries.numbers_of_people(uow.session, phones=phones)
    new = [flags.NewFlag(phone, FlagType.DO_NOT_CONTACT, reason, expires_at) for phone in phones]
    await flags.set_flags(uow.session, new, now=now)
    await sends.withdraw_numbers(uow, phones=phones, now=now)
