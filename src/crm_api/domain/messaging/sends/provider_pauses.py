"""Begin and end pauses of all requests. The provider asks for a pause by ``Retry-After``."""

from datetime import datetime

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.messaging.sends.limiter import LONGEST_PAUSE, PROVIDER, Limiter
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

# A message that the provider answered with 429 is due at the end of the pause. If the pause ends
# early, the two statements MAKE_…_DUE make it due at once. A row that another transaction has
# locked is being sent or stopped, so it is skipped.
_WAS_POSTPONED = """EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE {of} AND a.status = 'released' AND a.called_at IS NOT NULL
          AND a.answered_at >= :since)"""


async def begin_provider_pause(
    uow: UnitOfWork,
    limiter: Limiter,
    *,
    seconds: float,
    asked_seconds: float | None,
    now: datetime,
) -> datetime:
    """Pause all requests with the provider's API key.

    If the provider asked for a longer pause than the service makes, an alert is raised.

    Args:
        seconds: How long to pause.
        asked_seconds: The length that the provider asked for, if longer than ``seconds``; None
            otherwise.

    Returns:
        When requests may begin again.
    """
    until = await limiter.pause(
        uow, seconds=seconds, asked_seconds=asked_seconds or seconds, now=now
    )
    if asked_seconds is not None:
        await alerts.raise_alert(
            uow,
            kind=AlertKind.PROVIDER_ASKED_TO_WAIT,
            subject=PROVIDER,
            detail="OpenPhone answered a message with status 429 and asked for a pause of "
            f"{asked_seconds:g} seconds (Retry-After). This service sends nothing until "
            f"{until:%Y-%m-%d %H:%M:%S} UTC. Then it tries again, at least every ten minutes. Ask "
            "OpenPhone's support for the cause. To end the pause at once, use POST "
            "/v1/lines/{id}/unblock with the id of any line.",
            context={"asked_seconds": asked_seconds, "until": until.isoformat()},
            now=now,
        )
    return until


MAKE_RECIPIENTS_DUE = text(f"""
    UPDATE campaign_membership m SET due_at = :now, updated_at = :now
    FROM (
        SELECT m.id
        FROM campaign c JOIN campaign_membership m ON m.campaign_id = c.id
        WHERE c.status IN ('running', 'paused', 'blocked') AND m.status = 'pending'
          AND m.due_at > :now AND m.due_at <= :until
          AND {_WAS_POSTPONED.format(of="a.membership_id = m.id AND a.kind = 'campaign'")}
        ORDER BY m.id FOR NO KEY UPDATE OF m SKIP LOCKED
    ) f WHERE m.id = f.id
""")

MAKE_MESSAGES_DUE = text(f"""
    UPDATE activity t SET send_after = :now, updated_at = :now
    FROM (
        SELECT t.id FROM activity t
        WHERE t.status = 'queued' AND t.send_after > :now AND t.send_after <= :until
          AND {_WAS_POSTPONED.format(of="a.phone = t.phone AND a.activity_id = t.id")}
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    ) f WHERE t.id = f.id
""")


async def end_provider_pause(uow: UnitOfWork, *, actor: str, now: datetime) -> None:
    """End the current pause early, because a user requested it; do nothing if there is no pause.

    Messages that the pause postponed become due immediately.
    """
    limiter = Limiter(rate_per_second=1)
    hold = await limiter.read_pause(uow, now=now)
    if hold is None or not await limiter.end_pause(uow, now=now):
        return
    span = {"now": now, "until": hold.until, "since": hold.until - LONGEST_PAUSE}
    await uow.session.execute(MAKE_RECIPIENTS_DUE, span)
    await uow.session.execute(MAKE_MESSAGES_DUE, span)
    await note_decision(
        uow, actor=actor, action="end_provider_hold", subject=PROVIDER, detail={}, now=now
    )
    await alerts.resolve_alert(
        uow, kind=AlertKind.PROVIDER_ASKED_TO_WAIT, subject=PROVIDER, now=now
    )
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    uow.after_commit(Job(name=JobName.SEND_MESSAGES))
