"""Write the sentences of a forecast: what the binding rule does, and who is not included.

The binding rule is the rule that delays the last message most.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crm_api.domain.campaigns.forecast.day import NOTHING
from crm_api.domain.campaigns.forecast.finish import Binding, Prediction
from crm_api.domain.campaigns.forecast.plan import Outcome, Plan
from crm_api.domain.campaigns.forecast.simulation import people_shut_out
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.schedule import describe_hours
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus


@dataclass(frozen=True, slots=True)
class _Case:
    """The values from which the sentence about a rule is written."""

    campaign: Campaign
    line: Line
    plan: Plan
    outcome: Outcome


def explain_binding(campaign: Campaign, line: Line, prediction: Prediction) -> str:
    """Return a sentence about the rule that delays this campaign most, and what to do."""
    case, rule = _Case(campaign, line, prediction.plan, prediction.p50), prediction.rule
    if case.plan.texts < NOTHING:
        return "No recipient waits for a message."
    return f"{_lead(case)} {_RULES[rule](case) if rule else 'No rule delays the campaign.'}".strip()


def explain_outside(outside: Mapping[str, int]) -> str:
    """Return a sentence about the recipients who are not in the forecast, and what to do.

    Args:
        outside: The number of recipients by status.
    """
    reasons = {
        "review": "wait in review (approve or reject them)",
        "held": "are on hold because of a reply (confirm the opt-out, or release them)",
        "unknown": "have a message that may or may not have been sent (the service looks it up, or "
        "you must settle it)",
    }
    parts = [f"{outside[name]} {why}" for name, why in reasons.items() if outside[name]]
    if not parts:
        return "The forecast includes all recipients who may get a message."
    return (
        f"The forecast does not include these recipients: {'; '.join(parts)}. The campaign is "
        "completed only when they are settled, and it sends a message to each released person."
    )


def left_out(campaign: Campaign, plan: Plan) -> list[str]:
    """Return sentences about what the forecast does not consider."""
    notes = ["Other campaigns on the line that are drafts, paused or not yet created are ignored."]
    if campaign.status == CampaignStatus.DRAFT:
        notes.append(
            "For a draft, rules about single numbers (`min_days_between`, `frequency_cap`, legal "
            "limits) and carrier budgets are ignored. They can only delay the end."
        )
    elif plan.carriers:
        notes.append("The forecast assumes that no other campaign uses the carrier budgets.")
    if campaign.status in {CampaignStatus.DRAFT, CampaignStatus.SCHEDULED}:
        notes.append("The audience is counted as it is now.")
    notes.append("Outages of the provider or of this service are ignored.")
    return notes


def _lead(case: _Case) -> str:
    outcome = case.outcome
    if outcome.not_reached and outcome.finish is not None:
        ends = format_instant(outcome.finish)
        return f"The campaign ends at {ends}, and {_people(outcome.not_reached)} get no message."
    if outcome.finish is not None:
        return ""
    if people_shut_out(case.plan) or not outcome.per_day:
        return "The campaign will never send its last message."
    return "The campaign would take more than ten years."


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _advise_change(case: _Case, advice: str) -> str:
    """Return advice to change a setting: in the draft, or, for a started campaign, in a clone."""
    if case.campaign.status == CampaignStatus.DRAFT:
        return f"{advice} in the draft."
    return (
        "The settings of a started campaign cannot be changed. "
        f"{advice} in a clone of the campaign."
    )


def _campaign_limit(case: _Case) -> str:
    limit = case.campaign.daily_limit
    return f"The campaign may send {limit} messages a day. " + _advise_change(
        case, "Raise `daily_limit`"
    )


def _line_limit(case: _Case) -> str:
    own = case.campaign.daily_limit
    limit = case.line.daily_limit
    both = f", and the campaign no more than {own}" if own <= limit else ""
    return (
        f"The line {case.line.number} may send {limit} messages a day{both}. Raise the line's "
        "`daily_limit` as far as the provider allows it, or send from a second line."
    )


def _line_ramp(case: _Case) -> str:
    days = ", ".join(str(limit) for limit in case.line.ramp_plan or ())
    return (
        f"The line {case.line.number} is new and has a ramp plan: {days} messages on its first "
        "days. Change its `ramp_plan` if the number is already known to carriers."
    )


def _other_campaigns(case: _Case) -> str:
    campaigns, texts = case.plan.competing_campaigns, case.plan.competing_texts
    others = "1 other campaign has" if campaigns == 1 else f"{campaigns} other campaigns have"
    return (
        f"{others} {texts} messages to send from the same line, {case.line.number}. "
        "Pause campaigns that can wait, or send from a second line."
    )


def _schedule(case: _Case) -> str:
    shut = _shut_people(case)
    hours = describe_hours(case.campaign, line_timezone=case.line.timezone)
    known = f"The campaign sends only {hours}."
    if shut:
        known += f" {_people(shut)} can never get a message in these hours."
    return f"{known} " + _advise_change(case, "Choose more days or hours")


def _legal_hours(case: _Case) -> str:
    shut = _shut_people(case)
    never = (
        f" It never allows a message to {_people(shut)} in the campaign's hours." if shut else ""
    )
    return (
        f"The law allows messages only at some hours in the recipients' time zones.{never} "
        "GET /v1/compliance-rules lists the rules."
    )


def _shut_people(case: _Case) -> int:
    people = people_shut_out(case.plan)
    return max(1, round(people)) if people else 0


def _not_started(case: _Case) -> str:
    return f"The campaign begins at {format_instant(case.plan.begins)}."


def _held(case: _Case, rule: Binding) -> str:
    """Return how many people wait because of ``rule``, as in "5 people"; 0 counts as 1."""
    held = sum(group.people for group in case.plan.waiting if rule in group.held_until)
    return _people(max(1, round(held)))


def _min_days(case: _Case) -> str:
    people = _held(case, Binding.MIN_DAYS)
    return (
        f"Another campaign sent to {people} less than {case.campaign.min_days_between} days ago. "
        + _advise_change(case, "Lower `min_days_between`")
    )


def _frequency_cap(case: _Case) -> str:
    cap = case.campaign.frequency_cap or {}
    people = _held(case, Binding.FREQUENCY_CAP)
    return (
        f"A number may get at most {cap.get('texts')} campaign messages in {cap.get('days')} days, "
        f"and {people} have already got this maximum. "
        + _advise_change(case, "Raise `frequency_cap`")
    )


def _legal_frequency(case: _Case) -> str:
    people = _held(case, Binding.LEGAL_FREQUENCY)
    return (
        f"The law of their state allows no further message to {people} for now. GET "
        "/v1/compliance-rules lists the limits."
    )


def _carrier_budget(case: _Case) -> str:
    limit = max(case.plan.carriers, key=lambda one: one.share / max(one.daily, 1e-9))
    people = _people(max(1, round(limit.share * case.plan.people)))
    return (
        f"The company's budget for {limit.carrier} allows about {round(limit.daily)} of these "
        f"messages a day, and {people} wait for one. Validate their numbers with POST "
        "/v1/phone-validations, because numbers of unknown carriers also count for this budget. Or "
        "raise the budget with PATCH /v1/settings, if the carrier allows more."
    )


def _follow_up(case: _Case) -> str:
    hours = ", ".join(f"{step['after_hours']:g}" for step in case.campaign.follow_ups)
    if not hours:
        return "Some messages were postponed and are due later."
    return f"The follow-ups are sent {hours} hours after the previous message."


def _pacing(case: _Case) -> str:
    pacing = case.plan.pacing
    if pacing.batch_size is None:
        return (
            "The messages of a day are spread over its hours. With the mode `burst`, they are sent "
            "sooner, in groups."
        )
    minutes = round(pacing.batch_seconds / 60)
    return (
        f"The campaign sends {pacing.batch_size} messages every {minutes} minutes. "
        + _advise_change(case, "Choose larger batches")
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
