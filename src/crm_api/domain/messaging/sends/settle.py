"""Settle attempts with an unclear result: find out or decide whether the message was sent.

1. The lease of the attempt ends. If the request may have been sent, the attempt becomes
   ``unknown``. If the request was not sent, the attempt is released.
2. A look-up in the provider's list settles an ``unknown`` attempt.
3. If the look-ups do not settle the attempt, it is parked, and a user decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import ConflictError
from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import derive, record, report
from crm_api.domain.messaging.sends.ledger import AttemptOutcome
from crm_api.domain.messaging.sends.matching import UnknownAttempt, find_candidates
from crm_api.domain.messaging.sends.parked_alerts import NOT_LISTED, PARKED_ALERT
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.facts import MessageFacts, bound_message
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.jobs import Job, JobName

EXPIRE_CLAIMS = text("""
    WITH over AS (
        SELECT a.id FROM send_attempt a
        WHERE a.is_open AND a.status = 'claimed' AND a.lease_until < :now
        ORDER BY a.id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ), freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'lease_over',
            updated_at = :now
        FROM over o WHERE a.id = o.id
        RETURNING a.id, a.kind, a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t
        SET status = 'queued', updated_at = :now,
            send_after = CASE WHEN f.kind <> 'campaign' THEN CAST(:now AS timestamptz) END
        FROM freed f WHERE t.id = f.activity_id AND t.status = 'sending'
    )
    SELECT id, membership_id FROM freed
""")

EXPIRE_CALLS = text("""
    WITH over AS (
        SELECT a.id FROM send_attempt a
        WHERE a.is_open AND a.status = 'calling' AND a.lease_until < :now
        ORDER BY a.id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ), lost AS (
        UPDATE send_attempt a
        SET status = 'unknown', token = NULL, lease_until = NULL, error_code = 'no_answer',
            updated_at = :now
        FROM over o WHERE a.id = o.id
        RETURNING a.id, a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t SET status = 'unknown', rank = 2, updated_at = :now
        FROM lost l WHERE t.id = l.activity_id AND t.rank < 2
    )
    SELECT id, membership_id FROM lost
""")


async def expire_leases(uow: UnitOfWork, *, limit: int, now: datetime) -> int:
    """End the open attempts that their workers did not finish in time.

    If the request was not sent, the attempt becomes ``released``, and the message waits again. If
    the request may have been sent, the attempt becomes ``unknown``.

    Args:
        limit: The largest number of attempts for each of the two statuses.

    Returns:
        The number of attempts that were changed.
    """
    values = {"limit": limit, "now": now}
    claims = (await uow.session.execute(EXPIRE_CLAIMS, values)).all()
    calls = (await uow.session.execute(EXPIRE_CALLS, values)).all()
    members = [row.membership_id for row in (*claims, *calls) if row.membership_id is not None]
    await derive.derive_recipients(uow.session, membership_ids=members, now=now)
    return len(claims) + len(calls)


NEXT_LEASE = text("""
    SELECT min(a.lease_until) FROM send_attempt a
    WHERE a.is_open AND a.lease_until IS NOT NULL
""")


async def next_lease_end(uow: UnitOfWork) -> datetime | None:
    """Return the time at which the first lease ends; None if no open attempt has a lease.

    A lease is the time for which a worker reserves an attempt.
    """
    end: datetime | None = await uow.session.scalar(NEXT_LEASE)
    return end


CANARY_SHARE = 4
"""The provider's list must contain an accepted message after a quarter of the grace period (the
grace period divided by this number). If the list lacks such a message (the canary), the list is not
up to date, and the result of a look-up that finds nothing is ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMessage:
    """An accepted message that is old enough to be in the provider's list of messages."""

    provider_message_id: str
    phone: str
    accepted_at: datetime


# Finds the canary: the newest message that must already be in the provider's list, and whose id is
# known from the provider's response.
CANARY = text("""
    SELECT a.provider_message_id, a.phone, a.accepted_at FROM send_attempt a
    WHERE a.line_id = :line_id AND a.accepted_at IS NOT NULL
      AND a.accepted_at < CAST(:now AS timestamptz) - make_interval(secs => :age)
      AND a.accepted_at > CAST(:now AS timestamptz) - interval '1 day'
      AND a.provider_message_id IS NOT NULL AND NOT a.is_matched
    ORDER BY a.accepted_at DESC LIMIT 1
""")


async def find_canary(
    uow: UnitOfWork, *, line_id: UUID, times: SendTimes, now: datetime
) -> ListedMessage | None:
    """Find a message to test whether the provider's list of messages is up to date.

    The provider accepted this message some time ago, so the list must contain it. If the list does
    not contain it, the list is not up to date. The result is None if no suitable message is found.
    """
    age = times.grace_seconds / CANARY_SHARE
    values = {"line_id": line_id, "age": age, "now": now}
    return typed_row(ListedMessage, (await uow.session.execute(CANARY, values)).one_or_none())


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """What the provider's list of messages contains about an attempt with an unknown result.

    Attributes:
        begun_at: When the look-up began. ``messages`` may lack messages that were listed later.
        messages: The messages with the attempt's number. Their times are between ``times.skew``
            before the gate and ``times.grace`` after the gate.
        list_lags: True if the list lacks a message that it must contain. Then the attempt's message
            may have been sent even if it is not listed.
    """

    begun_at: datetime
    messages: Sequence[MessageFacts] = field(default_factory=tuple)
    list_lags: bool = False


async def conclude_look_up(
    uow: UnitOfWork, unknown: UnknownAttempt, look_up: LookUp, *, times: SendTimes, now: datetime
) -> AttemptStatus:
    """Set the status of an unknown attempt from the result of a look-up at the provider.

    If another look-up is needed, the status stays ``unknown``.

    Returns:
        The new status of the attempt.
    """
    listed = [bound_message(facts, received_at=now) for facts in look_up.messages]
    found = await find_candidates(uow, unknown, listed, times=times)
    candidates, same = found.ours, found.same
    is_old = look_up.begun_at - unknown.called_at > times.grace
    if len(same) == 1:
        outcome = report.outcome_of(
            same[0], attempt_id=unknown.id, is_matched=True, seen=AttemptStatus.UNKNOWN
        )
        await record.write_outcomes(uow, [outcome], now=now)
        return AttemptStatus(outcome.status)
    if candidates:
        if is_old:
            return await _park(uow, unknown, why=found.why, now=now)
        return await _wait(uow, unknown, nil_at=None, now=now)
    if not is_old or look_up.list_lags:
        return await _wait(uow, unknown, nil_at=unknown.nil_at, now=now)
    return await _conclude_absent(uow, unknown, look_up, times=times, now=now)


async def _conclude_absent(
    uow: UnitOfWork,
    unknown: UnknownAttempt,
    look_up: LookUp,
    *,
    times: SendTimes,
    now: datetime,
) -> AttemptStatus:
    """Record a look-up that found nothing; after the second such look-up, set the final status.

    The second look-up counts only if it began at least ``look_gap`` after the first. If the message
    may be sent again, the final status is ``not_found``. If not (``resend_unclear`` is False, or
    ``has_no_id`` is True), the status is ``parked``.
    """
    if unknown.nil_at is None:
        return await _wait(uow, unknown, nil_at=look_up.begun_at, now=now)
    if look_up.begun_at - unknown.nil_at < times.look_gap:
        return await _wait(uow, unknown, nil_at=unknown.nil_at, now=now)
    if unknown.has_no_id or not unknown.resend_unclear:
        return await _park(uow, unknown, why=NOT_LISTED, now=now)
    outcome = AttemptOutcome(
        attempt_id=unknown.id,
        status=AttemptStatus.NOT_FOUND,
        seen=AttemptStatus.UNKNOWN,
        error_code="not_found",
    )
    await record.write_outcomes(uow, [outcome], now=now)
    return AttemptStatus.NOT_FOUND


POSTPONE_LOOK = text("""
    UPDATE send_attempt a SET updated_at = :now WHERE a.id = :id AND a.status = 'unknown'
""")


async def postpone_look_up(uow: UnitOfWork, unknown: UnknownAttempt, *, now: datetime) -> None:
    """Move an attempt to the end of the look-up queue, because its look-up was not completed."""
    await uow.session.execute(POSTPONE_LOOK, {"id": unknown.id, "now": now})


NOTE_LOOK = text("""
    UPDATE send_attempt a SET nil_at = x.nil_at, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:nil_ats AS timestamptz[])) AS x (id, nil_at)
    WHERE a.id = x.id AND a.status = 'unknown'
""")


async def _wait(
    uow: UnitOfWork, unknown: UnknownAttempt, *, nil_at: datetime | None, now: datetime
) -> AttemptStatus:
    values = {"ids": [unknown.id], "nil_ats": [nil_at], "now": now}
    await uow.session.execute(NOTE_LOOK, values)
    return AttemptStatus.UNKNOWN


async def _park(
    uow: UnitOfWork, unknown: UnknownAttempt, *, why: str, now: datetime
) -> AttemptStatus:
    """Park an unknown attempt: a user must decide whether its message was sent.

    ``write_outcomes`` raises the alert for the user.

    Args:
        why: The error code, a key of ``parked_alerts.WHY_PARKED``.
    """
    outcome = AttemptOutcome(
        attempt_id=unknown.id,
        status=AttemptStatus.PARKED,
        seen=AttemptStatus.UNKNOWN,
        error_code=why,
        has_no_id=unknown.has_no_id,
    )
    await record.write_outcomes(uow, [outcome], now=now)
    return AttemptStatus.PARKED


SettledAs = Literal["sent", "resend", "failed"]


SETTLED_BY_USER = {
    "sent": AttemptStatus.SENT,
    "resend": AttemptStatus.RELEASED,
    "failed": AttemptStatus.REFUSED,
}


class NotParkedError(ConflictError):
    """The message is not parked: no user has to decide whether it was sent."""

    code = "not_parked"
    title = "Message is not parked"
    detail = (
        "No message to this recipient waits for a user's decision. See the recipient's "
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
    """Store a user's decision about the parked attempt of a recipient.

    An attempt is parked if the service cannot find out whether the message was sent. The decision
    is written to the audit log.

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
        raise NotParkedError
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
    """Store a user's decision about a parked attempt to send a message.

    An attempt is parked if the service cannot find out whether the message was sent. The decision
    is written to the audit log, and the alert about the message is resolved.

    Raises:
        NotParkedError: The message has no parked attempt.
    """
    found = await uow.session.execute(LOCK_PARKED_OF_MESSAGE, {"message_id": message_id})
    parked = typed_row(_ParkedAttempt, found.first())
    if parked is None:
        raise NotParkedError(
            "This message does not wait for a user's decision. See its status with GET "
            "/v1/messages/{id}."
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
        status=SETTLED_BY_USER[outcome],
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
