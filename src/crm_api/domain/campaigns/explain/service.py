"""Explain whether a recipient would get a message now, which rules prevent it, and until when.

The module also finds running campaigns that send nothing although no rule prevents their messages.
The explanation must check the same rules as a worker. So the explanation and the worker use the
same SQL fragments, allowed hours and code to write the message.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.errors import RecipientNotFoundError
from crm_api.domain.campaigns.explain.explanation import (
    ExplanationRead,
    ReplyReadingRead,
    SendStopRead,
)
from crm_api.domain.campaigns.explain.recipient_facts import (
    RecipientFacts,
    find_zone_key,
    read_recipient_facts,
)
from crm_api.domain.campaigns.explain.stop_rules import STOP_RULES, RecipientCase
from crm_api.domain.campaigns.models import CampaignKind
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.campaigns.schedule import RecipientHours
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.consent.reply_readings import find_reading
from crm_api.domain.messaging.company.carriers import UNKNOWN
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends import carrier_budgets, usage
from crm_api.domain.messaging.sends.number_rules import NumberRule
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWork, typed_rows

_BY_REPLY = frozenset({NumberRule.OPTED_OUT, NumberRule.OPT_OUT_HOLD})


async def explain_recipient(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    step: int | None,
    rules: RuleBook,
    business: Business,
    times: SendTimes,
    now: datetime,
    secret: bytes | None = None,
) -> ExplanationRead:
    """Return whether a recipient would get a message now, and all rules that prevent it.

    Args:
        step: 0 for the first message. If None, the first step whose message was not sent and has
            not failed is explained. If there is no such step, step 0 is explained.
        business: The business details that a message may name.
        times: The maximum durations of the steps of sending.
        secret: The secret with which the consent history hashes phone numbers. If None, the field
            ``reading`` of the result (how the reply of the person was classified) is None too.

    Raises:
        RecipientNotFoundError: The contact is not a recipient, or the campaign's audience is not
            stored yet.
    """
    zone_key = await find_zone_key(uow, campaign_id=campaign_id, contact_id=contact_id)
    facts = zone_key and await read_recipient_facts(
        uow,
        campaign_id=campaign_id,
        contact_id=contact_id,
        step=step,
        cap=rules.frequency_cap(zone_key, now),
        times=times,
        now=now,
    )
    if not facts:
        raise RecipientNotFoundError
    campaign_used, line_used = await usage.count_campaign_sent_today(
        uow.session, campaign_id=campaign_id, line_id=facts.line_id, times=times, now=now
    )
    carriers = await carrier_budgets.read_carrier_room(uow, grace=times.grace, now=now)
    carrier = UNKNOWN
    if carriers is not None:
        carrier = await carrier_budgets.read_carrier_of_number(uow, phone=facts.phone)
    case = RecipientCase(
        facts=facts,
        campaign_used=campaign_used,
        line_used=line_used,
        carriers=carriers,
        carrier=carrier,
        hours=RecipientHours.of(facts, rules=rules, call=times.call),
        business=business,
        call=times.call,
        now=now,
    )
    stops = [stop for rule in STOP_RULES for stop in rule(case)]
    allowed_at = _next_allowed(case, stops)
    ends_at = None if facts.end_at is None else facts.end_at - times.call
    if stops and allowed_at is not None and ends_at is not None and allowed_at >= ends_at:
        detail = "The campaign ends before all other rules allow the message."
        stops.append(SendStopRead(rule="campaign_ends", detail=detail, until=None))
        allowed_at = None
    reading = None
    if secret is not None and not _BY_REPLY.isdisjoint(facts.number_rules):
        reading = await find_reading(uow.session, phone=facts.phone, secret=secret)
    first = stops[0] if stops else None
    return ExplanationRead(
        step=facts.step,
        status=facts.status,
        variant=facts.variant_name,
        variant_reason=_variant_reason(facts),
        would_send_now=not stops,
        rule=first and first.rule,
        detail=first and first.detail,
        next_allowed_at=allowed_at,
        stops=stops,
        reading=reading and ReplyReadingRead.model_validate(reading),
    )


def _variant_reason(facts: RecipientFacts) -> str:
    if facts.is_known:
        return (
            "There was a message to or from the person, or a call, before the campaign stored its "
            "audience. In a mixed campaign, such people get this variant."
        )
    if facts.kind == CampaignKind.MIXED:
        return (
            "There was no message to or from the person, and no call, before the campaign stored "
            "its audience. Variants are assigned by contact id, in proportion to their shares."
        )
    return "Variants are assigned by contact id, in proportion to their shares."


def _next_allowed(case: RecipientCase, stops: list[SendStopRead]) -> datetime | None:
    if not stops:
        return case.now
    ends = [stop.until for stop in stops]
    if any(end is None for end in ends):
        return None
    latest = max(end for end in ends if end is not None)
    return case.hours.opening(latest)


@dataclass(frozen=True, slots=True)
class Standstill:
    """A running campaign that sends nothing, and the recipient who has waited longest."""

    campaign_id: UUID
    name: str
    contact_id: UUID
    due_at: datetime


# This statement finds campaigns that should send messages but do not. For each campaign, it selects
# the waiting recipient with the earliest due time, among the zone keys (states and time zones) in
# which messages are allowed now. A worker claims this recipient first. If a rule prevents the
# message, the worker moves the due time into the future. So if the due time stays in the past for
# long, claiming does not work.
STANDSTILLS = text("""
    SELECT DISTINCT ON (c.id) c.id AS campaign_id, c.name, due.contact_id, due.due_at
    FROM unnest(CAST(:campaign_ids AS uuid[]), CAST(:zone_keys AS text[]))
        AS x (campaign_id, zone_key)
    JOIN campaign c ON c.id = x.campaign_id
    CROSS JOIN LATERAL (
        SELECT m.contact_id, m.due_at FROM campaign_membership m
        WHERE m.campaign_id = x.campaign_id AND m.zone_key = x.zone_key
          AND m.status = 'pending' AND m.due_at < :before
        ORDER BY m.due_at, m.id LIMIT 1
    ) AS due
    WHERE NOT EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.line_id = c.line_id AND a.accepted_at > :before AND a.campaign_id = c.id)
      AND NOT EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.line_id = c.line_id AND a.campaign_id = c.id AND a.is_open
          AND a.status IN ('claimed', 'calling'))
    ORDER BY c.id, due.due_at
""")


async def find_standstills(
    uow: UnitOfWork,
    *,
    after: timedelta,
    rules: RuleBook,
    business: Business,
    times: SendTimes,
    now: datetime,
) -> list[Standstill]:
    """Return the campaigns that should send messages, but have sent none for the time ``after``.

    For each of the returned campaigns, all of these conditions are true:

    - The message to a recipient has been due for longer than ``after``.
    - The provider has accepted no message of the campaign since ``now - after``.
    - No message of the campaign is being sent now.
    - No rule prevents the overdue message now.
    """
    plan = await planning.plan_sends(uow, rules=rules, business=business, now=now)
    pairs = [(order.campaign_id, key) for order in plan.orders for key in order.open_zones]
    if not pairs:
        return []
    values = {
        "campaign_ids": [campaign_id for campaign_id, _ in pairs],
        "zone_keys": [key for _, key in pairs],
        "before": now - after,
    }
    candidates = typed_rows(Standstill, await uow.session.execute(STANDSTILLS, values))
    return [
        one
        for one in candidates
        if await _would_send_now(uow, one, rules=rules, business=business, times=times, now=now)
    ]


async def _would_send_now(
    uow: UnitOfWork,
    candidate: Standstill,
    *,
    rules: RuleBook,
    business: Business,
    times: SendTimes,
    now: datetime,
) -> bool:
    try:
        explanation = await explain_recipient(
            uow,
            campaign_id=candidate.campaign_id,
            contact_id=candidate.contact_id,
            step=None,
            rules=rules,
            business=business,
            times=times,
            now=now,
        )
    except RecipientNotFoundError:
        return False
    return explanation.would_send_now
