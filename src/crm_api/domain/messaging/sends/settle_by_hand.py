"""Settle a parked attempt as a user decided: the message was sent, or not, or is sent again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.kit.errors import ConflictError, Example
from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import record
from crm_api.domain.messaging.sends.ledger import AttemptOutcome
from crm_api.domain.messaging.sends.parked_alerts import PARKED_ALERT
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.jobs import Job, JobName

SettledAs = Literal["sent", "resend", "failed"]


SETTLED_BY_PERSON = {
    "sent": AttemptStatus.SENT,
    "resend": AttemptStatus.RELEASED,
    "failed": AttemptStatus.REFUSED,
}


class NotParkedError(ConflictError):
    """The message is not waiting for a user to settle it."""

    code = "not_parked"
    title = "Message is not parked"
    example = Example(
        "No message to this recipient is waiting for a user to settle it. See the recipient's "
        "status with GET /v1/campaigns/{id}/recipients."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ParkedAttempt:
    id: UUID
    called_at: datetime
    campaign_id: UUID | None


LOCK_PARKED_OF_RECIPIENT = text("""
    SELECT a.id, a.called_at, a.campaign_id
    FROM send_attempt a JOIN campaign_membership m ON m.id = a.membership_id
    WHERE m.campaign_id = :campaign_id AND m.contact_id = :contact_id AND a.status = 'parked'
    FOR NO KEY UPDATE OF a
""")


async def settle_recipient(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    outcome: SettledAs,
    actor: str,
    now: datetime,
) -> None:
    """Settle a recipient's parked attempt as a user decided, and write the audit log.

    Args:
        outcome: What the user decided. ``resend`` makes the recipient pending again.

    Raises:
        NotParkedError: The recipient has no parked attempt.
    """
    found = await uow.session.execute(
        LOCK_PARKED_OF_RECIPIENT, {"campaign_id": campaign_id, "contact_id": contact_id}
    )
    parked = typed_row(_ParkedAttempt, found.first())
    if parked is None:
        raise NotParkedError(
            "No message to this recipient is waiting for a user to settle it. See the recipient's "
            "status with GET /v1/campaigns/{id}/recipients."
        )
    await _settle(uow, parked, outcome=outcome, actor=actor, now=now)


LOCK_PARKED_OF_MESSAGE = text("""
    SELECT a.id, a.called_at, a.campaign_id
    FROM activity t JOIN send_attempt a ON a.phone = t.phone AND a.activity_id = t.id
    WHERE t.id = :message_id AND t.kind = 'message' AND a.status = 'parked'
    FOR NO KEY UPDATE OF a
""")


async def settle_message(
    uow: UnitOfWork, *, message_id: UUID, outcome: SettledAs, actor: str, now: datetime
) -> None:
    """Settle a message's parked attempt as a user decided; write the audit log, end the alert.

    Raises:
        NotParkedError: The message has no parked attempt.
    """
    found = await uow.session.execute(LOCK_PARKED_OF_MESSAGE, {"message_id": message_id})
    parked = typed_row(_ParkedAttempt, found.first())
    if parked is None:
        raise NotParkedError(
            "This message is not waiting for a user to settle it. See its status with "
            "GET /v1/messages/{id}."
        )
    await _settle(uow, parked, outcome=outcome, actor=actor, now=now)
    await alerts.resolve_alert(uow, kind=PARKED_ALERT, subject=str(message_id), now=now)


async def _settle(
    uow: UnitOfWork,
    parked: _ParkedAttempt,
    *,
    outcome: SettledAs,
    actor: str,
    now: datetime,
) -> None:
    settled = AttemptOutcome(
        attempt_id=parked.id,
        status=SETTLED_BY_PERSON[outcome],
        seen=AttemptStatus.PARKED,
        accepted_at=parked.called_at if outcome == "sent" else None,
        error_code=None if outcome == "sent" else "settled_by_person",
    )
    await record.write_outcomes(uow, [settled], now=now, retry_at=now)
    detail: dict[str, Any] = {"outcome": outcome}
    if parked.campaign_id is not None:
        detail["campaign_id"] = str(parked.campaign_id)
    await note_decision(
        uow,
        actor=actor,
        action="settle_send",
        subject=str(parked.id),
        detail=detail,
        now=now,
    )
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    if parked.campaign_id is None:
        uow.after_commit(Job(name=JobName.SEND_MESSAGES))
