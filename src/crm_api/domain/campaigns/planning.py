"""Plan: what may go now, for every running campaign, by zone and not by person."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import plan_statements as sql
from crm_api.domain.campaigns.models import PacingMode
from crm_api.domain.campaigns.schedule import open_until, resolve_zones
from crm_api.domain.campaigns.wording import Business, Wordings
from crm_api.domain.compliance.rules import FOREVER, FrequencyCap, RuleBook
from crm_api.domain.lines.allowance import limit_on
from crm_api.domain.sends import pacing
from crm_api.domain.sends.claiming import ClaimOrder
from crm_api.domain.sends.pacing import Burst, Even, Pace, Pacing
from crm_api.domain.windows import Window

JITTER = (0.5, 1.5)
"""Of the distance between two texts of a day that is spread evenly; around 1, so the day fits."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What may be claimed now, and when the pace of a campaign that is open allows more.

    Attributes:
        wakes_at: The first such instant; None when no open campaign waits for its pace.
    """

    orders: list[ClaimOrder]
    wakes_at: datetime | None


async def plan(uow: UnitOfWork, *, rules: RuleBook, business: Business, now: datetime) -> Plan:
    """Return what may be claimed now.

    A campaign is left out when it has nobody due in an open place, or its own day or its line's is
    used up: a claim would take nothing and cost its statements. A place is open while both the
    campaign's window and the law's are; the earlier end of the two is the latest instant of a text.
    The cost grows with campaigns and their distinct zones, not with recipients, and the number of
    statements with neither.
    """
    rows = (await uow.session.execute(sql.RUNNING, {"now": now})).all()
    legal = _legal_hours(rows, rules=rules, now=now)
    windows = {row.id: zones for row in rows if (zones := _open_zones(row, legal=legal, now=now))}
    able = await _find_able(uow, [row for row in rows if row.id in windows], windows, now=now)
    sharers = Counter(row.line_id for row in rows if row.id in able)
    going: list[tuple[Row[Any], Pacing]] = []
    wakes: list[datetime] = []
    for row in rows:
        if row.id not in able:
            continue
        its_pacing = pacing_of(row, sharers=sharers[row.line_id])
        waits_until = pacing.waits_until(its_pacing, pace_of(row), now)
        if waits_until is None:
            going.append((row, its_pacing))
        else:
            wakes.append(waits_until)
    orders = [
        _order(row, windows[row.id], its_pacing, legal=legal, business=business)
        for row, its_pacing in going
    ]
    return Plan(orders=orders, wakes_at=min(wakes, default=None))


async def _find_able(
    uow: UnitOfWork,
    rows: Sequence[Row[Any]],
    windows: Mapping[UUID, Mapping[str, datetime]],
    *,
    now: datetime,
) -> set[UUID]:
    """Return the campaigns with a text left today and somebody due where they are open."""
    if not rows:
        return set()
    values = {"line_ids": list({row.line_id for row in rows}), "now": now}
    by_line: Counter[UUID] = Counter()
    by_campaign: Counter[UUID] = Counter()
    for sent in await uow.session.execute(sql.ACCEPTED_TODAY, values):
        by_line[sent.line_id] += sent.texts
        by_campaign[sent.campaign_id] += sent.texts
    pairs = [
        (row.id, key)
        for row in rows
        if by_campaign[row.id] < row.daily_limit
        and by_line[row.line_id] < _line_limit(row, now=now)
        for key in windows[row.id]
    ]
    if not pairs:
        return set()
    places = {
        "campaign_ids": [campaign_id for campaign_id, _ in pairs],
        "zone_keys": [key for _, key in pairs],
    }
    return set((await uow.session.scalars(sql.DUE, {**places, "now": now})).all())


def _line_limit(row: Row[Any], *, now: datetime) -> int:
    today = now.astimezone(ZoneInfo(row.line_timezone)).date()
    return limit_on(row.ramp_plan, row.ramp_started_on, row.line_daily_limit, today)


def pacing_of(row: Row[Any], *, sharers: int) -> Pacing:
    """Return how a campaign's row says that it is paced.

    Args:
        row: Has the campaign's pacing columns.
        sharers: Campaigns that share the line's day now.
    """
    if row.pacing_mode == PacingMode.BURST:
        interval = timedelta(minutes=row.batch_interval_minutes)
        return Burst(size=row.batch_size, interval=interval)
    return Even(jitter=random.uniform(*JITTER), sharers=sharers)  # noqa: S311 - no secret


def pace_of(row: Row[Any]) -> Pace | None:
    """Return where a campaign's row says that its pace stands; None before its first text."""
    if row.next_at is None:
        return None
    return Pace(next_at=row.next_at, batch_left=row.batch_left)


@dataclass(frozen=True, kw_only=True)
class _Legal:
    closes_at: datetime
    cap: FrequencyCap | None


def _legal_hours(rows: Sequence[Row[Any]], *, rules: RuleBook, now: datetime) -> dict[str, _Legal]:
    """Evaluate every distinct place once; those where no text may leave now are left out."""
    legal: dict[str, _Legal] = {}
    for key in {key for row in rows for key in row.zone_keys}:
        closes_at = rules.open_until(key, now)
        if closes_at is not None:
            legal[key] = _Legal(closes_at=closes_at, cap=rules.frequency_cap(key, now))
    return legal


def _open_zones(
    row: Row[Any], *, legal: Mapping[str, _Legal], now: datetime
) -> dict[str, datetime]:
    """Return the campaign's zones that are open, each with the instant at which it closes."""
    window = Window.of(row.days, row.window_start, row.window_end)
    closes: dict[tuple[str, ...], datetime | None] = {}
    found: dict[str, datetime] = {}
    for key in row.zone_keys:
        zones = resolve_zones(row.timezone, row.line_timezone, key)
        if zones not in closes:
            closes[zones] = open_until(window, zones, now)
        closes_at = closes[zones]
        if closes_at is not None and key in legal:
            found[key] = min(closes_at, legal[key].closes_at, row.end_at or FOREVER)
    return found


def _order(
    row: Row[Any],
    open_zones: dict[str, datetime],
    its_pacing: Pacing,
    *,
    legal: Mapping[str, _Legal],
    business: Business,
) -> ClaimOrder:
    caps = {key: cap for key in open_zones if (cap := legal[key].cap)}
    limit = row.frequency_cap
    return ClaimOrder(
        campaign_id=row.id,
        line_id=row.line_id,
        open_zones=open_zones,
        caps=caps,
        daily_limit=row.daily_limit,
        min_days_between=row.min_days_between,
        frequency_cap=(limit["texts"], limit["days"]) if limit else None,
        previously_contacted=row.previously_contacted,
        stopped_variants=sum(one["is_stopped"] for one in row.variants),
        pacing=its_pacing,
        compose=Wordings(
            variants=row.variants,
            follow_ups=row.follow_ups,
            footer=row.opt_out_footer,
            business=business,
        ),
    )
