"""The sentences of a forecast: which rule binds, what could be done, who is left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crm_api.domain.campaigns.forecast.binding import Binding
from crm_api.domain.campaigns.forecast.day import NOTHING
from crm_api.domain.campaigns.forecast.plan import Outcome, Plan
from crm_api.domain.campaigns.forecast.simulation import calendar_of
from crm_api.domain.campaigns.models import Campaign, CampaignStatus
from crm_api.domain.lines.models import Line
from crm_api.domain.schemas import format_instant
from crm_api.domain.windows import DAYS


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a sentence may speak of."""

    campaign: Campaign
    line: Line
    plan: Plan
    outcome: Outcome


def explain_binding(rule: Binding | None, case: Case) -> str:
    """Say what the rule does to this campaign, and what would help."""
    if case.plan.texts < NOTHING:
        return "Nobody waits for a text any more."
    return f"{_lead(case)} {_RULES[rule](case) if rule else 'No rule holds it up.'}".strip()


def explain_outside(outside: Mapping[str, int]) -> str:
    """Say who is not in the forecast and what lets them go on."""
    told = {
        "review": "wait in review (approve or reject them)",
        "held": "are held by a doubtful text (confirm or release them)",
        "unknown": "have an unclear send (it is settled by itself, or parked for you)",
    }
    parts = [f"{outside[name]} {what}" for name, what in told.items() if outside[name]]
    if not parts:
        return "Everybody who may be texted is in the forecast."
    return (
        f"Not in the forecast: {'; '.join(parts)}. The campaign is completed only after them, and "
        "whoever is let go on adds a text."
    )


def left_out(campaign: Campaign, plan: Plan) -> list[str]:
    """Name what the forecast does not look at."""
    notes = ["New campaigns on the line, and those that are paused or not started, are left out."]
    if campaign.min_days_between is not None or campaign.frequency_cap is not None:
        notes.append(
            "min_days_between and frequency_cap look at each number and are left out: they can "
            "only make it later."
        )
    if any(rule.max_texts is not None for rule in plan.hours.rules.rules):
        notes.append("Legal limits of texts to one number in a day are left out.")
    if campaign.status in {CampaignStatus.DRAFT, CampaignStatus.SCHEDULED}:
        notes.append("The audience is taken as it is now.")
    notes.append("Outages of the provider or of this service are left out.")
    return notes


def _lead(case: Case) -> str:
    outcome = case.outcome
    if outcome.not_reached and outcome.finish is not None:
        ends = format_instant(outcome.finish)
        return f"It ends at {ends}, when {_people(outcome.not_reached)} will have got no text."
    if outcome.finish is not None:
        return ""
    if calendar_of(case.plan).shut_places or not outcome.per_day:
        return "It will never be done."
    return "It would take more than ten years."


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _owned(case: Case, advice: str) -> str:
    """Say how a property of the campaign is changed: a draft's at once, a later one's by a copy."""
    if case.campaign.status == CampaignStatus.DRAFT:
        return f"{advice} in the draft."
    return f"A campaign that was started keeps it; {advice[0].lower()}{advice[1:]} in a clone."


def _campaign_limit(case: Case) -> str:
    limit = case.campaign.daily_limit
    return f"The campaign may send {limit} texts a day. " + _owned(case, "Raise daily_limit")


def _line_limit(case: Case) -> str:
    own = case.campaign.daily_limit
    limit = case.line.daily_limit
    both = f", and the campaign no more than {own}" if own <= limit else ""
    return (
        f"The line {case.line.number} may send {limit} texts a day{both}. Raise the line's "
        "daily_limit as far as the provider allows it, or send from a second line."
    )


def _line_ramp(case: Case) -> str:
    days = ", ".join(str(limit) for limit in case.line.ramp_plan or ())
    return (
        f"The line {case.line.number} is new and ramped up: {days} texts on its first days. Change "
        "its ramp_plan if the number is known already."
    )


def _other_campaigns(case: Case) -> str:
    rivals = case.plan.rivals
    campaigns = sum(rival.campaigns for rival in rivals)
    texts = round(sum(rival.waiting for rival in rivals))
    others = "1 other campaign has" if campaigns == 1 else f"{campaigns} other campaigns have"
    return (
        f"{others} {texts} texts to send from the line {case.line.number}, which all share. Pause "
        "those that can wait, or send from a second line."
    )


def _schedule(case: Case) -> str:
    shut = _shut_people(case)
    days = ", ".join(day for day in DAYS if day in case.campaign.days)
    hours = f"{case.campaign.window_start:%H:%M} to {case.campaign.window_end:%H:%M}"
    zone = case.campaign.timezone or case.line.timezone
    known = f"It sends {days}, {hours} ({zone})."
    if shut:
        known += f" No such minute is ever open for {_people(shut)}."
    return f"{known} " + _owned(case, "Widen days or window")


def _legal_hours(case: Case) -> str:
    shut = _shut_people(case)
    never = f"; for {_people(shut)} no minute is ever left" if shut else ""
    return (
        f"The law leaves fewer hours where the recipients are{never}. GET /v1/compliance-rules "
        "lists them."
    )


def _shut_people(case: Case) -> int:
    shut, left = calendar_of(case.plan).shut_places, case.outcome.left
    people = sum(left[place] for place in shut) if left else 0.0
    return max(1, round(people / case.plan.workload)) if people else 0


def _not_started(case: Case) -> str:
    return f"It begins at {format_instant(case.plan.begins)}."


def _follow_up(case: Case) -> str:
    hours = ", ".join(f"{step['after_hours']:g}" for step in case.campaign.follow_ups)
    if not hours:
        return "Some texts were put off and are due later."
    return f"Its follow-ups wait {hours} hours after the text before."


def _pacing(case: Case) -> str:
    pacing = case.plan.pacing
    if pacing.batch_size is None:
        return "A day's texts are spread evenly over its hours; mode burst sends them sooner."
    minutes = round(pacing.batch_seconds / 60)
    return f"It sends {pacing.batch_size} texts every {minutes} minutes. " + _owned(
        case, "Choose larger batches"
    )


def _rate(case: Case) -> str:
    return f"The provider takes {case.plan.per_second:g} texts a second."


_RULES: Mapping[Binding, Callable[[Case], str]] = {
    Binding.NOT_STARTED: _not_started,
    Binding.SCHEDULE: _schedule,
    Binding.LEGAL_HOURS: _legal_hours,
    Binding.FOLLOW_UP: _follow_up,
    Binding.PACING: _pacing,
    Binding.RATE: _rate,
    Binding.CAMPAIGN_LIMIT: _campaign_limit,
    Binding.LINE_LIMIT: _line_limit,
    Binding.LINE_RAMP: _line_ramp,
    Binding.OTHER_CAMPAIGNS: _other_campaigns,
}
