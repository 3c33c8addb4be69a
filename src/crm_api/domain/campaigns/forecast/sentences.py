"""Sentences of a forecast: which rule binds, what to do, who is left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crm_api.domain.campaigns.forecast.day import NOTHING
from crm_api.domain.campaigns.forecast.finish import Binding, Prediction
from crm_api.domain.campaigns.forecast.plan import Outcome, Plan
from crm_api.domain.campaigns.forecast.simulation import people_shut_out
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.kit.windows import DAYS
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus


@dataclass(frozen=True, slots=True)
class _Case:
    """The input of a sentence."""

    campaign: Campaign
    line: Line
    plan: Plan
    outcome: Outcome


def explain_binding(campaign: Campaign, line: Line, prediction: Prediction) -> str:
    """Return what the rule that binds does to this campaign, and what would help."""
    case, rule = _Case(campaign, line, prediction.plan, prediction.p50), prediction.rule
    if case.plan.texts < NOTHING:
        return "No one waits for a message."
    return f"{_lead(case)} {_RULES[rule](case) if rule else 'No rule delays it.'}".strip()


def explain_outside(outside: Mapping[str, int]) -> str:
    """Say who is not in the forecast, and how they can continue."""
    reasons = {
        "review": "wait in review (approve or reject them)",
        "held": "are held by a doubtful reply (confirm or release them)",
        "unknown": "have an unclear attempt (it is settled by the service, or parked for you)",
    }
    parts = [f"{outside[name]} {why}" for name, why in reasons.items() if outside[name]]
    if not parts:
        return "Everybody who may be texted is in the forecast."
    return (
        f"Not in the forecast: {'; '.join(parts)}. The campaign is completed only after them, and "
        "each released person adds a message."
    )


def left_out(campaign: Campaign, plan: Plan) -> list[str]:
    """Return notes on what the forecast does not consider."""
    notes = ["New campaigns on the line, and paused or unstarted ones, are left out."]
    if campaign.status == CampaignStatus.DRAFT:
        notes.append(
            "Rules about single numbers (min_days_between, frequency_cap, legal limits) and "
            "carrier budgets are left out of a draft; they can only make the end later."
        )
    elif plan.carriers:
        notes.append("The forecast assumes that no other campaign uses the carrier budgets.")
    if campaign.status in {CampaignStatus.DRAFT, CampaignStatus.SCHEDULED}:
        notes.append("The audience is counted as it is now.")
    notes.append("Outages of the provider or of this service are left out.")
    return notes


def _lead(case: _Case) -> str:
    outcome = case.outcome
    if outcome.not_reached and outcome.finish is not None:
        ends = format_instant(outcome.finish)
        return f"It ends at {ends}; {_people(outcome.not_reached)} will not have got a message."
    if outcome.finish is not None:
        return ""
    if people_shut_out(case.plan) or not outcome.per_day:
        return "It will never be done."
    return "It would take more than ten years."


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _owned(case: _Case, advice: str) -> str:
    """Return how to change a setting: at once in a draft, by a clone after the start."""
    if case.campaign.status == CampaignStatus.DRAFT:
        return f"{advice} in the draft."
    return f"A started campaign keeps its settings; {advice[0].lower()}{advice[1:]} in a clone."


def _campaign_limit(case: _Case) -> str:
    limit = case.campaign.daily_limit
    return f"The campaign may send {limit} messages a day. " + _owned(case, "Raise daily_limit")


def _line_limit(case: _Case) -> str:
    own = case.campaign.daily_limit
    limit = case.line.daily_limit
    both = f", and the campaign no more than {own}" if own <= limit else ""
    return (
        f"The line {case.line.number} may send {limit} texts a day{both}. Raise the line's "
        "daily_limit as far as the provider allows it, or send from a second line."
    )


def _line_ramp(case: _Case) -> str:
    days = ", ".join(str(limit) for limit in case.line.ramp_plan or ())
    return (
        f"The line {case.line.number} is new and has a ramp plan: {days} messages on its first "
        "days. Change its ramp_plan if the number is already known to carriers."
    )


def _other_campaigns(case: _Case) -> str:
    campaigns, texts = case.plan.competing_campaigns, case.plan.competing_texts
    others = "1 other campaign has" if campaigns == 1 else f"{campaigns} other campaigns have"
    return (
        f"{others} {texts} messages to send from the line {case.line.number}, which all share. "
        "Pause those that can wait, or send from a second line."
    )


def _schedule(case: _Case) -> str:
    shut = _shut_people(case)
    days = ", ".join(day for day in DAYS if day in case.campaign.days)
    hours = f"{case.campaign.window_start:%H:%M} to {case.campaign.window_end:%H:%M}"
    zone = case.campaign.timezone or case.line.timezone
    known = f"It sends {days}, {hours} ({zone})."
    if shut:
        known += f" For {_people(shut)} these hours never open."
    return f"{known} " + _owned(case, "Widen days or window")


def _legal_hours(case: _Case) -> str:
    shut = _shut_people(case)
    never = f"; for {_people(shut)} no time is left" if shut else ""
    return (
        f"The law allows fewer hours in the recipients' time zones{never}. "
        "GET /v1/compliance-rules lists the rules."
    )


def _shut_people(case: _Case) -> int:
    people = people_shut_out(case.plan)
    return max(1, round(people)) if people else 0


def _not_started(case: _Case) -> str:
    return f"It begins at {format_instant(case.plan.begins)}."


def _held(case: _Case, rule: Binding) -> str:
    """Return how many people a rule about numbers holds."""
    held = sum(group.people for group in case.plan.waiting if rule in group.held_until)
    return _people(max(1, round(held)))


def _min_days(case: _Case) -> str:
    people = _held(case, Binding.MIN_DAYS)
    return (
        f"Another campaign sent to {people} less than {case.campaign.min_days_between} days ago. "
        + _owned(case, "Lower min_days_between")
    )


def _frequency_cap(case: _Case) -> str:
    cap = case.campaign.frequency_cap or {}
    people = _held(case, Binding.FREQUENCY_CAP)
    return (
        f"A number gets {cap.get('texts')} campaign messages in {cap.get('days')} days, and "
        f"{people} had them. " + _owned(case, "Raise frequency_cap")
    )


def _legal_frequency(case: _Case) -> str:
    people = _held(case, Binding.LEGAL_FREQUENCY)
    return (
        f"The law of their state allows {people} no further message for now. GET "
        "/v1/compliance-rules lists the limits."
    )


def _carrier_budget(case: _Case) -> str:
    limit = max(case.plan.carriers, key=lambda one: one.share / max(one.daily, 1e-9))
    people = _people(max(1, round(limit.share * case.plan.people)))
    return (
        f"The company's budget for {limit.carrier} allows about {round(limit.daily)} of these "
        f"messages a day, and {people} count against it. Look up their numbers, because numbers of "
        "unknown carriers also count against it. Or raise the budget with PATCH /v1/settings, if "
        "the carrier allows more."
    )


def _follow_up(case: _Case) -> str:
    hours = ", ".join(f"{step['after_hours']:g}" for step in case.campaign.follow_ups)
    if not hours:
        return "Some messages were put off and are due later."
    return f"Its follow-ups wait {hours} hours after the message before."


def _pacing(case: _Case) -> str:
    pacing = case.plan.pacing
    if pacing.batch_size is None:
        return "The messages are spread evenly over a day's hours; mode burst sends them sooner."
    minutes = round(pacing.batch_seconds / 60)
    return f"It sends {pacing.batch_size} messages every {minutes} minutes. " + _owned(
        case, "Choose larger batches"
    )


def _rate(case: _Case) -> str:
    return f"The provider accepts {case.plan.per_second:g} messages a second."


_RULES: Mapping[Binding, Callable[[_Case], str]] = {
    Binding.NOT_STARTED: _not_started,
    Binding.SCHEDULE: _schedule,
    Binding.LEGAL_HOURS: _legal_hours,
    Binding.MIN_DAYS: _min_days,
    Binding.FREQUENCY_CAP: _frequency_cap,
    Binding.LEGAL_FREQUENCY: _legal_frequency,
    Binding.CARRIER_BUDGET: _carrier_budget,
    Binding.FOLLOW_UP: _follow_up,
    Binding.PACING: _pacing,
    Binding.RATE: _rate,
    Binding.CAMPAIGN_LIMIT: _campaign_limit,
    Binding.LINE_LIMIT: _line_limit,
    Binding.LINE_RAMP: _line_ramp,
    Binding.OTHER_CAMPAIGNS: _other_campaigns,
}
