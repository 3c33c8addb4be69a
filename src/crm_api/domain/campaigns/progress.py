"""What moves a campaign on by itself: its audience written down, begun, ended, completed.

The worker calls these at every tick; each may run twice, on any number of workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import audience_queries, pausing, queries
from crm_api.domain.campaigns.models import CampaignStatus
from crm_api.domain.schemas import format_instant
from crm_api.jobs import Job, JobName

MISSED_START = "missed_start"
"""The reason of a pause: the service was down for so long that the start is no longer timely."""
CHUNK = 20_000
"""People a transaction: about half a second, for which a pause or a cancel waits at most."""
_HOUR = 3600
COMPACT_ABOVE = 200
"""Rows of a campaign's count; summed up they are a few dozen."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of one chunk of an audience.

    Attributes:
        people: How many recipients were written.
        is_whole: The audience is written down; else the next chunk waits.
    """

    people: int
    is_whole: bool


async def list_unwritten(uow: UnitOfWork, *, only_new: bool = False) -> Sequence[UUID]:
    """Return the campaigns that wait for ``write_chunk``, oldest first.

    Args:
        only_new: Only those of which nothing is written yet.
    """
    return await audience_queries.list_unwritten(uow.session, only_new=only_new)


async def write_chunk(
    uow: UnitOfWork, *, campaign_id: UUID, limit: int = CHUNK, now: datetime
) -> Written | None:
    """Write the next chunk of a scheduled campaign's audience down.

    One row a person: ``pending`` and due now, or with the reason why not. What is written and how
    far it has come stand in the campaign's row, in the same transaction, so that any worker goes
    on where one was lost, and nobody is written twice. Once it is whole ``recipients_total``
    follows, and with it the campaign may begin. After a large audience call
    ``refresh_statistics`` in a unit of work of its own.

    All chunks are of the instant of the start: who was added to the contacts or to the list after
    it is not in. What else changes meanwhile (who is excluded, deleted, flagged, texted) counts up
    to each chunk. An opt-out that is stored while one is written cannot take back rows it does not
    see; the claim checks again and leaves that person out.

    Returns:
        None when it was whole before, is paused or cancelled, or its row is held by another.
    """
    campaign = await audience_queries.take_unwritten(uow.session, campaign_id=campaign_id)
    if campaign is None:
        return None
    variants = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    weights = [row.weight for row in variants]
    chunk = await audience_queries.write_chunk(
        uow.session, campaign=campaign, weights=weights, limit=limit, now=now
    )
    campaign.recipients_written += chunk.people
    campaign.zone_keys = sorted({*campaign.zone_keys, *chunk.zone_keys})
    campaign.written_up_to = chunk.up_to or campaign.written_up_to
    is_whole = chunk.named < limit
    if is_whole:
        campaign.recipients_total = campaign.recipients_written
    campaign.updated_at = now
    await uow.session.flush()
    return Written(people=chunk.people, is_whole=is_whole)


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


async def complete_finished(uow: UnitOfWork, *, at_once: int = CHUNK, now: datetime) -> list[UUID]:
    """Complete running campaigns of which nobody waits any more.

    Where ``end_at`` has passed, those who still wait are cancelled first, with the reason
    ``campaign_ended``; a call under way keeps its campaign open until it is recorded. Of more
    than ``at_once`` the others are left to the next run, which is asked for.
    """
    if await queries.end_overdue(uow.session, limit=at_once, now=now):
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    return await queries.complete_finished(uow.session, now=now)


async def compact_tallies(uow: UnitOfWork) -> None:
    """Keep the counts of campaigns short; what they add up to stays the same."""
    await queries.compact_tallies(uow.session, rows=COMPACT_ABOVE)


async def refresh_statistics(uow: UnitOfWork) -> None:
    """Tell the planner about a mass change; on old statistics it takes the wrong index."""
    await queries.refresh_statistics(uow.session)
