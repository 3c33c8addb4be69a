"""Block lines and campaigns that the provider refuses; later, test whether lines can send again.

If the provider refuses a line itself, not only one message, the circuit breaker of the line opens:
the line is blocked. After a wait, the line is on trial and sends one message at a time. An accepted
message ends the trial. A refusal blocks the line for longer. A blocked campaign has no trial: a
user has to correct the cause (``ARCHITECTURE.md``, Invariant 10).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.backoff import Backoff
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.provider.openphone.send_responses import SendResponse
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

WAITS = Backoff(first=timedelta(minutes=10), longest=timedelta(hours=6))
"""How long a line is blocked before each trial (a single message that tests whether the provider
accepts messages again): first 10 minutes, then 20, 40, 80, 160 and 320 minutes, then always 6
hours. In ten minutes, a user can read the alert and add credits or change a key. Other causes, such
as a missing registration, last for days. For these causes, four trials a day are enough, and they
cost nothing."""


LOCK_LINES = text("""
    SELECT l.id FROM line l WHERE l.id = ANY(CAST(:line_ids AS uuid[]))
    ORDER BY l.id FOR NO KEY UPDATE
""")


async def lock_lines(uow: UnitOfWork, line_ids: Collection[UUID]) -> None:
    """Lock lines. Call this function before you record responses that may change these lines.

    Each transaction must lock lines before it writes attempts. Another order could cause a
    deadlock.
    """
    if line_ids:
        await uow.session.execute(LOCK_LINES, {"line_ids": list(line_ids)})


async def block_refused(
    uow: UnitOfWork, claimed: ClaimedAttempt, answer: SendResponse, *, reason: str, now: datetime
) -> None:
    """Block the line or campaign for which the provider refused to send, and raise an alert.

    A line or campaign that is already blocked does not change.
    """
    if answer.scope == "campaign" and claimed.campaign_id is not None:
        kind, subject = AlertKind.CAMPAIGN_BLOCKED, claimed.campaign_id
        detail = await _block_campaign(uow, claimed.campaign_id, reason=reason, now=now)
    else:
        kind, subject = AlertKind.LINE_BLOCKED, claimed.line_id
        detail = await _block_line(uow, claimed.line_id, reason=reason, now=now)
    if detail is None:
        return
    await alerts.raise_alert(
        uow,
        kind=kind,
        subject=str(subject),
        detail=detail,
        context={"http_status": answer.http_status, "code": answer.code},
        now=now,
    )


# This statement does not change a line that is already blocked. Otherwise the wait until the next
# trial would double for each request that was still running when the line was blocked, because the
# provider refuses these requests too.
BLOCK_LINE = text(f"""
    UPDATE line
    SET status = 'blocked', blocked_reason = :reason, blocked_at = :now, is_probing = false,
        probe_at = CAST(:now AS timestamptz) + {WAITS.sql("probes + 1")},
        probes = probes + 1, updated_at = :now
    WHERE id = :line_id AND status = 'active'
    RETURNING number, probe_at
""")


async def _block_line(uow: UnitOfWork, line_id: UUID, *, reason: str, now: datetime) -> str | None:
    values = {"line_id": line_id, "reason": reason, "now": now}
    found = await uow.session.execute(BLOCK_LINE, values)
    line = found.one_or_none()
    if line is None:
        return None
    return (
        f"OpenPhone refuses to send for the line {line.number}: {reason}. The line is blocked. "
        f"Correct the cause. At {line.probe_at:%Y-%m-%d %H:%M} UTC the line sends one message as a "
        f"test. To unblock the line earlier, use POST /v1/lines/{line_id}/unblock."
    )


BLOCK_CAMPAIGN = text("""
    UPDATE campaign SET status = 'blocked', blocked_reason = :reason, updated_at = :now
    WHERE id = :campaign_id AND status = 'running' RETURNING id
""")


async def _block_campaign(
    uow: UnitOfWork, campaign_id: UUID, *, reason: str, now: datetime
) -> str | None:
    values = {"campaign_id": campaign_id, "reason": reason, "now": now}
    if (await uow.session.execute(BLOCK_CAMPAIGN, values)).first() is None:
        return None
    return (
        f"OpenPhone refuses to send for this campaign: {reason}. The campaign is blocked. Correct "
        f"the cause, then resume the campaign with POST /v1/campaigns/{campaign_id}/resume."
    )


# A line that was blocked by a user, or by a restore of the database, has no `probe_at`. So this
# statement does not select the line, and only a user can unblock it.
OPEN_ON_TRIAL = text("""
    UPDATE line SET status = 'active', is_probing = true, probe_at = :now, updated_at = :now
    WHERE status = 'blocked' AND probe_at <= :now
    RETURNING id
""")

# A message belongs to the trial of a line if its request began after the trial began. The condition
# on `accepted_at` lets the planner use an index. It accepts times up to one minute before the
# trial, because the provider's clock may be behind ours.
SETTLED_TRIALS = text("""
    SELECT l.id FROM line l
    WHERE l.is_probing AND l.status = 'active' AND EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.line_id = l.id AND a.accepted_at > l.probe_at - interval '1 minute'
          AND a.called_at >= l.probe_at)
""")


async def open_on_trial(uow: UnitOfWork, *, now: datetime) -> None:
    """Put blocked lines on trial when the wait after the block is over; end trials that succeeded.

    A line on trial sends one message at a time. Its trial has succeeded when the provider has
    accepted a message that was sent during the trial.
    """
    settled = (await uow.session.execute(SETTLED_TRIALS)).scalars().all()
    await close_breakers(uow, settled, now=now)
    opened = await uow.session.execute(OPEN_ON_TRIAL, {"now": now})
    if opened.first() is not None:
        uow.after_commit(Job(name=JobName.SEND_MESSAGES))


CLOSE_BREAKERS = text("""
    UPDATE line l
    SET is_probing = false, probes = 0, probe_at = NULL, blocked_reason = NULL, blocked_at = NULL,
        updated_at = :now
    FROM line b
    WHERE l.id = ANY(CAST(:line_ids AS uuid[])) AND l.status = 'active' AND l.is_probing
      AND b.id = l.id
    RETURNING l.id, b.probes AS blocks, b.blocked_reason AS reason
""")


async def close_breakers(uow: UnitOfWork, line_ids: Collection[UUID], *, now: datetime) -> None:
    """End the trial of lines from which the provider has accepted a message.

    Lines that are not on trial do not change. When a trial ends, the alert about the line is
    resolved, the audit log gets an entry, and the jobs that send messages are requested.
    """
    if not line_ids:
        return
    values = {"line_ids": list(line_ids), "now": now}
    proved = (await uow.session.execute(CLOSE_BREAKERS, values)).all()
    for line in proved:
        await alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject=str(line.id), now=now)
        await note_decision(
            uow,
            actor="worker",
            action="reopen_line",
            subject=str(line.id),
            detail={"reason": line.reason, "blocks": line.blocks},
            now=now,
        )
    if proved:
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
        uow.after_commit(Job(name=JobName.SEND_MESSAGES))


@dataclass(frozen=True, kw_only=True)
class Trials:
    """The lines that are on trial, and which of them already send a message.

    A line on trial was blocked before, and now sends only one message at a time.

    Attributes:
        lines: The ids of the lines on trial.
        busy: The ids of those lines that have an unfinished attempt.
    """

    lines: frozenset[UUID]
    busy: frozenset[UUID]


LOCK_TRIALS = text("""
    SELECT l.id FROM line l
    WHERE l.id = ANY(CAST(:line_ids AS uuid[])) AND l.is_probing
    ORDER BY l.id FOR NO KEY UPDATE
""")

BUSY_LINES = text("""
    SELECT DISTINCT a.line_id FROM send_attempt a
    WHERE a.line_id = ANY(CAST(:line_ids AS uuid[])) AND a.is_open
""")


async def lock_trials(uow: UnitOfWork, line_ids: Sequence[UUID]) -> Trials:
    """Lock lines that are on trial, and find which of them have an unfinished attempt.

    A line on trial was blocked before, and now sends only one message at a time.

    Args:
        line_ids: The lines to check. A line that is not on trial is not locked.
    """
    if not line_ids:
        return Trials(lines=frozenset(), busy=frozenset())
    locked = await uow.session.execute(LOCK_TRIALS, {"line_ids": sorted(set(line_ids))})
    on_trial = frozenset(locked.scalars())
    busy = await uow.session.execute(BUSY_LINES, {"line_ids": list(on_trial)})
    return Trials(lines=on_trial, busy=frozenset(busy.scalars()))
