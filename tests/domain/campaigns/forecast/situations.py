"""Stored campaigns for forecasts, and a helper that makes a forecast of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES
from tests.factories import make_campaign, make_line

from crm_api.domain.campaigns.forecast import service as forecasting
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.campaigns.forecast.schemas import ForecastRead
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

NewUow = Callable[[], UnitOfWork]
EVEN: dict[str, Any] = {"pacing_mode": "even", "batch_size": None, "batch_interval_minutes": None}
NEW_YORK = ZoneInfo("America/New_York")


async def forecast(
    new_uow: UnitOfWorkFactory,
    campaign: Campaign,
    *,
    now: datetime = NOW,
    rules: RuleBook = NO_RULES,
) -> ForecastRead:
    async with new_uow() as uow:
        return await forecasting.forecast(
            uow,
            campaign_id=campaign.id,
            limits=SendLimits(rules=rules, times=TIMES, texts_per_second=8),
            now=now,
        )


@dataclass(kw_only=True)
class RunningCampaign:
    """A running campaign to which one statement adds many waiting recipients."""

    session: AsyncSession
    line: Line
    campaign: Campaign

    async def add_waiting(
        self, people: int, *, zone_key: str = "MA/America/New_York", **values: Any
    ) -> None:
        await self.session.execute(
            text("""
                INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key,
                    status, due_at, created_at, updated_at)
                SELECT uuid_v7(), :campaign_id, :step, uuid_v7(),
                       '+1' || (200 + :area) || '555' || lpad(n::text, 4, '0'),
                       :zone_key, :status, :due_at, :now, :now
                FROM generate_series(1, :people) n
            """),
            {
                "campaign_id": self.campaign.id,
                "people": people,
                "zone_key": zone_key,
                "step": values.get("step", 0),
                "status": values.get("status", "pending"),
                "due_at": values.get("due_at", NOW),
                "area": values.get("area", 0),
                "now": NOW,
            },
        )
        keys = sorted({*self.campaign.zone_keys, zone_key})
        await self.session.execute(
            update(Campaign)
            .where(Campaign.id == self.campaign.id)
            .values(zone_keys=keys, recipients_total=people)
        )
        self.campaign.zone_keys = keys
        await self.session.commit()


async def make_running_campaign(
    session: AsyncSession, *, line: Line | None = None, **values: Any
) -> RunningCampaign:
    line = line or await make_line(
        session, timezone="America/New_York", **values.pop("line_values", {})
    )
    campaign = await make_campaign(session, line=line, **(EVEN | values))
    return RunningCampaign(session=session, line=line, campaign=campaign)
