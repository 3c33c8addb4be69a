"""Send a test message between two of our lines; its event must arrive within two minutes."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import Text, cast, or_, select, text

from crm_api.domain.inbound.webhook_health.models import WebhookHealthCheck, WebhookHealthSide
from crm_api.domain.inbound.webhook_health.service import (
    MESSAGE_OFF_BECAUSE,
    CheckResult,
    conclude_check,
    find_waiting_check,
    order_check,
)
from crm_api.domain.kit.errors import ConflictError, Example
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import AttemptStatus, SendKind
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.settings import Settings

MARK = "Webhook check"
"""Every test message begins with this text. The silence check ignores events of such messages."""
WITHIN = timedelta(minutes=2)
_SENT = {AttemptStatus.SENT, AttemptStatus.DELIVERED}
_UNCLEAR = {AttemptStatus.CALLING, AttemptStatus.UNKNOWN, AttemptStatus.PARKED}
_MAY_HAVE_LEFT = {*_SENT, *_UNCLEAR, AttemptStatus.FAILED}


class WebhookHealthCheckOffError(ConflictError):
    """The test message is off, because the settings do not name two lines for it."""

    code = "webhook_health_check_off"
    title = "Webhook health check is off"
    example = Example(
        "The test message is off, because CRM_HEALTH_CHECK_FROM and CRM_HEALTH_CHECK_TO are not "
        "two lines of this account. Set both settings, or request another kind of check."
    )


@dataclass(frozen=True, kw_only=True)
class OwnLines:
    """The two phone lines that send and receive the test message, as ids or phone numbers."""

    sender: str
    to: str

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Read the two phone lines from the settings; None if the settings do not name both."""
        if settings.health_check_from is None or settings.health_check_to is None:
            return None
        return cls(sender=settings.health_check_from, to=settings.health_check_to)


@dataclass(frozen=True, slots=True)
class MessageProgress:
    """The times, states and errors of a test message and of its event.

    A field is None while its value is unknown.
    """

    text_error: str | None
    attempt_status: AttemptStatus | None
    attempt_error: str | None
    called_at: datetime | None
    event_status: str | None
    received_at: datetime | None
    processed_at: datetime | None
    last_error: str | None

    @property
    def sent_at(self) -> datetime | None:
        """When the request to send the message began.

        None if no request has begun yet, or if the message was certainly not sent.
        """
        return self.called_at if self.attempt_status in _MAY_HAVE_LEFT else None


async def begin_message_check(
    uow: UnitOfWork, own: OwnLines | None, *, asked_by: str, now: datetime
) -> WebhookHealthCheck:
    """Start a webhook health check: queue a test message from one of our lines to another.

    The test message may be sent at any hour; the other rules for messages apply. The check ends
    without a message if a line is unknown, the sending line is blocked, or both lines are the same.

    Returns:
        The new check. If an earlier check with a test message has no result yet, the earlier check
        is returned instead.

    Raises:
        WebhookHealthCheckOffError: The settings do not name two lines.
        WebhookHealthCheckNotFoundError: An earlier check has just ended. Call the function again.
    """
    if own is None:
        raise WebhookHealthCheckOffError(
            f"The test message is off, because {MESSAGE_OFF_BECAUSE}. Set both settings, or "
            "request another kind of check."
        )
    check = await order_check(uow, side=WebhookHealthSide.TEST_TEXT, asked_by=asked_by, now=now)
    if check.token is not None:
        return check
    sender, to = await _find_line(uow, own.sender), await _find_line(uow, own.to)
    obstacle = _find_obstacle(own, sender, to)
    if obstacle is not None or sender is None or to is None:
        await conclude_check(uow, check, obstacle or CheckResult(), now=now)
        return check
    check.token = secrets.token_hex(6)
    message = await queue_message(
        uow,
        line_id=sender.id,
        phone=to.number,
        body=f"{MARK} {check.token}",
        kind=SendKind.TEST,
        contact_id=None,
        now=now,
    )
    check.activity_id = message.id
    return check


async def _find_line(uow: UnitOfWork, name: str) -> Line | None:
    """Find a phone line by its id, its id at the provider, or its phone number."""
    try:
        number = parse_phone(name)
    except InvalidPhoneError:
        number = name
    names = or_(Line.phone_number_id == name, Line.number == number, cast(Line.id, Text) == name)
    line: Line | None = await uow.session.scalar(
        select(Line).where(names).order_by(Line.created_at).limit(1)
    )
    return line


def _find_obstacle(own: OwnLines, sender: Line | None, to: Line | None) -> CheckResult | None:
    named = {"CRM_HEALTH_CHECK_FROM": sender, "CRM_HEALTH_CHECK_TO": to}
    for setting, line in named.items():
        if line is None:
            sentence = (
                f"The setting {setting} names an unknown line. POST /v1/lines/sync reads the lines "
                "from the provider, and GET /v1/lines lists them."
            )
            return CheckResult(leg="misconfigured", failure=sentence)
    if sender is to:
        sentence = f"{' and '.join(named)} name the same line. Name two different lines."
        return CheckResult(leg="misconfigured", failure=sentence)
    if sender is not None and sender.status == "blocked":
        sentence = (
            f"The test message cannot be sent, because the line {own.sender} is blocked "
            f"({sender.blocked_reason}). So the check cannot judge the webhooks."
        )
        return CheckResult(leg="not_sent", failure=sentence)
    return None


TRACE_MESSAGE = text("""
    SELECT t.error_code AS text_error, a.status AS attempt_status,
           a.error_code AS attempt_error, a.called_at, e.received_at, e.processed_at,
           e.status AS event_status, e.last_error
      FROM webhook_health_check c
      LEFT JOIN activity t ON t.id = c.activity_id
      LEFT JOIN LATERAL (
          SELECT s.status, s.error_code, s.called_at FROM send_attempt s
           WHERE s.phone = t.phone AND s.created_at >= c.created_at - interval '1 minute'
             AND s.activity_id = t.id
           ORDER BY s.created_at DESC LIMIT 1) a ON true
      LEFT JOIN LATERAL (
          SELECT v.received_at, v.processed_at, v.status, v.last_error FROM webhook_event v
           WHERE v.received_at >= c.created_at - interval '1 minute'
             AND v.type = 'message.received' AND strpos(v.payload::text, c.token) > 0
           ORDER BY v.received_at, v.id LIMIT 1) e ON true
     WHERE c.id = :id
""")

# The time of the check is over. A test message that is still queued must not be sent hours later.
WITHDRAW_MESSAGE = text("""
    UPDATE activity SET status = 'failed', error_code = 'health_check_over', updated_at = :now
     WHERE id = :activity_id AND status = 'queued'
""")


async def conclude_message_check(uow: UnitOfWork, *, now: datetime) -> datetime | None:
    """Store the result of the waiting check with a test message, if the result is known now.

    Returns:
        The time limit of the check, if its result is still unknown. None if no check waits now.
    """
    check = await find_waiting_check(uow, WebhookHealthSide.TEST_TEXT, locks=True)
    if check is None:
        return None
    row = (await uow.session.execute(TRACE_MESSAGE, {"id": check.id})).one()
    progress = typed_row(MessageProgress, row)
    until = (progress.sent_at or check.created_at) + WITHIN
    result = judge_message(progress, until=until, now=now)
    if result is None:
        return until
    if result.leg is not None and progress.sent_at is None and progress.received_at is None:
        await uow.session.execute(WITHDRAW_MESSAGE, {"activity_id": check.activity_id, "now": now})
    if result.leg == "no_webhook" and await _was_refused_since(uow, check.created_at):
        sentence = (
            "The test message was sent and webhooks arrived, but their signatures were refused, "
            "because this service does not have the signing key. `crm-api webhooks rotate` creates "
            "a new key and saves it."
        )
        result = CheckResult(leg="signature_refused", failure=sentence, sent_at=result.sent_at)
    await conclude_check(uow, check, result, now=now)
    return None


def judge_message(
    progress: MessageProgress, *, until: datetime, now: datetime
) -> CheckResult | None:
    """Return the result of a check with a test message; None while it is not known yet.

    Args:
        progress: The progress of the test message.
        until: The latest time at which the event of the message may be applied.
        now: The current instant.
    """
    sent_at, received_at = progress.sent_at, progress.received_at
    applied_at = progress.processed_at if progress.event_status == "processed" else None
    if applied_at is not None and applied_at <= until:
        return CheckResult(sent_at=sent_at, received_at=received_at)
    if received_at is None:
        if progress.attempt_status == AttemptStatus.REFUSED or now >= until:
            return _judge_without_event(progress)
        return None
    if now < until:
        return None
    if applied_at is not None:
        took = (applied_at - (sent_at or received_at)).total_seconds()
        sentence = (
            f"The event of the test message was applied after {took:.0f} s; the limit is two "
            "minutes. Either the provider delivers late, or events wait too long here before they "
            "are applied."
        )
        return CheckResult(leg="late", failure=sentence, sent_at=sent_at, received_at=received_at)
    why = f" ({progress.last_error})" if progress.last_error else ""
    sentence = (
        f"The event of the test message was stored, but not applied within two minutes. Its status "
        f"is {progress.event_status}{why}. Check the worker, and see GET /v1/webhook-events."
    )
    return CheckResult(
        leg="not_applied", failure=sentence, sent_at=sent_at, received_at=received_at
    )


def _judge_without_event(progress: MessageProgress) -> CheckResult:
    status, code, sent_at = progress.attempt_status, progress.attempt_error, progress.sent_at
    if status == AttemptStatus.FAILED:
        why = f" ({code})" if code else ""
        sentence = f"The provider accepted the test message, then reported that it failed{why}."
        return CheckResult(leg="not_delivered", failure=sentence, sent_at=sent_at)
    if status in _SENT:
        sentence = (
            "The test message was sent, but no event reported it within two minutes, so webhooks "
            "do not reach this service. `crm-api webhooks list` shows the registered webhooks, and "
            "`crm-api webhooks test` shows how this service responds to the provider."
        )
        return CheckResult(leg="no_webhook", failure=sentence, sent_at=sent_at)
    if status in _UNCLEAR:
        sentence = (
            "It is not clear whether the provider accepted the test message, and no event reported "
            "it within two minutes."
        )
        return CheckResult(leg="send_unclear", failure=sentence, sent_at=sent_at)
    code = code or progress.text_error
    why = f" ({code})" if code else ""
    sentence = (
        f"The test message was not sent within two minutes{why}, so the check cannot judge the "
        "webhooks. Check whether the line is blocked, the number is opted out, or the worker has "
        "stopped."
    )
    return CheckResult(leg="not_sent", failure=sentence)


REFUSED_SINCE = text("""
    SELECT EXISTS (
        SELECT FROM alert
         WHERE kind = 'webhook_refused' AND subject IN ('signature_mismatch', 'signature_stale')
           AND last_seen_at >= :since)
""")


async def _was_refused_since(uow: UnitOfWork, since: datetime) -> bool:
    """Return whether the signature of any webhook was refused after ``since``."""
    was_refused: bool = (await uow.session.execute(REFUSED_SINCE, {"since": since})).scalar_one()
    return was_refused
