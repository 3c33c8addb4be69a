"""What a fact from the provider changes: timeline, consent, campaigns, and the answers due.

Every effect of a received text hangs on its row being new, so that a second delivery, a replay or
a later reconciliation of the same text changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.models import Direction, Origin
from crm_api.domain.activity.service import Received, ToldCall, ToldText
from crm_api.domain.consent import service as consent
from crm_api.domain.consent import words
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.consent.words import Kind
from crm_api.domain.lines.models import Line
from crm_api.domain.openphone.facts import ProviderEvent
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.models import SendKind
from crm_api.domain.sends.service import Reply, ToldReport
from crm_api.domain.webhooks import erased
from crm_api.domain.webhooks.lines import LineFinder
from crm_api.domain.webhooks.reception import Reception

DECISIONS = {
    Kind.OPT_OUT: consent.opt_out,
    Kind.OPT_IN: consent.opt_in,
    Kind.DOUBTFUL: consent.hold,
}
DOUBTFUL_TEXT = AlertKind.DOUBTFUL_OPT_OUT
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


async def apply_all(
    uow: UnitOfWork, told: Sequence[ProviderEvent], *, now: datetime, reception: Reception
) -> None:
    """Apply what events tell of texts and calls, with few statements for all of them.

    In which order does not matter; what one event does must not undo another's. What is older than
    the erasure of its person is left out.

    Raises:
        LineUnknownError: One is of a line that is not known here.
        IncompleteEventError: One does not say which line it is of.
    """
    told = await erased.leave_out(uow, told, secret=reception.secret, now=now)
    known = LineFinder(uow, resend_unclear=reception.resend_unclear, now=now)
    texts, reports, heard = [], [], []
    for event in told:
        if event.message is not None:
            line = await known.of_message(event.message)
            if event.message.direction == Direction.INCOMING:
                texts.append(ToldText(facts=event.message, line=line))
            else:
                reports.append(ToldReport(facts=event.message, line_id=line.id))
        elif event.call is not None:
            heard.append(
                ToldCall(
                    facts=event.call,
                    event_type=event.type,
                    event_at=event.created_at,
                    line=await known.of_call(event.call),
                )
            )
    await _apply_texts(uow, texts, now=now, reception=reception)
    await _apply_reports(uow, reports, now=now, reception=reception)
    await _apply_calls(uow, heard, now=now, reception=reception)


async def _apply_reports(
    uow: UnitOfWork, told: Sequence[ToldReport], *, now: datetime, reception: Reception
) -> None:
    if not told:
        return
    others = await sends.apply_to_ours(uow, told, now=now)
    phones = {
        phone
        for one in others
        if one.facts.to_numbers and (phone := activity.as_phone(one.facts.to_numbers[0]))
    }
    contacts = await activity.contacts_of(uow, phones, may_add=(), now=now)
    for one in others:
        to = activity.as_phone(one.facts.to_numbers[0]) if one.facts.to_numbers else None
        await sends.apply_report(
            uow,
            facts=one.facts,
            line_id=one.line_id,
            contact_id=contacts.get(to or ""),
            times=reception.times,
            now=now,
        )


async def _apply_calls(
    uow: UnitOfWork, told: Sequence[ToldCall], *, now: datetime, reception: Reception
) -> None:
    """Add what is told of calls to their rows; callers who are not known become contacts."""
    if not told:
        return
    heard: dict[str, datetime] = {}
    for call in await activity.record_calls(uow, told, now=now):
        if call.phone is not None:
            heard[call.phone] = max(heard.get(call.phone, call.began_at), call.began_at)
    await sends.end_all_follow_ups(
        uow, heard, why=sends.EndedBy.CALL, times=reception.times, now=now
    )


async def _apply_texts(
    uow: UnitOfWork, told: Sequence[ToldText], *, now: datetime, reception: Reception
) -> None:
    """Store received texts, do what new ones ask for, and tie them to what they answer."""
    if not told:
        return
    replies: dict[UUID, Reply] = {}
    heard: dict[str, datetime] = {}
    for one, received in zip(told, await activity.record_texts(uow, told, now=now), strict=True):
        if not received.is_new or received.phone is None:
            continue
        at = one.facts.created_at
        kind = await _decide(uow, one, received, now=now, reception=reception)
        replies[received.activity_id] = Reply(
            phone=received.phone,
            line_id=one.line.id,
            at=at,
            is_opt_out=kind is Kind.OPT_OUT,
        )
        heard[received.phone] = max(heard.get(received.phone, at), at)
    times = reception.times
    found = await sends.note_replies(uow, list(replies.values()), times=times, now=now)
    await sends.end_all_follow_ups(uow, heard, why=sends.EndedBy.REPLY, times=times, now=now)
    campaigns = {
        activity_id: campaign_id
        for activity_id, campaign_id in zip(replies, found, strict=True)
        if campaign_id is not None
    }
    await activity.set_campaigns(uow, campaigns)


async def _decide(
    uow: UnitOfWork,
    told: ToldText,
    received: Received,
    *,
    now: datetime,
    reception: Reception,
) -> Kind:
    """Do what a new text from a person asks for; what that is."""
    facts, line = told.facts, told.line
    reading = words.read(facts.text)
    decide = DECISIONS.get(reading.kind)
    is_decided = decide is not None and await decide(
        uow,
        phone=received.phone or "",
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
    return reading.kind


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
