"""Find running campaigns that send nothing although no rule prevents their messages."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.errors import RecipientNotFoundError
from crm_api.domain.campaigns.explain.service import explain_recipient
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWork, typed_rows


@dataclass(frozen=True, slots=True)
class Standstill:
    """A running campaign that sends nothing, and the recipient who has waited longest."""

    campaign_id: UUID
    name: str
    contact_id: UUID
    due_at: datetime


# For each campaign, the recipient in an open zone key who has been due longest. The claim selects
# this recipient first. If a rule prevents the message, the claim moves the due time into the
# future. So a recipient who stays due for long shows that the claim does not work.
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

    A campaign is returned if all of these conditions are true:

    - The message to a recipient has been due for longer than ``after``.
    - Between ``now - after`` and ``now``, the provider accepted no message of the campaign.
    - No message of the campaign is being sent now.
    - No rule prevents this overdue message now. ``plan_sends`` and ``explain_recipient`` check the
      rules: hours, limits, pacing, a blocked line, and rules about the person.
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
