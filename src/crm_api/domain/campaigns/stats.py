"""The figures of a campaign."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.answers import CampaignStats, StatusCounts, VariantStats, rate
from crm_api.domain.campaigns.comparison import REACHED, read_interval, read_test
from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.forecast.service import estimate_finish
from crm_api.domain.campaigns.models import CampaignVariant, MembershipStatus
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.times import SendTimes


async def stats(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    step: int = 0,
    rules: RuleBook,
    times: SendTimes,
    texts_per_second: float,
    now: datetime,
) -> CampaignStats:
    """Count where a campaign stands.

    Args:
        uow: Open.
        campaign_id: Of any status; a draft counts nothing.
        step: 0 is the first text.
        rules: The legal hours, for the estimate.
        times: Decide how long an unclear send counts for today.
        texts_per_second: The provider's rate, for the estimate.
        now: Decides which day is today.

    Raises:
        CampaignNotFoundError: There is no such campaign.
    """
    campaign = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    rows = await queries.count_recipients(uow.session, campaign=campaign, step=step)
    first = rows
    if step:
        first = await queries.count_recipients(uow.session, campaign=campaign, step=0)
    variants = await queries.list_variants(uow.session, campaign_ids=[campaign_id])
    line = (await queries.list_lines(uow.session, line_ids=[campaign.line_id]))[0]
    sent_today, line_used = await sends.campaign_sent_today(
        uow.session, campaign_id=campaign_id, line_id=line.id, times=times, now=now
    )
    by_status = _by_status(rows)
    replied = sum(row.replied for row in rows)
    return CampaignStats(
        recipients_total=sum(by_status.values()),
        by_status=StatusCounts(**by_status),
        parked=sum(row.people for row in rows if row.what == "parked"),
        replied=replied,
        opted_out=sum(row.opted_out for row in rows),
        response_rate=rate(replied, _reached(by_status)),
        # Intervals are arithmetic, and the first of a process loads a library.
        variants=await asyncio.to_thread(_all_variant_stats, variants, rows),
        ab_test=read_test(campaign, variants, [row for row in first if row.what == "count"]),
        sent_today=sent_today,
        remaining_today=max(0, campaign.daily_limit - sent_today),
        estimated_finish_at=await estimate_finish(
            uow,
            campaign,
            line,
            rules=rules,
            used=(sent_today, line_used),
            texts_per_second=texts_per_second,
            now=now,
        ),
    )


def _by_status(rows: Iterable[Row[Any]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        if row.what == "count":
            counts[row.status] += row.people
    return counts


def _reached(by_status: Counter[str]) -> int:
    return sum(by_status[status] for status in REACHED)


def _all_variant_stats(
    variants: Iterable[CampaignVariant], rows: Sequence[Row[Any]]
) -> list[VariantStats]:
    return [_variant_stats(variant, rows) for variant in variants]


def _variant_stats(variant: CampaignVariant, rows: Iterable[Row[Any]]) -> VariantStats:
    own = [row for row in rows if row.what != "parked" and row.variant == variant.position]
    by_status = _by_status(own)
    sent = _reached(by_status)
    delivered = by_status[MembershipStatus.DELIVERED]
    failed = by_status[MembershipStatus.FAILED]
    replied = sum(row.replied for row in own)
    opted_out = sum(row.opted_out for row in own)
    return VariantStats(
        name=variant.name,
        recipients=sum(by_status.values()),
        sent=sent,
        delivered=delivered,
        failed=failed,
        replied=replied,
        opted_out=opted_out,
        response_rate=rate(replied, sent),
        response_interval=read_interval(replied, sent),
        opt_out_rate=rate(opted_out, sent),
        opt_out_interval=read_interval(opted_out, sent),
        delivery_rate=rate(delivered, sent + failed),
        delivery_interval=read_interval(delivered, sent + failed),
        stopped_at=variant.stopped_at,
        stopped_reason=variant.stopped_reason,
    )
