"""Queue messages that users write."""

from datetime import datetime

from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.errors import ConflictError
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.suppression import suppress_erased
from crm_api.domain.messaging.conversations.errors import (
    LineCannotSendError,
    OutsideWindowError,
    RecipientDoNotContactError,
    RecipientOnHoldError,
    RecipientOptedOutError,
    UnknownLineError,
)
from crm_api.domain.messaging.conversations.participants import find_or_add_contact
from crm_api.domain.messaging.conversations.schemas import ReplyCreate
from crm_api.domain.messaging.models.conversations import Activity
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.number_rules import NumberRule
from crm_api.domain.messaging.sends.queue import find_stopping_rule, queue_message
from crm_api.domain.messaging.sends.reply_hours import read_reply_hours
from crm_api.platform.database import UnitOfWork

_REFUSALS: dict[NumberRule, tuple[type[ConflictError], str]] = {
    NumberRule.OPTED_OUT: (
        RecipientOptedOutError,
        "This number asked not to be texted.",
    ),
    NumberRule.DO_NOT_CONTACT: (
        RecipientDoNotContactError,
        (
            "This number is flagged do_not_contact. If that is wrong, take the flag off: DELETE "
            "/v1/contacts/{id}/flags/do_not_contact."
        ),
    ),
    NumberRule.OPT_OUT_HOLD: (
        RecipientOnHoldError,
        (
            "A doubtful text holds this number. Confirm it with POST /v1/contacts/{id}/opt-out or "
            "release it with POST /v1/contacts/{id}/opt-in."
        ),
    ),
}


async def queue_user_message(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, now: datetime, secret: bytes
) -> Activity:
    """Queue a message that a user wrote; it is sent at once, and the daily limit does not stop it.

    Legal hours apply, unless the person has sent a message to this line: then it is an answer.

    Raises:
        UnknownLineError: No line has this id.
        LineCannotSendError: The line is blocked.
        RecipientOptedOutError: The recipient asked for no more messages.
        RecipientDoNotContactError: The number must not be contacted, or its person was erased.
        OutsideWindowError: It is outside legal hours in the recipient's probable time zone.
    """
    line = await uow.session.get(Line, reply.line_id)
    if line is None:
        raise UnknownLineError("There is no line with this id.")
    if line.status == LineStatus.BLOCKED:
        raise LineCannotSendError(
            "The line is blocked and sends nothing.", blocked_reason=line.blocked_reason
        )
    # Lock order: the contact's row, then the lock of decisions. Until the commit, no other
    # transaction can erase the person or decide about the number.
    contact_id = await find_or_add_contact(uow, reply.to, now=now)
    await consent.lock_decisions(uow, phones=[reply.to])
    await suppress_erased(uow, phones=[reply.to], now=now, secret=secret)
    await require_sendable(uow, kind=SendKind.MANUAL, phone=reply.to, now=now)
    await _check_hours(uow, reply, rules=rules, now=now)
    return await queue_message(
        uow,
        line_id=line.id,
        phone=reply.to,
        body=reply.body,
        kind=SendKind.MANUAL,
        contact_id=contact_id,
        now=now,
    )


async def _check_hours(
    uow: UnitOfWork, reply: ReplyCreate, *, rules: RuleBook, now: datetime
) -> None:
    hours = await read_reply_hours(uow, line_id=reply.line_id, phone=reply.to, rules=rules, now=now)
    if not hours.is_open:
        raise OutsideWindowError(
            "At the recipient it is outside the hours in which the law lets a text leave, and "
            "they never texted this line.",
            next_allowed_at=None if hours.opens_at is None else format_instant(hours.opens_at),
        )


async def require_sendable(uow: UnitOfWork, *, kind: SendKind, phone: str, now: datetime) -> None:
    """Raise an error if the number may not get a message of this kind now.

    Raises:
        RecipientOptedOutError: The recipient asked for no more messages.
        RecipientDoNotContactError: The number must not be contacted, or its person was erased.
        RecipientOnHoldError: A doubtful reply holds the number.
    """
    rule = await find_stopping_rule(uow, kind=kind, phone=phone, now=now)
    if rule is not None:
        refusal, detail = _REFUSALS[rule]
        raise refusal(detail)
