"""Skip the old events of erased people.

An event is skipped if it happened before the person of the event was erased. If the event contains
a consent decision, such as an opt-out, the decision is stored nevertheless.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import text

from crm_api.domain.consent.models import ConsentAction
from crm_api.domain.consent.reply_reader.reader import ReplyKind, read_reply
from crm_api.domain.messaging.consent_decisions import erased_numbers
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.conversations.participants import as_phone
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.provider.openphone.facts import ProviderEvent
from crm_api.platform.database import UnitOfWork

DECISIONS = {
    ReplyKind.OPT_OUT: ConsentAction.OPT_OUT,
    ReplyKind.OPT_IN: ConsentAction.OPT_IN,
    ReplyKind.DOUBTFUL: ConsentAction.HOLD,
}
"""Maps a kind of reply to the consent decision that follows from such a reply."""
# Events about the summary or transcript of a call do not contain the person's number. The stored
# row of the call shows whether the person was erased.
OF_ERASED = text("""
    SELECT k.openphone_id FROM activity_key k JOIN activity a ON a.id = k.activity_id
    WHERE k.openphone_id = ANY(CAST(:ids AS text[])) AND a.phone LIKE 'erased:%'
""")


async def leave_out_erased(
    uow: UnitOfWork, events: Sequence[ProviderEvent], *, secret: bytes, now: datetime
) -> list[ProviderEvent]:
    """Leave out the events that happened before their person was erased; return the others.

    If a call began before the person was erased, all events of the call are left out. A message
    that is left out may contain an opt-out, an opt-in or a doubtful reply. The consent history then
    gets an entry, without the text of the message.

    If a returned event has the number of an erased person, the number gets these flags:

    - An opt-out or a hold, if the consent history contains one.
    - ``do_not_contact``, unless a user removed this flag after the erasure.
    """
    people = [_person(event) for event in events]
    phones = {phone for phone in people if phone is not None}
    await erased_numbers.wait_for_erasures(uow.session, phones)
    erased = await erased_numbers.erased_since(uow.session, phones, secret=secret)
    nameless = [
        event.call.provider_call_id
        for event in events
        if event.call is not None and not event.call.external
    ]
    gone = set()
    if nameless:
        gone = set(await uow.session.scalars(OF_ERASED, {"ids": nameless}))
    past = [
        (phone, event)
        for event, phone in zip(events, people, strict=True)
        if phone is not None and _is_past(event, erased.get(phone))
    ]
    left_out = {id(event) for _, event in past}
    kept = [
        (phone, event)
        for event, phone in zip(events, people, strict=True)
        if id(event) not in left_out
        and not (event.call is not None and event.call.provider_call_id in gone)
    ]
    if erased:
        await consent.lock_decisions(uow, phones=erased)
        await _record_late_decisions(uow, past, now=now, secret=secret)
        back = {phone for phone, _ in kept if phone in erased}
        await erased_numbers.suppress_erased(uow, phones=back, now=now, secret=secret)
    return [event for _, event in kept]


async def _record_late_decisions(
    uow: UnitOfWork, past: Iterable[tuple[str, ProviderEvent]], *, now: datetime, secret: bytes
) -> None:
    """Record the consent decisions in old messages of erased people.

    For example, an opt-out is valid even if its event arrives after the erasure.
    """
    for phone, event in past:
        facts = event.message
        if facts is None or facts.direction != Direction.INCOMING:
            continue
        action = DECISIONS.get(read_reply(facts.text).kind)
        if action is not None:
            await erased_numbers.keep_late_decision(
                uow,
                phone=phone,
                action=action,
                at=min(facts.created_at, now),
                claimed_at=facts.claimed_at,
                now=now,
                secret=secret,
            )


def _person(event: ProviderEvent) -> str | None:
    """Return the person's phone number in E.164; None if the event has no such number.

    The person is the sender of a received message, the first recipient of a sent message, or the
    first person in a call.
    """
    if event.message is not None:
        is_theirs = event.message.direction == Direction.INCOMING
        named = (event.message.from_number,) if is_theirs else event.message.to_numbers[:1]
    else:
        named = event.call.external[:1] if event.call is not None else ()
    return as_phone(named[0]) if named and named[0] else None


def _is_past(event: ProviderEvent, erased_at: datetime | None) -> bool:
    if erased_at is None:
        return False
    facts = event.message or event.call
    at = (facts.created_at if facts is not None else None) or event.created_at
    return at is None or at <= erased_at
