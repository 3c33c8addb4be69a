"""The digest mail has the figures of the last seven days, in words; they equal those of insight."""

from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.routers.insight.story import Story, record_outcome

from crm_api.domain.insight.costs import CostEntry
from crm_api.domain.monitoring.daily_digest.digest import Digest, WeekFigures, read_week
from crm_api.domain.monitoring.daily_digest.digest_mail import write_digest_mail
from crm_api.platform.database import UnitOfWorkFactory

ZONE = "America/New_York"
MIDNIGHT = datetime(2026, 11, 25, 5, tzinfo=UTC)


async def week_of(new_uow: UnitOfWorkFactory, *, until: datetime = MIDNIGHT) -> WeekFigures:
    async with new_uow() as uow:
        return await read_week(uow, until=until, zone=ZONE, now=NOW)


def week_in_mail(week: WeekFigures) -> list[str]:
    digest = Digest(
        since=week.until - timedelta(days=1),
        until=week.until,
        zone=ZONE,
        texts=[],
        opt_outs=0,
        lines=[],
        campaigns=[],
        held=0,
        in_review=0,
        parked=0,
        overdue=0,
        dead=0,
        alerts=[],
        week=week,
    )
    _, body = write_digest_mail(digest, name="Granite", api_url="http://crm.test")
    start = body.index("THE LAST 7 DAYS")
    return body[start : body.index("TO DO")].strip().splitlines()


async def test_week_has_the_figures_of_insight(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    people = [await story.add_person() for _ in range(42)]
    for place, person in enumerate(people[:40]):
        replied = 5.5 if place < 3 else None
        await story.add_message(autumn, person, days=6, replied=replied, opted_out=place == 2)
    await story.add_message(autumn, people[40], days=1)
    await story.add_message(autumn, people[41], days=8, replied=7.9)
    at = NOW - timedelta(days=2)
    session.add(
        CostEntry(
            kind="list_price",
            amount_cents=48_000,
            currency="USD",
            incurred_at=at,
            created_by="key",
            created_at=at,
        )
    )
    await session.commit()
    await record_outcome(client, people[0], days=4, kind="appointment_booked", cents=None)
    await record_outcome(client, people[0], days=3, kind="invoice_paid", cents=185_050)
    await record_outcome(client, people[9], days=3, kind="invoice_paid", cents=100_000)
    await record_outcome(client, people[0], days=0.1, kind="invoice_paid", cents=7_700)

    week = await week_of(new_uow)

    since = datetime(2026, 11, 18, 5, tzinfo=UTC)
    assert (week.since, week.until) == (since, MIDNIGHT)
    shown = await client.get(
        "/v1/insight",
        params={"measure": "reply_rate", "from": since.isoformat(), "to": MIDNIGHT.isoformat()},
    )
    total = shown.json()["total"]
    assert (week.reply_rate.value, week.reply_rate.low) == (total["value"], total["low"])
    assert week_in_mail(week) == [
        "THE LAST 7 DAYS: Wednesday 18 November to Tuesday 24 November",
        "=" * 61,
        "",
        "* Sent and not failed: 41 texts of campaigns",
        "* Replied: 3 of 41 people, 7.3 % (95 % interval 2.5 % to 19.4 %)",
        "* Replies may still come from 1 person of the last 72 hours",
        "* Opted out by a reply: 1 of 41 people",
        "* Appointments booked: 1",
        "* Paid: $2,850.50; texts led to $1,850.50 of it",
        "* Cost: $480.00",
    ]


async def test_week_without_messages_has_no_rates(new_uow: UnitOfWorkFactory) -> None:
    week = await week_of(new_uow)

    assert week_in_mail(week)[3:] == [
        "* Sent and not failed: 0 texts of campaigns",
        "* Appointments booked: 0",
        "* Paid: $0.00; texts led to $0.00 of it",
        "* Cost: $0.00",
    ]


async def test_week_begins_at_midnight_although_the_clocks_change(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test a week in which the clocks of New York went back, on 1 November 2026."""
    week = await week_of(new_uow, until=datetime(2026, 11, 3, 5, tzinfo=UTC))

    assert week.since == datetime(2026, 10, 27, 4, tzinfo=UTC)
