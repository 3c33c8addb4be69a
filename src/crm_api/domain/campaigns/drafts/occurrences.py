"""Create the drafts of repeated campaigns some time before their start.

A repeated campaign sends the same content again, for example every month. For each repetition (an
occurrence), exactly one draft is created.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.campaigns.drafts import content
from crm_api.domain.campaigns.drafts.service import read_variants, store_variants
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.recurrence import DRAFTED_AHEAD, next_occurrence, occurrence_columns
from crm_api.domain.kit.audit_log import note_decision
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

AT_ONCE = 20
"""The maximum number of series (repeated campaigns) that one transaction processes."""
ACTOR = "schedule"


@dataclass(frozen=True, kw_only=True)
class DraftedOccurrences:
    """How many repeated campaigns (series) needed a draft, and how many drafts were stored."""

    series: int
    drafted: int


def due_series_statement(*, now: datetime) -> Select[Campaign]:
    """Return the statement that finds and locks repeated campaigns that need a new draft.

    A repeated campaign sends the same content again, for example every month. The draft of each
    repetition is created ``DRAFTED_AHEAD`` before the start.
    """
    return (
        select(Campaign)
        .where(
            Campaign.next_occurrence_at.is_not(None),
            Campaign.next_occurrence_at <= now + DRAFTED_AHEAD,
        )
        .order_by(Campaign.next_occurrence_at, Campaign.id)
        .limit(AT_ONCE)
        .with_for_update(key_share=True, skip_locked=True)
    )


async def draft_due_occurrences(uow: UnitOfWork, *, now: datetime) -> DraftedOccurrences:
    """Create the drafts that are due for up to 20 repeated campaigns (series).

    For each series, this function creates a draft of the next repetition. If the start time of the
    repetition has passed, no draft is created. In both cases, the function then stores when the
    following repetition starts.

    Call this function again until the field ``series`` of the result is 0.
    """
    found = await uow.session.scalars(
        due_series_statement(now=now), execution_options={"populate_existing": True}
    )
    series = found.all()
    drafted = 0
    for first in series:
        at = first.next_occurrence_at
        if at is not None and at > now:
            occurrence_id = await _store_occurrence(uow, first, at=at, now=now)
            if occurrence_id is not None:
                drafted += 1
                await note_decision(
                    uow,
                    actor=ACTOR,
                    action="draft_occurrence",
                    subject=str(occurrence_id),
                    detail={"series_id": str(first.id)},
                    now=now,
                )
        following = next_occurrence(first, after=max(now, at or now))
        await uow.session.execute(
            update(Campaign).where(Campaign.id == first.id).values(next_occurrence_at=following)
        )
    return DraftedOccurrences(series=len(series), drafted=drafted)


async def _store_occurrence(
    uow: UnitOfWork, first: Campaign, *, at: datetime, now: datetime
) -> UUID | None:
    """Store the draft of one repetition of a repeated campaign, with the content of that campaign.

    Args:
        uow: The unit of work.
        first: The repeated campaign.
        at: The start of the repetition.
        now: The present instant.

    Returns:
        The id of the draft; None if the repetition already has a draft.
    """
    values = {
        **content.columns_of_campaign(first),
        **occurrence_columns(first, at),
        "id": new_id(),
        "created_at": now,
        "updated_at": now,
    }
    statement = (
        insert(Campaign)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=["series_id", "occurrence_at"],
            index_where=Campaign.series_id.is_not(None),
        )
        .returning(Campaign.id)
    )
    campaign_id: UUID | None = await uow.session.scalar(statement)
    if campaign_id is not None:
        await store_variants(uow, campaign_id, await read_variants(uow, first.id))
    return campaign_id
