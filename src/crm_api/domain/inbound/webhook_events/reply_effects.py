"""Act on received messages: decide about consent, queue automatic replies, and raise alerts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.consent.consent_state import ConsentState
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.consent.reply_reader.reader import DecidedBy, ReplyKind
from crm_api.domain.inbound.webhook_events import event_lines
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.inbound.webhook_events.erased_people import DECISIONS
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.consent_decisions.bulk_decisions import NumberDecision, decide_in_bulk
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.messaging.conversations.away_replies import UnattendedMessage
from crm_api.domain.messaging.conversations.received_messages import ReceivedMessage, StoredMessage
from crm_api.domain.messaging.conversations.reply_context import was_sent_lately
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.models.timeline import Origin
from crm_api.domain.messaging.sends.queue import NewMessage, find_stopping_rules, queue_messages
from crm_api.domain.messaging.sends.withdraw import withdraw_confirmations
from crm_api.platform.database import UnitOfWork

DOUBTFUL_TEXT = AlertKind.DOUBTFUL_OPT_OUT
BY_THE_PERSON = "person"
CONFIRMATION = "{name}: you have opted out and will get no more texts from us."
"""Text that confirms an opt-out. The law allows one message, without marketing and with the
sender's name (47 CFR 64.1200(a)(12), read 2026-11-24)."""
HELP = "{name}: for help, reach us at {contact}. Reply STOP to get no more texts."
ANSWERED_WITHIN = timedelta(days=1)
"""Maximum age of a message that gets an automatic reply. Older messages come from an import of the
history or from a long outage. By law, an opt-out is confirmed within five minutes, or later if
the reason for the delay is recorded (47 CFR 64.1200(a)(12)). After an outage, the stored event is
this record. An old imported message has no such record, so it gets no confirmation."""
HELP_AGAIN_AFTER = timedelta(minutes=10)
"""Minimum time between two automatic replies to HELP in a conversation. Without it, two machines
that reply to each other would never stop."""


@dataclass(frozen=True, kw_only=True)
class NewReply(ReceivedMessage):
    """A new message from a phone number, with its stored row."""

    stored: StoredMessage
    phone: str


def without_effect(replies: Sequence[NewReply]) -> list[UnattendedMessage]:
    """Return the messages that may get an away reply.

    An away reply is the automatic answer while the office is closed. These messages are left out:

    - Messages about consent, and messages that ask for help. They have other effects.
    - Reactions, such as "liked". They need no answer.
    """
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


async def act_on_replies(
    uow: UnitOfWork, replies: Sequence[NewReply], *, now: datetime, apply_settings: ApplySettings
) -> None:
    """Apply the opt-outs, opt-ins and holds that new messages cause, and queue automatic replies.

    A doubtful message causes a hold: campaign messages to the number wait until a user decides
    whether the message is an opt-out. An alert asks the users to decide. The automatic replies
    confirm opt-outs, and answer messages that ask for help.
    """
    # A message from one of our own lines has no contact. If such a message is doubtful, it is left
    # out, because there is no person about whom a user could decide.
    deciding = [
        one
        for one in replies
        if one.reading.kind in DECISIONS
        and (one.stored.contact_id is not None or one.reading.kind is not ReplyKind.DOUBTFUL)
    ]
    changed = await _decide(uow, deciding, now=now, apply_settings=apply_settings)
    effective = [one for one, is_changed in zip(deciding, changed, strict=True) if is_changed]
    for one in effective:
        if one.reading.kind is ReplyKind.DOUBTFUL:
            await _ask_a_user(uow, one.stored, now=now)
    helped: dict[UUID, NewReply] = {}
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
    await _confirm_opt_outs(uow, effective, now=now, apply_settings=apply_settings)
    await _answer(uow, SendKind.HELP, list(helped.values()), now=now, apply_settings=apply_settings)


def _is_fresh(reply: NewReply, *, now: datetime) -> bool:
    return now - reply.facts.created_at <= ANSWERED_WITHIN


async def _decide(
    uow: UnitOfWork, replies: Sequence[NewReply], *, now: datetime, apply_settings: ApplySettings
) -> list[bool]:
    """Apply the opt-outs, opt-ins and holds that received messages cause.

    Returns:
        One value for each message, in the same order. The value is True in these cases:

        - The message changed the consent of its sender now.
        - The message changed the consent of its sender before, while the line was unknown, and the
          number is still opted out or on hold.
    """
    if not replies:
        return []
    earlier = await event_lines.decided_before(
        uow,
        {one.facts.provider_message_id: one.phone for one in replies},
        apply_settings=apply_settings,
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
    changed = await decide_in_bulk(uow, decisions, now=now, secret=apply_settings.secret)
    is_changed = {one.stored.activity_id: change for one, change in zip(new, changed, strict=True)}
    # The consent decisions of these messages were applied before, while the line was unknown. The
    # automatic reply is sent only if the number is still opted out or on hold.
    known = [one for one in replies if one.stored.activity_id not in is_changed]
    if known:
        flags = await flags_of(uow.session, [one.phone for one in known], now=now)
        for one in known:
            was_first = earlier[one.facts.provider_message_id]
            is_stopped = bool(ConsentState.of_flags(flags[one.phone]).flags)
            is_changed[one.stored.activity_id] = was_first and is_stopped
    return [is_changed[one.stored.activity_id] for one in replies]


async def _ask_a_user(uow: UnitOfWork, received: StoredMessage, *, now: datetime) -> None:
    await alerts.raise_alert(
        uow,
        kind=DOUBTFUL_TEXT,
        subject=str(received.contact_id),
        detail="A received message may be an opt-out, but this is not certain. The number gets no "
        "campaign messages until a user confirms the opt-out or records an opt-in.",
        context={
            "activity_id": str(received.activity_id),
            "conversation_id": str(received.conversation_id),
        },
        now=now,
    )


async def _confirm_opt_outs(
    uow: UnitOfWork, replies: Sequence[NewReply], *, now: datetime, apply_settings: ApplySettings
) -> None:
    """Queue the confirmations of opt-outs, and withdraw those that a later opt-in has ended.

    Args:
        replies: The messages that changed the consent of their senders, in the order of their
            decisions.
    """
    valid: dict[str, NewReply] = {}
    ended: list[NewReply] = []
    for one in replies:
        if not _is_fresh(one, now=now):
            continue
        if one.reading.kind is ReplyKind.OPT_OUT and not one.reading.provider_confirms:
            valid[one.phone] = one
        elif one.reading.kind is ReplyKind.OPT_IN and one.phone in valid:
            ended.append(valid.pop(one.phone))
    kind = SendKind.CONFIRMATION
    if ended:
        await _answer(uow, kind, ended, now=now, apply_settings=apply_settings)
        phones = [one.phone for one in ended]
        await withdraw_confirmations(uow.session, phones=phones, now=now)
    await _answer(uow, kind, list(valid.values()), now=now, apply_settings=apply_settings)


async def _answer(
    uow: UnitOfWork,
    kind: SendKind,
    replies: Sequence[NewReply],
    *,
    now: datetime,
    apply_settings: ApplySettings,
) -> None:
    """Queue an automatic reply to each of these messages.

    No reply is queued to a number if one of the rules of ``find_stopping_rules`` forbids it.
    """
    if not replies:
        return
    phones = [one.phone for one in replies]
    stopped = await find_stopping_rules(uow, kind=kind, phones=phones, now=now)
    configured = Business(
        name=apply_settings.business_name, contact=apply_settings.business_contact
    )
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
