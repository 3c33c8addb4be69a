"""Factories of database rows; the default values are valid and not random."""

from datetime import datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW

from crm_api.domain.campaigns.models import Campaign, CampaignMembership, CampaignVariant
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends.queue import Sender
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactList, ContactListMember

EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def number(position: int) -> str:
    """Return the fictional phone number at this position of a fixed sequence.

    The exchange is always 555. Each area code has 10,000 positions.
    """
    areas = ("617", "508", "401", "305", "206")
    return f"+1{areas[position // 10_000 % len(areas)]}555{position % 10_000:04d}"


async def make_contact(
    session: AsyncSession,
    *,
    phone: str = "+16175550123",
    first_name: str | None = "Ada",
    now: datetime = NOW,
    **values: Any,
) -> Contact:
    contact = Contact(
        phone=phone,
        first_name=first_name,
        zone_key=values.pop("zone_key", "MA/America/New_York"),
        created_at=now,
        updated_at=now,
        **values,
    )
    session.add(contact)
    await session.flush()
    return contact


OFFICE = Sender(id=UUID(int=1), name="The office")
"""Sender of the messages that a test sends as a user."""


async def make_line(
    session: AsyncSession,
    *,
    phone_number_id: str = "PNsandbox1",
    line_number: str = "+16175550100",
    now: datetime = NOW,
    **values: Any,
) -> Line:
    values.setdefault("daily_limit", 125)
    line = Line(
        phone_number_id=phone_number_id,
        number=line_number,
        name=values.pop("name", "Main line"),
        status=values.pop("status", "active"),
        created_at=now,
        updated_at=now,
        **values,
    )
    session.add(line)
    await session.flush()
    await session.refresh(line)
    return line


async def make_list(
    session: AsyncSession, *, name: str = "Homeowners", contacts: list[Contact], now: datetime = NOW
) -> ContactList:
    contact_list = ContactList(name=name, created_at=now, updated_at=now)
    session.add(contact_list)
    await session.flush()
    session.add_all(
        ContactListMember(list_id=contact_list.id, contact_id=contact.id, added_at=now)
        for contact in contacts
    )
    await session.flush()
    return contact_list


async def make_campaign(
    session: AsyncSession,
    *,
    line: Line,
    bodies: tuple[str, ...] = ("Hi {{ first_name }}, this is Granite. Reply STOP to opt out.",),
    audience: dict[str, Any] | None = None,
    status: str = "running",
    now: datetime = NOW,
    **values: Any,
) -> Campaign:
    campaign = Campaign(
        name=values.pop("name", "Autumn check"),
        line_id=line.id,
        status=status,
        audience=audience or {"contact_ids": []},
        days=values.pop("days", EVERY_DAY),
        window_start=values.pop("window_start", time(9)),
        window_end=values.pop("window_end", time(18)),
        daily_limit=values.pop("daily_limit", 125),
        pacing_mode=values.pop("pacing_mode", "burst"),
        batch_size=values.pop("batch_size", 100_000),
        batch_interval_minutes=values.pop("batch_interval_minutes", 1),
        created_at=now,
        updated_at=now,
        **values,
    )
    session.add(campaign)
    await session.flush()
    weights = [100 // len(bodies)] * len(bodies)
    weights[0] += 100 - sum(weights)
    session.add_all(
        CampaignVariant(
            campaign_id=campaign.id,
            position=position,
            name=f"V{position}",
            body=body,
            weight=weight,
        )
        for position, (body, weight) in enumerate(zip(bodies, weights, strict=True))
    )
    await session.flush()
    await session.refresh(campaign)
    return campaign


async def make_member(
    session: AsyncSession,
    *,
    campaign: Campaign,
    contact: Contact,
    now: datetime = NOW,
    **values: Any,
) -> CampaignMembership:
    member = CampaignMembership(
        campaign_id=campaign.id,
        contact_id=contact.id,
        phone=contact.phone,
        zone_key=contact.zone_key,
        due_at=now,
        created_at=now,
        updated_at=now,
        **values,
    )
    session.add(member)
    zones: list[str] = campaign.zone_keys or []
    if contact.zone_key not in zones:
        campaign.zone_keys = [*zones, contact.zone_key]
    campaign.recipients_total = (campaign.recipients_total or 0) + 1
    await session.flush()
    await session.refresh(member)
    return member


def ids(*rows: Any) -> list[UUID]:
    """Return the ids of these rows."""
    return [row.id for row in rows]
