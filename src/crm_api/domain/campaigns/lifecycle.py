"""Begin, pause and complete campaigns without a request.

The worker calls these functions at every tick. Each may run twice, on any number of workers.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.audience.storage import CHUNK_PEOPLE
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, PauseReason
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.jobs import Job, JobName

PAUSED_ALERT = AlertKind.CAMPAIGN_PAUSED
"""The kind of the alert for a pause by a rule; its subject is the campaign."""
ACTOR = "worker"
"""The actor in the audit log."""
_HOUR = 3600

# When the campaign should have begun: at its schedule, but not before its start request and its
# last resume.
_DUE_AT = "greatest(c.start_at, c.started_at, CAST(c.watched_from ->> 'at' AS timestamptz))"

MISSED_STARTS = text(f"""
    SELECT c.id, c.name, {_DUE_AT} AS due_at, c.start_grace_hours, c.end_at
    FROM campaign c
    WHERE c.status = 'scheduled' AND c.recipients_total IS NOT NULL
      AND {_DUE_AT} < CAST(:now AS timestamptz) - make_interval(hours => c.start_grace_hours)
""")

BEGIN_DUE = text(f"""
    UPDATE campaign c SET status = 'running', updated_at = :now
    WHERE c.status = 'scheduled' AND c.recipients_total IS NOT NULL
      AND (c.start_at IS NULL OR c.start_at <= CAST(:now AS timestamptz))
      AND ({_DUE_AT} < CAST(:now AS timestamptz) - make_interval(hours => c.start_grace_hours))
          IS NOT TRUE
    RETURNING c.id
""")


@dataclass(frozen=True, slots=True)
class _MissedStart:
    """A campaign whose start was missed by more than it allows."""

    id: UUID
    name: str
    due_at: datetime
    start_grace_hours: int
    end_at: datetime | None


async def begin_due_campaigns(uow: UnitOfWork, *, now: datetime) -> list[UUID]:
    """Run scheduled campaigns whose audience is stored and whose start has come.

    A start that was missed by more than the campaign's ``start_grace_hours`` waits for a person:
    the campaign is paused with the reason ``missed_start``, its evidence and an alert. ``resume``
    then starts it. A start that was missed by less begins normally.
    """
    rows = await uow.session.execute(MISSED_STARTS, {"now": now})
    for missed in typed_rows(_MissedStart, rows):
        await _pause_missed(uow, missed, now=now)
    return list((await uow.session.scalars(BEGIN_DUE, {"now": now})).all())


async def _pause_missed(uow: UnitOfWork, missed: _MissedStart, *, now: datetime) -> None:
    hours = int((now - missed.due_at).total_seconds()) // _HOUR
    advice = "Resume the campaign to start it now, or cancel it."
    if missed.end_at is not None and missed.end_at <= now:
        advice = "Its end has passed too: cancel it, and clone it with other dates."
    evidence = {
        "due_at": format_instant(missed.due_at),
        "late_hours": hours,
        "start_grace_hours": missed.start_grace_hours,
        "sentence": f"It should have begun at {format_instant(missed.due_at)}. The service noticed "
        f"{hours} hours later; after more than {missed.start_grace_hours} a person must decide. "
        f"{advice}",
        "at": format_instant(now),
    }
    values = {
        "status": CampaignStatus.PAUSED,
        "paused_reason": PauseReason.MISSED_START,
        "paused_evidence": evidence,
        "updated_at": now,
    }
    moved = await queries.change_status(
        uow.session, campaign_id=missed.id, sources=[CampaignStatus.SCHEDULED], values=values
    )
    if moved is None:  # Another worker or a person was first.
        return
    await report_pause(
        uow,
        campaign_id=missed.id,
        name=missed.name,
        reason=PauseReason.MISSED_START,
        evidence=evidence,
        now=now,
    )


async def report_pause(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    name: str,
    reason: str,
    evidence: dict[str, Any],
    now: datetime,
) -> None:
    """Raise the alert and write the audit log entry of a stored pause.

    Args:
        uow: The unit of work of the pause.
        campaign_id: The campaign.
        name: Its name, for the text of the alert.
        reason: Its ``paused_reason``.
        evidence: Its ``paused_evidence``; ``sentence`` says what happened and what to do.
        now: The present instant.
    """
    context = {"reason": reason, **evidence}
    await alerts.raise_alert(
        uow,
        kind=PAUSED_ALERT,
        subject=str(campaign_id),
        detail=f"The campaign {name!r} paused itself: {evidence['sentence']}",
        context=context,
        now=now,
    )
    await note_decision(
        uow,
        actor=ACTOR,
        action="pause_campaign",
        subject=str(campaign_id),
        detail=context,
        now=now,
    )


async def resolve_pause_alerts(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> None:
    """Resolve a campaign's open alerts, because a person resumed or cancelled it."""
    for kind in (PAUSED_ALERT, AlertKind.CAMPAIGN_BLOCKED):
        await alerts.resolve_alert(uow, kind=kind, subject=str(campaign_id), now=now)


# A limited number at a time, found by one probe for each step and open status.
_WAITING = """
    FROM campaign c
    CROSS JOIN LATERAL generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
    JOIN campaign_membership w ON w.campaign_id = c.id AND w.step = s.step
        AND w.status IN ('pending', 'review', 'held')
"""

END_OVERDUE = text(f"""
    WITH waiting AS (
        SELECT w.id {_WAITING}
        WHERE c.status = 'running' AND c.end_at <= CAST(:now AS timestamptz)
        LIMIT :limit
    )
    UPDATE campaign_membership m
    SET status = 'cancelled', skip_reason = 'campaign_ended', updated_at = :now
    FROM waiting w WHERE m.id = w.id AND m.status IN ('pending', 'review', 'held')
""")

# A cancel itself ends only a limited number of recipients. An attempt that was recorded during the
# cancel saw a running campaign, and may have put its recipient back in the queue or made the next
# step due. The day covers an outage right after the cancel.
END_CANCELLED = text(f"""
    WITH waiting AS (
        SELECT w.id {_WAITING}
        WHERE c.status = 'cancelled'
          AND c.finished_at > CAST(:now AS timestamptz) - interval '1 day'
        LIMIT :limit
    )
    UPDATE campaign_membership m SET status = 'cancelled', updated_at = :now
    FROM waiting w WHERE m.id = w.id AND m.status IN ('pending', 'review', 'held')
""")


async def end_overdue(session: AsyncSession, *, limit: int, now: datetime) -> bool:
    """Cancel waiting recipients of running campaigns whose end has come, and of cancelled ones.

    Returns:
        True if ``limit`` was reached and more may wait.
    """
    values = {"limit": limit, "now": now}
    ended = [
        cast("CursorResult[Any]", await session.execute(statement, values)).rowcount
        for statement in (END_OVERDUE, END_CANCELLED)
    ]
    return limit in ended


# One probe of idx_campaign_membership_campaign for each step and open status.
COMPLETE_FINISHED = text("""
    UPDATE campaign c SET status = 'completed', finished_at = :now, updated_at = :now
    WHERE c.status = 'running' AND c.recipients_total IS NOT NULL
      AND NOT EXISTS (
          SELECT 1
          FROM generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
          JOIN campaign_membership m ON m.campaign_id = c.id AND m.step = s.step
          WHERE m.status IN ('pending', 'review', 'held', 'sending', 'unknown'))
    RETURNING c.id
""")


async def complete_finished_campaigns(
    uow: UnitOfWork, *, at_once: int = CHUNK_PEOPLE, now: datetime
) -> list[UUID]:
    """Complete running campaigns in which no one waits any more; return their ids.

    If ``end_at`` has passed, waiting recipients are cancelled first, with the reason
    ``campaign_ended``. A call that is under way keeps its campaign open until it is recorded. At
    most ``at_once`` recipients are cancelled; then the next run is requested.
    """
    if await end_overdue(uow.session, limit=at_once, now=now):
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return list((await uow.session.scalars(COMPLETE_FINISHED, {"now": now})).all())
