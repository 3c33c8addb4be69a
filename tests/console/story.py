"""A fixed history of messages and outcomes for the screens of Insight.

The history is stored in the database of a running service. The numbers of its people have the area
code 305, which no other browser test uses.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_list, number

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.messaging.models.holdouts import Holdout, HoldoutPerson
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.sales.outcomes.models import Outcome, OutcomeSubject
from crm_api.platform.database import open_engine, session_factory
from crm_api.platform.database_time import read_database_now
from crm_api.platform.ids import new_id

FIRST, LAST = "2026-09-01", "2026-10-31"
"""First and last day of the history, in the time zone of New York."""
ZONE = "America/New_York"
PERIOD = f"period=custom&from={FIRST}&last={LAST}&zone=America%2FNew_York"
"""Query parameters of Insight that select the period of the history."""
END = datetime(2026, 11, 1, 4, tzinfo=UTC)
PEOPLE = 240
_CITIES = (("Miami", "33101"), ("Hialeah", "33010"), ("Doral", "33122"), (None, None))
_KINDS = ("appointment_booked", "quote_sent", "job_done", "invoice_paid")
ATTEMPTS = text("""
    INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
        segments, status, called_at, accepted_at, created_at, updated_at)
    SELECT uuid_v7(), m.id, m.campaign_id, c.line_id, uuid_v7(), m.phone, 'Hi', 1, m.status,
           m.sent_at, m.sent_at, m.sent_at, m.sent_at
    FROM campaign_membership m JOIN campaign c ON c.id = m.campaign_id
    WHERE m.status IN ('sent', 'delivered') AND c.name LIKE 'Story %'
""")


async def write_story(folder: Path) -> None:
    """Store the history in the database of the service that has this data directory."""
    lines = (folder / "running.env").read_text().splitlines()
    url = dict(line.split("=", 1) for line in lines)["CRM_DATABASE_URL"]
    async with open_engine(url) as engine, session_factory(engine)() as session:
        await _Story(session).write()
        await session.commit()


class _Story:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.chance = Random(19)  # noqa: S311 - the same numbers in each run
        self.contacts: list[dict[str, Any]] = []

    async def write(self) -> None:
        await self._people()
        await self._messages()
        await self._outcomes()
        await self._holdout()

    async def _people(self) -> None:
        for place in range(PEOPLE):
            city, code = _CITIES[place % len(_CITIES)]
            self.contacts.append(
                {
                    "id": new_id(),
                    "phone": number(30_000 + place),
                    "first_name": f"Person {place}",
                    "zone_key": "MA/America/New_York",
                    "city": city,
                    "postal_code": code,
                    "attributes": {"yr_built": str(1890 + place % 110)},
                    "source": "import",
                    "created_at": END,
                    "updated_at": END,
                }
            )
        await self.session.execute(insert(Contact), self.contacts)

    async def _messages(self) -> None:
        session, chance = self.session, self.chance
        line = await session.scalar(select(Line).order_by(Line.created_at, Line.id).limit(1))
        assert line is not None
        rows = []
        for place, (name, rate) in enumerate((("Autumn", 0.12), ("Basement", 0.3), ("Chimney", 0))):
            members = await make_list(session, name=f"Story list {name}", contacts=[])
            campaign = await make_campaign(
                session,
                line=line,
                name=f"Story {name}",
                bodies=("Hi", "Hello") if place == 0 else ("Hi",),
                audience={"list_id": str(members.id)},
                status="completed",
            )
            for contact in self.contacts[: PEOPLE - place * 60]:
                sent_at = END - timedelta(
                    days=chance.randrange(1, 60), hours=-chance.randrange(14, 22)
                )
                status = chance.choices(("delivered", "sent", "failed"), (85, 8, 7))[0]
                replied = status != "failed" and chance.random() < rate
                replied_at = sent_at + timedelta(minutes=chance.randrange(1, 60 * 48))
                rows.append(
                    {
                        "id": new_id(),
                        "campaign_id": campaign.id,
                        "step": 0,
                        "contact_id": contact["id"],
                        "phone": contact["phone"],
                        "zone_key": contact["zone_key"],
                        "variant": chance.randrange(2) if place == 0 else 0,
                        "status": status,
                        "due_at": sent_at,
                        "sent_at": None if status == "failed" else sent_at,
                        "delivered_at": sent_at if status == "delivered" else None,
                        "replied_at": replied_at if replied else None,
                        "opted_out_at": replied_at if replied and chance.random() < 0.2 else None,
                        "created_at": sent_at,
                        "updated_at": sent_at,
                    }
                )
        await session.execute(insert(CampaignMembership), rows)
        await session.execute(ATTEMPTS)

    async def _outcomes(self) -> None:
        rows, subjects = [], []
        # The job computes credits only for outcomes that were recorded after its last run, so these
        # outcomes are recorded now.
        recorded_at = await read_database_now(self.session)
        for _ in range(90):
            contact = self.chance.choice(self.contacts)
            at = END - timedelta(minutes=self.chance.randrange(1, 60 * 24 * 30))
            kind = self.chance.choice(_KINDS)
            rows.append(self._outcome(kind, at, recorded_at))
            subjects.append({"outcome_id": rows[-1]["id"], "contact_id": contact["id"]})
        await self.session.execute(insert(Outcome), rows)
        await self.session.execute(insert(OutcomeSubject), subjects)

    def _outcome(self, kind: str, at: datetime, recorded_at: datetime) -> dict[str, Any]:
        amount = self.chance.choice((99_999, 185_001)) if kind == "invoice_paid" else None
        return {
            "id": new_id(),
            "kind": kind,
            "amount_cents": amount,
            "currency": "USD",
            "occurred_at": at,
            "source": "import",
            "recorded_by": "shop",
            "created_at": recorded_at,
        }

    async def _holdout(self) -> None:
        """Store an ended holdout, with people and appointments in both of its groups."""
        begins = END - timedelta(days=60)
        holdout = Holdout(
            id=new_id(),
            name="Story: do messages bring work?",
            percent=25,
            scope="cold",
            starts_at=begins,
            ends_at=END,
            hash_key=bytes(32),
            created_by="shop",
            created_at=begins,
        )
        self.session.add(holdout)
        await self.session.flush()
        people = [
            {
                "holdout_id": holdout.id,
                "contact_id": contact["id"],
                "is_held": place % 4 == 0,
                "assigned_at": begins,
            }
            for place, contact in enumerate(self.contacts)
        ]
        await self.session.execute(insert(HoldoutPerson), people)
