"""What the provider tells of persons who were erased: nothing of the time before is taken in."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from crm_api.db import UnitOfWork
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.models import Direction
from crm_api.domain.consent import off_limits
from crm_api.domain.openphone.facts import ProviderEvent

# Events of a call's summary or transcript name nobody: its row tells whose it was.
OF_ERASED = text("""
    SELECT k.openphone_id FROM activity_key k JOIN activity a ON a.id = k.activity_id
    WHERE k.openphone_id = ANY(CAST(:ids AS text[])) AND a.phone LIKE 'erased:%'
""")


async def leave_out(
    uow: UnitOfWork, told: Sequence[ProviderEvent], *, secret: bytes, now: datetime
) -> list[ProviderEvent]:
    """Leave out what happened before the erasure of its person, or goes on with it.

    Of what they do later their number's flag is put back first, so that nothing is sent.
    """
    people = [_person(event) for event in told]
    phones = {phone for phone in people if phone is not None}
    erased = await off_limits.erased_since(uow.session, phones, secret=secret)
    nameless = [
        event.call.provider_call_id
        for event in told
        if event.call is not None and not event.call.external
    ]
    gone = set()
    if nameless:
        gone = set(await uow.session.scalars(OF_ERASED, {"ids": nameless}))
    if erased:
        await off_limits.suppress_erased(uow, phones=erased.keys(), now=now, secret=secret)
    return [
        event
        for event, phone in zip(told, people, strict=True)
        if not _is_past(event, erased.get(phone or ""))
        and not (event.call is not None and event.call.provider_call_id in gone)
    ]


def _person(event: ProviderEvent) -> str | None:
    """The outside party's number in E.164."""
    if event.message is not None:
        is_theirs = event.message.direction == Direction.INCOMING
        named = (event.message.from_number,) if is_theirs else event.message.to_numbers[:1]
    else:
        named = event.call.external[:1] if event.call is not None else ()
    return activity.as_phone(named[0]) if named and named[0] else None


def _is_past(event: ProviderEvent, erased_at: datetime | None) -> bool:
    if erased_at is None:
        return False
    facts = event.message or event.call
    at = (facts.created_at if facts is not None else None) or event.created_at
    return at is None or at <= erased_at
