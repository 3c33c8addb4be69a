"""Forecast when a campaign sends its last message, and which rule delays this message most."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns.campaign_detail import read_line, require_campaign
from crm_api.domain.campaigns.errors import NO_RECIPIENTS
from crm_api.domain.campaigns.forecast.finish import (
    Odds,
    Prediction,
    Share,
    plan_with_means,
    predict,
)
from crm_api.domain.campaigns.forecast.hours import Hours
from crm_api.domain.campaigns.forecast.line_load import (
    LineLoad,
    read_carrier_limits,
    read_line_load,
)
from crm_api.domain.campaigns.forecast.plan import Outcome, Pacing, Plan, SendLimits
from crm_api.domain.campaigns.forecast.recipients import People, read_people
from crm_api.domain.campaigns.forecast.schemas import (
    AssumptionsRead,
    ForecastDay,
    ForecastRead,
    LiftedRead,
    OutsideForecastRead,
)
from crm_api.domain.campaigns.forecast.sentences import (
    explain_binding,
    explain_outside,
    left_out,
)
from crm_api.domain.campaigns.forecast.simulation import simulate
from crm_api.domain.campaigns.models import Campaign, PacingMode
from crm_api.domain.campaigns.schedule import first_opening, resolve_zones
from crm_api.domain.kit.intervals import format_rate
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.kit.windows import Window
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.sends import usage
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork

ASSUMED_REPLIES, REPLIES_WEIGHT = 0.05, 50
"""The share of replies that is assumed before any message was measured, and the weight of this
assumption: it has the same weight as 50 measured messages."""
ASSUMED_REPEATS, REPEATS_WEIGHT = 0.002, 100
_ON_ITS_WAY = (CampaignStatus.SCHEDULED, CampaignStatus.RUNNING)
_OVER = (CampaignStatus.COMPLETED, CampaignStatus.CANCELLED)
_OUTSIDE = ("review", "held", "unknown")


@dataclass(frozen=True, kw_only=True)
class _Situation:
    """A campaign, its line and its recipients, and the input of its simulation (``plan``)."""

    campaign: Campaign
    line: Line
    people: People
    plan: Plan
    odds: Odds
    now: datetime

    @property
    def waiting(self) -> int:
        """The number of people who wait for a message."""
        return round(self.plan.people)


@dataclass(frozen=True, kw_only=True)
class _Halt:
    """A reason that now prevents all messages of the campaign, such as a pause.

    Attributes:
        rule: A value of ``StopRule``.
        detail: What the reason is, and what can be done.
        is_liftable: True if a user can remove the reason, for example by resuming the campaign.
    """

    rule: str
    detail: str
    is_liftable: bool = True


async def forecast(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    limits: SendLimits,
    now: datetime,
) -> ForecastRead:
    """Forecast when a campaign, in any status, will have sent its last message.

    A draft is assumed to be started now. If the audience is not completely stored yet, the function
    counts the contacts of the audience, which is slower. If the audience is a list of more than
    100,000 contacts, the function counts only a sample.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    campaign = await require_campaign(uow.session, campaign_id=campaign_id)
    line = await read_line(uow.session, line_id=campaign.line_id)
    used = await usage.count_campaign_sent_today(
        uow.session, campaign_id=campaign_id, line_id=line.id, times=limits.times, now=now
    )
    situation = await _read(uow, campaign, line, limits=limits, used=used, now=now)
    # The computation takes up to some tenths of a second. It runs in a thread, so that it does not
    # block other requests.
    prediction = await asyncio.to_thread(predict, situation.plan, situation.odds, now=now)
    return _answer(situation, prediction)


async def estimate_finish(
    uow: UnitOfWork,
    campaign: Campaign,
    line: Line,
    *,
    limits: SendLimits,
    used: tuple[int, int],
    now: datetime,
) -> datetime | None:
    """Estimate when a campaign will have sent its last message.

    With a probability of about 50 %, the last message is sent later than the returned time.

    Args:
        used: Two numbers of messages that were sent today. The first counts for the daily limit of
            the campaign, the second for the daily limit of the line.

    Returns:
        The time of the last message, or the end of the campaign if the end is earlier. None if one
        of these conditions is true:

        - The campaign is neither scheduled nor running.
        - The end of the campaign has passed.
        - The line is blocked.
        - The audience is not completely stored.
        - No recipient waits.
        - The last message is more than ten years away.
    """
    is_on_its_way = campaign.status in _ON_ITS_WAY and campaign.recipients_total is not None
    if not is_on_its_way or _halt(campaign, line, now=now) is not None:
        return None
    situation = await _read(uow, campaign, line, limits=limits, used=used, now=now)
    if not situation.waiting:
        return None
    plan = plan_with_means(situation.plan, situation.odds)
    return (await asyncio.to_thread(simulate, plan)).finish


async def plan_days(
    uow: UnitOfWork,
    campaign: Campaign,
    line: Line,
    *,
    limits: SendLimits,
    now: datetime,
) -> Sequence[tuple[date, int]]:
    """Return how many messages a campaign will probably send on each of the next 60 days.

    The days are those of the line's time zone. The numbers are the same as in the forecast. A day
    on which no message is expected is left out. A number below 0.5 is rounded to 0, so a day may
    have the number 0. The result is empty if the campaign is over, paused or blocked, or if its
    line is blocked.
    """
    if _halt(campaign, line, now=now) is not None:
        return ()
    used = await usage.count_campaign_sent_today(
        uow.session, campaign_id=campaign.id, line_id=line.id, times=limits.times, now=now
    )
    situation = await _read(uow, campaign, line, limits=limits, used=used, now=now)
    plan = plan_with_means(situation.plan, situation.odds)
    return (await asyncio.to_thread(simulate, plan)).per_day


async def _read(
    uow: UnitOfWork,
    campaign: Campaign,
    line: Line,
    *,
    limits: SendLimits,
    used: tuple[int, int],
    now: datetime,
) -> _Situation:
    """Read everything that affects when the messages are sent, as if the campaign were running."""
    people = await read_people(uow.session, campaign, rules=limits.rules, now=now)
    load = await read_line_load(uow.session, campaign, line, now=now)
    campaign_used, line_used = used
    plan = Plan(
        begins=max(now, campaign.start_at or now),
        ends=campaign.end_at,
        hours=Hours(
            window=Window.of(campaign.days, campaign.window_start, campaign.window_end),
            timezone=campaign.timezone,
            line_timezone=line.timezone,
            rules=limits.rules,
        ),
        zone_keys=people.zone_keys,
        waiting=people.waiting,
        follow_ups=[timedelta(hours=one["after_hours"]) for one in campaign.follow_ups],
        pacing=_pacing(campaign),
        campaign_limit=campaign.daily_limit,
        campaign_used=campaign_used,
        line_limit=line.daily_limit,
        line_used=line_used,
        ramp_plan=line.ramp_plan or (),
        ramp_started_on=line.ramp_started_on,
        rivals=load.rivals,
        per_second=limits.texts_per_second,
        carriers=await read_carrier_limits(uow, campaign, now=now),
    )
    zone = ZoneInfo(line.timezone)
    if plan.begins.astimezone(zone).date() > now.astimezone(zone).date():
        plan = plan.without_messages_of_today()
    odds = _odds(people, load)
    return _Situation(campaign=campaign, line=line, people=people, plan=plan, odds=odds, now=now)


def _pacing(campaign: Campaign) -> Pacing:
    size, minutes = campaign.batch_size, campaign.batch_interval_minutes
    if campaign.pacing_mode == PacingMode.BURST and size is not None and minutes is not None:
        return Pacing(batch_size=size, batch_seconds=minutes * 60)
    return Pacing()


def _odds(people: People, load: LineLoad) -> Odds:
    """Estimate the random quantities of the plan, such as the share of replies.

    The estimates come from past messages.
    """
    return Odds(
        replies=Share(
            hits=people.replied,
            texts=people.reached,
            assumed=ASSUMED_REPLIES,
            weight=REPLIES_WEIGHT,
        ),
        repeats=Share(
            hits=min(load.texts, load.uncertain),
            texts=load.texts,
            assumed=ASSUMED_REPEATS,
            weight=REPEATS_WEIGHT,
        ),
        others_a_day=load.others_a_day,
        others_variance=load.others_variance,
    )


def _halt(campaign: Campaign, line: Line, *, now: datetime) -> _Halt | None:
    status = campaign.status
    if status in _OVER:
        rule = "campaign_cancelled" if status == CampaignStatus.CANCELLED else None
        return _Halt(
            rule=rule or "campaign_completed", detail=_ended_detail(campaign), is_liftable=False
        )
    if campaign.end_at is not None and campaign.end_at <= now:
        detail = "The `end_at` of the campaign has passed. A clone can reach the other recipients."
        return _Halt(rule="campaign_ended", detail=detail, is_liftable=False)
    if status in {CampaignStatus.PAUSED, CampaignStatus.BLOCKED}:
        why = campaign.paused_reason or campaign.blocked_reason
        because = f" ({why})" if why else ""
        resume = f"/v1/campaigns/{campaign.id}/resume"
        detail = f"The campaign is {status}{because}. POST {resume} resumes it."
        return _Halt(rule=f"campaign_{status}", detail=detail)
    if line.status != LineStatus.ACTIVE:
        again = f" It is tested again at {format_instant(line.probe_at)}." if line.probe_at else ""
        detail = (
            f"The line {line.number} is blocked: {line.blocked_reason}. Fix the cause, then POST "
            f"/v1/lines/{line.id}/unblock.{again}"
        )
        return _Halt(rule="line_blocked", detail=detail)
    return None


def _ended_detail(campaign: Campaign) -> str:
    at = f" since {format_instant(campaign.finished_at)}" if campaign.finished_at else ""
    return f"The campaign is {campaign.status}{at} and sends no more messages."


def _answer(situation: _Situation, prediction: Prediction) -> ForecastRead:
    campaign, people = situation.campaign, situation.people
    plan, p50 = prediction.plan, prediction.p50
    detail = explain_binding(campaign, situation.line, prediction)
    halt = _halt(campaign, situation.line, now=situation.now) or _halt_if_empty(situation)
    outside = {name: people.statuses.get(name, 0) for name in _OUTSIDE}
    lifted = halt is not None and halt.is_liftable and situation.waiting > 0
    days = (
        [] if halt else [ForecastDay(date=day, texts=texts) for day, texts in p50.per_day if texts]
    )
    texts = 0 if halt and not halt.is_liftable else round(plan.texts)
    unsent = round(p50.unsent) if p50.not_reached else 0
    finished = campaign.finished_at if campaign.status == CampaignStatus.COMPLETED else None
    return ForecastRead(
        campaign_id=campaign.id,
        status=CampaignStatus(campaign.status),
        as_of=situation.now,
        first_send_at=None if halt else _first_send(situation, p50),
        p50_finish_at=finished if halt else p50.finish,
        p90_finish_at=finished if halt else prediction.p90_finish,
        binding_rule=halt.rule if halt else prediction.rule,
        detail=halt.detail if halt else detail,
        if_lifted=_lifted(prediction, detail) if lifted else None,
        people_waiting=situation.waiting,
        texts=texts,
        not_reached=0 if halt else p50.not_reached,
        days=days,
        later=0 if halt else max(0, texts - unsent - sum(day.texts for day in days)),
        assumptions=_assumptions(situation, plan),
        outside=OutsideForecastRead(**outside, detail=explain_outside(outside)),
    )


def _first_send(situation: _Situation, outcome: Outcome) -> datetime | None:
    """Return when the next message is expected; None if no message is expected.

    The result is the first allowed instant, not before ``plan.begins``, on the first day for which
    the forecast has messages.
    """
    if not outcome.per_day:
        return None
    plan, campaign = situation.plan, situation.campaign
    window = Window.of(campaign.days, campaign.window_start, campaign.window_end)
    midnight = datetime.combine(outcome.per_day[0][0], time(0), ZoneInfo(plan.hours.line_timezone))
    openings = [
        first_opening(
            window,
            resolve_zones(plan.hours.timezone, plan.hours.line_timezone, zone_key),
            max(plan.begins, midnight.astimezone(UTC)),
            legal=partial(plan.hours.rules.next_open, zone_key),
        )
        for zone_key in {group.zone_key for group in plan.waiting}
    ]
    return min((opening for opening in openings if opening is not None), default=None)


def _halt_if_empty(situation: _Situation) -> _Halt | None:
    if situation.waiting or situation.campaign.status != CampaignStatus.DRAFT:
        return None
    return _Halt(rule="empty_audience", detail=NO_RECIPIENTS, is_liftable=False)


def _lifted(prediction: Prediction, detail: str) -> LiftedRead:
    return LiftedRead(
        p50_finish_at=prediction.p50.finish,
        p90_finish_at=prediction.p90_finish,
        binding_rule=prediction.rule,
        detail=detail,
    )


def _assumptions(situation: _Situation, plan: Plan) -> AssumptionsRead:
    odds = situation.odds
    return AssumptionsRead(
        begins_at=plan.begins,
        campaign_daily_limit=situation.campaign.daily_limit,
        line_daily_limit=situation.line.daily_limit,
        texts_per_second=plan.per_second,
        competing_campaigns=plan.competing_campaigns,
        competing_texts=plan.competing_texts,
        other_texts_a_day=f"{odds.others_a_day:.1f}",
        reply_rate=_share(odds.replies),
        replies_of=odds.replies.texts,
        repeat_rate=_share(odds.repeats),
        repeats_of=odds.repeats.texts,
        people_by_place="sampled" if situation.people.is_sampled else "counted",
        left_out=left_out(situation.campaign, plan),
    )


def _share(share: Share) -> str:
    return format_rate(round(share.mean * 1_000_000), 1_000_000) or "0"
