"""Create a large running campaign and small ones, about which a benchmark sends requests."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from benchmarks import history, population
from benchmarks.bulk import bare_tables
from benchmarks.history import Past
from benchmarks.stage import say
from crm_api.platform.database import open_engine

SMALL = 1_000
TEXTED = 10
"""One in this number of recipients has got the message, today."""
RIVALS = 5
"""Number of small campaigns that use the same line."""
LINE_LIMIT, CAMPAIGN_LIMIT = 10_000, 5_000
SHOWN = 200

_PENDING = text("""
    INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, variant, status,
        due_at, created_at, updated_at)
    SELECT uuid_v7(), :campaign_id, c.id, c.phone, c.zone_key, c.n % 2, 'pending', now(), now(),
           now()
    FROM (SELECT p.*, row_number() OVER (ORDER BY p.phone) AS n FROM contact p) c
    WHERE c.n > CAST(:after AS bigint) AND c.n <= CAST(:until AS bigint)
""")
_OPENED = (
    """
    UPDATE campaign SET status = 'running', recipients_total = :count, daily_limit = :daily_limit,
        window_start = '09:00', window_end = '18:00', timezone = 'recipient',
        pacing_mode = 'even', ab_test = '{"min_per_variant": 100, "stop_harmful": true}'
    WHERE id = :campaign_id
    """,
    "UPDATE campaign_variant SET weight = 50 WHERE campaign_id = :campaign_id",
    """
    INSERT INTO campaign_variant (id, campaign_id, position, name, body, weight)
    SELECT uuid_v7(), campaign_id, 1, 'B', 'Hello! ' || body, 50
    FROM campaign_variant WHERE campaign_id = :campaign_id
    """,
    """
    UPDATE campaign_membership m
    SET variant = r.n % 2, replied_at = CASE WHEN r.n % (9 + r.n % 2) = 0 THEN m.sent_at END,
        opted_out_at = CASE WHEN r.n % 97 = 0 THEN m.sent_at END
    FROM (
        SELECT id, row_number() OVER (ORDER BY id) AS n FROM campaign_membership
        WHERE campaign_id = :campaign_id AND status = 'delivered'
    ) r
    WHERE m.id = r.id
    """,
)
_LIST = "SELECT id FROM contact_list WHERE name = 'List 3'"
"""This list has an eighth of all contacts."""
_WAITING = """
    SELECT contact_id FROM campaign_membership
    WHERE campaign_id = :campaign AND status = 'pending' ORDER BY random() LIMIT :count
"""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The campaigns, list and recipients that the requests are about."""

    line_id: UUID
    large: UUID
    small: UUID
    list_id: UUID
    recipients: list[UUID]
    """Recipients of the large campaign that wait for their message."""


async def fill(url: str) -> Subject:
    """Create campaigns to the contacts of ``benchmarks.million``."""
    line_id = await population.add_line(url)
    await population.execute(url, "UPDATE line SET daily_limit = :limit", {"limit": LINE_LIMIT})
    async with open_engine(url) as engine, engine.connect() as connection:
        people = int(await connection.scalar(text("SELECT count(*) FROM contact")) or 0)
        list_id: UUID = (await connection.execute(text(_LIST))).scalar_one()
    [large_id] = await _campaigns(url, line_id, count=1, people=people)
    small_ids = await _campaigns(url, line_id, count=RIVALS, people=SMALL)
    say(f"a campaign of {people:,} and {RIVALS} of {SMALL:,} run")
    async with open_engine(url) as engine, engine.connect() as connection:
        waiting = await connection.execute(text(_WAITING), {"campaign": large_id, "count": SHOWN})
        recipients = list(waiting.scalars())
    await population.settle(url)
    return Subject(
        line_id=line_id,
        large=large_id,
        small=small_ids[0],
        list_id=list_id,
        recipients=recipients,
    )


async def _campaigns(url: str, line_id: UUID, *, count: int, people: int) -> list[UUID]:
    """Add running campaigns that have sent messages to some of their recipients today."""
    texted = people // TEXTED
    past = Past(line_id=line_id, ago=timedelta(minutes=5), spread=timedelta(hours=5))
    ids = await history.load(url, [past] * count, people=texted)
    async with bare_tables(url, ["campaign_membership"]) as connection:
        for campaign_id in ids:
            members = {"campaign_id": campaign_id, "after": texted, "until": people}
            await connection.execute(_PENDING, members)
    for campaign_id in ids:
        values = {"campaign_id": campaign_id, "count": people, "daily_limit": CAMPAIGN_LIMIT}
        for statement in _OPENED:
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            await population.execute(url, statement, named)
    return ids
