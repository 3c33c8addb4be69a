"""Begin, pause and complete campaigns automatically.

A job of the workers (``process_campaign_queue``) begins and completes campaigns. It runs at least
every minute. Several workers may run it at the same time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.campaigns.audience.storage import CHUNK_PEOPLE
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, PauseReason
from crm_api.platform.database import UnitOfWork, affected, typed_rows
from crm_api.platform.jobs import Job, JobName

PAUSED_ALERT = AlertKind.CAMPAIGN_PAUSED
"""The kind of the alert about a campaign that a rule has paused. The subject of the alert is the id
of the campaign."""
ACTOR = "worker"
"""The name that the audit log shows for decisions of the service itself."""
_HOUR = 3600

# SQL for the time at which the campaign should have begun. It is the latest of three times: the
# scheduled start, the request to start, and the last resume.
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
    """A scheduled campaign whose start is late by more than its ``start_grace_hours``."""

    id: UUID
    name: str
    due_at: datetime
    start_grace_hours: int
    end_at: datetime | None


async def begin_due_campaigns(uow: UnitOfWork, *, now: datetime) -> list[UUID]:
    """Begin scheduled campaigns whose audience is stored and whose start time has come.

    The status of these campaigns becomes ``running``. If a campaign is late by more than its
    ``start_grace_hours``, it does not begin. It is paused with the reason ``missed_start`` and an
    alert, and a user must resume or cancel it.

    Returns:
        The ids of the campaigns that began.
    """
    rows = await uow.session.execute(MISSED_STARTS, {"now": now})
    for missed in typed_rows(_MissedStart, rows):
        await _pause_missed(uow, missed, now=now)
    return list((await uow.session.scalars(BEGIN_DUE, {"now": now})).all())


async def _pause_missed(uow: UnitOfWork, missed: _MissedStart, *, now: datetime) -> None:
    hours = int((now - missed.due_at).total_seconds()) // _HOUR
    advice = "Resume the campaign to start it now, or cancel it."
    if missed.end_at is not None and missed.end_at <= now:
        advice = (
            "The `end_at` has also passed. Cancel the campaign, and start a clone with other dates."
        )
    evidence = {
        "due_at": format_instant(missed.due_at),
        "late_hours": hours,
        "start_grace_hours": missed.start_grace_hours,
        "sentence": f"The campaign should have begun at {format_instant(missed.due_at)}. The "
        f"service was ready more than {hours} hours later, but `start_grace_hours` is "
        f"{missed.start_grace_hours}. "
        f"{advice}",
        "at": format_instant(now),
    }
    values = {
        "status": CampaignStatus.PAUSED,
        "paused_reason": PauseReason.MISSED_START,
        "paused_evidence": evidence,
        "updated_at": now,
    }
    moved = await change_status(
        uow.session, campaign_id=missed.id, sources=[CampaignStatus.SCHEDULED], values=values
    )
    # Another worker or a user has already changed the status.
    if moved is None:
        return
    await report_pause(
        uow,
        campaign_id=missed.id,
        name=missed.name,
        reason=PauseReason.MISSED_START,
        evidence=evidence,
        now=now,
    )


async def change_status(
    session: AsyncSession,
    *,
    campaign_id: UUID,
    sources: Iterable[CampaignStatus],
    values: dict[str, Any],
) -> Campaign | None:
    """Store a new status of a campaign, but only if its present status is one of ``sources``.

    ``values`` contains the new status and the other columns to change.

    Returns:
        The changed campaign; None if it does not exist or has another status.
    """
    statement = (
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status.in_(list(sources)))
        .values(values)
        .returning(Campaign)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def report_pause(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    name: str,
    reason: str,
    evidence: dict[str, Any],
    now: datetime,
) -> None:
    """Raise an alert and write an audit log entry after a rule has paused a campaign.

    Args:
        reason: The stored ``paused_reason``.
        evidence: The stored ``paused_evidence``. It must have the key ``sentence``: what happened
            and what to do.
    """
    context = {"reason": reason, **evidence}
    await alerts.raise_alert(
        uow,
        kind=PAUSED_ALERT,
        subject=str(campaign_id),
        detail=f"The campaign {name!r} paused itself. {evidence['sentence']}",
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
    """Resolve the alerts of a campaign that was resumed or cancelled.

    These are the alert that the campaign was paused, and the alert that it was blocked.
    """
    for kind in (PAUSED_ALERT, AlertKind.CAMPAIGN_BLOCKED):
        await alerts.resolve_alert(uow, kind=kind, subject=str(campaign_id), now=now)


# SQL that selects the recipients who wait for a message. PostgreSQL needs one index lookup for each
# step and status.
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

# After a campaign was cancelled, some of its recipients may still wait, for two reasons. First, the
# cancel request itself cancels only a limited number of recipients. Second, another transaction may
# record an attempt at the same time, and still see a running campaign. Then the recipient of this
# attempt waits again, or waits for the next step. This statement cancels the waiting recipients. It
# includes campaigns that were cancelled up to one day ago, because an outage may have delayed the
# statement.
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
    """Cancel waiting recipients of campaigns that have ended or were cancelled.

    One SQL statement is for running campaigns that reached their ``end_at``. The other is for
    campaigns that were cancelled in the last 24 hours.

    Args:
        limit: The largest number of recipients that each statement cancels.

    Returns:
        True if a statement cancelled ``limit`` recipients. More recipients may then wait.
    """
    values = {"limit": limit, "now": now}
    ended = [
        affected(await session.execute(statement, values))
        for statement in (END_OVERDUE, END_CANCELLED)
    ]
    return limit in ended


# For this statement, PostgreSQL needs one lookup in idx_campaign_membership_campaign for each step
# and status.
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
    """Complete the running campaigns in which every recipient has a final status.

    A recipient with an unclear attempt has no final status. A campaign is not completed before its
    whole audience is stored.

    First, ``end_overdue`` cancels waiting recipients, with the limit ``at_once``. If more
    recipients may have to be cancelled, the job ``process_campaign_queue`` is requested.

    Returns:
        The ids of the completed campaigns.
    """
    if await end_overdue(uow.session, limit=at_once, now=now):
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return list((await uow.session.scalars(COMPLETE_FINISHED, {"now": now})).all())
