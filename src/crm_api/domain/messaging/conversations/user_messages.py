"""Check and queue a message that a user writes to a person."""

from datetime import datetime

from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.errors import ConflictError
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.suppression import suppress_erased
from crm_api.domain.messaging.conversations.collisions import refuse_second_answer
from crm_api.domain.messaging.conversations.errors import (
    LineCannotSendError,
    RecipientDoNotContactError,
    RecipientOnHoldError,
    RecipientOptedOutError,
    UnknownLineError,
)
from crm_api.domain.messaging.conversations.participants import find_or_add_contact
from crm_api.domain.messaging.conversations.scheduling import choose_departure
from crm_api.domain.messaging.conversations.schemas import ReplyCreate
from crm_api.domain.messaging.media.uploads import attach_files, describe_uploads
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends.number_rules import NumberRule
from crm_api.domain.messaging.sends.queue import (
    NewMessage,
    Sender,
    find_stopping_rule,
    queue_messages,
)
from crm_api.platform.database import UnitOfWork

_REFUSALS: dict[NumberRule, type[ConflictError]] = {
    NumberRule.OPTED_OUT: RecipientOptedOutError,
    NumberRule.DO_NOT_CONTACT: RecipientDoNotContactError,
    NumberRule.OPT_OUT_HOLD: RecipientOnHoldError,
}


async def queue_user_message(
    uow: UnitOfWork,
    reply: ReplyCreate,
    *,
    sender: Sender,
    may_read: bool = True,
    may_send_media: bool = True,
    rules: RuleBook,
    now: datetime,
    secret: bytes,
) -> Activity:
    """Queue a message that a user wrote, so that it is sent as soon as possible or at ``send_at``.

    The line's daily limit does not stop the message. Legal hours apply only if the person has never
    sent a message to this line; otherwise the message counts as a reply to the person.

    Args:
        may_read: False if the sender may not see the messages of others.
        may_send_media: False if the provider cannot send files.

    Raises:
        UnknownLineError: No line has this id.
        LineCannotSendError: The line is blocked.
        RecipientOptedOutError: The number is opted out.
        RecipientDoNotContactError: The number has the flag ``do_not_contact``.
        OutsideWindowError: The message has no ``send_at``, and it would be sent outside legal hours
            in the recipient's probable time zone.
        AnsweredMeanwhileError: Somebody else has just answered, and the sender has not confirmed
            that the message is to be sent too.
        MediaNotSupportedError: The message has files, and the provider cannot send them.
        UnknownMediaError: A file was not uploaded.
        SendAtOutOfRangeError: ``send_at`` is in the past, or more than a year away.
        SendAtOutsideWindowError: ``send_at`` is outside legal hours, and the message could not be
            moved to the next legal time: ``reply.move`` is False, or no time within two weeks is
            legal.
    """
    line = await uow.session.get(Line, reply.line_id)
    if line is None:
        raise UnknownLineError("No line has this id. GET /v1/lines lists the lines.")
    if line.status == LineStatus.BLOCKED:
        raise LineCannotSendError(
            "The message was not sent, because the line is blocked. Correct the cause that "
            f"`blocked_reason` gives, then unblock the line with POST /v1/lines/{line.id}/unblock; "
            "or use another line.",
            blocked_reason=line.blocked_reason,
        )
    # Lock order: the contact's row, then the lock of decisions. Until the commit, no other
    # transaction can erase the person or decide about the number.
    contact_id = await find_or_add_contact(uow, reply.to, now=now)
    await consent.lock_decisions(uow, phones=[reply.to])
    await suppress_erased(uow, phones=[reply.to], now=now, secret=secret)
    await require_sendable(uow, kind=SendKind.MANUAL, phone=reply.to, now=now)
    if not reply.confirm:
        await refuse_second_answer(
            uow,
            line_id=line.id,
            phone=reply.to,
            sender_id=sender.id,
            may_read=may_read,
            now=now,
        )
    departure = await choose_departure(uow, reply, rules=rules, now=now)
    media = await describe_uploads(uow, reply.media_ids, is_supported=may_send_media, now=now)
    message = NewMessage(
        line_id=line.id,
        phone=reply.to,
        body=reply.body,
        kind=SendKind.MANUAL,
        contact_id=contact_id,
        sender=sender,
        send_after=departure.send_after,
        scheduled_for=departure.scheduled_for,
        media=media,
    )
    (queued,) = await queue_messages(uow, [message], now=now)
    await attach_files(uow, activity_id=queued.id, media_ids=reply.media_ids, now=now)
    return queued


async def require_sendable(uow: UnitOfWork, *, kind: SendKind, phone: str, now: datetime) -> None:
    """Raise an error if the number may not get a message of this kind now.

    Raises:
        RecipientOptedOutError: The number is opted out.
        RecipientDoNotContactError: The number has the flag ``do_not_contact``.
        RecipientOnHoldError: The number is on hold, because a reply may be an opt-out.
    """
    rule = await find_stopping_rule(uow, kind=kind, phone=phone, now=now)
    if rule is not None:
        raise _REFUSALS[rule]
