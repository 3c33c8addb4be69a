"""A random history of messages, replies, calls and outcomes, with merges and erasures."""

import json
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_line, make_list, number

from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.insight.costs import CostEntry
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.properties import Property, PropertyContact
from crm_api.domain.sales.outcomes.models import Outcome, OutcomeSubject
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id

CITIES = (("Quincy", "02169"), ("Milton", "02186-1234"), (None, None))
KINDS = ("appointment_booked", "quote_sent", "job_done", "invoice_paid", "invoice_paid")


ATTEMPTS = text("""
    INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
        segments, status, called_at, accepted_at, created_at, updated_at)
    SELECT uuid_v7(), m.id, m.campaign_id, c.line_id, uuid_v7(), m.phone, 'Hi',
           1 + CAST(right(m.phone, 2) AS integer) % 3, m.status, m.sent_at, m.sent_at, m.sent_at,
           m.sent_at
    FROM campaign_membership m JOIN campaign c ON c.id = m.campaign_id
    WHERE m.status IN ('sent', 'delivered')
""")


class History:
    """A random history of people, campaigns, messages, calls and outcomes, made from a seed."""

    def __init__(self, session: AsyncSession, *, seed: int) -> None:
        self.session = session
        self.chance = Random(seed)  # noqa: S311 - a test's
        self.campaigns: list[Campaign] = []
        self.contacts: list[Any] = []

    async def write(self, *, people: int, messages: int, outcomes: int) -> None:
        await self._campaigns()
        await self._people(people)
        await self._messages(messages)
        await self._talks(people)
        await self._outcomes(outcomes)
        await self.session.commit()

    async def _copy(self, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
        """Store rows by COPY; all rows have the same keys, and other columns get their default."""
        columns = model.__table__.columns
        defaults = {
            column.name: column.default.arg
            for column in columns
            if column.default is not None and column.name not in rows[0]
        }
        names = [*rows[0], *defaults]

        def stored(row: dict[str, Any], name: str) -> Any:
            if name in row:
                is_json = isinstance(columns[name].type, JSONB) and row[name] is not None
                return json.dumps(row[name]) if is_json else row[name]
            default = defaults[name]
            return default(None) if callable(default) else default

        records = [tuple(stored(row, name) for name in names) for row in rows]
        raw = await (await self.session.connection()).get_raw_connection()
        driver: Any = raw.driver_connection
        await driver.copy_records_to_table(model.__tablename__, records=records, columns=names)

    async def _campaigns(self) -> None:
        session = self.session
        lines = [
            await make_line(session, phone_number_id=f"PN{i}", line_number=number(9000 + i))
            for i in range(2)
        ]
        lists = [await make_list(session, name=f"List {i}", contacts=[]) for i in range(2)]
        for place in range(4):
            audience: dict[str, Any] = {"contact_ids": []}
            if place:
                audience = {"list_id": str(lists[place % 2].id)}
            self.campaigns.append(
                await make_campaign(
                    session,
                    line=lines[place % 2],
                    name=f"Campaign {place}",
                    bodies=("Hi", "Hello") if place == 1 else ("Hi",),
                    audience=audience,
                    follow_ups=[{"after_hours": 48, "body": "Hi again"}],
                )
            )

    async def _people(self, count: int) -> None:
        pick = self.chance.choice
        for place in range(count):
            city, code = pick(CITIES)
            attributes = pick(
                ({}, {"est_value": "$612,000"}, {"owner_occ": "1"}, {"yr_built": "1899"})
            )
            self.contacts.append(
                {
                    "id": new_id(),
                    "phone": number(place),
                    "zone_key": "MA/America/New_York",
                    "city": city,
                    "postal_code": code,
                    "attributes": attributes,
                    "source": pick(("api", "import")),
                    "created_at": NOW,
                    "updated_at": NOW,
                }
            )
        await self._copy(Contact, self.contacts)
        houses = [
            {
                "id": new_id(),
                "address_key": f"{place} main st|02169",
                "street": f"{place} Main St",
                "year_built": pick((1888, 1925, 1960, None)),
                "attributes": pick(({}, {"est_value": "180000"}, {"owner_occ": "0"})),
                "created_at": NOW,
                "updated_at": NOW,
            }
            for place in range(count // 2)
        ]
        await self._copy(Property, houses)
        owners = [
            {
                "property_id": house["id"],
                "contact_id": self.contacts[place * 2]["id"],
                "role": "primary",
                "added_at": NOW,
            }
            for place, house in enumerate(houses)
        ]
        await self._copy(PropertyContact, owners)

    async def _messages(self, count: int) -> None:
        rows = []
        for campaign in self.campaigns:
            for contact in self.chance.sample(self.contacts, count // 5):
                rows.append(self._message(campaign, contact, step=0))
                if self.chance.random() < 0.25:
                    rows.append(self._message(campaign, contact, step=1))
        await self._copy(CampaignMembership, rows[:count])

    def _message(self, campaign: Campaign, contact: Any, *, step: int) -> dict[str, Any]:
        chance = self.chance
        sent_at = NOW - timedelta(minutes=chance.randrange(1, 60 * 24 * 90))
        status = chance.choices(
            ("delivered", "sent", "failed", "pending", "skipped"), (80, 5, 5, 5, 5)
        )[0]
        is_sent = status in {"delivered", "sent"}
        replied_at = None
        if is_sent and chance.random() < 0.2:
            replied_at = sent_at + timedelta(minutes=chance.randrange(1, 60 * 72))
        return {
            "id": new_id(),
            "campaign_id": campaign.id,
            "step": step,
            "contact_id": contact["id"],
            "phone": contact["phone"],
            "zone_key": contact["zone_key"],
            "variant": chance.randrange(2) if campaign is self.campaigns[1] else 0,
            "status": status,
            "due_at": sent_at,
            "sent_at": sent_at if is_sent else None,
            "delivered_at": sent_at if status == "delivered" else None,
            "replied_at": replied_at,
            "opted_out_at": replied_at if chance.random() < 0.2 else None,
            "is_interested": replied_at is not None and chance.random() < 0.3,
            "created_at": sent_at,
            "updated_at": sent_at,
        }

    async def _talks(self, people: int) -> None:
        """Add conversations with calls, and with messages that a user answered."""
        line_id = self.campaigns[0].line_id
        talks, activities = [], []
        for contact in self.chance.sample(self.contacts, people // 3):
            talk_id = new_id()
            talks.append(
                {
                    "id": talk_id,
                    "line_id": line_id,
                    "phone": contact["phone"],
                    "contact_id": contact["id"],
                    "last_activity_at": NOW,
                    "created_at": NOW,
                }
            )
            heard_at = NOW - timedelta(minutes=self.chance.randrange(1, 60 * 24 * 60))
            for minutes, kind, direction, origin in (
                (0, "message", "incoming", "provider"),
                (7, "message", "incoming", "provider"),
                (self.chance.randrange(8, 900), "message", "outgoing", "manual"),
                (self.chance.randrange(900, 2000), "call", "incoming", "provider"),
            ):
                at = heard_at + timedelta(minutes=minutes)
                activities.append(
                    {
                        "id": new_id(),
                        "kind": kind,
                        "direction": direction,
                        "origin": origin,
                        "line_id": line_id,
                        "conversation_id": talk_id,
                        "contact_id": contact["id"],
                        "phone": contact["phone"],
                        "status": "received" if direction == "incoming" else "delivered",
                        "occurred_at": at,
                        "created_at": at,
                        "updated_at": at,
                    }
                )
        await self._copy(Conversation, talks)
        await self._copy(Activity, activities)

    async def _outcomes(self, count: int) -> None:
        rows: list[dict[str, Any]] = []
        subjects = []
        for _ in range(count):
            at = NOW - timedelta(minutes=self.chance.randrange(1, 60 * 24 * 60))
            row = {
                "id": new_id(),
                "kind": self.chance.choice(KINDS),
                "amount_cents": self.chance.choice((None, 0, 1, 99_999, 185_001)),
                "currency": "USD",
                "occurred_at": at,
                "source": self.chance.choice(("person", "import", "api")),
                "recorded_by": "key",
                "created_at": at,
                "reverses_id": None,
            }
            rows.append(row)
            contact = self.chance.choice(self.contacts)
            is_known = self.chance.random() < 0.9
            subjects.append(
                {
                    "outcome_id": row["id"],
                    "contact_id": contact["id"] if is_known else None,
                    "phone": None if is_known else number(8000),
                }
            )
        reversals = [
            {**row, "id": new_id(), "reverses_id": row["id"], "amount_cents": -amount}
            for row in self.chance.sample(rows, count // 20)
            for amount in [row["amount_cents"]]
            if amount is not None
        ]
        await self._copy(Outcome, [*rows, *reversals])
        await self._copy(OutcomeSubject, subjects)

    async def pay(self, count: int) -> None:
        """Add the attempts of the messages, which have a price, and ``count`` entered costs."""
        await self.session.execute(ATTEMPTS)
        costs = []
        for _ in range(count):
            at = NOW - timedelta(minutes=self.chance.randrange(1, 60 * 24 * 60))
            costs.append(
                {
                    "id": new_id(),
                    "kind": self.chance.choice(("list_price", "labour", "other")),
                    "amount_cents": self.chance.randrange(1, 90_000),
                    "currency": "USD",
                    "incurred_at": at,
                    "campaign_id": self.chance.choice((None, self.campaigns[1].id)),
                    "list_id": None,
                    "created_by": "key",
                    "created_at": at,
                }
            )
        await self._copy(CostEntry, costs)
        await self.session.commit()

    async def merge_and_erase(self, client: httpx.AsyncClient, *, count: int) -> None:
        """Merge ``count`` pairs of people and erase ``count`` other people, through the API."""
        people = self.chance.sample(self.contacts, count * 3)
        for place in range(count):
            ids = [str(one["id"]) for one in people[place * 3 : place * 3 + 3]]
            body = {"primary_id": ids[0], "duplicate_ids": [ids[1]]}
            merged = await client.post("/v1/contacts/merge", json=body)
            assert merged.is_success, merged.text
            erased = await client.post(f"/v1/contacts/{ids[2]}/erase", json={"reason": "asked"})
            assert erased.is_success, erased.text
        await self.session.execute(text("SELECT 1"))
