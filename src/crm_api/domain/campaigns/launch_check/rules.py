"""List the rules that a campaign obeys while it sends, as sentences with the campaign's values."""

from collections.abc import Iterator

from crm_api.domain.campaigns.campaign_detail import CampaignDetail
from crm_api.domain.campaigns.hours_in_words import describe_hours
from crm_api.domain.campaigns.launch_check.schemas import LaunchRule
from crm_api.domain.campaigns.models import Campaign, PacingMode, PreviouslyContacted
from crm_api.domain.kit.vocabulary import meanings
from crm_api.domain.messaging.sends.vocabulary import StopRule

_OF_EVERY_NUMBER = (
    StopRule.OPTED_OUT,
    StopRule.OPT_OUT_HOLD,
    StopRule.DO_NOT_CONTACT,
    StopRule.INVALID_NUMBER,
)


def list_rules(
    detail: CampaignDetail, *, has_legal_rules: bool, binding: str | None
) -> list[LaunchRule]:
    """Return the rules that a campaign obeys while it sends.

    These are the rules about every phone number, the rules in the campaign's settings, the limits
    of its line, and the legal rules.

    Args:
        detail: The campaign.
        has_legal_rules: Whether the service has legal rules.
        binding: The rule that delays the last message most; None if no rule does.
    """
    meaning = meanings(StopRule)
    found: dict[str, str] = {rule: meaning[rule] for rule in _OF_EVERY_NUMBER}
    found |= dict(_own_rules(detail.campaign, detail.line.timezone))
    found[StopRule.LINE_DAILY_LIMIT] = (
        f"The line {detail.line.number} sends at most {detail.line.daily_limit} messages a day."
    )
    if detail.line.ramp_plan:
        found[StopRule.LINE_RAMP] = meaning[StopRule.LINE_RAMP]
    if has_legal_rules:
        for rule in (StopRule.OUTSIDE_LEGAL_HOURS, StopRule.LEGAL_FREQUENCY):
            found[rule] = f"{meaning[rule]} GET /v1/compliance-rules lists the rules."
    if binding is not None and binding in meaning:
        found.setdefault(binding, meaning[binding])
    return [
        LaunchRule(rule=rule, detail=sentence, is_binding=rule == binding)
        for rule, sentence in found.items()
    ]


def _own_rules(campaign: Campaign, line_timezone: str) -> Iterator[tuple[StopRule, str]]:
    hours = describe_hours(campaign, line_timezone=line_timezone)
    yield StopRule.OUTSIDE_SCHEDULE, f"The campaign sends only {hours}."
    yield (
        StopRule.CAMPAIGN_DAILY_LIMIT,
        f"The campaign sends at most {campaign.daily_limit} messages a day.",
    )
    if campaign.pacing_mode == PacingMode.BURST:
        yield (
            StopRule.PACING,
            (
                f"The campaign sends {campaign.batch_size} messages every "
                f"{campaign.batch_interval_minutes} minutes."
            ),
        )
    else:
        yield StopRule.PACING, "The messages of a day are spread over its hours."
    if campaign.previously_contacted != PreviouslyContacted.SEND:
        does = {
            PreviouslyContacted.SKIP: "skips people",
            PreviouslyContacted.REVIEW: "asks a person about people",
        }[PreviouslyContacted(campaign.previously_contacted)]
        yield (
            StopRule.PREVIOUSLY_CONTACTED,
            f"The campaign {does} who got a message before.",
        )
    if campaign.skip_landlines:
        yield StopRule.LANDLINE, "The campaign skips numbers that are known to be landlines."
    if campaign.min_days_between:
        yield (
            StopRule.MIN_DAYS_BETWEEN,
            (
                "A number gets a message only if the last message of another campaign is at least "
                f"{campaign.min_days_between} days old."
            ),
        )
    if campaign.frequency_cap:
        cap = campaign.frequency_cap
        yield (
            StopRule.FREQUENCY_CAP,
            f"A number gets at most {cap['texts']} campaign messages in {cap['days']} days.",
        )
