"""Apply the provider's facts to timeline, consent and campaigns, and queue automatic replies.

A received message has effects only when its row is new. So a second delivery, a replay or a later
reconciliation of the same message changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.consent.reply_reader.reader import Reading, ReplyKind, read_replies
from crm_api.domain.inbound.webhook_events import erased, unknown_line
from crm_api.domain.inbound.webhook_events.lines import LineFinder
from crm_api.domain.inbound.webhook_events.reception import Reception
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.messaging.conversations import reply_context
from crm_api.domain.messaging.conversations.call_events import (
    CallEvent,
    apply_call_events,
)
from crm_api.domain.messaging.conversations.participants import as_phone, find_or_add_contacts
from crm_api.domain.messaging.conversations.received_messages import (
    ReceivedMessage,
    StoredMessage,
    set_campaigns,
    store_received_messages,
)
from crm_api.domain.messaging.conversations.reply_context import was_sent_lately
from crm_api.domain.messaging.models.conversations import Direction, Origin
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.follow_ups import end_all_follow_ups
from crm_api.domain.messaging.sends.queue import find_stopping_rule, queue_message
from crm_api.domain.messaging.sends.replies import PersonReply, note_replies
from crm_api.domain.messaging.sends.report import (
    OutgoingReport,
    apply_report,
    apply_reports_to_ours,
)
from crm_api.domain.messaging.sends.vocabulary import EndedBy
from crm_api.domain.provider.openphone.facts import MessageFacts, ProviderEvent
from crm_api.platform.database import UnitOfWork

DECISIONS = {
    ReplyKind.OPT_OUT: consent.opt_out,
    ReplyKind.OPT_IN: consent.opt_in,
    ReplyKind.DOUBTFUL: consent.place_hold,
}
DOUBTFUL_TEXT = AlertKind.DOUBTFUL_OPT_OUT
BY_THE_PERSON = "person"
CONFIRMATION = "{name}: you have opted out and will get no more texts from us."
"""Text that confirms an opt-out. The law allows one message, without marketing and with the
sender's name (47 CFR 64.1200(a)(12), read 2026-11-24)."""
HELP = "{name}: for help, reach us at {contact}. Reply STOP to get no more texts."
ANSWERED_WITHIN = timedelta(days=1)
"""Maximum age of a message that gets an automatic reply. Older messages come from an import of the
history or from a long outage. A confirmation is due within five minutes, and a later one needs a
recorded reason (47 CFR 64.1200(a)(12)). After an outage, the stored event is that record; for an
old imported message, there is none."""
HELP_AGAIN_AFTER = timedelta(minutes=10)
"""Minimum time between two automatic replies to HELP in a conversation. Without it, two machines
that reply to each other would never stop."""


async def apply_facts(
    uow: UnitOfWork, events: Sequence[ProviderEvent], *, now: datetime, reception: Reception
) -> None:
    """Apply the facts about messages and calls in several events, with few SQL statements.

    The result does not depend on the order of the events. Events that happened before their person
    was erased are skipped.

    Args:
        events: Events that ``bound_event`` returned, so no time in them is later than their
            receipt.
        now: The database's time of this transaction.

    Raises:
        LineUnknownError: An event names a line that this service has not stored.
        IncompleteEventError: An event does not name its line.
    """
    events = await erased.leave_out_erased(uow, events, secret=reception.secret, now=now)
    known = LineFinder(uow, resend_unclear=reception.resend_unclear, now=now)
    texts, reports, calls = [], [], []
    for event in events:
        if event.message is not None:
            line = await known.of_message(event.message)
            if event.message.direction == Direction.INCOMING:
                texts.append(ReceivedMessage(facts=event.message, line=line))
            else:
                reports.append(OutgoingReport(facts=event.message, line_id=line.id))
        elif event.call is not None:
            calls.append(
                CallEvent(
                    facts=event.call,
                    event_type=event.type,
                    event_at=event.created_at,
                    line=await known.of_call(event.call),
                )
            )
    await _apply_texts(uow, texts, now=now, reception=reception)
    await _apply_reports(uow, reports, now=now, reception=reception)
    await _apply_calls(uow, calls, now=now, reception=reception)


async def _apply_reports(
    uow: UnitOfWork, reports: Sequence[OutgoingReport], *, now: datetime, reception: Reception
) -> None:
    if not reports:
        return
    others = await apply_reports_to_ours(uow, reports, now=now)
    phones = {
        phone
        for one in others
        if one.facts.to_numbers and (phone := as_phone(one.facts.to_numbers[0]))
    }
    contacts = await find_or_add_contacts(uow, phones, may_add=(), now=now)
    for one in others:
        to = as_phone(one.facts.to_numbers[0]) if one.facts.to_numbers else None
        await apply_report(
            uow,
            facts=one.facts,
            line_id=one.line_id,
            contact_id=contacts.get(to or ""),
            times=reception.times,
            now=now,
        )


async def _apply_calls(
    uow: UnitOfWork, calls: Sequence[CallEvent], *, now: datetime, reception: Reception
) -> None:
    """Store facts about calls, add unknown callers as contacts, and end the callers' follow-ups."""
    if not calls:
        return
    heard: dict[str, datetime] = {}
    for call in await apply_call_events(uow, calls, now=now):
        if call.phone is not None:
            heard[call.phone] = max(heard.get(call.phone, call.began_at), call.began_at)
    await end_all_follow_ups(uow, heard, why=EndedBy.CALL, times=reception.times, now=now)


async def _apply_texts(
    uow: UnitOfWork, texts: Sequence[ReceivedMessage], *, now: datetime, reception: Reception
) -> None:
    """Store received messages, act on the new ones, and link replies to their campaigns."""
    if not texts:
        return
    recorded = zip(texts, await store_received_messages(uow, texts, now=now), strict=True)
    new = [(one, received) for one, received in recorded if received.is_new and received.phone]
    contexts = await reply_context.read_reply_contexts(
        uow, [(received.conversation_id, one.facts.created_at) for one, received in new]
    )
    readings = read_replies([one.facts.text for one, _ in new], contexts)
    replies: dict[UUID, PersonReply] = {}
    heard: dict[str, datetime] = {}
    for (one, received), reading in zip(new, readings, strict=True):
        phone, at = received.phone or "", one.facts.created_at
        await _decide(uow, one, received, reading, now=now, reception=reception)
        replies[received.activity_id] = PersonReply(
            phone=phone,
            line_id=one.line.id,
            at=at,
            is_opt_out=reading.kind is ReplyKind.OPT_OUT,
        )
        heard[phone] = max(heard.get(phone, at), at)
    times = reception.times
    found = await note_replies(uow, list(replies.values()), times=times, now=now)
    await end_all_follow_ups(uow, heard, why=EndedBy.REPLY, times=times, now=now)
    campaigns = {
        activity_id: campaign_id
        for activity_id, campaign_id in zip(replies, found, strict=True)
        if campaign_id is not None
    }
    await set_campaigns(uow, campaigns)


async def _decide(
    uow: UnitOfWork,
    text: ReceivedMessage,
    received: StoredMessage,
    reading: Reading,
    *,
    now: datetime,
    reception: Reception,
) -> None:
    """Apply the opt-out, opt-in or hold that a new message causes.

    Then queue an automatic reply or raise an alert, if the message needs one.
    """
    facts, line = text.facts, text.line
    phone = received.phone or ""
    is_decided = await _decide_consent(
        uow, facts, reading, received, now=now, reception=reception, phone=phone
    )
    is_fresh = now - facts.created_at <= ANSWERED_WITHIN
    may_confirm = is_fresh and not reading.provider_confirms
    if reading.kind is ReplyKind.HELP and is_fresh:
        await _help(uow, received, line=line, now=now, reception=reception)
    elif reading.kind is ReplyKind.DOUBTFUL and is_decided:
        await _ask_a_person(uow, received, now=now)
    elif reading.kind is ReplyKind.OPT_OUT and is_decided and may_confirm:
        await _answer(uow, SendKind.CONFIRMATION, received, line=line, now=now, reception=reception)


async def _decide_consent(
    uow: UnitOfWork,
    facts: MessageFacts,
    reading: Reading,
    received: StoredMessage,
    *,
    phone: str,
    now: datetime,
    reception: Reception,
) -> bool:
    """Apply the opt-out, opt-in or hold that a message causes; return whether consent changed."""
    decide = DECISIONS.get(reading.kind)
    if decide is None:
        return False
    was_first = await unknown_line.decided_before(uow, facts, phone=phone, reception=reception)
    if was_first is not None:
        # The decision was applied while the line was unknown. Reply only if a flag still exists.
        return was_first and bool((await flags_of(uow.session, [phone], now=now))[phone])
    return await decide(
        uow,
        phone=phone,
        contact_id=received.contact_id,
        source=ConsentSource.MESSAGE,
        actor=BY_THE_PERSON,
        reason=reading.wording,
        evidence={"text": facts.text, "reading": reading.evidence()},
        activity_id=received.activity_id,
        at=facts.created_at,
        claimed_at=facts.claimed_at,
        now=now,
        secret=reception.secret,
    )


async def _ask_a_person(uow: UnitOfWork, received: StoredMessage, *, now: datetime) -> None:
    await alerts.raise_alert(
        uow,
        kind=DOUBTFUL_TEXT,
        subject=str(received.contact_id),
        detail="A received message may be an opt-out, but this is not certain. The number gets no "
        "campaign messages until a person confirms the opt-out or records an opt-in.",
        context={
            "activity_id": str(received.activity_id),
            "conversation_id": str(received.conversation_id),
        },
        now=now,
    )


async def _help(
    uow: UnitOfWork, received: StoredMessage, *, line: Line, now: datetime, reception: Reception
) -> None:
    if await was_sent_lately(
        uow.session,
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
    received: StoredMessage,
    *,
    line: Line,
    now: datetime,
    reception: Reception,
) -> None:
    phone = received.phone or ""
    if await find_stopping_rule(uow, kind=kind, phone=phone, now=now) is not None:
        return
    configured = Business(name=reception.business_name, contact=reception.business_contact)
    business = await company.read_business(uow, configured=configured)
    body = CONFIRMATION if kind is SendKind.CONFIRMATION else HELP
    await queue_message(
        uow,
        line_id=line.id,
        phone=phone,
        body=body.format(name=business.name or line.name, contact=business.contact or line.number),
        kind=kind,
        contact_id=received.contact_id,
        now=now,
    )
