"""Helpers that store people, messages, replies and outcomes for the tests of Insight."""

from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.models.contacts import Contact

DAY = timedelta(days=1)


class Story:
    """Helper that adds people and messages; the age of a message is given in days before `NOW`."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.people = 0

    async def add_campaign(self, name: str = "Autumn", *, variants: int = 1) -> Campaign:
        if not hasattr(self, "line"):
            self.line = await make_line(self.session)
        return await make_campaign(
            self.session,
            line=self.line,
            name=name,
            bodies=tuple(f"Hi {place}" for place in range(variants)),
        )

    async def add_person(self, **values: Any) -> Contact:
        self.people += 1
        return await make_contact(self.session, phone=number(1000 + self.people), **values)

    async def add_message(
        self,
        campaign: Campaign,
        contact: Contact,
        *,
        days: float,
        replied: float | None = None,
        opted_out: bool = False,
        status: str = "delivered",
        **values: Any,
    ) -> CampaignMembership:
        at = NOW - days * DAY
        replied_at = None if replied is None else NOW - replied * DAY
        return await make_member(
            self.session,
            campaign=campaign,
            contact=contact,
            status=status,
            sent_at=at,
            delivered_at=at + timedelta(seconds=5) if status == "delivered" else None,
            replied_at=replied_at,
            opted_out_at=replied_at if opted_out else None,
            **values,
        )

    async def add_reply(
        self, campaign: Campaign, contact: Contact, *, days: float, reply_class: str
    ) -> Activity:
        """Store a reply, then link it to its campaign, as the service does."""
        at = NOW - days * DAY
        reply = Activity(
            kind="message",
            direction="incoming",
            origin="provider",
            contact_id=contact.id,
            phone=contact.phone,
            status="received",
            reply_class=reply_class,
            occurred_at=at,
            created_at=at,
            updated_at=at,
        )
        self.session.add(reply)
        await self.session.flush()
        reply.campaign_id = campaign.id
        await self.session.flush()
        return reply

    async def add_call(self, contact: Contact, *, days: float) -> None:
        at = NOW - days * DAY
        self.session.add(
            Activity(
                kind="call",
                direction="incoming",
                origin="provider",
                contact_id=contact.id,
                phone=contact.phone,
                status="completed",
                occurred_at=at,
                created_at=at,
                updated_at=at,
            )
        )
        await self.session.flush()


def days_ago(days: float) -> str:
    return at(NOW - days * DAY)


def at(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


async def record_outcome(
    client: httpx.AsyncClient,
    contact: Contact | None = None,
    *,
    days: float = 0,
    cents: int | None = 100_000,
    kind: str = "job_done",
    **values: Any,
) -> Any:
    """Record an outcome, `days` before `NOW`."""
    person = {} if contact is None else {"contact_id": str(contact.id)}
    body = {"kind": kind, "occurred_at": days_ago(days), "amount_cents": cents, **person, **values}
    response = await client.post("/v1/outcomes", json=body)
    assert response.status_code == 201, response.text
    return response.json()
