"""List campaigns with the counts of their recipients."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, text, tuple_

from crm_api.domain.campaigns.campaign_detail import CampaignDetail, load_details
from crm_api.domain.campaigns.figures.live_counts import CampaignCounters, count_campaigns
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.kit.vocabulary import one_of
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork


class CampaignSort(StrEnum):
    """The order of listed campaigns: by name or by creation time, and then by id."""

    CREATED = "created_at"
    NEWEST = "-created_at"
    NAME = "name"
    NAME_BACKWARDS = "-name"


@dataclass(frozen=True, kw_only=True)
class CampaignFilter:
    """The conditions that select the campaigns to list. A condition that is None is not checked.

    Attributes:
        q: A text that the name must contain. Case, accents and apostrophes are ignored.
        is_archived: True: only archived campaigns; False: only campaigns that are not archived.
        created_after: The campaign was created at or after this instant.
        created_before: The campaign was created before this instant.
    """

    q: str | None = None
    line_id: UUID | None = None
    status: CampaignStatus | None = None
    is_archived: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ListedCampaign:
    """A campaign in the list of campaigns, with the counts of its recipients."""

    detail: CampaignDetail
    counts: CampaignCounters


async def list_campaigns(
    uow: UnitOfWork,
    wanted: CampaignFilter,
    *,
    sort: CampaignSort = CampaignSort.NEWEST,
    cursor: str | None,
    limit: int,
) -> Page[ListedCampaign]:
    """Return a page of campaigns with the counts of their recipients.

    Raises:
        InvalidCursorError: The cursor is from another listing.
    """
    cursors = Cursors("campaigns", wanted=wanted, sort=sort)
    is_by_name = sort in {CampaignSort.NAME, CampaignSort.NAME_BACKWARDS}
    after = cursors.read_text(cursor) if is_by_name else cursors.read(cursor)
    statement = campaigns_statement(wanted, sort=sort, after=after, limit=limit + 1)
    rows = (await uow.session.scalars(statement)).all()
    page = cursors.page(
        rows,
        limit=limit,
        position=lambda row: (row.name if is_by_name else row.created_at, row.id),
    )
    return Page(await _with_counts(uow, page.data), page.next_cursor)


CURRENT = (
    CampaignStatus.RUNNING,
    CampaignStatus.SCHEDULED,
    CampaignStatus.PAUSED,
    CampaignStatus.BLOCKED,
)
"""The statuses of campaigns that were started and have not ended."""


async def list_current_campaigns(uow: UnitOfWork, *, most: int) -> list[ListedCampaign]:
    """Return up to ``most`` campaigns that were started and are not over.

    Running campaigns come first, then scheduled, paused and blocked campaigns as one group. In each
    of the two groups, the newest campaign is first. Archived campaigns are left out.
    """
    rows = (await uow.session.scalars(current_campaigns_statement(most))).all()
    return await _with_counts(uow, rows)


def current_campaigns_statement(most: int) -> Select[Campaign]:
    """Return the statement that reads the campaigns that were started and are not over."""
    runs = Campaign.status == CampaignStatus.RUNNING
    return (
        select(Campaign)
        # The statuses are written into the SQL text, so that every query plan can use the partial
        # index.
        .where(
            text(one_of("campaign.status", CURRENT)),
            *_conditions(CampaignFilter(is_archived=False)),
        )
        .order_by(runs.desc(), Campaign.created_at.desc(), Campaign.id.desc())
        .limit(most)
    )


async def _with_counts(uow: UnitOfWork, campaigns: Sequence[Campaign]) -> list[ListedCampaign]:
    if not campaigns:
        return []
    details = await load_details(uow, campaigns)
    counts = await count_campaigns(uow, campaign_ids=[row.id for row in campaigns])
    return [ListedCampaign(detail=one, counts=counts[one.campaign.id]) for one in details]


def campaigns_statement(
    wanted: CampaignFilter,
    *,
    sort: CampaignSort,
    after: tuple[datetime | str, UUID] | None,
    limit: int,
) -> Select[Campaign]:
    """Return the statement that reads one page of campaigns."""
    key: Any = Campaign.created_at
    if sort in {CampaignSort.NAME, CampaignSort.NAME_BACKWARDS}:
        key = Campaign.name
    statement = select(Campaign).where(*_conditions(wanted))
    row_key = tuple_(key, Campaign.id)
    if sort.startswith("-"):
        if after is not None:
            statement = statement.where(row_key < after)
        return statement.order_by(key.desc(), Campaign.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(row_key > after)
    return statement.order_by(key, Campaign.id).limit(limit)


def _conditions(wanted: CampaignFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.q:
        folded = func.strpos(func.search_fold(Campaign.name), func.search_fold(wanted.q))
        conditions.append(folded > 0)
    if wanted.line_id is not None:
        conditions.append(Campaign.line_id == wanted.line_id)
    if wanted.status is not None:
        conditions.append(Campaign.status == wanted.status)
    if wanted.is_archived is True:
        conditions.append(Campaign.archived_at.is_not(None))
    if wanted.is_archived is False:
        conditions.append(Campaign.archived_at.is_(None))
    if wanted.created_after is not None:
        conditions.append(Campaign.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(Campaign.created_at < wanted.created_before)
    return conditions
