"""Store reported messages and calls, and apply their effects on consent and campaigns.

Automatic replies are queued too. A received message has effects only when it is stored for the
first time. So a second delivery, a replay or a later reconciliation of the same message changes
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crm_api.domain.consent.reply_reader.reader import ReplyKind, read_replies
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.inbound.webhook_events import erased_people
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.inbound.webhook_events.event_lines import LineFinder
from crm_api.domain.inbound.webhook_events.reply_effects import (
    NewReply,
    act_on_replies,
    without_effect,
)
from crm_api.domain.messaging.company.office_hours import AwaySettings
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.conversations import reply_context
from crm_api.domain.messaging.conversations.away_replies import queue_away_replies
from crm_api.domain.messaging.conversations.call_events import CallEvent, apply_call_events
from crm_api.domain.messaging.conversations.participants import as_phone, find_or_add_contacts
from crm_api.domain.messaging.conversations.received_messages import (
    ReceivedMessage,
    sender_of,
    store_received_messages,
)
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.messaging.sends.replies import PersonReply, end_all_follow_ups, note_replies
from crm_api.domain.messaging.sends.report import (
    OutgoingReport,
    apply_report,
    apply_reports_to_ours,
)
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.sends.vocabulary import EndedBy
from crm_api.domain.messaging.waiting import Asked, Received, note_asked
from crm_api.domain.provider.openphone.facts import MessageFacts, ProviderEvent
from crm_api.platform.database import UnitOfWork


@dataclass(frozen=True, kw_only=True)
class _ReceivedFacts:
    """A received message that is not classified yet, and the phone line that received it."""

    facts: MessageFacts
    line: Line


async def apply_facts(
    uow: UnitOfWork,
    events: Sequence[ProviderEvent],
    *,
    now: datetime,
    apply_settings: ApplySettings,
) -> None:
    """Store what several events report about messages and calls, with few SQL statements.

    The result does not depend on the order of the events. Events that happened before their person
    was erased are skipped.

    Args:
        events: The events. The caller has passed each event to ``bound_event``, so that no time in
            an event is later than its receipt.
        now: The database's time of this transaction.

    Raises:
        LineUnknownError: An event names a line that this service has not stored.
        IncompleteEventError: An event does not name its line.
    """
    events = await erased_people.leave_out_erased(
        uow, events, secret=apply_settings.secret, now=now
    )
    known = LineFinder(uow, resend_unclear=apply_settings.resend_unclear, now=now)
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
    # A transaction that records the provider's responses locks attempts before conversations. So
    # this function applies reports, which lock attempts, before received messages, which lock
    # conversations. In the reverse order, the two transactions could deadlock.
    await _apply_reports(uow, reports, now=now, apply_settings=apply_settings)
    await _apply_texts(uow, texts, contacts, now=now, apply_settings=apply_settings)
    await _apply_calls(uow, calls, now=now, apply_settings=apply_settings)


async def _apply_reports(
    uow: UnitOfWork,
    reports: Sequence[OutgoingReport],
    *,
    now: datetime,
    apply_settings: ApplySettings,
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
            times=apply_settings.times,
            now=now,
        )


async def _apply_calls(
    uow: UnitOfWork, calls: Sequence[CallEvent], *, now: datetime, apply_settings: ApplySettings
) -> None:
    """Store calls, add unknown callers as contacts, and end the campaign follow-ups of callers.

    Follow-ups are later messages of a campaign. The follow-ups of a person who answered a call of
    the company are ended too.
    """
    if not calls:
        return
    heard: dict[str, datetime] = {}
    for call in await apply_call_events(uow, calls, now=now):
        if call.phone is not None:
            heard[call.phone] = max(heard.get(call.phone, call.began_at), call.began_at)
    await end_all_follow_ups(uow, heard, why=EndedBy.CALL, times=apply_settings.times, now=now)


async def _lock_senders(
    uow: UnitOfWork, texts: Sequence[_ReceivedFacts], *, now: datetime
) -> dict[str, UUID]:
    """Add unknown senders as contacts, and lock the consent decisions about all senders.

    The caller may lock conversations and attempts only after this function (ARCHITECTURE.md,
    "Transactions, time and locks").

    Returns:
        The id of the contact of each sender, by phone number.
    """
    senders = {phone for one in texts if (phone := as_phone(one.facts.from_number or ""))}
    contacts = await find_or_add_contacts(uow, (), may_add=senders, now=now)
    await consent.lock_people(uow, phones=senders)
    return contacts


async def _read_texts(
    uow: UnitOfWork, texts: Sequence[_ReceivedFacts], *, times: SendTimes
) -> tuple[list[ReceivedMessage], AwaySettings | None]:
    """Classify received messages before they are stored, so that their rows contain the result.

    Returns:
        The messages in the same order, and the settings of the away reply (the automatic answer
        while the office is closed). The settings are None if the away reply is off.
    """
    found = await reply_context.read_reply_contexts(
        uow,
        [(one.line.id, sender_of(one.facts), one.facts.created_at) for one in texts],
        times=times,
    )
    readings = read_replies([one.facts.text for one in texts], found.contexts)
    messages = [
        ReceivedMessage(facts=one.facts, line=one.line, reading=reading, replied_to=replied_to)
        for one, reading, replied_to in zip(texts, readings, found.replied_to, strict=True)
    ]
    return messages, found.away


async def _apply_texts(
    uow: UnitOfWork,
    texts: Sequence[_ReceivedFacts],
    contacts: Mapping[str, UUID],
    *,
    now: datetime,
    apply_settings: ApplySettings,
) -> None:
    """Store received messages, and apply the effects of those that were not stored before.

    For example, mark the conversations as waiting for an answer of the company.
    """
    if not texts:
        return
    times = apply_settings.times
    messages, away = await _read_texts(uow, texts, times=times)
    stored = await store_received_messages(uow, messages, contacts=contacts, now=now)
    replies = [
        NewReply(**vars(one), stored=received, phone=received.phone)
        for one, received in zip(messages, stored, strict=True)
        if received.is_new and received.phone is not None
    ]
    await act_on_replies(uow, replies, now=now, apply_settings=apply_settings)
    await queue_away_replies(uow, without_effect(replies), away=away, now=now)
    heard: dict[str, datetime] = {}
    for reply in replies:
        at = reply.facts.created_at
        heard[reply.phone] = max(heard.get(reply.phone, at), at)
    said = [
        PersonReply(
            to=reply.replied_to,
            at=reply.facts.created_at,
            is_opt_out=reply.reading.kind is ReplyKind.OPT_OUT,
            is_interested=reply.reading.reply_class is ReplyClass.INTERESTED,
        )
        for reply in replies
        if reply.replied_to is not None
    ]
    await note_replies(uow, said, now=now)
    await end_all_follow_ups(uow, heard, why=EndedBy.REPLY, times=times, now=now)
    campaigns = {
        reply.stored.activity_id: reply.replied_to.campaign_id
        for reply in replies
        if reply.replied_to is not None
    }
    asked = [
        Asked(
            conversation_id=received.conversation_id,
            at=one.facts.created_at,
            needs_answer=received.is_new and received.needs_answer,
            campaign_id=campaigns.get(received.activity_id),
            received=Received(
                contact_id=received.contact_id, openphone_id=one.facts.conversation_id
            ),
        )
        for one, received in zip(messages, stored, strict=True)
        if not received.is_first or received.activity_id in campaigns
    ]
    await note_asked(uow.session, asked, now=now)
