"""What moves a campaign on by itself: its audience written down, begun, ended, completed.

The worker calls these at every tick; each may run twice, on any number of workers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import pausing, queries
from crm_api.domain.campaigns.models import CampaignStatus
from crm_api.domain.schemas import format_instant

MISSED_START = "missed_start"
"""The reason of a pause: the service was down for so long that the start is no longer timely."""
_HOUR = 3600
COMPACT_ABOVE = 200
"""Rows of a campaign's count; summed up they are a few dozen."""


async def list_unwritten(uow: UnitOfWork) -> Sequence[UUID]:
    """Return the campaigns that wait for ``materialise``, oldest first."""
    return await queries.list_unwritten(uow.session)


async def materialise(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> int:
    """Write the audience of a scheduled campaign down, once.

    One row a person: ``pending`` and due now, or with the reason why not. The campaign's
    ``recipients_total`` and ``zone_keys`` follow, and with them it may begin. An opt-out that is
    stored while this runs cannot take back rows it does not see; the claim checks again and
    leaves that person out. After a large audience call ``refresh_statistics`` in a unit of work
    of its own.

    Returns:
        How many recipients were written; 0 when it was done before or is another worker's.
    """
    campaign = await queries.take_unwritten(uow.session, campaign_id=campaign_id)
    if campaign is None:
        return 0
    variants = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    total, zone_keys = await queries.write_recipients(
        uow.session, campaign=campaign, weights=[row.weight for row in variants], now=now
    )
    campaign.recipients_total = total
    campaign.zone_keys = zone_keys
    campaign.updated_at = now
    await uow.session.flush()
    return total


async def begin_due(uow: UnitOfWork, *, now: datetime) -> list[UUID]:
    """Let scheduled campaigns run whose audience is written and whose start has come.

    A start that was missed by more than the campaign's ``start_grace_hours`` waits for a person:
    the campaign is paused with the reason ``missed_start``, its evidence and an alert. Within
    them it begins as if nothing had happened. ``resume`` starts a paused one.
    """
    for missed in await queries.list_missed(uow.session, now=now):
        await _pause_missed(uow, missed, now=now)
    return await queries.begin_due(uow.session, now=now)


async def _pause_missed(uow: UnitOfWork, missed: Row[Any], *, now: datetime) -> None:
    hours = int((now - missed.due_at).total_seconds()) // _HOUR
    advice = "Resume the campaign to start it now, or cancel it."
    if missed.end_at is not None and missed.end_at <= now:
        advice = "Its end has passed too: cancel it, and clone it with other dates."
    evidence = {
        "due_at": format_instant(missed.due_at),
        "late_hours": hours,
        "start_grace_hours": missed.start_grace_hours,
        "sentence": f"It was to begin at {format_instant(missed.due_at)}. The service saw that "
        f"{hours} hours later; more than {missed.start_grace_hours} wait for a person. {advice}",
        "at": format_instant(now),
    }
    values = {
        "status": CampaignStatus.PAUSED,
        "paused_reason": MISSED_START,
        "paused_evidence": evidence,
        "updated_at": now,
    }
    moved = await queries.move(
        uow.session, campaign_id=missed.id, sources=[CampaignStatus.SCHEDULED], values=values
    )
    if moved is None:  # Another worker was first, or a person.
        return
    await pausing.tell(
        uow,
        campaign_id=missed.id,
        name=missed.name,
        reason=MISSED_START,
        evidence=evidence,
        now=now,
    )


async def complete_finished(uow: UnitOfWork, *, now: datetime) -> list[UUID]:
    """Complete running campaigns of which nobody waits any more.

    Where ``end_at`` has passed, those who still wait are cancelled first, with the reason
    ``campaign_ended``; a call under way keeps its campaign open until it is recorded.
    """
    await queries.end_overdue(uow.session, now=now)
    return await queries.complete_finished(uow.session, now=now)


async def compact_tallies(uow: UnitOfWork) -> None:
    """Keep the counts of campaigns short; what they add up to stays the same."""
    await queries.compact_tallies(uow.session, rows=COMPACT_ABOVE)


async def refresh_statistics(uow: UnitOfWork) -> None:
    """Tell the planner about a mass change; on old statistics it takes the wrong index."""
    await queries.refresh_statistics(uow.session)
