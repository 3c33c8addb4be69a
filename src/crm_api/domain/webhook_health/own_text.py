"""A text from one own line to another, which must come back as an event within two minutes."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.phone import InvalidPhoneError, parse_phone
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.models import AttemptStatus, SendKind
from crm_api.domain.webhook_health import queries, service
from crm_api.domain.webhook_health.errors import WebhookHealthCheckOffError
from crm_api.domain.webhook_health.models import Side
from crm_api.domain.webhook_health.service import Conclusion
from crm_api.settings import Settings

MARK = "Webhook check"
"""How every such text begins; what is told of it is not counted when silence is judged."""
WITHIN = timedelta(minutes=2)
_CERTAINLY_NOT_SENT = {AttemptStatus.REFUSED}
_SENT = {AttemptStatus.SENT, AttemptStatus.DELIVERED}
_UNCLEAR = {AttemptStatus.CALLING, AttemptStatus.UNKNOWN, AttemptStatus.PARKED}


@dataclass(frozen=True, kw_only=True)
class OwnLines:
    """Between which lines the test text goes: ids or numbers, as the settings name them."""

    sender: str
    to: str

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Take what the settings say; None when they do not name both."""
        if settings.health_check_from is None or settings.health_check_to is None:
            return None
        return cls(sender=settings.health_check_from, to=settings.health_check_to)


async def begin(
    uow: UnitOfWork, own: OwnLines | None, *, asked_by: str, now: datetime
) -> UUID | None:
    """Order a look by a test text, and queue the text; None when one is under way already.

    It takes the way of every text: one open attempt a number, the shared rate, the ledger. As a
    test to an own number it may leave at any hour, belongs to no campaign, and is no marketing.

    Raises:
        WebhookHealthCheckOffError: The settings do not name two lines.
    """
    if own is None:
        raise WebhookHealthCheckOffError(f"The test text is off: {service.OFF_BECAUSE}.")
    check_id = await service.order(uow, side=Side.TEST_TEXT, asked_by=asked_by, now=now)
    if check_id is None:
        return None
    sender, to = [await _line(uow, name) for name in (own.sender, own.to)]
    wrong = _why_not(own, sender, to)
    if wrong is not None or sender is None or to is None:
        await service.conclude(
            uow, check_id=check_id, side=Side.TEST_TEXT, found=wrong or Conclusion(), now=now
        )
        return check_id
    token = secrets.token_hex(6)
    activity = await sends.queue_text(
        uow,
        line_id=sender.id,
        phone=to.number,
        body=f"{MARK} {token}",
        kind=SendKind.TEST,
        contact_id=None,
        now=now,
    )
    await queries.set_text(uow.session, check_id=check_id, token=token, activity_id=activity.id)
    return check_id


async def look(uow: UnitOfWork, *, now: datetime) -> datetime | None:
    """Conclude the test text that waits, if it can be told by now.

    Returns:
        Until when it is waited for; None when nothing waits.
    """
    waiting = await queries.lock_waiting(uow.session, Side.TEST_TEXT)
    if waiting is None:
        return None
    traced = await queries.trace(uow.session, waiting.id)
    sent_at = _sent_at(traced)
    until: datetime = (sent_at or waiting.created_at) + WITHIN
    found = judge(traced, until=until, sent_at=sent_at, now=now)
    if found is None:
        return until
    if found.leg is not None and sent_at is None and traced.received_at is None:
        await queries.withdraw_text(uow.session, activity_id=waiting.activity_id, now=now)
    if found.leg == "no_webhook" and await queries.was_refused_since(
        uow.session, waiting.created_at
    ):
        found = _signature_refused(found)
    await service.conclude(uow, check_id=waiting.id, side=Side.TEST_TEXT, found=found, now=now)
    return None


def judge(
    traced: Row[Any], *, until: datetime, sent_at: datetime | None, now: datetime
) -> Conclusion | None:
    """Say how the text fared, leg by leg; None while it may still come.

    Args:
        traced: What became of it, as ``queries.trace`` tells.
        until: Until when its event must have come and been applied.
    """
    times = {"sent_at": sent_at, "received_at": traced.received_at}
    if traced.event_status == "processed" and traced.processed_at <= until:
        return Conclusion(**times)
    if traced.attempt_status in _CERTAINLY_NOT_SENT and traced.received_at is None:
        return _not_sent(traced)
    if now < until:
        return None
    if traced.received_at is None:
        return _no_event(traced, sent_at)
    if traced.event_status == "processed":
        took = (traced.processed_at - (sent_at or traced.received_at)).total_seconds()
        sentence = (
            f"The test text came back, but took {took:.0f} s, where two minutes are allowed: the "
            "provider delivers late, or events wait long to be applied here."
        )
        return Conclusion(leg="late", failure=sentence, **times)
    why = f" ({traced.last_error})" if traced.last_error else ""
    sentence = (
        f"The test text's event was stored, but not applied within two minutes: it is "
        f"{traced.event_status}{why}. Look at the worker, and at GET /v1/webhook-events."
    )
    return Conclusion(leg="not_applied", failure=sentence, **times)


def _no_event(traced: Row[Any], sent_at: datetime | None) -> Conclusion:
    status = traced.attempt_status
    if status == AttemptStatus.FAILED:
        code = f" ({traced.attempt_error})" if traced.attempt_error else ""
        sentence = f"The provider took the test text and reports that it failed{code}."
        return Conclusion(leg="not_delivered", failure=sentence, sent_at=sent_at)
    if status in _SENT:
        sentence = (
            "The test text was sent, and no event told of it within two minutes: webhooks do not "
            "reach this service. `crm-api webhooks list` shows what is registered, `crm-api "
            "webhooks test` what the provider gets for an answer."
        )
        return Conclusion(leg="no_webhook", failure=sentence, sent_at=sent_at)
    if status in _UNCLEAR:
        sentence = (
            "It is not clear whether the provider took the test text, and no event told of it "
            "within two minutes."
        )
        return Conclusion(leg="send_unclear", failure=sentence, sent_at=sent_at)
    return _not_sent(traced)


def _not_sent(traced: Row[Any]) -> Conclusion:
    code = traced.attempt_error or traced.text_error
    why = f" ({code})" if code else ""
    sentence = (
        f"The test text did not leave within two minutes{why}, so that nothing is known of the "
        "webhooks: is the line blocked, the number opted out, the worker running?"
    )
    return Conclusion(leg="not_sent", failure=sentence)


def _signature_refused(found: Conclusion) -> Conclusion:
    sentence = (
        "The test text was sent, and webhooks came, but with signatures that were refused: the "
        "signing key is not known here. `crm-api webhooks rotate` makes a new one and saves it."
    )
    return Conclusion(leg="signature_refused", failure=sentence, sent_at=found.sent_at)


def _sent_at(traced: Row[Any]) -> datetime | None:
    """Return when it passed the gate, unless it certainly did not leave."""
    status = traced.attempt_status
    if status in _SENT or status in _UNCLEAR or status == AttemptStatus.FAILED:
        called_at: datetime | None = traced.called_at
        return called_at
    return None


async def _line(uow: UnitOfWork, name: str) -> Row[Any] | None:
    try:
        number = parse_phone(name)
    except InvalidPhoneError:
        number = name
    return await queries.find_line(uow.session, name=name, number=number)


def _why_not(own: OwnLines, sender: Row[Any] | None, to: Row[Any] | None) -> Conclusion | None:
    named = {"CRM_HEALTH_CHECK_FROM": sender, "CRM_HEALTH_CHECK_TO": to}
    for setting, line in named.items():
        if line is None:
            sentence = (
                f"{setting} names no line that is known here; POST /v1/lines/sync reads them from "
                "the provider, GET /v1/lines lists them."
            )
            return Conclusion(leg="misconfigured", failure=sentence)
    if sender is not None and to is not None and sender.id == to.id:
        sentence = f"{' and '.join(named)} name one and the same line; a text needs two."
        return Conclusion(leg="misconfigured", failure=sentence)
    if sender is not None and sender.status == "blocked":
        sentence = (
            f"The test text cannot leave: the line {own.sender} is blocked "
            f"({sender.blocked_reason}), so that nothing is known of the webhooks."
        )
        return Conclusion(leg="not_sent", failure=sentence)
    return None
