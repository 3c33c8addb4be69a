"""Forecast: when a campaign will be done, which rule binds it, and what that rests on."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import queries
from crm_api.domain.campaigns.answers import rate
from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.forecast import making
from crm_api.domain.campaigns.forecast import situation as situations
from crm_api.domain.campaigns.forecast.answers import (
    AssumptionsRead,
    DayTexts,
    ForecastRead,
    LiftedRead,
    OutsideRead,
)
from crm_api.domain.campaigns.forecast.binding import binding_rule
from crm_api.domain.campaigns.forecast.odds import Finishes, Odds, Share, expect, finishes
from crm_api.domain.campaigns.forecast.plan import Plan
from crm_api.domain.campaigns.forecast.sentences import (
    Case,
    explain_binding,
    explain_outside,
    left_out,
)
from crm_api.domain.campaigns.forecast.simulation import simulate
from crm_api.domain.campaigns.forecast.situation import Situation
from crm_api.domain.campaigns.models import Campaign, CampaignStatus
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.lines.models import Line, LineStatus
from crm_api.domain.schemas import format_instant
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.times import SendTimes

_ON_ITS_WAY = (CampaignStatus.SCHEDULED, CampaignStatus.RUNNING)
_OVER = (CampaignStatus.COMPLETED, CampaignStatus.CANCELLED)
_OUTSIDE = ("review", "held", "unknown")


@dataclass(frozen=True, kw_only=True)
class _Halt:
    """Why no text goes, whatever the plan; ``is_liftable``: somebody can change that."""

    rule: str
    detail: str
    is_liftable: bool = True


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a forecast says of a plan that may go."""

    ends: Finishes
    rule: str | None
    detail: str


async def forecast(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    rules: RuleBook,
    times: SendTimes,
    texts_per_second: float,
    now: datetime,
) -> ForecastRead:
    """Tell when a campaign will be done; a draft as if it were started now.

    What is read does not grow with the recipients, but for a draft's audience, which is counted up
    to 100,000 people and sampled beyond.

    Raises:
        CampaignNotFoundError: There is no such campaign.
    """
    campaign = await queries.find_campaign(uow.session, campaign_id=campaign_id)
    if campaign is None:
        raise CampaignNotFoundError(campaign_id)
    line = (await queries.list_lines(uow.session, line_ids=[campaign.line_id]))[0]
    used = await sends.campaign_sent_today(
        uow.session, campaign_id=campaign_id, line_id=line.id, times=times, now=now
    )
    situation = await situations.read(uow, campaign, line, rules=rules, used=used, now=now)
    plan = making.plan_of(
        campaign, line, situation, rules=rules, texts_per_second=texts_per_second, now=now
    )
    odds = making.odds_of(line, situation, now=now)
    # Arithmetic, up to some tenths of a second: the loop serves others meanwhile.
    told = await asyncio.to_thread(_tell, campaign, line, plan, odds, now)
    return _answer(campaign, line, situation, odds, told, now=now)


async def estimate_finish(
    uow: UnitOfWork,
    campaign: Campaign,
    line: Line,
    *,
    rules: RuleBook,
    used: tuple[int, int],
    texts_per_second: float,
    now: datetime,
) -> datetime | None:
    """Return the forecast's P50 of a campaign that is on its way; None for any other.

    Args:
        uow: Open.
        campaign: Any.
        line: The campaign's.
        rules: The legal hours.
        used: Texts of today, the campaign's and the line's.
        texts_per_second: The provider's rate.
        now: The present instant.
    """
    is_on_its_way = campaign.status in _ON_ITS_WAY and campaign.recipients_total is not None
    if not is_on_its_way or _halt(campaign, line, now=now) is not None:
        return None
    situation = await situations.read(uow, campaign, line, rules=rules, used=used, now=now)
    if not situation.people:
        return None
    plan = making.plan_of(
        campaign, line, situation, rules=rules, texts_per_second=texts_per_second, now=now
    )
    odds = making.odds_of(line, situation, now=now)
    return (await asyncio.to_thread(simulate, expect(plan, odds))).finish


def _tell(campaign: Campaign, line: Line, plan: Plan, odds: Odds, now: datetime) -> _Told:
    ends = finishes(plan, odds)
    rule = binding_rule(ends.plan, ends.p50, now=now)
    case = Case(campaign=campaign, line=line, plan=ends.plan, outcome=ends.p50)
    return _Told(ends=ends, rule=rule, detail=explain_binding(rule, case))


def _halt(campaign: Campaign, line: Line, *, now: datetime) -> _Halt | None:
    status = campaign.status
    if status in _OVER:
        rule = "campaign_cancelled" if status == CampaignStatus.CANCELLED else None
        return _Halt(rule=rule or "campaign_completed", detail=_over(campaign), is_liftable=False)
    if campaign.end_at is not None and campaign.end_at <= now:
        detail = "The campaign's end has passed; clone it to reach who is left."
        return _Halt(rule="campaign_ended", detail=detail, is_liftable=False)
    if status in {CampaignStatus.PAUSED, CampaignStatus.BLOCKED}:
        why = campaign.paused_reason or campaign.blocked_reason
        because = f" ({why})" if why else ""
        resume = f"/v1/campaigns/{campaign.id}/resume"
        detail = f"The campaign is {status}{because}; POST {resume} lets it go on."
        return _Halt(rule=f"campaign_{status}", detail=detail)
    if line.status != LineStatus.ACTIVE:
        again = f" It is tried again at {format_instant(line.probe_at)}." if line.probe_at else ""
        detail = (
            f"The line {line.number} is blocked: {line.blocked_reason}. Put that right, then POST "
            f"/v1/lines/{line.id}/unblock.{again}"
        )
        return _Halt(rule="line_blocked", detail=detail)
    return None


def _over(campaign: Campaign) -> str:
    at = f" since {format_instant(campaign.finished_at)}" if campaign.finished_at else ""
    return f"The campaign is {campaign.status}{at}; nothing goes any more."


def _answer(
    campaign: Campaign,
    line: Line,
    situation: Situation,
    odds: Odds,
    told: _Told,
    *,
    now: datetime,
) -> ForecastRead:
    plan, p50 = told.ends.plan, told.ends.p50
    halt = _halt(campaign, line, now=now) or _nobody(campaign, situation)
    outside = {name: situation.statuses.get(name, 0) for name in _OUTSIDE}
    lifted = halt is not None and halt.is_liftable and situation.people > 0
    days = [] if halt else [DayTexts(date=day, texts=texts) for day, texts in p50.per_day if texts]
    texts = 0 if halt and not halt.is_liftable else round(plan.texts)
    unsent = round(p50.not_reached * plan.workload)
    finished = campaign.finished_at if campaign.status == CampaignStatus.COMPLETED else None
    return ForecastRead(
        campaign_id=campaign.id,
        status=CampaignStatus(campaign.status),
        as_of=now,
        p50_finish_at=finished if halt else p50.finish,
        p90_finish_at=finished if halt else told.ends.p90_finish,
        binding_rule=halt.rule if halt else told.rule,
        detail=halt.detail if halt else told.detail,
        if_lifted=_lifted(told) if lifted else None,
        people_waiting=situation.people,
        texts=texts,
        not_reached=0 if halt else p50.not_reached,
        days=days,
        later=0 if halt else max(0, texts - unsent - sum(day.texts for day in days)),
        assumptions=_assumptions(campaign, line, situation, odds, plan),
        outside=OutsideRead(**outside, detail=explain_outside(outside)),
    )


def _nobody(campaign: Campaign, situation: Situation) -> _Halt | None:
    if situation.people:
        return None
    if campaign.status == CampaignStatus.DRAFT:
        detail = "Nobody in the audience may be texted: it is empty, or all have opted out."
        return _Halt(rule="empty_audience", detail=detail, is_liftable=False)
    return None


def _lifted(told: _Told) -> LiftedRead:
    return LiftedRead(
        p50_finish_at=told.ends.p50.finish,
        p90_finish_at=told.ends.p90_finish,
        binding_rule=told.rule,
        detail=told.detail,
    )


def _assumptions(
    campaign: Campaign, line: Line, situation: Situation, odds: Odds, plan: Plan
) -> AssumptionsRead:
    return AssumptionsRead(
        begins_at=plan.begins,
        campaign_daily_limit=campaign.daily_limit,
        line_daily_limit=line.daily_limit,
        texts_per_second=plan.per_second,
        competing_campaigns=sum(rival.campaigns for rival in plan.rivals),
        competing_texts=round(sum(rival.waiting for rival in plan.rivals)),
        other_texts_a_day=f"{odds.others_a_day:.1f}",
        reply_rate=_share(odds.replies),
        replies_of=odds.replies.texts,
        repeat_rate=_share(odds.repeats),
        repeats_of=odds.repeats.texts,
        people_by_place="sampled" if situation.is_sampled else "counted",
        left_out=left_out(campaign, plan),
    )


def _share(share: Share) -> str:
    return rate(round(share.mean * 1_000_000), 1_000_000) or "0"
