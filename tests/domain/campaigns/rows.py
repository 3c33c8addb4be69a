"""A helper that adds many recipients to a campaign, in any status."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_line, number

from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.platform.ids import new_id

ZONE_KEY = "MA/America/New_York"


class Rows:
    """A campaign, with methods that add recipients (with consecutive numbers) and attempts."""

    def __init__(self, session: AsyncSession, campaign: Campaign) -> None:
        self.session = session
        self.campaign = campaign
        self.position = 0

    def add(self, status: str, *, count: int = 1, **values: Any) -> list[CampaignMembership]:
        rows = []
        for _ in range(count):
            self.position += 1
            rows.append(
                CampaignMembership(
                    id=new_id(),
                    campaign_id=self.campaign.id,
                    contact_id=UUID(int=self.position),
                    phone=number(self.position),
                    zone_key=ZONE_KEY,
                    status=status,
                    due_at=NOW,
                    created_at=NOW,
                    updated_at=NOW,
                    **values,
                )
            )
        self.session.add_all(rows)
        return rows

    def add_step(self, member: CampaignMembership, status: str, **values: Any) -> None:
        """Add the recipient row of the first follow-up to a recipient."""
        (row,) = self.add(status, step=1, **values)
        row.contact_id, row.phone = member.contact_id, member.phone

    def add_called(
        self, count: int, status: str = "sent", *, called_at: datetime, **values: Any
    ) -> list[CampaignMembership]:
        """Add recipients, each with an attempt whose call began at ``called_at``."""
        rows = self.add(status, count=count, **values)
        for row in rows:
            self.add_attempt(row, status, called_at=called_at)
        return rows

    def add_attempt(self, member: CampaignMembership, status: str, **values: Any) -> None:
        self.session.add(
            SendAttempt(
                id=new_id(),
                membership_id=member.id,
                campaign_id=self.campaign.id,
                line_id=self.campaign.line_id,
                activity_id=new_id(),
                phone=member.phone,
                body="Hi",
                status=status,
                called_at=values.pop("called_at", NOW),
                created_at=NOW,
                updated_at=NOW,
                **values,
            )
        )


async def make_campaign_rows(session: AsyncSession, **values: Any) -> Rows:
    line_values = values.pop("line_values", {})
    line = await make_line(session, timezone="America/New_York", **line_values)
    return Rows(session, await make_campaign(session, line=line, **values))
