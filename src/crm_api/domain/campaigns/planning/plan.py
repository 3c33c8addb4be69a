"""Decide how many messages each running campaign may send now, and in which time zones.

Recipients are grouped by zone key. A zone key is a text with the states and time zones in which a
person may live. At an instant, messages may be allowed for one zone key and forbidden for another.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text

from crm_api.domain.campaigns.models import PacingMode
from crm_api.domain.campaigns.schedule import open_until, resolve_zones
from crm_api.domain.campaigns.templates.message_composer import (
    FollowUpBody,
    MessageComposer,
    VariantBody,
)
from crm_api.domain.consent.legal_rules.rules import FOREVER, FrequencyCap, RuleBook
from crm_api.domain.kit.windows import Window
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends import pacing
from crm_api.domain.messaging.sends.claim_order import ClaimOrder
from crm_api.domain.messaging.sends.pacing import Burst, Even, Pace, Pacing
from crm_api.domain.messaging.sends.usage import limit_on
from crm_api.platform.database import UnitOfWork, typed_rows

JITTER = (0.5, 1.5)
"""Range of the random factor for the time between two messages in the mode ``even``. The mean of
the factor is 1, so all messages of a day can still be sent within the allowed hours."""


@dataclass(frozen=True, kw_only=True)
class SendPlan:
    """Which messages may be claimed now, and when to plan again.

    Attributes:
        orders: One claim order for each campaign that may send now. The campaign that started first
            comes first. A claim order says which messages may be claimed (reserved for sending).
        wakes_at: When a campaign that waits only because of its pacing may send again; None if
            there is no such campaign.
    """

    orders: list[ClaimOrder]
    wakes_at: datetime | None


RUNNING_CAMPAIGNS = text("""
    SELECT c.id, c.line_id, c.days, c.window_start, c.window_end, c.timezone, c.end_at,
           c.daily_limit, c.min_days_between, c.frequency_cap, c.previously_contacted,
           c.opt_out_footer, c.zone_keys,
           c.pacing_mode, c.batch_size, c.batch_interval_minutes, c.follow_ups,
           p.next_at, p.batch_left, l.timezone AS line_timezone, l.ramp_plan, l.ramp_started_on,
           l.daily_limit AS line_daily_limit,
           (SELECT jsonb_agg(jsonb_build_object('body', v.body, 'weight', v.weight,
                                                'is_stopped', v.stopped_at IS NOT NULL)
                             ORDER BY v.position)
              FROM campaign_variant v WHERE v.campaign_id = c.id) AS variants
    FROM campaign c JOIN line l ON l.id = c.line_id
    LEFT JOIN campaign_pace p ON p.campaign_id = c.id
    WHERE c.status = 'running' AND l.status = 'active' AND c.recipients_total IS NOT NULL
      AND (c.start_at IS NULL OR c.start_at <= :now) AND (c.end_at IS NULL OR c.end_at > :now)
    ORDER BY c.started_at, c.id
""")


@dataclass(frozen=True, slots=True)
class _RunningCampaign:
    """A running campaign with the columns of its pace and its line."""

    id: UUID
    line_id: UUID
    days: list[str]
    window_start: time
    window_end: time
    timezone: str | None
    end_at: datetime | None
    daily_limit: int
    min_days_between: int | None
    frequency_cap: dict[str, int] | None
    previously_contacted: str
    opt_out_footer: str | None
    zone_keys: list[str]
    pacing_mode: str
    batch_size: int | None
    batch_interval_minutes: int | None
    follow_ups: list[FollowUpBody]
    next_at: datetime | None
    batch_left: int | None
    line_timezone: str
    ramp_plan: list[int] | None
    ramp_started_on: date | None
    line_daily_limit: int
    variants: list[VariantBody]


async def plan_sends(
    uow: UnitOfWork, *, rules: RuleBook, business: Business, now: datetime
) -> SendPlan:
    """Return the messages that campaigns may claim now.

    A running campaign may claim no message if one of these conditions is true:

    - The pacing delays the campaign.
    - No recipient who is due may get a message at this hour.
    - The daily limit of the campaign or of its line is reached.

    The number of SQL statements does not depend on the number of campaigns or recipients.
    """
    result = await uow.session.execute(RUNNING_CAMPAIGNS, {"now": now})
    campaigns = typed_rows(_RunningCampaign, result)
    legal = _legal_hours(campaigns, rules=rules, now=now)
    windows = {
        campaign.id: zones
        for campaign in campaigns
        if (zones := _open_zones(campaign, legal=legal, now=now))
    }
    in_hours = [campaign for campaign in campaigns if campaign.id in windows]
    able_ids = await _find_able(uow, in_hours, windows, now=now)
    able = [campaign for campaign in in_hours if campaign.id in able_ids]
    sharers = Counter(campaign.line_id for campaign in able)
    orders: list[ClaimOrder] = []
    wakes: list[datetime] = []
    for campaign in able:
        its_pacing = read_pacing(campaign, sharers=sharers[campaign.line_id])
        waits_until = pacing.waits_until(its_pacing, read_pace(campaign), now)
        if waits_until is not None:
            wakes.append(waits_until)
            continue
        open_zones = windows[campaign.id]
        orders.append(_order(campaign, open_zones, its_pacing, legal=legal, business=business))
    return SendPlan(orders=orders, wakes_at=min(wakes, default=None))


# Only accepted messages are counted here. The claim, which runs later, also counts other messages,
# such as those with an unclear result. So the plan includes each campaign for which the claim would
# allow a message.
ACCEPTED_TODAY = text("""
    SELECT d.id AS line_id, u.campaign_id, u.texts
    FROM (
        SELECT l.id, date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   AT TIME ZONE l.timezone AS starts_at,
               (date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   + interval '1 day') AT TIME ZONE l.timezone AS ends_at
        FROM line l WHERE l.id = ANY(CAST(:line_ids AS uuid[]))
    ) d
    CROSS JOIN LATERAL (
        SELECT t.campaign_id, CAST(sum(t.texts) AS integer) AS texts FROM send_tally t
        WHERE t.line_id = d.id AND t.quarter >= d.starts_at AND t.quarter < d.ends_at
        GROUP BY t.campaign_id
    ) u
""")

# For this statement, PostgreSQL needs one lookup in idx_campaign_membership_status for each zone
# key. Without the LIMIT, PostgreSQL would read all pending rows.
CAMPAIGNS_WITH_DUE = text("""
    SELECT DISTINCT x.campaign_id
    FROM unnest(CAST(:campaign_ids AS uuid[]), CAST(:zone_keys AS text[]))
        AS x (campaign_id, zone_key)
    CROSS JOIN LATERAL (
        SELECT 1 FROM campaign_membership m
        WHERE m.campaign_id = x.campaign_id AND m.zone_key = x.zone_key
          AND m.status = 'pending' AND m.due_at <= :now
        LIMIT 1
    ) AS due
""")


async def _find_able(
    uow: UnitOfWork,
    campaigns: Sequence[_RunningCampaign],
    windows: Mapping[UUID, Mapping[str, datetime]],
    *,
    now: datetime,
) -> set[UUID]:
    """Return the ids of the campaigns that may send today and have a recipient who is due.

    Args:
        campaigns: Running campaigns.
        windows: For each campaign id, the zone keys for which messages are allowed now, each with
            the instant until which they are allowed. Recipients with other zone keys are ignored.
    """
    if not campaigns:
        return set()
    values = {"line_ids": list({campaign.line_id for campaign in campaigns}), "now": now}
    by_line: Counter[UUID] = Counter()
    by_campaign: Counter[UUID] = Counter()
    for sent in await uow.session.execute(ACCEPTED_TODAY, values):
        by_line[sent.line_id] += sent.texts
        by_campaign[sent.campaign_id] += sent.texts
    pairs = [
        (campaign.id, key)
        for campaign in campaigns
        if by_campaign[campaign.id] < campaign.daily_limit
        and by_line[campaign.line_id] < _line_limit(campaign, now=now)
        for key in windows[campaign.id]
    ]
    if not pairs:
        return set()
    values = {
        "campaign_ids": [campaign_id for campaign_id, _ in pairs],
        "zone_keys": [key for _, key in pairs],
        "now": now,
    }
    return set((await uow.session.scalars(CAMPAIGNS_WITH_DUE, values)).all())


def _line_limit(campaign: _RunningCampaign, *, now: datetime) -> int:
    today = now.astimezone(ZoneInfo(campaign.line_timezone)).date()
    return limit_on(campaign.ramp_plan, campaign.ramp_started_on, campaign.line_daily_limit, today)


class PacedCampaign(Protocol):
    """The values of a campaign that say how its messages are spread over time."""

    @property
    def pacing_mode(self) -> str:
        """How messages are spread over a day: ``even`` or ``burst`` (in batches)."""

    @property
    def batch_size(self) -> int | None:
        """The number of messages in a batch; always set in the mode ``burst``."""

    @property
    def batch_interval_minutes(self) -> int | None:
        """Minutes from the start of a batch to the next; always set in the mode ``burst``."""

    @property
    def next_at(self) -> datetime | None:
        """When the next message may be claimed (reserved); None before the first message.

        In the mode ``burst``, this is when the next batch may be claimed. The rest of the current
        batch may be claimed earlier.
        """

    @property
    def batch_left(self) -> int | None:
        """How many messages of the current batch are not sent yet; None before the first message.

        A batch is a group of messages that a campaign sends without waiting in between.
        """


def read_pacing(campaign: PacedCampaign, *, sharers: int) -> Pacing:
    """Return the pacing of a campaign: ``Burst`` for batches, otherwise ``Even``.

    Each ``Even`` has a new random factor for the time between two messages.

    Args:
        sharers: How many campaigns, this one included, share the daily limit of the line now.
    """
    if campaign.pacing_mode == PacingMode.BURST:
        size, minutes = campaign.batch_size, campaign.batch_interval_minutes
        if size is None or minutes is None:  # pragma: no cover - checked when it is saved
            raise ValueError("A campaign in the mode burst has no batch size or no batch interval.")
        return Burst(size=size, interval=timedelta(minutes=minutes))
    return Even(jitter=random.uniform(*JITTER), sharers=sharers)  # noqa: S311 - no secret


def read_pace(campaign: PacedCampaign) -> Pace | None:
    """Return the stored pace of a campaign; None before its first message.

    The pace says when the campaign may send next, and how many messages are left in the batch.
    """
    if campaign.next_at is None or campaign.batch_left is None:
        return None
    return Pace(next_at=campaign.next_at, batch_left=campaign.batch_left)


@dataclass(frozen=True, kw_only=True)
class _Legal:
    """The legal limits for one zone key, for which the law allows messages now.

    Attributes:
        closes_at: Until when the law allows messages.
        cap: The legal limit of messages to one phone number; None if there is no limit.
    """

    closes_at: datetime
    cap: FrequencyCap | None


def _legal_hours(
    campaigns: Sequence[_RunningCampaign], *, rules: RuleBook, now: datetime
) -> dict[str, _Legal]:
    """Return the legal limits for the recipients of campaigns, by zone key.

    A zone key is a text with the states and time zones in which a person may live. Zone keys for
    which the law allows no message now are left out.
    """
    legal: dict[str, _Legal] = {}
    for key in {key for campaign in campaigns for key in campaign.zone_keys}:
        closes_at = rules.open_until(key, now)
        if closes_at is not None:
            legal[key] = _Legal(closes_at=closes_at, cap=rules.frequency_cap(key, now))
    return legal


def _open_zones(
    campaign: _RunningCampaign, *, legal: Mapping[str, _Legal], now: datetime
) -> dict[str, datetime]:
    """Return the zone keys of the recipients to whom the campaign may send now.

    The campaign's hours and the legal hours must both allow messages. The value of each zone key is
    the instant until which messages are allowed. This instant is never after the end of the
    campaign.
    """
    window = Window.of(campaign.days, campaign.window_start, campaign.window_end)
    closes: dict[tuple[str, ...], datetime | None] = {}
    found: dict[str, datetime] = {}
    for key in campaign.zone_keys:
        zones = resolve_zones(campaign.timezone, campaign.line_timezone, key)
        if zones not in closes:
            closes[zones] = open_until(window, zones, now)
        closes_at = closes[zones]
        if closes_at is not None and key in legal:
            found[key] = min(closes_at, legal[key].closes_at, campaign.end_at or FOREVER)
    return found


def _order(
    campaign: _RunningCampaign,
    open_zones: dict[str, datetime],
    its_pacing: Pacing,
    *,
    legal: Mapping[str, _Legal],
    business: Business,
) -> ClaimOrder:
    caps = {key: cap for key in open_zones if (cap := legal[key].cap)}
    limit = campaign.frequency_cap
    return ClaimOrder(
        campaign_id=campaign.id,
        line_id=campaign.line_id,
        open_zones=open_zones,
        caps=caps,
        daily_limit=campaign.daily_limit,
        min_days_between=campaign.min_days_between,
        frequency_cap=(limit["texts"], limit["days"]) if limit else None,
        previously_contacted=campaign.previously_contacted,
        stopped_variants=sum(one["is_stopped"] for one in campaign.variants),
        pacing=its_pacing,
        compose=MessageComposer(
            variants=campaign.variants,
            follow_ups=campaign.follow_ups,
            footer=campaign.opt_out_footer,
            business=business,
        ),
    )
