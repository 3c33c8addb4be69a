"""Apply the provider's facts to timeline, consent and campaigns, and queue automatic replies.

A received message has effects only when its row is new. So a second delivery, a replay or a later
reconciliation of the same message changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.consent.reply_reader.reader import (
    DecidedBy,
    Reading,
    ReplyKind,
    read_replies,
)
from crm_api.domain.inbound.webhook_events import erased, unknown_line
from crm_api.domain.inbound.webhook_events.erased import DECISIONS
from crm_api.domain.inbound.webhook_events.lines import LineFinder
from crm_api.domain.inbound.webhook_events.reception import Reception
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.office_hours import AwaySettings
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.messaging.consent_decisions.together import NumberDecision, decide_together
from crm_api.domain.messaging.conversations import reply_context
from crm_api.domain.messaging.conversations.away_replies import (
    UnattendedMessage,
    queue_away_replies,
)
from crm_api.domain.messaging.conversations.call_events import (
    CallEvent,
    apply_call_events,
)
from crm_api.domain.messaging.conversations.participants import as_phone, find_or_add_contacts
from crm_api.domain.messaging.conversations.received_messages import (
    ReceivedMessage,
    StoredMessage,
    sender_of,
    store_received_messages,
)
from crm_api.domain.messaging.conversations.reply_context import was_sent_lately
from crm_api.domain.messaging.models.conversations import Direction, Origin
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.follow_ups import end_all_follow_ups
from crm_api.domain.messaging.sends.queue import (
    NewMessage,
    find_stopping_rules,
    queue_messages,
)
from crm_api.domain.messaging.sends.replies import PersonReply, note_replies
from crm_api.domain.messaging.sends.report import (
    OutgoingReport,
    apply_report,
    apply_reports_to_ours,
)
from crm_api.domain.messaging.sends.vocabulary import EndedBy
from crm_api.domain.messaging.waiting.asked import WAITS_FOR, Asked, note_asked
from crm_api.domain.provider.openphone.facts import MessageFacts, ProviderEvent
from crm_api.platform.database import UnitOfWork

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


@dataclass(frozen=True, kw_only=True)
class _ReceivedFacts:
    """A received message that was not read yet, and the line that received it."""

    facts: MessageFacts
    line: Line


@dataclass(frozen=True, kw_only=True)
class _NewReply:
    """A received message that was not stored before, from a phone number, and its reading."""

    facts: MessageFacts
    line: Line
    stored: StoredMessage
    phone: str
    reading: Reading


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
                texts.append(_ReceivedFacts(facts=event.message, line=line))
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
    contacts = await _lock_senders(uow, texts, now=now)
    # A transaction that records answers locks attempts before conversations. So reports come before
    # texts, which lock conversations; in the reverse order the two could deadlock.
    await _apply_reports(uow, reports, now=now, reception=reception)
    await _apply_texts(uow, texts, contacts, now=now, reception=reception)
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


async def _lock_senders(
    uow: UnitOfWork, texts: Sequence[_ReceivedFacts], *, now: datetime
) -> dict[str, UUID]:
    """Add unknown senders as contacts; lock consent decisions about the numbers of all senders.

    These locks come before those of attempts and conversations (ARCHITECTURE.md, "Transactions,
    time and locks").

    Returns:
        The contact of each number.
    """
    senders = {phone for one in texts if (phone := as_phone(one.facts.from_number or ""))}
    contacts = await find_or_add_contacts(uow, (), may_add=senders, now=now)
    await consent.lock_people(uow, phones=senders)
    return contacts


async def _read_texts(
    uow: UnitOfWork, texts: Sequence[_ReceivedFacts]
) -> tuple[list[ReceivedMessage], AwaySettings | None]:
    """Read received messages before they are stored, so that their rows contain the reading.

    Returns:
        The messages, and the settings of the away reply; None if it is off.
    """
    found = await reply_context.read_reply_contexts(
        uow, [(one.line.id, sender_of(one.facts), one.facts.created_at) for one in texts]
    )
    readings = read_replies([one.facts.text for one in texts], found.contexts)
    messages = [
        ReceivedMessage(facts=one.facts, line=one.line, reading=reading)
        for one, reading in zip(texts, readings, strict=True)
    ]
    return messages, found.away


async def _apply_texts(
    uow: UnitOfWork,
    texts: Sequence[_ReceivedFacts],
    contacts: Mapping[str, UUID],
    *,
    now: datetime,
    reception: Reception,
) -> None:
    """Store received messages, act on the new ones, and let their conversations wait."""
    if not texts:
        return
    messages, away = await _read_texts(uow, texts)
    stored = await store_received_messages(uow, messages, contacts=contacts, now=now)
    replies = [
        _NewReply(
            facts=one.facts,
            line=one.line,
            stored=received,
            phone=received.phone,
            reading=one.reading,
        )
        for one, received in zip(messages, stored, strict=True)
        if received.is_new and received.phone is not None
    ]
    await _act_on(uow, replies, now=now, reception=reception)
    await queue_away_replies(uow, _without_effect(replies), away=away, now=now)
    heard: dict[str, datetime] = {}
    for reply in replies:
        at = reply.facts.created_at
        heard[reply.phone] = max(heard.get(reply.phone, at), at)
    said = [
        PersonReply(
            phone=reply.phone,
            line_id=reply.line.id,
            at=reply.facts.created_at,
            is_opt_out=reply.reading.kind is ReplyKind.OPT_OUT,
        )
        for reply in replies
    ]
    times = reception.times
    found = await note_replies(uow, said, times=times, now=now)
    await end_all_follow_ups(uow, heard, why=EndedBy.REPLY, times=times, now=now)
    replied = {
        reply.stored.activity_id: (reply, campaign_id)
        for reply, campaign_id in zip(replies, found, strict=True)
    }
    asked = [
        _asked(one, received, *replied.get(received.activity_id, (None, None)), now=now)
        for one, received in zip(messages, stored, strict=True)
        if received.is_new
    ]
    await note_asked(uow.session, asked, now=now)


def _asked(
    text: ReceivedMessage,
    stored: StoredMessage,
    reply: _NewReply | None,
    campaign_id: UUID | None,
    *,
    now: datetime,
) -> Asked:
    """Decide whether a new message waits for an answer.

    An opt-out does not. Neither does a message of one of our own lines, which has no contact.
    """
    is_opt_out = reply is not None and reply.reading.kind is ReplyKind.OPT_OUT
    is_own = stored.phone is not None and stored.contact_id is None
    at = text.facts.created_at
    return Asked(
        activity_id=stored.activity_id,
        conversation_id=stored.conversation_id,
        at=at,
        needs_answer=not (is_opt_out or is_own) and now - at <= WAITS_FOR,
        campaign_id=campaign_id,
    )


def _without_effect(replies: Sequence[_NewReply]) -> list[UnattendedMessage]:
    """Return the messages that got no other automatic answer and are not only a reaction."""
    return [
        UnattendedMessage(
            line_id=one.line.id,
            conversation_id=one.stored.conversation_id,
            contact_id=one.stored.contact_id,
            phone=one.phone,
            at=one.facts.created_at,
        )
        for one in replies
        if one.reading.kind is ReplyKind.NONE and one.reading.decided_by is not DecidedBy.REACTION
    ]


async def _act_on(
    uow: UnitOfWork, replies: Sequence[_NewReply], *, now: datetime, reception: Reception
) -> None:
    """Apply the opt-outs, opt-ins and holds that new messages cause.

    Then queue automatic replies and raise alerts, for the messages that need one.
    """
    deciding = [one for one in replies if one.reading.kind in DECISIONS]
    changed = await _decide(uow, deciding, now=now, reception=reception)
    confirmed: list[_NewReply] = []
    for one, is_changed in zip(deciding, changed, strict=True):
        if not is_changed:
            continue
        if one.reading.kind is ReplyKind.DOUBTFUL:
            await _ask_a_person(uow, one.stored, now=now)
        elif one.reading.kind is ReplyKind.OPT_OUT and not one.reading.provider_confirms:
            confirmed.append(one)
    helped: dict[UUID, _NewReply] = {}
    for one in replies:
        if one.reading.kind is ReplyKind.HELP and _is_fresh(one, now=now):
            helped.setdefault(one.stored.conversation_id, one)
    for conversation_id in list(helped):
        if await was_sent_lately(
            uow.session,
            conversation_id=conversation_id,
            origin=Origin.HELP,
            within=HELP_AGAIN_AFTER,
            now=now,
        ):
            del helped[conversation_id]
    confirmed = [one for one in confirmed if _is_fresh(one, now=now)]
    await _answer(uow, SendKind.CONFIRMATION, confirmed, now=now, reception=reception)
    await _answer(uow, SendKind.HELP, list(helped.values()), now=now, reception=reception)


def _is_fresh(reply: _NewReply, *, now: datetime) -> bool:
    return now - reply.facts.created_at <= ANSWERED_WITHIN


async def _decide(
    uow: UnitOfWork, replies: Sequence[_NewReply], *, now: datetime, reception: Reception
) -> list[bool]:
    """Apply the decisions of messages; return for each message whether consent changed."""
    if not replies:
        return []
    earlier = await unknown_line.decided_before(
        uow, {one.facts.provider_message_id: one.phone for one in replies}, reception=reception
    )
    new = [one for one in replies if one.facts.provider_message_id not in earlier]
    decisions = [
        NumberDecision(
            phone=one.phone,
            contact_id=one.stored.contact_id,
            action=DECISIONS[one.reading.kind],
            source=ConsentSource.MESSAGE,
            actor=BY_THE_PERSON,
            reason=one.reading.wording,
            evidence={"text": one.facts.text, "reading": one.reading.evidence()},
            activity_id=one.stored.activity_id,
            at=one.facts.created_at,
            claimed_at=one.facts.claimed_at,
        )
        for one in new
    ]
    changed = await decide_together(uow, decisions, now=now, secret=reception.secret)
    is_changed = {one.stored.activity_id: change for one, change in zip(new, changed, strict=True)}
    # These decisions were applied while the line was unknown. Reply only if a flag still exists.
    known = [one for one in replies if one.stored.activity_id not in is_changed]
    if known:
        flags = await flags_of(uow.session, [one.phone for one in known], now=now)
        for one in known:
            was_first = earlier[one.facts.provider_message_id]
            is_changed[one.stored.activity_id] = was_first and bool(flags[one.phone])
    return [is_changed[one.stored.activity_id] for one in replies]


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


async def _answer(
    uow: UnitOfWork,
    kind: SendKind,
    replies: Sequence[_NewReply],
    *,
    now: datetime,
    reception: Reception,
) -> None:
    """Queue the automatic reply to each of these messages, unless a rule stops it."""
    if not replies:
        return
    phones = [one.phone for one in replies]
    stopped = await find_stopping_rules(uow, kind=kind, phones=phones, now=now)
    configured = Business(name=reception.business_name, contact=reception.business_contact)
    business = await company.read_business(uow, configured=configured)
    body = CONFIRMATION if kind is SendKind.CONFIRMATION else HELP
    messages = [
        NewMessage(
            line_id=one.line.id,
            phone=one.phone,
            body=body.format(
                name=business.name or one.line.name, contact=business.contact or one.line.number
            ),
            kind=kind,
            contact_id=one.stored.contact_id,
        )
        for one in replies
        if one.phone not in stopped
    ]
    await queue_messages(uow, messages, now=now)
