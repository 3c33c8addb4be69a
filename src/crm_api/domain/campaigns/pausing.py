"""Tells of a campaign that a rule has paused: an alert that stands until a person decides."""

from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind

PAUSED_ALERT = AlertKind.CAMPAIGN_PAUSED
"""The kind of the alert that a pause by a rule raises; its subject is the campaign."""
ACTOR = "worker"
"""Who the audit log says did it."""


async def tell(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    name: str,
    reason: str,
    evidence: dict[str, Any],
    now: datetime,
) -> None:
    """Raise the alert and write the audit log's entry of a pause that is already written.

    Args:
        uow: The unit of work of the pause.
        campaign_id: The campaign.
        name: Its name, by which the alert speaks of it.
        reason: Its ``paused_reason``.
        evidence: Its ``paused_evidence``; ``sentence`` says what happened and what to do.
        now: The present instant.
    """
    told = {"reason": reason, **evidence}
    await operations.raise_alert(
        uow,
        kind=PAUSED_ALERT,
        subject=str(campaign_id),
        detail=f"The campaign {name!r} paused itself: {evidence['sentence']}",
        context=told,
        now=now,
    )
    await operations.audit(
        uow,
        actor=ACTOR,
        action="pause_campaign",
        subject=str(campaign_id),
        detail=told,
        now=now,
    )


async def is_decided(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> None:
    """Let the alerts of a campaign be over, if there are any: a person resumed or cancelled it."""
    for kind in (PAUSED_ALERT, AlertKind.CAMPAIGN_BLOCKED):
        await operations.resolve_alert(uow, kind=kind, subject=str(campaign_id), now=now)
