"""Check, queue and withdraw a message that a user writes to a person.

The message is sent at a legal time. It is not queued if somebody else has just answered.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.errors import ConflictError
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.erased_numbers import suppress_erased
from crm_api.domain.messaging.conversations.errors import (
    AnsweredMeanwhileError,
    LineCannotSendError,
    MessageLeftError,
    MessageNotManualError,
    OutsideWindowError,
    RecipientDoNotContactError,
    RecipientOnHoldError,
    RecipientOptedOutError,
    SendAtOutOfRangeError,
    SendAtOutsideWindowError,
    UnknownLineError,
)
from crm_api.domain.messaging.conversations.participants import find_or_add_contact
from crm_api.domain.messaging.conversations.schemas import ReplyCreate
from crm_api.domain.messaging.conversations.service import get_message
from crm_api.domain.messaging.media.uploads import attach_files, describe_uploads
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.models.timeline import Activity, MessageStatus, Origin
from crm_api.domain.messaging.sends import withdraw
from crm_api.domain.messaging.sends.legal_hours import LegalHours, read_legal_hours
from crm_api.domain.messaging.sends.number_rules import NumberRule
from crm_api.domain.messaging.sends.queue import (
    NewMessage,
    Sender,
    find_stopping_rule,
    queue_messages,
)
from crm_api.platform.database import UnitOfWork, typed_row

FURTHEST = timedelta(days=366)
CLOSING = timedelta(minutes=1)
"""The shortest time between ``send_at`` and the end of legal hours. A message may be sent some
seconds after ``send_at``. If legal hours had ended by then, the message would wait for the next
day."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """When a message is to be sent.

    Attributes:
        send_after: The message is not sent before this instant.
        scheduled_for: The instant that the user chose, or the next legal instant after it. None if
            the user chose no instant: then the message is sent as soon as possible.
    """

    send_after: datetime
    scheduled_for: datetime | None


async def choose_departure(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, now: datetime
) -> Departure:
    """Return the time at which a user's message is to be sent.

    Legal hours apply only if the person has never sent a message to this line.

    Raises:
        OutsideWindowError: ``send_at`` is None, and the message would be sent outside legal
            hours.
        SendAtOutOfRangeError: ``send_at`` is in the past, or more than a year away.
        SendAtOutsideWindowError: ``send_at`` is outside legal hours. Either ``move`` is False, or
            no time within two weeks is legal.
    """
    undo_until = now + timedelta(seconds=reply.undo_seconds)
    if reply.send_at is None:
        await _check_hours(uow, reply, rules=rules, at=undo_until)
        return Departure(send_after=undo_until, scheduled_for=None)
    _check_range(reply.send_at, now=now)
    hours = await _hours_at(uow, reply, rules=rules, at=reply.send_at)
    if hours.is_open and hours.not_after is not None and hours.not_after < reply.send_at + CLOSING:
        hours = await _hours_at(uow, reply, rules=rules, at=hours.not_after)
    scheduled_for = reply.send_at
    if not hours.is_open:
        if not reply.move or hours.opens_at is None:
            raise SendAtOutsideWindowError(hours.opens_at)
        scheduled_for = hours.opens_at
    return Departure(send_after=max(scheduled_for, undo_until), scheduled_for=scheduled_for)


def _check_range(send_at: datetime, *, now: datetime) -> None:
    if send_at <= now:
        raise SendAtOutOfRangeError
    if send_at > now + FURTHEST:
        raise SendAtOutOfRangeError(
            "`send_at` is more than a year away. Choose an earlier instant."
        )


async def _check_hours(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, at: datetime
) -> None:
    hours = await _hours_at(uow, reply, rules=rules, at=at)
    if not hours.is_open:
        raise OutsideWindowError(
            "The message was not sent, because the law does not allow messages at the recipient's "
            "local time now.",
            otherwise="A person who has sent a message to this line can be answered at any time.",
            next_allowed_at=hours.opens_at,
        )


async def _hours_at(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, at: datetime
) -> LegalHours:
    return await read_legal_hours(uow, line_id=reply.line_id, phone=reply.to, rules=rules, now=at)


MEANWHILE = timedelta(minutes=1)
"""If somebody else has answered the person, this is reported to the user only if this service
stored the other answer at most this long ago. The user has already seen an older answer on the
screen."""
LATEST_NEWS = timedelta(days=1)
"""If somebody else has answered the person longer ago than this, it is not reported to the user,
even if this service stores the answer only now. An answer is stored late if the event about a
message from the provider's app arrives late, or if the reconciliation (the comparison with the
provider's lists) finds the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherAnswer:
    """A new answer to a person, written by somebody else than the user who is answering now.

    Attributes:
        sent_by_id: The user or API key that wrote the answer; None if it was sent in the provider's
            app.
        at: When the answer was sent. If the answer is still queued, this is when it was queued.
    """

    id: UUID
    body: str | None
    sent_by_id: UUID | None
    sent_by_name: str | None
    at: datetime


# A message is an answer if it is later than the newest message of the person. If the answer was
# written in this service, the times at which both messages were stored are compared, because a user
# can only answer a stored message. If the answer was written in the provider's app, the times of
# the provider's clock are compared. A message that failed or was withdrawn is not an answer.
FIND_OTHER_ANSWER = text("""
    SELECT a.id, a.body, a.sent_by_id, a.sent_by_name, a.occurred_at AS at
    FROM conversation k
    CROSS JOIN LATERAL (
        SELECT i.occurred_at, i.created_at FROM activity i
        WHERE i.conversation_id = k.id AND i.kind = 'message' AND i.direction = 'incoming'
        ORDER BY i.occurred_at DESC, i.id DESC LIMIT 1
    ) heard
    CROSS JOIN LATERAL (
        SELECT o.* FROM activity o
        WHERE o.conversation_id = k.id AND o.kind = 'message' AND o.direction = 'outgoing'
          AND o.occurred_at > CAST(:oldest AS timestamptz) AND o.status <> 'failed'
          AND greatest(o.occurred_at, o.created_at) > CAST(:since AS timestamptz)
          AND CASE o.origin WHEN 'manual' THEN o.created_at >= heard.created_at
                   AND o.sent_by_id IS DISTINCT FROM CAST(:sender_id AS uuid)
              WHEN 'provider' THEN o.occurred_at >= heard.occurred_at
              ELSE false END
        ORDER BY o.occurred_at DESC, o.id DESC LIMIT 1
    ) a
    WHERE k.line_id = :line_id AND k.phone = :phone
""")


async def refuse_second_answer(
    uow: UnitOfWork, *, line_id: UUID, phone: str, sender_id: UUID, may_read: bool, now: datetime
) -> None:
    """Raise an error if somebody else answered the person's last message in the last minute.

    For an answer in the provider's app, the minute begins when this service received the answer.
    The caller must first call ``lock_decisions`` for the number, so that two users cannot both
    answer.

    Args:
        may_read: False if the caller may not read messages. Then the error does not contain the
            text of the answer.

    Raises:
        AnsweredMeanwhileError: Somebody else has answered in the last minute.
    """
    found = await uow.session.execute(
        FIND_OTHER_ANSWER,
        {
            "line_id": line_id,
            "phone": phone,
            "sender_id": sender_id,
            "since": now - MEANWHILE,
            "oldest": now - LATEST_NEWS,
        },
    )
    row = found.one_or_none()
    if row is not None:
        answer = typed_row(OtherAnswer, row)
        raise AnsweredMeanwhileError(
            message_id=answer.id,
            body=answer.body if may_read else None,
            by=None
            if answer.sent_by_id is None
            else {"id": str(answer.sent_by_id), "name": answer.sent_by_name or ""},
            at=answer.at,
        )


async def withdraw_user_message(uow: UnitOfWork, message_id: UUID, *, now: datetime) -> None:
    """Withdraw a message that a user wrote, so that it is never sent.

    If the message was already withdrawn, nothing changes.

    Raises:
        MessageNotFoundError: No message has this id.
        MessageNotManualError: The message was not written by a user of this API.
        MessageLeftError: The message was sent, failed or is being sent.
    """
    if await withdraw.withdraw_message(uow, message_id=message_id, now=now):
        return
    message = await get_message(uow, message_id)
    if message.origin != Origin.MANUAL:
        raise MessageNotManualError
    if message.error_code != withdraw.WITHDRAWN:
        raise MessageLeftError(_why(message))


def _why(message: Activity) -> str:
    if message.status == MessageStatus.FAILED:
        return (
            "The message does not wait any more, because it has failed. GET /v1/messages/{id} "
            "gives the reason as `error_code`."
        )
    return (
        "The message cannot be withdrawn, because it is being sent or was sent. Write the person "
        "another message if something has to be corrected."
    )


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
    sent a message to this line.

    Args:
        may_read: False if the caller may not read messages. Then ``AnsweredMeanwhileError`` does
            not contain the text of the other user's answer.
        may_send_media: False if the provider cannot send files.

    Raises:
        UnknownLineError: No line has this id.
        LineCannotSendError: The line is blocked.
        RecipientOptedOutError: The number is opted out.
        RecipientDoNotContactError: The number has the flag ``do_not_contact``.
        OutsideWindowError: ``send_at`` is None, and the message would be sent outside legal
            hours.
        AnsweredMeanwhileError: Another user has just answered, and ``confirm`` is False.
        MediaNotSupportedError: The provider cannot send files.
        UnknownMediaError: A file was not uploaded.
        SendAtOutOfRangeError: ``send_at`` is in the past, or more than a year away.
        SendAtOutsideWindowError: ``send_at`` is outside legal hours. Either ``move`` is False, or
            no time within two weeks is legal.
    """
    line = await uow.session.get(Line, reply.line_id)
    if line is None:
        raise UnknownLineError
    if line.status == LineStatus.BLOCKED:
        raise LineCannotSendError(
            "The message was not sent, because the line is blocked. Correct the cause that "
            f"`blocked_reason` gives, then unblock the line with POST /v1/lines/{line.id}/unblock; "
            "or use another line.",
            blocked_reason=line.blocked_reason,
        )
    # The contact's row is locked first, and the decisions about the number second. All transactions
    # use this order, so that they cannot deadlock. Until the commit, no other transaction can erase
    # the person or record a consent decision about the number.
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
    """Raise an error if the number may not get a message of this ``kind`` now.

    Raises:
        RecipientOptedOutError: The number is opted out.
        RecipientDoNotContactError: The number has the flag ``do_not_contact``.
        RecipientOnHoldError: The number is on hold, because a reply may be an opt-out.
    """
    rule = await find_stopping_rule(uow, kind=kind, phone=phone, now=now)
    if rule is not None:
        raise _REFUSALS[rule]
