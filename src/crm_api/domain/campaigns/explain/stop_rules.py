"""Rules that prevent the message to a recipient. Each rule says why, and until when."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns.explain.explanation import SendStopRead
from crm_api.domain.campaigns.explain.recipient_facts import RecipientFacts
from crm_api.domain.campaigns.models import PreviouslyContacted
from crm_api.domain.campaigns.planning.plan import read_pace, read_pacing
from crm_api.domain.campaigns.schedule import RecipientHours
from crm_api.domain.campaigns.templates.message_composer import MessageComposer
from crm_api.domain.kit.errors import InvalidError
from crm_api.domain.messaging.company.carriers import UNKNOWN
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import pacing
from crm_api.domain.messaging.sends.carrier_budgets import CarrierRoom, segments_of
from crm_api.domain.messaging.sends.number_rules import NumberRule
from crm_api.domain.messaging.sends.parked_alerts import UNKNOWN_REASON, WHY_PARKED
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus, MembershipStatus


@dataclass(frozen=True, kw_only=True)
class RecipientCase:
    """A recipient, and all values that the rules in this module check.

    Attributes:
        campaign_used: The number of today's messages that count for the campaign's daily limit.
        line_used: The number of today's messages that count for the line's daily limit.
        carriers: The carrier budgets (the company's daily limits at mobile carriers), and what is
            left of each today; None without carrier budgets.
        carrier: The name of the recipient's mobile carrier; ``unknown`` if it is not known.
        call: The longest time that the request to the provider may take.
    """

    facts: RecipientFacts
    campaign_used: int
    line_used: int
    carriers: CarrierRoom | None
    carrier: str
    hours: RecipientHours
    business: Business
    call: timedelta
    now: datetime


_OF_NUMBER = {
    NumberRule.OPTED_OUT: "The person opted out.",
    NumberRule.CONTACT_DELETED: "The contact was deleted.",
    NumberRule.DO_NOT_CONTACT: "The number has the flag `do_not_contact`.",
    NumberRule.INVALID_NUMBER: "Two messages to the number failed permanently, so it counts as "
    "invalid. DELETE /v1/contacts/{id}/flags/invalid_number removes the flag.",
    NumberRule.OPT_OUT_HOLD: "The number is on hold, because a reply may ask for no more messages. "
    "Read the reply, then confirm the opt-out, or release the number (opt-in).",
}


def _recipient(case: RecipientCase) -> Iterator[SendStopRead]:
    facts = case.facts
    if facts.status == MembershipStatus.PENDING:
        return
    if facts.unclear_since is not None:
        yield _unclear(case)
        return
    why = facts.skip_reason or facts.error_code
    if why == "landline":
        yield SendStopRead(
            rule=why,
            detail="The number is a landline, and the campaign skips landlines, because they do "
            "not receive text messages.",
            until=None,
        )
        return
    if why == "holdout":
        yield SendStopRead(
            rule=why,
            detail="The person is in a holdout, a group without messages that shows the effect of "
            "the messages. GET /v1/holdouts lists the holdouts.",
            until=None,
        )
        return
    because = f" ({why})" if why else ""
    rule = facts.skip_reason or facts.status
    yield SendStopRead(
        rule=rule, detail=f"The status of the recipient is {facts.status}{because}.", until=None
    )


def _unclear(case: RecipientCase) -> SendStopRead:
    """Return why a recipient with an unclear attempt gets no message now.

    An attempt is unclear if it is not known whether its message was sent. The result also says
    whether a person must act.
    """
    facts = case.facts
    since = f"{facts.unclear_since:%Y-%m-%d %H:%M} UTC"
    if facts.unclear_status == AttemptStatus.PARKED:
        why = WHY_PARKED.get(facts.unclear_code or "", UNKNOWN_REASON)
        return SendStopRead(
            rule="parked",
            detail=f"Since {since} it is unclear whether the message was sent: {why}. Check the "
            "conversation in OpenPhone, then "
            "POST /v1/campaigns/{id}/recipients/{contact_id}/settle.",
            until=None,
        )
    return SendStopRead(
        rule="unknown",
        detail=f"Since {since} it is unclear whether the message was sent, because the request to "
        "OpenPhone had no clear result. The service looks for the message at OpenPhone every "
        "minute. You do not need to act.",
        until=None,
    )


def _campaign(case: RecipientCase) -> Iterator[SendStopRead]:
    facts = case.facts
    if facts.campaign_status == CampaignStatus.RUNNING:
        if facts.end_at is not None and facts.end_at <= case.now + case.call:
            yield SendStopRead(
                rule="campaign_ended", detail="The `end_at` of the campaign has passed.", until=None
            )
        return
    if facts.campaign_status == CampaignStatus.SCHEDULED and facts.start_at is not None:
        detail = "The `start_at` of the campaign is in the future."
        yield SendStopRead(rule="not_started", detail=detail, until=facts.start_at)
        return
    if facts.campaign_status == CampaignStatus.PAUSED and facts.paused_reason:
        sentence = (facts.paused_evidence or {}).get("sentence", f"{facts.paused_reason}.")
        yield SendStopRead(
            rule=facts.paused_reason, detail=f"The campaign paused itself. {sentence}", until=None
        )
        return
    because = f": {facts.blocked_reason}" if facts.blocked_reason else ""
    yield SendStopRead(
        rule=f"campaign_{facts.campaign_status}",
        detail=f"The status of the campaign is {facts.campaign_status}{because}.",
        until=None,
    )


def _line(case: RecipientCase) -> Iterator[SendStopRead]:
    facts = case.facts
    if facts.line_status != "active":
        yield SendStopRead(
            rule="line_blocked",
            detail=f"The line {facts.number} is blocked: {facts.line_blocked_reason}. Fix "
            "the cause, then POST /v1/lines/{id}/unblock.",
            until=facts.line_probe_at,
        )
    elif facts.is_trial_busy:
        yield SendStopRead(
            rule="line_on_trial",
            detail=f"The line {facts.number} was blocked and is now tested with one message at a "
            "time. Another message is being sent.",
            until=case.now,
        )


def _provider(case: RecipientCase) -> Iterator[SendStopRead]:
    until = case.facts.provider_held_until
    if until is not None:
        yield SendStopRead(
            rule="provider_asked_to_wait",
            detail="OpenPhone asked for a pause (Retry-After). Nothing is sent before the pause "
            "ends. POST /v1/lines/{id}/unblock ends the pause immediately.",
            until=until,
        )


def _consent(case: RecipientCase) -> Iterator[SendStopRead]:
    for rule in case.facts.number_rules:
        yield SendStopRead(rule=rule, detail=_OF_NUMBER[NumberRule(rule)], until=None)
    if case.facts.status == MembershipStatus.PENDING and case.facts.ended_by is not None:
        detail = "The person replied or called, so no follow-up is sent."
        yield SendStopRead(rule=case.facts.ended_by, detail=detail, until=None)


def _number(case: RecipientCase) -> Iterator[SendStopRead]:
    facts, now = case.facts, case.now
    if facts.is_busy:
        detail = "Another message to the number is being sent."
        yield SendStopRead(rule="number_busy", detail=detail, until=now)
    if facts.is_kept:
        yield SendStopRead(
            rule="number_kept",
            detail="It is unclear whether an earlier message to the number was sent. This must be "
            "settled first.",
            until=facts.kept_until,
        )
    if facts.was_contacted:
        action = {
            PreviouslyContacted.SKIP: "skips such people",
            PreviouslyContacted.REVIEW: "puts such people in review",
        }[PreviouslyContacted(facts.previously_contacted)]
        yield SendStopRead(
            rule="previously_contacted",
            detail=f"The person got a message before, and the campaign {action}.",
            until=None,
        )
    days = facts.min_days_between
    if facts.was_texted_lately and facts.last_texted_at is not None and days is not None:
        yield SendStopRead(
            rule="min_days_between",
            detail=f"Another campaign sent to the number less than {days} days ago.",
            until=facts.last_texted_at + timedelta(days=days),
        )
    if facts.was_texted_often:
        yield SendStopRead(
            rule="legal_frequency",
            detail="The number has already got as many messages as the law of its state allows.",
            until=facts.often_until,
        )
    cap = facts.frequency_cap
    if facts.is_capped and cap is not None:
        yield SendStopRead(
            rule="frequency_cap",
            detail=f"The number has already got {cap['texts']} campaign messages in "
            f"{cap['days']} days. The `frequency_cap` of this campaign allows no more.",
            until=facts.capped_until,
        )


def _hours(case: RecipientCase) -> Iterator[SendStopRead]:
    until = case.hours.opening(case.now)
    if not case.hours.are_own_open(case.now):
        detail = "The present time is outside the campaign's days and hours."
        yield SendStopRead(rule="outside_schedule", detail=detail, until=until)
    if not case.hours.are_legal_open(case.now):
        detail = "The present time is outside the legal hours in the recipient's time zone."
        if case.hours.rules.next_open(case.hours.zone_key, case.now) is None:
            detail = (
                "The recipient may be in several time zones, and no time is within the legal hours "
                "in all of them. Set `timezone` of the contact."
            )
        yield SendStopRead(rule="outside_legal_hours", detail=detail, until=until)


def _caps(case: RecipientCase) -> Iterator[SendStopRead]:
    facts = case.facts
    zone = ZoneInfo(facts.line_timezone)
    today = case.now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = (today + timedelta(days=1)).astimezone(case.now.tzinfo)
    if case.line_used >= facts.line_limit:
        ramps = facts.line_limit < facts.line_daily_limit
        yield SendStopRead(
            rule="line_ramp" if ramps else "line_daily_limit",
            detail=f"The line has reached its limit of {facts.line_limit} messages for today"
            + (", set by its ramp plan." if ramps else "."),
            until=tomorrow,
        )
    if case.campaign_used >= facts.daily_limit:
        yield SendStopRead(
            rule="campaign_daily_limit",
            detail=f"The campaign has reached its limit of {facts.daily_limit} messages for today.",
            until=tomorrow,
        )


def _carriers(case: RecipientCase) -> Iterator[SendStopRead]:
    if case.carriers is None:
        return
    try:
        wanted = segments_of(_render(case))
    except InvalidError:
        return
    holding = case.carriers.held_by(case.carrier, wanted)
    if holding is None:
        return
    daily = case.carriers.budgets.daily[holding]
    whose = (
        f"The carrier of the number is unknown, so the strictest budget, {holding}, applies."
        if case.carrier == UNKNOWN
        else f"The number's carrier is {holding}."
    )
    yield SendStopRead(
        rule="carrier_budget",
        detail=f"{whose} The company's budget for {holding} is {daily} segments a day. Today "
        f"{max(0, case.carriers.left[holding])} are left, but this message has {wanted}. "
        "PATCH /v1/settings changes the budget.",
        # A message that is larger than the whole daily budget can never be sent.
        until=None if wanted > daily else case.carriers.ends_at,
    )


def _pace(case: RecipientCase) -> Iterator[SendStopRead]:
    facts = case.facts
    until = pacing.waits_until(read_pacing(facts, sharers=1), read_pace(facts), case.now)
    if until is not None:
        yield SendStopRead(
            rule="pacing",
            detail="The campaign spreads its messages over time (pacing mode "
            f"{facts.pacing_mode}), so its next message is sent later.",
            until=until,
        )


def _due(case: RecipientCase) -> Iterator[SendStopRead]:
    facts = case.facts
    if facts.status != MembershipStatus.PENDING or facts.due_at <= case.now:
        return
    if facts.step > 0 and facts.attempts == 0:
        detail = "This follow-up is due later. It is not sent if the person replies or calls first."
        yield SendStopRead(rule="follow_up_waits", detail=detail, until=facts.due_at)
        return
    yield SendStopRead(
        rule="waiting",
        detail="The message was postponed, for example after a failed attempt. It is due later.",
        until=facts.due_at,
    )


def _rendering(case: RecipientCase) -> Iterator[SendStopRead]:
    try:
        _render(case)
    except InvalidError as error:
        yield SendStopRead(rule=error.code, detail=error.detail, until=None)


def _render(case: RecipientCase) -> str:
    """Render the recipient's message.

    Raises:
        InvalidError: The message cannot be rendered; the error says why.
    """
    facts = case.facts
    compose = MessageComposer(
        variants=facts.variants,
        follow_ups=facts.follow_ups,
        footer=facts.opt_out_footer,
        business=case.business,
    )
    return compose(facts, facts)


STOP_RULES: tuple[Callable[[RecipientCase], Iterator[SendStopRead]], ...] = (
    _recipient,
    _campaign,
    _line,
    _provider,
    _consent,
    _number,
    _hours,
    _caps,
    _carriers,
    _pace,
    _due,
    _rendering,
)
"""The rules in order of importance. The first one that applies is shown as the main reason."""
