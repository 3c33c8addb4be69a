"""Check what would happen if a campaign were started now.

The check runs the code of the real start, of the real preview and of the real forecast.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.campaign_detail import CampaignDetail, read_campaign
from crm_api.domain.campaigns.drafts import identification, start_checks
from crm_api.domain.campaigns.errors import InvalidTransitionError
from crm_api.domain.campaigns.forecast import service as forecasting
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.campaigns.forecast.schemas import ForecastRead
from crm_api.domain.campaigns.launch_check.schemas import (
    LaunchCheck,
    LaunchPerson,
    LaunchProblem,
    LaunchReason,
    LaunchRule,
    LaunchWarning,
)
from crm_api.domain.campaigns.models import Campaign, PacingMode, PreviouslyContacted
from crm_api.domain.campaigns.preview.message_sums import MessageSums, cost_of
from crm_api.domain.campaigns.preview.schemas import PreviewRecipients
from crm_api.domain.campaigns.preview.service import (
    PreviewSubject,
    count_recipients,
    render_audience,
)
from crm_api.domain.campaigns.schedule import describe_hours
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.errors import CrmError, InvalidError
from crm_api.domain.kit.message_segments import Encoding
from crm_api.domain.kit.vocabulary import meanings
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.lines import LineStatus
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, SkipReason, StopRule
from crm_api.platform.database import UnitOfWork

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

    Args:
        has_legal_rules: Whether the service has legal rules.
        binding: The rule that delays the campaign most or prevents all its messages. The result
            marks this rule. None if there is no such rule.
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
            PreviouslyContacted.REVIEW: "requires an approval for people",
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
                "A number gets a message only if the last message to it from another campaign is "
                f"at least {campaign.min_days_between} days old."
            ),
        )
    if campaign.frequency_cap:
        cap = campaign.frequency_cap
        yield (
            StopRule.FREQUENCY_CAP,
            f"A number gets at most {cap['texts']} campaign messages in {cap['days']} days.",
        )


SAMPLES = 5
"""The maximum number of example messages in the result."""
_WAITS = {
    "review": (StopRule.PREVIOUSLY_CONTACTED, "review"),
    "held": (StopRule.OPT_OUT_HOLD, "held"),
}
"""For each verdict of people who wait for a decision of a user: the rule and the outcome that the
result shows."""


async def check_launch(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    business: Business,
    needs_identification: bool,
    limits: SendLimits,
    now: datetime,
) -> LaunchCheck:
    """Return what would happen if a campaign were started now. The campaign may have any status.

    The messages of up to 100,000 people are rendered; that takes a few seconds.

    Args:
        needs_identification: Whether the first message must name the sender and say how to opt out.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
    """
    detail = await read_campaign(uow, campaign_id=campaign_id)
    sender = business if needs_identification else None
    errors = await _find_errors(uow, detail, sender=sender, rules=limits.rules, now=now)
    subject = PreviewSubject.of(detail)
    sums = subject.sums(business=business, sample_size=SAMPLES)
    verdicts = await render_audience(uow, subject, sums, now=now)
    recipients = count_recipients(verdicts, sums.failures)
    forecast = await forecasting.forecast(
        uow,
        campaign_id=campaign_id,
        limits=limits,
        now=now,
    )
    is_estimated = sums.verdicts.total() < recipients.total
    segments = _estimate_segments(sums, recipients) if is_estimated else sums.segments
    return LaunchCheck(
        campaign_id=campaign_id,
        status=CampaignStatus(detail.campaign.status),
        as_of=now,
        can_start=not errors,
        problems=[problem for error in errors for problem in _problems(error)],
        recipients=recipients,
        reasons=_reasons(recipients, sums),
        samples=sums.samples,
        first_send_at=forecast.first_send_at,
        last_send_at=forecast.p50_finish_at,
        last_send_at_p90=forecast.p90_finish_at,
        forecast_detail=forecast.detail,
        texts=forecast.texts,
        segments=segments,
        cost=cost_of(segments),
        is_estimated=is_estimated,
        warnings=[
            *_message_warnings(detail, sums, business),
            *_forecast_warnings(detail, forecast, is_estimated=is_estimated),
        ],
        rules=list_rules(
            detail, has_legal_rules=bool(limits.rules.rules), binding=forecast.binding_rule
        ),
    )


async def _find_errors(
    uow: UnitOfWork,
    detail: CampaignDetail,
    *,
    sender: Business | None,
    rules: RuleBook,
    now: datetime,
) -> list[CrmError]:
    """Return the errors with which a start would be refused."""
    status = detail.campaign.status
    if status != CampaignStatus.DRAFT:
        allowed = campaigns.allowed_actions(status)
        return [InvalidTransitionError("start", status=status, allowed=allowed)]
    return await start_checks.find_start_problems(uow, detail, sender=sender, rules=rules, now=now)


def _problems(error: CrmError) -> Iterable[LaunchProblem]:
    fields = error.errors if isinstance(error, InvalidError) else []
    for field in fields:
        yield LaunchProblem(code=field.code, pointer=field.pointer or None, detail=field.detail)
    if not fields:
        yield LaunchProblem(code=error.code, pointer=None, detail=error.detail)


def _reasons(recipients: PreviewRecipients, sums: MessageSums) -> list[LaunchReason]:
    meaning = meanings(SkipReason) | meanings(StopRule)
    waiting = {"review": recipients.review, "held": recipients.held}
    found = [
        LaunchReason(
            rule=_WAITS.get(reason, (reason, ""))[0],
            outcome=_WAITS.get(reason, ("", "skipped"))[1],
            people=people,
            detail=meaning.get(_WAITS.get(reason, (reason, ""))[0], reason),
            sample=[
                LaunchPerson(
                    contact_id=person.contact_id,
                    name=" ".join(filter(None, (person.first_name, person.last_name))) or None,
                    phone=person.phone,
                )
                for person in sums.left_out.get(reason, [])
            ],
        )
        for reason, people in {**recipients.skipped, **waiting}.items()
        if people
    ]
    return sorted(found, key=lambda one: (-one.people, one.rule))


def _estimate_segments(sums: MessageSums, recipients: PreviewRecipients) -> int:
    people = recipients.would_be_texted + recipients.review
    return round(sums.segments * people / max(1, sums.texts))


def _message_warnings(
    detail: CampaignDetail, sums: MessageSums, business: Business
) -> Iterable[LaunchWarning]:
    for fault in identification.find_identification_faults(
        detail.variants,
        footer=detail.campaign.opt_out_footer,
        business=business,
        line=detail.line,
    ):
        yield LaunchWarning(code=fault.part.value, variant=fault.variant, detail=fault.detail)
    missing = sums.missing_values()
    if missing.count:
        names = ", ".join(missing.by_variable) or "any part of the message"
        yield LaunchWarning(
            code="missing_value",
            variant=None,
            detail=f"{missing.count} of the contacts get no message, because they have no value "
            f"for {names}. Add the values, or a default to the body.",
        )
    for variant in sums.variants():
        if variant.encoding == Encoding.UCS_2:
            yield LaunchWarning(
                code="ucs_2",
                variant=variant.name,
                detail=f"{variant.texts_in_ucs_2} messages have a character that the encoding "
                "GSM-7 does not have. Such a message costs about twice as much. A preview lists "
                "the characters.",
            )


def _forecast_warnings(
    detail: CampaignDetail, forecast: ForecastRead, *, is_estimated: bool
) -> Iterable[LaunchWarning]:
    if detail.line.status != LineStatus.ACTIVE:
        yield LaunchWarning(code="line_blocked", variant=None, detail=forecast.detail)
    elif forecast.not_reached:
        yield LaunchWarning(
            code="not_reached",
            variant=None,
            detail=f"{forecast.not_reached} of the contacts get no message before the end of the "
            "campaign. Choose a later `end_at`, or raise the limits.",
        )
    elif forecast.people_waiting and forecast.p50_finish_at is None:
        yield LaunchWarning(code="no_finish", variant=None, detail=forecast.detail)
    if is_estimated:
        yield LaunchWarning(
            code="estimated",
            variant=None,
            detail="The audience is large, so segments and cost are estimated from its first "
            "contacts. The numbers of contacts are exact, except for `missing_value`.",
        )
