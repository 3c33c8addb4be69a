"""Change the status of a campaign when a user requests it.

- start: ``draft`` becomes ``scheduled``.
- pause: ``scheduled`` or ``running`` becomes ``paused``.
- resume: ``paused`` or ``blocked`` becomes ``running``. If the campaign has not begun, it becomes
  ``scheduled``.
- cancel: ``scheduled``, ``running``, ``paused`` or ``blocked`` becomes ``cancelled``.

The status changes that no user requests are in ``lifecycle.py`` and ``figures/automatic_pause.py``.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, or_

from crm_api.domain.campaigns import lifecycle
from crm_api.domain.campaigns.campaign_detail import (
    CampaignDetail,
    load_detail,
    require_campaign,
)
from crm_api.domain.campaigns.drafts import start_checks
from crm_api.domain.campaigns.errors import InvalidTransitionError
from crm_api.domain.campaigns.figures import automatic_pause
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.recipients import restore_protection
from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName


class CampaignAction(StrEnum):
    """An action by which a user changes the status of a campaign."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


SOURCES: dict[CampaignAction, tuple[CampaignStatus, ...]] = {
    CampaignAction.START: (CampaignStatus.DRAFT,),
    CampaignAction.PAUSE: (CampaignStatus.SCHEDULED, CampaignStatus.RUNNING),
    CampaignAction.RESUME: (CampaignStatus.PAUSED, CampaignStatus.BLOCKED),
    CampaignAction.CANCEL: (
        CampaignStatus.SCHEDULED,
        CampaignStatus.RUNNING,
        CampaignStatus.PAUSED,
        CampaignStatus.BLOCKED,
    ),
}
"""The statuses in which each action is possible."""


def allowed_actions(current: str) -> list[str]:
    """Return the actions that the status ``current`` allows, in the order of ``CampaignAction``."""
    return [action.value for action, sources in SOURCES.items() if current in sources]


async def start_campaign(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    sender: Business | None = None,
    rules: RuleBook = NO_RULES,
    now: datetime,
) -> CampaignDetail:
    """Schedule a draft campaign, and request the job that stores the campaign's recipients.

    Of two simultaneous starts of a draft, only one succeeds.

    Args:
        sender: The business that the first message must name. None turns off the check of the first
            message.
        rules: The legal rules. Their hours must overlap the hours of the campaign.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidTransitionError: The campaign is not a draft.
        ApprovalNeededError: The company requires an approval, and the campaign has none.
        EmptyAudienceError: No contact of the audience may get a message.
        InvalidCampaignError: At least one of these conditions is true:

            - ``start_at`` or ``end_at`` is in the past.
            - A list, segment or campaign that the audience names was deleted.
            - The campaign's hours never overlap the legal hours.
        MissingIdentificationError: A first message does not name the sender or a way to opt out.
    """
    campaign = await _change_status(
        uow,
        campaign_id,
        CampaignAction.START,
        {"status": CampaignStatus.SCHEDULED, "started_at": now, "updated_at": now},
    )
    detail = await load_detail(uow, campaign)
    await start_checks.check_start(uow, detail, sender=sender, rules=rules, now=now)
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return detail


async def pause_campaign(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> CampaignDetail:
    """Pause a campaign: no further message is sent.

    Requests to the provider that are already in progress are completed.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidTransitionError: The campaign is neither running nor scheduled.
    """
    campaign = await _change_status(
        uow, campaign_id, CampaignAction.PAUSE, {"status": CampaignStatus.PAUSED, "updated_at": now}
    )
    await sends.withdraw_campaign(uow, campaign_id=campaign_id, now=now)
    return await load_detail(uow, campaign)


async def resume_campaign(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> CampaignDetail:
    """Resume a paused or blocked campaign.

    The new status is ``scheduled`` if the start is in the future or the audience is not completely
    stored. If not, it is ``running``. The rules that pause a campaign automatically count opt-outs
    and failures from zero again.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidTransitionError: The campaign is neither paused nor blocked.
        NotReconciledError: The campaign was restored from a backup, and the messages since the
            backup are not completely read from the provider.
        AudienceLostError: The backup has only a part of the campaign's recipients.
    """
    await restore_protection.set_aside_messaged_recipients(uow, campaign_id=campaign_id, now=now)
    counts = await automatic_pause.read_rate_counts(uow, campaign_id=campaign_id)
    values = {
        "status": _resumed_status(now),
        "paused_reason": None,
        "paused_evidence": None,
        "watched_from": counts.to_json(now=now),
        "blocked_reason": None,
        "updated_at": now,
    }
    campaign = await _change_status(uow, campaign_id, CampaignAction.RESUME, values)
    await lifecycle.resolve_pause_alerts(uow, campaign_id=campaign_id, now=now)
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    if campaign.recipients_total is None and campaign.written_up_to is not None:
        uow.after_commit(Job(name=JobName.WRITE_AUDIENCES))
    return await load_detail(uow, campaign)


def _resumed_status(now: datetime) -> Any:  # noqa: ANN401 - an SQL expression
    """Return SQL for the status that a campaign gets when a user resumes it.

    The status is ``scheduled`` if the audience is not completely stored, or if the start is in the
    future. In all other cases, the status is ``running``.
    """
    waits = or_(Campaign.recipients_total.is_(None), Campaign.start_at > now)
    return case((waits, CampaignStatus.SCHEDULED), else_=CampaignStatus.RUNNING)


async def cancel_campaign(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> CampaignDetail:
    """Cancel a campaign: no further message is sent.

    Requests to the provider that are already in progress are completed.

    If the audience is still being stored, the recipients that are already stored are cancelled, and
    no more are added.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidTransitionError: The campaign is a draft, completed or cancelled.
    """
    values = {
        "status": CampaignStatus.CANCELLED,
        "recipients_total": func.coalesce(Campaign.recipients_total, Campaign.recipients_written),
        "finished_at": now,
        "updated_at": now,
    }
    campaign = await _change_status(uow, campaign_id, CampaignAction.CANCEL, values)
    await lifecycle.resolve_pause_alerts(uow, campaign_id=campaign_id, now=now)
    await sends.withdraw_campaign(uow, campaign_id=campaign_id, now=now)
    return await load_detail(uow, campaign)


async def _change_status(
    uow: UnitOfWork, campaign_id: UUID, action: CampaignAction, values: dict[str, Any]
) -> Campaign:
    campaign = await lifecycle.change_status(
        uow.session, campaign_id=campaign_id, sources=SOURCES[action], values=values
    )
    if campaign is not None:
        return campaign
    current = (await require_campaign(uow.session, campaign_id=campaign_id)).status
    raise InvalidTransitionError(action.value, status=current, allowed=allowed_actions(current))
