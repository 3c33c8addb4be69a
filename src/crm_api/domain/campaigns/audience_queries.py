"""SQL of audiences: whom one names, whether anyone may be texted, and writing it down."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, null, select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns import audience_statements as statements
from crm_api.domain.campaigns.audience_statements import Rules
from crm_api.domain.campaigns.models import Campaign, CampaignStatus
from crm_api.domain.segments import service as segments

_BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class Whom:
    """A stored audience for the audience statements: what they are built with, and bind values."""

    rules: Rules
    values: dict[str, Any]


async def whom(
    session: AsyncSession, audience: dict[str, Any], *, as_of: datetime, by_page: bool = False
) -> Whom:
    """Prepare a stored audience; its segments stay as they are until the end of the transaction.

    Args:
        as_of: The instant of the start: who came later is not meant, flags that have ended before
            do not count, and the distances of segments are counted from it.
        by_page: For the statement that goes through people page by page.

    Raises:
        SegmentNotFoundError: A segment that it names is not there.
    """
    excluded = audience.get("exclude") or {}
    named = await segments.conditions(
        session, _uuids(audience, "", "segment_id"), now=as_of, prefix="named", by_person=by_page
    )
    left_out = await segments.conditions(
        session,
        _uuids(excluded, "segment_ids"),
        now=as_of,
        prefix="left_out",
        is_negated=True,
        by_person=by_page,
    )
    rules = Rules(
        named=" AND ".join(one.sql for one in named),
        left_out=" AND ".join(one.sql for one in left_out),
    )
    values = _values(audience, as_of=as_of)
    for condition in (*named, *left_out):
        values |= condition.values
    return Whom(rules=rules, values=values)


def _values(audience: dict[str, Any], *, as_of: datetime) -> dict[str, Any]:
    excluded = audience.get("exclude") or {}
    return {
        "list_id": _uuid(audience.get("list_id")),
        "contact_ids": _uuids(audience, "contact_ids"),
        "exclude_list_ids": _uuids(excluded, "list_ids", "list_id"),
        "exclude_contact_ids": _uuids(excluded, "contact_ids"),
        "exclude_campaign_ids": _uuids(excluded, "campaign_ids"),
        "as_of": as_of,
    }


def _uuid(value: str | None) -> UUID | None:
    return UUID(value) if value else None


def _uuids(source: dict[str, Any], many: str, one: str = "") -> list[UUID]:
    values = [*(source.get(many) or []), *([source[one]] if source.get(one) else [])]
    return [UUID(value) for value in values]


def thresholds(weights: list[int]) -> list[int]:
    """Return the shares as the statements take them: summed up, without the last."""
    return [sum(weights[: position + 1]) for position in range(len(weights) - 1)]


async def plan_for_values(session: AsyncSession) -> None:
    """Let the statements of an audience be planned for that audience, in this transaction."""
    await session.execute(statements.PLAN_FOR_VALUES)


async def find_anyone_to_text(
    session: AsyncSession, *, campaign: Campaign, shut: Sequence[str], now: datetime
) -> str | None:
    """Return the zone key of somebody in the audience who may be texted, outside of these places.

    None when there is nobody.
    """
    audience = await whom(session, campaign.audience, as_of=now)
    values = {
        **audience.values,
        "previously_contacted": campaign.previously_contacted,
        "skip_landlines": campaign.skip_landlines,
        "shut": list(shut),
    }
    await plan_for_values(session)
    statement = statements.anyone_to_text(audience.rules)
    found: str | None = await session.scalar(statement, values)
    return found


async def list_unwritten(session: AsyncSession, *, only_new: bool) -> Sequence[UUID]:
    """Return the scheduled campaigns whose audience is not yet written down, oldest first.

    Args:
        only_new: Only those of which nothing is written yet.
    """
    statement = select(Campaign.id).where(
        Campaign.status == CampaignStatus.SCHEDULED, Campaign.recipients_total.is_(null())
    )
    if only_new:
        statement = statement.where(Campaign.written_up_to.is_(null()))
    return (await session.scalars(statement.order_by(Campaign.id))).all()


async def take_unwritten(session: AsyncSession, *, campaign_id: UUID) -> Campaign | None:
    """Lock a campaign whose audience is to be written down; None when another worker has it."""
    statement = (
        select(Campaign)
        .where(
            Campaign.id == campaign_id,
            Campaign.status == CampaignStatus.SCHEDULED,
            Campaign.recipients_total.is_(null()),
        )
        .with_for_update(key_share=True, skip_locked=True)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def write_chunk(
    session: AsyncSession, *, campaign: Campaign, weights: list[int], limit: int, now: datetime
) -> Row[Any]:
    """Write the next people of an audience down, in the order of their ids.

    Returns:
        ``people`` written and their distinct ``zone_keys``; how many were ``named``, also those
        who were then left out, and ``up_to``, the last of them; None when there was none.
    """
    as_of = campaign.started_at or now
    audience = await whom(session, campaign.audience, as_of=as_of, by_page=True)
    values = {
        **audience.values,
        "campaign_id": campaign.id,
        "previously_contacted": campaign.previously_contacted,
        "skip_landlines": campaign.skip_landlines,
        "thresholds": thresholds(weights),
        "after": campaign.written_up_to or _BEFORE_ALL,
        "limit": limit,
        "now": now,
    }
    await plan_for_values(session)
    return (await session.execute(statements.write_chunk(audience.rules), values)).one()
