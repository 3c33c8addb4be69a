"""What moves a campaign on by itself: its audience written down, begun, ended, completed.

The worker calls these at every tick; each may run twice, on any number of workers.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import queries

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
    """Let scheduled campaigns run whose audience is written and whose start has come."""
    return await queries.begin_due(uow.session, now=now)


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
