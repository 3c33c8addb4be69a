"""Campaigns of which nothing leaves, though no rule holds it back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import planning
from crm_api.domain.campaigns import standstill_statements as sql
from crm_api.domain.campaigns.errors import RecipientNotFoundError
from crm_api.domain.campaigns.explaining import explain
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.sends.times import SendTimes


@dataclass(frozen=True, kw_only=True)
class Standstill:
    """A campaign that stands still, and who has waited longest."""

    campaign_id: UUID
    name: str
    contact_id: UUID
    due_at: datetime


async def find(
    uow: UnitOfWork,
    *,
    after: timedelta,
    rules: RuleBook,
    business: Business,
    times: SendTimes,
    now: datetime,
) -> list[Standstill]:
    """List campaigns of which nothing was accepted for a while, though somebody waited all along.

    Asked are the plan, by which the worker claims, and ``explain``: hours, the law's too, limits of
    the day, pace, a blocked line and whatever stops the person are no standstill.
    """
    plan = await planning.plan(uow, rules=rules, business=business, now=now)
    pairs = [(order.campaign_id, key) for order in plan.orders for key in order.open_zones]
    if not pairs:
        return []
    values = {
        "campaign_ids": [campaign_id for campaign_id, _ in pairs],
        "zone_keys": [key for _, key in pairs],
        "before": now - after,
    }
    found = []
    for row in (await uow.session.execute(sql.STANDSTILL, values)).all():
        if row.contact_id is None:
            continue
        try:
            told = await explain(
                uow,
                campaign_id=row.id,
                contact_id=row.contact_id,
                step=None,
                rules=rules,
                business=business,
                times=times,
                now=now,
            )
        except RecipientNotFoundError:
            continue
        if told.would_send_now:
            found.append(
                Standstill(
                    campaign_id=row.id,
                    name=row.name,
                    contact_id=row.contact_id,
                    due_at=row.due_at,
                )
            )
    return found
