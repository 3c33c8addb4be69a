"""Fill the tables for benchmarks with SQL statements that insert many rows at once."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import make_url, text

from benchmarks.bulk import bare_tables
from crm_api.domain.all_tables import metadata
from crm_api.platform.database import open_engine

LINES = ("PNsandbox1", "PNsandbox2")
"""The provider's ids of the sandbox's lines."""
BODY = (
    "Hi {{ first_name }}, this is Granite Foundations. Have you seen cracks in your basement? "
    "We look at them for free this month. Reply STOP to opt out."
)
ZONE_KEYS = (
    "MA/America/New_York",
    "NH/America/New_York",
    "FL/America/New_York",
    "FL,MA/America/New_York",
    "FL/America/Chicago,America/New_York",
    "TX/America/Chicago",
    "TX/America/Chicago,America/Denver",
    "IL/America/Chicago",
    "CO/America/Denver",
    "AZ/America/Phoenix",
    "CA/America/Los_Angeles",
    "MA,CA/America/Los_Angeles,America/New_York",
)
"""Zone keys (state and time zone of a phone number) of the contacts. They are assigned in turn."""
DAYTIME = range(6, 18)
MANY = 100_000
"""From this number of rows on, it is faster to drop the indexes and create them again."""


def phone(position: int) -> str:
    """Return the phone number with this position. Its area code is 200 to 999, its exchange 555."""
    return f"+1{200 + position // 10_000}555{position % 10_000:04d}"


def body(position: int) -> str:
    """Return the text of the message to the contact with this position."""
    return BODY.replace("{{ first_name }}", f"Ada{position}")


def timezone() -> str:
    """Return a time zone in which it is daytime, so that a line's day does not end during a run."""
    return "UTC" if datetime.now(UTC).hour in DAYTIME else "Asia/Tokyo"


_LINE = text("""
    INSERT INTO line (id, phone_number_id, number, name, daily_limit, timezone, created_at,
        updated_at)
    VALUES (uuid_v7(), :phone_number_id, '+16175550100', 'Main', 10000000, :timezone, now(), now())
    ON CONFLICT (phone_number_id) DO UPDATE SET updated_at = now()
    RETURNING id
""")
_CONTACTS = text("""
    INSERT INTO contact (id, phone, first_name, zone_key, source, created_at, updated_at)
    SELECT uuid_v7(), '+1' || (200 + n / 10000) || '555' || lpad((n % 10000)::text, 4, '0'),
           'Ada' || n,
           (CAST(:zone_keys AS text[]))[1 + n % cardinality(CAST(:zone_keys AS text[]))],
           'import', now(), now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    ON CONFLICT DO NOTHING
""")
CAMPAIGN = text("""
    WITH made AS (
        INSERT INTO campaign (id, name, line_id, status, audience, days, window_start, window_end,
            daily_limit, pacing_mode, batch_size, batch_interval_minutes, zone_keys,
            recipients_total, started_at, created_at, updated_at)
        VALUES (uuid_v7(), 'Bench', :line_id, :status, '{}', '{mon,tue,wed,thu,fri,sat,sun}',
            '00:00', '23:59', 10000000, 'burst', 10000000, 1, :zone_keys,
            :count, now(), now(), now())
        RETURNING id
    ), worded AS (
        INSERT INTO campaign_variant (id, campaign_id, position, name, body, weight)
        SELECT uuid_v7(), id, 0, 'A', :body, 100 FROM made
    )
    SELECT id FROM made
""")
_MEMBERS = text("""
    INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, status, due_at,
        created_at, updated_at)
    SELECT uuid_v7(), :campaign_id, c.id, c.phone, c.zone_key, 'pending', now(), now(), now()
    FROM contact c WHERE c.phone BETWEEN :first_phone AND :last_phone ORDER BY c.phone
""")
_ACCEPTED = "SELECT sum(texts) FROM send_tally WHERE quarter > now() - interval '1 day'"


async def add_line(database_url: str, phone_number_id: str = LINES[0]) -> UUID:
    """Create a line with a very high daily limit if it does not exist yet; return its id."""
    values = {"phone_number_id": phone_number_id, "timezone": timezone()}
    async with open_engine(database_url) as engine, engine.begin() as connection:
        line_id: UUID = (await connection.execute(_LINE, values)).scalar_one()
        return line_id


async def add_contacts(database_url: str, *, first: int, count: int) -> None:
    """Add the contacts of these positions that do not exist yet."""
    values = {"first": first, "last": first + count - 1, "zone_keys": list(ZONE_KEYS)}
    if count < MANY:
        async with open_engine(database_url) as engine, engine.begin() as connection:
            await connection.execute(_CONTACTS, values)
    else:
        async with bare_tables(database_url, ["contact"]) as connection:
            await connection.execute(_CONTACTS, values)


async def add_campaign(
    database_url: str, *, line_id: UUID, first: int, count: int, status: str = "paused"
) -> UUID:
    """Add a campaign to existing contacts, and return its id. All its recipients are due."""
    async with open_engine(database_url) as engine, engine.begin() as connection:
        campaign = {"line_id": line_id, "status": status, "count": count, "body": BODY}
        made = await connection.execute(CAMPAIGN, {**campaign, "zone_keys": list(ZONE_KEYS)})
        campaign_id: UUID = made.scalar_one()
        await connection.execute(
            _MEMBERS,
            {
                "campaign_id": campaign_id,
                "first_phone": phone(first),
                "last_phone": phone(first + count - 1),
            },
        )
        return campaign_id


async def start_campaign(database_url: str, count: int, *, first: int = 0) -> None:
    """Add ``count`` contacts, and start a campaign to these contacts."""
    line_id = await add_line(database_url)
    await add_contacts(database_url, first=first, count=count)
    await add_campaign(database_url, line_id=line_id, first=first, count=count, status="running")
    await settle(database_url)


async def set_status(database_url: str, campaign_id: UUID, status: str) -> None:
    """Set the status of a campaign: start it or pause it."""
    await execute(
        database_url,
        "UPDATE campaign SET status = :status WHERE id = :id",
        {"status": status, "id": campaign_id},
    )


def count_accepted(database_url: str) -> int:
    """Return the number of messages that the provider has accepted in the last day."""
    return asyncio.run(_scalar(database_url, _ACCEPTED))


async def clear(database_url: str) -> None:
    """Empty all tables."""
    names = ", ".join(f'"{table}"' for table in metadata.tables)
    await execute(database_url, f"TRUNCATE {names} RESTART IDENTITY CASCADE", {})


async def copy_database(database_url: str, name: str) -> str:
    """Create a copy of this database in place of an earlier copy; return the URL of the copy."""
    here = make_url(database_url)
    maintenance = here.set(database="template1").render_as_string(hide_password=False)
    for statement in (
        f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
        f'CREATE DATABASE "{name}" TEMPLATE "{here.database}" STRATEGY FILE_COPY',
    ):
        await execute(maintenance, statement, {}, alone=True)
    return here.set(database=name).render_as_string(hide_password=False)


async def settle(database_url: str, tables: Sequence[str] = ()) -> None:
    """Vacuum and analyze the tables, so that this does not happen during the measurement."""
    await execute(database_url, f"VACUUM ANALYZE {', '.join(tables)}", {}, alone=True)
    await execute(database_url, "CHECKPOINT", {}, alone=True)


async def execute(
    database_url: str, statement: str, values: dict[str, Any], *, alone: bool = False
) -> None:
    """Run one statement. If ``alone`` is true, run it outside of a transaction."""
    level = "AUTOCOMMIT" if alone else "READ COMMITTED"
    async with open_engine(database_url) as engine, engine.connect() as connection:
        plain = await connection.execution_options(isolation_level=level)
        await plain.execute(text(statement), values)
        await plain.commit()


async def _scalar(database_url: str, statement: str) -> int:
    async with open_engine(database_url) as engine, engine.connect() as connection:
        return int(await connection.scalar(text(statement)) or 0)
