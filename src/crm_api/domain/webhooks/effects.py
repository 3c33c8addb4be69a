"""What a fact from the provider changes: timeline, consent, campaigns, and the answers due.

Every effect of a received text hangs on its row being new, so that a second delivery, a replay or
a later reconciliation of the same text changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from crm_api.db import UnitOfWork
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.models import Direction, Origin
from crm_api.domain.activity.service import Received
from crm_api.domain.consent import service as consent
from crm_api.domain.consent import words
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.consent.words import Kind
from crm_api.domain.lines import service as lines
from crm_api.domain.lines.models import Line
from crm_api.domain.openphone.facts import CallFacts, MessageFacts, ProviderEvent
from crm_api.domain.operations import service as operations
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.models import SendKind
from crm_api.domain.webhooks.errors import IncompleteEventError, LineUnknownError
from crm_api.domain.webhooks.reception import Reception

DECISIONS = {
    Kind.OPT_OUT: consent.opt_out,
    Kind.OPT_IN: consent.opt_in,
    Kind.DOUBTFUL: consent.hold,
}
DOUBTFUL_TEXT = "doubtful_opt_out"
"""The alert's kind."""
BY_THE_PERSON = "person"
CONFIRMATION = "{name}: you have opted out and will get no more texts from us."
"""One, without marketing, and naming who confirms (47 CFR 64.1200(a)(12), read 2026-11-24)."""
HELP = "{name}: for help, reach us at {contact}. Reply STOP to get no more texts."
ANSWERED_WITHIN = timedelta(days=1)
"""A text that is learned of later than this, from an import of the history or after a long outage,
gets no answer. A confirmation belongs within five minutes; why a later one was late must be shown
(47 CFR 64.1200(a)(12)), which the stored event does for an outage and nothing for old texts."""
HELP_AGAIN_AFTER = timedelta(minutes=10)
"""Two machines that answer each other's HELP would never stop."""


async def apply_message(
    uow: UnitOfWork, facts: MessageFacts, *, now: datetime, reception: Reception
) -> None:
    """Apply what is told of a text: received, or on its way from us.

    Raises:
        LineUnknownError: It is of a line that is not known here.
        IncompleteEventError: It does not say which line it is of.
    """
    is_incoming = facts.direction == Direction.INCOMING
    own = facts.to_numbers if is_incoming else (facts.from_number or "",)
    line = await _find_line(
        uow, phone_number_id=facts.phone_number_id, own=own, now=now, reception=reception
    )
    if line is None:
        raise IncompleteEventError("The message does not say on which line it was.")
    if not is_incoming:
        to = facts.to_numbers[0] if facts.to_numbers else ""
        await sends.apply_report(
            uow,
            facts=facts,
            line_id=line.id,
            contact_id=await activity.find_contact(uow, identifier=to),
            times=reception.times,
            now=now,
        )
        return
    received = await activity.record_incoming(uow, facts, line=line, now=now)
    if received.is_new and received.phone is not None:
        await _hear(uow, facts, received, line=line, now=now, reception=reception)


async def apply_call(
    uow: UnitOfWork,
    facts: CallFacts,
    *,
    event: ProviderEvent,
    now: datetime,
    reception: Reception,
) -> None:
    """Add what is told of a call to its row; a caller who is not known becomes a contact.

    Raises:
        LineUnknownError: It is of a line that is not known here.
    """
    line = await _find_line(
        uow, phone_number_id=facts.phone_number_id, own=facts.own, now=now, reception=reception
    )
    call = await activity.record_call(
        uow, facts, event_type=event.type, event_at=event.created_at, line=line, now=now
    )
    if call.phone is not None:
        await sends.end_follow_ups(
            uow,
            phone=call.phone,
            why=sends.EndedBy.CALL,
            at=call.began_at,
            times=reception.times,
            now=now,
        )


async def _find_line(
    uow: UnitOfWork,
    *,
    phone_number_id: str | None,
    own: Sequence[str],
    now: datetime,
    reception: Reception,
) -> Line | None:
    """Find the line by the provider's id, else by its number; one that is told whole is added.

    Returns:
        None when the fact names no line at all.

    Raises:
        LineUnknownError: It names one that is not known, and does not tell its number.
    """
    if phone_number_id is None:
        return await lines.find_by_number(uow, numbers=own) if own else None
    numbers = [number for one in own if (number := activity.as_phone(one)) is not None]
    line = await lines.ensure_line(
        uow,
        phone_number_id=phone_number_id,
        number=numbers[0] if len(numbers) == 1 else None,
        resend_unclear=reception.resend_unclear,
        now=now,
    )
    if line is None:
        raise LineUnknownError(
            f"The line {phone_number_id} is not known here; read the lines from the provider "
            "with POST /v1/lines/sync, then replay this event."
        )
    return line


async def _hear(
    uow: UnitOfWork,
    facts: MessageFacts,
    received: Received,
    *,
    line: Line,
    now: datetime,
    reception: Reception,
) -> None:
    """Do what a new text from a person asks for, and tie it to the campaign that it answers."""
    phone = received.phone or ""
    reading = words.read(facts.text)
    decide = DECISIONS.get(reading.kind)
    is_decided = decide is not None and await decide(
        uow,
        phone=phone,
        contact_id=received.contact_id,
        source=ConsentSource.MESSAGE,
        actor=BY_THE_PERSON,
        reason=reading.wording,
        evidence={"text": facts.text},
        activity_id=received.activity_id,
        at=facts.created_at,
        now=now,
        secret=reception.secret,
    )
    is_fresh = now - facts.created_at <= ANSWERED_WITHIN
    may_confirm = is_fresh and not reading.provider_confirms
    if reading.kind is Kind.HELP and is_fresh:
        await _help(uow, received, line=line, now=now, reception=reception)
    elif reading.kind is Kind.DOUBTFUL and is_decided:
        await _ask_a_person(uow, received, now=now)
    elif reading.kind is Kind.OPT_OUT and is_decided and may_confirm:
        await _answer(uow, SendKind.CONFIRMATION, received, line=line, now=now, reception=reception)
    campaign_id = await sends.note_reply(
        uow,
        phone=phone,
        line_id=line.id,
        at=facts.created_at,
        times=reception.times,
        now=now,
        is_opt_out=reading.kind is Kind.OPT_OUT,
    )
    await sends.end_follow_ups(
        uow,
        phone=phone,
        why=sends.EndedBy.REPLY,
        at=facts.created_at,
        times=reception.times,
        now=now,
    )
    if campaign_id is not None:
        await activity.set_campaign(uow, activity_id=received.activity_id, campaign_id=campaign_id)


async def _ask_a_person(uow: UnitOfWork, received: Received, *, now: datetime) -> None:
    await operations.raise_alert(
        uow,
        kind=DOUBTFUL_TEXT,
        subject=str(received.contact_id),
        detail="A text may or may not be an opt-out: campaign texts to the number are held until "
        "somebody confirms it (opt-out) or releases it (opt-in).",
        context={
            "activity_id": str(received.activity_id),
            "conversation_id": str(received.conversation_id),
        },
        now=now,
    )


async def _help(
    uow: UnitOfWork, received: Received, *, line: Line, now: datetime, reception: Reception
) -> None:
    if await activity.was_sent_lately(
        uow,
        conversation_id=received.conversation_id,
        origin=Origin.HELP,
        within=HELP_AGAIN_AFTER,
        now=now,
    ):
        return
    await _answer(uow, SendKind.HELP, received, line=line, now=now, reception=reception)


async def _answer(
    uow: UnitOfWork,
    kind: SendKind,
    received: Received,
    *,
    line: Line,
    now: datetime,
    reception: Reception,
) -> None:
    name = reception.business_name or line.name
    contact = reception.business_contact or line.number
    body = CONFIRMATION if kind is SendKind.CONFIRMATION else HELP
    await sends.queue_text(
        uow,
        line_id=line.id,
        phone=received.phone or "",
        body=body.format(name=name, contact=contact),
        kind=kind,
        contact_id=received.contact_id,
        now=now,
    )
