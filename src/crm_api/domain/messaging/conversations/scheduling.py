"""Choose when a user's message is sent, and check that the law allows a message at that time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.messaging.conversations.errors import (
    OutsideWindowError,
    SendAtOutOfRangeError,
    SendAtOutsideWindowError,
)
from crm_api.domain.messaging.conversations.schemas import ReplyCreate
from crm_api.domain.messaging.sends.reply_hours import ReplyHours, read_reply_hours
from crm_api.platform.database import UnitOfWork

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
        scheduled_for: The instant that the user chose, or the next legal instant after it; None for
            as soon as possible.
    """

    send_after: datetime
    scheduled_for: datetime | None


async def choose_departure(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, now: datetime
) -> Departure:
    """Return when a user's message is to be sent.

    Legal hours apply only if the person has never sent a message to this line; otherwise the
    message counts as a reply to the person.

    Raises:
        OutsideWindowError: The message has no ``send_at``, and its ``undo_seconds`` end outside
            legal hours.
        SendAtOutOfRangeError: ``send_at`` is in the past, or more than a year away.
        SendAtOutsideWindowError: ``send_at`` is outside legal hours, and the message could not be
            moved to the next legal time: ``reply.move`` is False, or no time within two weeks is
            legal.
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
        raise SendAtOutOfRangeError(
            "`send_at` is in the past. Choose a later instant, or leave it out to send at once."
        )
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
) -> ReplyHours:
    return await read_reply_hours(uow, line_id=reply.line_id, phone=reply.to, rules=rules, now=at)
