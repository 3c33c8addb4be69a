"""Campaigns: what routes and workers may ask for.

Drafts are written in ``drafts.py``, the figures made in ``stats.py``, people are in
``recipients.py``, and what moves a campaign on by itself is in ``progress.py``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import drafts, pausing, queries, restored, starting, state, watching
from crm_api.domain.campaigns.content import CampaignDetail
from crm_api.domain.campaigns.drafts import remove
from crm_api.domain.campaigns.errors import (
    CampaignNotFoundError,
    InvalidTransitionError,
)
from crm_api.domain.campaigns.models import (
    Campaign,
    CampaignStatus,
    CampaignVariant,
)
from crm_api.domain.campaigns.progress import (
    begin_due,
    compact_tallies,
    complete_finished,
    list_unwritten,
    refresh_statistics,
    write_chunk,
)
from crm_api.domain.campaigns.schemas import CampaignCreate, CampaignUpdate
from crm_api.domain.campaigns.state import Action
from crm_api.domain.campaigns.stats import stats
from crm_api.domain.campaigns.watching import watch
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import NO_RULES, RuleBook
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.sends import service as sends
from crm_api.jobs import Job, JobName

__all__ = [
    "begin_due",
    "cancel",
    "compact_tallies",
    "complete_finished",
    "create",
    "list_page",
    "list_unwritten",
    "pause",
    "read",
    "refresh_statistics",
    "remove",
    "resume",
    "start",
    "stats",
    "update",
    "watch",
    "write_chunk",
]


async def create(uow: UnitOfWork, body: CampaignCreate, *, now: datetime) -> CampaignDetail:
    """Store a draft.

    Raises:
        InvalidCampaignError: The content has faults, each named by its pointer.
    """
    return await _detail(uow, await drafts.create(uow, body, now=now))


async def update(
    uow: UnitOfWork, *, campaign_id: UUID, body: CampaignUpdate, now: datetime
) -> CampaignDetail:
    """Change a draft; what the request leaves out stays.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        CampaignNotEditableError: It is no draft any more.
        InvalidCampaignError: What would result has faults.
    """
    changed = await drafts.update(uow, campaign_id=campaign_id, body=body, now=now)
    return await _detail(uow, changed)


async def read(uow: UnitOfWork, *, campaign_id: UUID) -> CampaignDetail:
    """Fetch one campaign.

    Raises:
        CampaignNotFoundError: There is no such campaign.
    """
    return await _detail(uow, await _find(uow, campaign_id))


async def list_page(
    uow: UnitOfWork, *, status: CampaignStatus | None, cursor: str | None, limit: int
) -> Page[CampaignDetail]:
    """List campaigns, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("campaigns", status=status)
    after = cursors.read(cursor)
    rows = await queries.list_campaigns(uow.session, status=status, after=after, limit=limit + 1)
    page = cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))
    return Page(await _details(uow, page.data), page.next_cursor)


async def start(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    sender: Business | None = None,
    rules: RuleBook = NO_RULES,
    now: datetime,
) -> CampaignDetail:
    """Start a draft: schedule it, and nudge the worker that writes its audience down.

    Of two that start at once, the statement's row lock lets one through.

    Args:
        uow: The unit of work.
        campaign_id: The draft.
        sender: Whom the first text must name, while it says how to stop; None where no rules ask.
        rules: The legal hours, which its own must meet.
        now: The present instant.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidTransitionError: It is no draft.
        EmptyAudienceError: Nobody in the audience may be texted.
        InvalidCampaignError: A date of it has passed, a list or campaign that it names is gone, or
            it could send at no minute.
        MissingIdentificationError: The first text does not name the sender or how to stop.
    """
    campaign = await _move(
        uow,
        campaign_id,
        Action.START,
        {"status": CampaignStatus.SCHEDULED, "started_at": now, "updated_at": now},
    )
    detail = await _detail(uow, campaign)
    await starting.require_ready(uow, detail, sender=sender, rules=rules, now=now)
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return detail


async def pause(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> CampaignDetail:
    """Pause a campaign: nothing new is called, calls under way end and are recorded.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidTransitionError: It neither runs nor is scheduled.
    """
    campaign = await _move(
        uow, campaign_id, Action.PAUSE, {"status": CampaignStatus.PAUSED, "updated_at": now}
    )
    await sends.withdraw_campaign(uow, campaign_id=campaign_id, now=now)
    return await _detail(uow, campaign)


async def resume(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> CampaignDetail:
    """Let a paused or blocked campaign go on, or wait for its start if that is still ahead.

    Its rates are watched anew from here: what paused it does not pause it again.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidTransitionError: It is neither paused nor blocked.
        NotReconciledError: It was restored, and what has left since is not known yet.
        AudienceLostError: It was restored with a part of its audience.
    """
    await restored.hold_back(uow, campaign_id=campaign_id, now=now)
    values = {
        "status": queries.resumed_status(now),
        "paused_reason": None,
        "paused_evidence": None,
        "watched_from": await watching.begin_count(uow, campaign_id=campaign_id, now=now),
        "blocked_reason": None,
        "updated_at": now,
    }
    campaign = await _move(uow, campaign_id, Action.RESUME, values)
    await pausing.is_decided(uow, campaign_id=campaign_id, now=now)
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    if campaign.recipients_total is None and campaign.written_up_to is not None:
        uow.after_commit(Job(name=JobName.WRITE_AUDIENCES))
    return await _detail(uow, campaign)


async def cancel(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> CampaignDetail:
    """End a campaign: who still waits gets nothing, calls under way end and are recorded.

    An audience that is being written down stays as it is by then.

    Raises:
        CampaignNotFoundError: There is no such campaign.
        InvalidTransitionError: It was not started, or is over.
    """
    values = {
        "status": CampaignStatus.CANCELLED,
        "recipients_total": queries.final_total(),
        "finished_at": now,
        "updated_at": now,
    }
    campaign = await _move(uow, campaign_id, Action.CANCEL, values)
    await pausing.is_decided(uow, campaign_id=campaign_id, now=now)
    await sends.withdraw_campaign(uow, campaign_id=campaign_id, now=now)
    return await _detail(uow, campaign)


async def _find(uow: UnitOfWork, campaign_id: UUID) -> Campaign:
    campaign = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    return campaign


async def _move(
    uow: UnitOfWork, campaign_id: UUID, action: Action, values: dict[str, Any]
) -> Campaign:
    campaign = await queries.move(
        uow.session, campaign_id=campaign_id, sources=state.SOURCES[action], values=values
    )
    if campaign is not None:
        return campaign
    current = (await _find(uow, campaign_id)).status
    raise InvalidTransitionError(action.value, status=current, allowed=state.allowed(current))


async def _detail(uow: UnitOfWork, campaign: Campaign) -> CampaignDetail:
    return (await _details(uow, [campaign]))[0]


async def _details(uow: UnitOfWork, campaigns: Sequence[Campaign]) -> list[CampaignDetail]:
    if not campaigns:
        return []
    ids = [campaign.id for campaign in campaigns]
    variants: dict[UUID, list[CampaignVariant]] = {campaign_id: [] for campaign_id in ids}
    for variant in await queries.list_variants(uow.session, campaign_ids=ids):
        variants[variant.campaign_id].append(variant)
    line_ids = [campaign.line_id for campaign in campaigns]
    lines = {line.id: line for line in await queries.list_lines(uow.session, line_ids=line_ids)}
    return [
        CampaignDetail(
            campaign=campaign, variants=variants[campaign.id], line=lines[campaign.line_id]
        )
        for campaign in campaigns
    ]
