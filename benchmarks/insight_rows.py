"""Fill a database with two years of messages, replies, answers, outcomes and costs.

Every run creates the same rows, because the SQL function ``pick`` returns a hash instead of a
random number. Messages are sent on working days, within eight hours. Each campaign goes to a tenth
of the people. A quarter of these people get a follow-up.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks import population
from benchmarks.bulk import bare_tables
from benchmarks.stage import say

PEOPLE_PARTS = 10
"""One in this number of people gets the message of a campaign."""
PARTS = 4
"""One in this number of recipients gets a follow-up."""
LINES = 8
TABLES = (
    *("contact", "conversation", "activity", "campaign_membership", "send_attempt"),
    *("outcome", "outcome_subject", "cost_entry"),
)
LATE = (
    ("campaign_membership", "note_late_message_on_insert"),
    ("campaign_membership", "note_late_reply_on_insert"),
    ("send_attempt", "note_late_cost_on_insert"),
    ("activity", "note_late_answers"),
)
"""Triggers that store a note about each message that is recorded more than an hour late. They are
switched off while the rows are written, because all these messages are counted with their hours.
Otherwise there would be 10,000,000 dead rows of notes, and every figure would read them."""
KEPT = ("pk_campaign_membership",)
"""Keys that stay during the load, because the trigger that sums the costs looks up the recipient of
each attempt."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows are created."""

    messages: int
    outcomes: int
    campaigns: int = 40

    @property
    def people(self) -> int:
        """The number of contacts."""
        return self.first_messages * PEOPLE_PARTS

    @property
    def first_messages(self) -> int:
        """The number of people who get the first message of a campaign."""
        return max(self.messages * PARTS // (self.campaigns * (PARTS + 1)), PARTS)


PICK = """CREATE FUNCTION pg_temp.pick(n bigint, seed integer, size integer) RETURNS integer
    LANGUAGE sql IMMUTABLE AS $$
        SELECT (((hashint8extended(n, seed) >> 33) & 2147483647) % size)::integer
    $$"""
PEOPLE = text("""
    INSERT INTO contact (id, phone, first_name, zone_key, city, postal_code, attributes, source,
        created_at, updated_at)
    SELECT uuid_v7(), '+1' || (200 + n / 10000) || '555' || lpad((n % 10000)::text, 4, '0'),
           'Ada' || n, 'MA/America/New_York', 'City ' || pg_temp.pick(n, 1, 150),
           lpad((2000 + pg_temp.pick(n, 2, 500))::text, 5, '0'),
           jsonb_build_object('year_built', 1890 + pg_temp.pick(n, 3, 130),
               'est_value', 1000 * (150 + pg_temp.pick(n, 4, 1200)),
               'owner_occupied', CASE WHEN pg_temp.pick(n, 5, 4) = 0 THEN 'no' ELSE 'yes' END),
           CASE WHEN pg_temp.pick(n, 6, 20) = 0 THEN 'api' ELSE 'import' END, now(), now()
    FROM generate_series(0, CAST(:people AS integer) - 1) AS n
""")
NUMBERED = """CREATE TEMP TABLE numbered AS
    SELECT p.id, p.phone, p.zone_key, (row_number() OVER (ORDER BY p.phone) - 1)::integer AS n
    FROM contact p"""
LISTS = text("""
    INSERT INTO contact_list (id, name, created_at, updated_at)
    SELECT uuid_v7(), 'List ' || n, now(), now() FROM generate_series(1, 10) AS n
""")
AUDIENCE = text("""
    UPDATE campaign c SET name = 'Campaign ' || CAST(:place AS integer),
        line_id = (ARRAY(SELECT l.id FROM line l ORDER BY l.phone_number_id))[
            1 + CAST(:place AS integer) % (SELECT count(*)::integer FROM line)],
        audience = jsonb_build_object('list_id', (ARRAY(SELECT l.id FROM contact_list l
            ORDER BY l.name))[1 + CAST(:place AS integer) % 10])
    WHERE c.id = :campaign_id
""")
SECOND_VARIANT = text("""
    INSERT INTO campaign_variant (id, campaign_id, position, name, body, weight)
    SELECT uuid_v7(), :campaign_id, 1, 'B', 'Hello!', 50
""")
# A new campaign begins every 18 days, and each campaign lasts 20 working days.
MEMBERS = text("""
    INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key, variant,
        status, attempts, due_at, sent_at, delivered_at, replied_at, opted_out_at, is_interested,
        created_at, updated_at)
    SELECT uuidv7(s.at - now()), :campaign_id, :step, c.id, c.phone, c.zone_key, c.n % 2, r.status,
           1, s.at, CASE WHEN r.status <> 'failed' THEN s.at END,
           CASE WHEN r.status = 'delivered' THEN s.at + interval '3 seconds' END,
           CASE WHEN r.has_replied THEN s.at + pg_temp.pick(r.x, 3, 200000) * interval '1 second'
           END,
           CASE WHEN r.has_replied AND pg_temp.pick(r.x, 4, 8) = 0
               THEN s.at + pg_temp.pick(r.x, 3, 200000) * interval '1 second' END,
           r.has_replied AND pg_temp.pick(r.x, 4, 8) > 0 AND pg_temp.pick(r.x, 7, 6) = 0, s.at, s.at
    FROM pg_temp.numbered c
    CROSS JOIN LATERAL (SELECT (c.n + CAST(:place AS integer) * 7919) % CAST(:people AS integer)
        AS i) o
    CROSS JOIN LATERAL (
        SELECT o.i::bigint * 1000 + :place * 10 + :step AS x,
               o.i * 20 / CAST(:count AS integer) AS day
    ) d
    CROSS JOIN LATERAL (
        SELECT date_trunc('week', now() - interval '740 days', 'UTC')
            + (CAST(:place AS integer) * 18 + CAST(:step AS integer) * 3) * interval '1 day'
            + (d.day / 5 * 7 + d.day % 5) * interval '1 day' + interval '14 hours'
            + pg_temp.pick(d.x, 1, 28800) * interval '1 second' AS at
    ) s
    CROSS JOIN LATERAL (
        SELECT d.x, f.status, f.status <> 'failed' AND pg_temp.pick(d.x, 5, 25) = 0 AS has_replied
        FROM (SELECT CASE pg_temp.pick(d.x, 2, 50) WHEN 0 THEN 'failed' WHEN 1 THEN 'sent'
                     ELSE 'delivered' END AS status) f
    ) r
    WHERE o.i < CAST(:count AS integer)
      AND (CAST(:step AS integer) = 0 OR o.i % CAST(:parts AS integer) = 0)
""")
ATTEMPTS = text("""
    INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
        segments, status, called_at, accepted_at, created_at, updated_at)
    SELECT m.id, m.id, m.campaign_id, g.line_id, m.id, m.phone, 'Hi',
           1 + pg_temp.pick(hashtext(m.phone), 9, 2), m.status, m.sent_at, m.sent_at, m.sent_at,
           m.sent_at
    FROM campaign_membership m JOIN campaign g ON g.id = m.campaign_id
    WHERE m.campaign_id = :campaign_id AND m.status <> 'failed'
""")
CONVERSATIONS = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, created_at, state,
        waiting_since)
    SELECT uuid_v7(), g.line_id, m.phone, m.contact_id, now(), now(),
           CASE WHEN pg_temp.pick(hashtext(m.phone), 10, 200) = 0 THEN 'waiting' ELSE 'done' END,
           CASE WHEN pg_temp.pick(hashtext(m.phone), 10, 200) = 0 THEN max(m.replied_at) END
    FROM campaign_membership m JOIN campaign g ON g.id = m.campaign_id
    WHERE m.replied_at IS NOT NULL GROUP BY g.line_id, m.phone, m.contact_id
""")
REPLIES = text("""
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        campaign_id, body, reply_class, status, rank, occurred_at, created_at, updated_at)
    SELECT uuidv7(m.replied_at - now()), 'message', 'incoming', 'provider', g.line_id, t.id,
           m.contact_id, m.phone, m.campaign_id, 'Yes please',
           CASE WHEN m.opted_out_at IS NOT NULL THEN 'stop'
                WHEN m.is_interested THEN 'interested'
                WHEN pg_temp.pick(hashtext(m.id::text), 7, 6) = 1 THEN 'question'
                ELSE 'not_interested' END,
           'received', 4, m.replied_at, m.replied_at, m.replied_at
    FROM campaign_membership m JOIN campaign g ON g.id = m.campaign_id
    JOIN conversation t ON t.line_id = g.line_id AND t.phone = m.phone
    WHERE m.replied_at IS NOT NULL
""")
ANSWERS = text("""
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        body, status, rank, occurred_at, created_at, updated_at)
    SELECT uuidv7(s.at - now()), 'message', 'outgoing', 'manual', a.line_id, a.conversation_id,
           a.contact_id, a.phone, 'Sure', 'delivered', 4, s.at, s.at, s.at
    FROM activity a CROSS JOIN LATERAL (
        SELECT a.occurred_at + pg_temp.pick(hashtext(a.id::text), 8, 40000) * interval '1 second'
            AS at) s
    WHERE a.direction = 'incoming' AND pg_temp.pick(hashtext(a.id::text), 9, 4) = 0
""")
# All outcomes belong to people who replied.
OUTCOMES = text("""
    WITH made AS MATERIALIZED (
        SELECT uuid_v7() AS id, r.contact_id, r.n,
               least(now(), r.replied_at + pg_temp.pick(r.n, 1, 60) * interval '1 day') AS at,
               (ARRAY['appointment_booked', 'quote_sent', 'job_done', 'invoice_paid',
                      'invoice_paid'])[1 + pg_temp.pick(r.n, 2, 5)] AS kind
        FROM (
            SELECT m.contact_id, m.replied_at, row_number() OVER (ORDER BY m.id) AS n
            FROM campaign_membership m WHERE m.replied_at IS NOT NULL
        ) r LIMIT :outcomes
    ), subjects AS (
        INSERT INTO outcome_subject (outcome_id, contact_id) SELECT id, contact_id FROM made
    )
    INSERT INTO outcome (id, kind, amount_cents, currency, occurred_at, source, recorded_by,
        created_at)
    SELECT id, kind, CASE WHEN kind = 'invoice_paid' THEN 10000 + pg_temp.pick(n, 3, 2000000) END,
           'USD', at, (ARRAY['person', 'import', 'api'])[1 + pg_temp.pick(n, 4, 3)], 'bench', at
    FROM made
""")
REVERSALS = text("""
    INSERT INTO outcome (id, kind, amount_cents, currency, occurred_at, source, recorded_by,
        reverses_id, created_at)
    SELECT uuid_v7(), kind, -amount_cents, currency, occurred_at, source, 'bench', id, now()
    FROM outcome WHERE amount_cents IS NOT NULL AND pg_temp.pick(hashtext(id::text), 1, 20) = 0
""")
COSTS = text("""
    INSERT INTO cost_entry (id, kind, amount_cents, currency, incurred_at, campaign_id, created_by,
        created_at)
    SELECT uuid_v7(), 'labour', 12000, 'USD', c.started_at, c.id, 'bench', now() FROM campaign c
""")


async def fill(database_url: str, size: Size) -> list[UUID]:
    """Write the rows into empty tables; return the ids of the campaigns, the oldest first."""
    for place in range(LINES):
        await population.add_line(database_url, f"PNbench{place}")
    async with bare_tables(database_url, TABLES, kept=KEPT) as connection:
        await connection.exec_driver_sql("SET LOCAL work_mem = '128MB'")
        await connection.exec_driver_sql(PICK)
        for table, trigger in LATE:
            await connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        await connection.execute(PEOPLE, {"people": size.people})
        await connection.execute(LISTS)
        await connection.exec_driver_sql("ANALYZE contact")
        await connection.exec_driver_sql(NUMBERED)
        ids = [await _add_campaign(connection, place, size) for place in range(size.campaigns)]
        say("the messages are written")
        await connection.execute(CONVERSATIONS)
        await connection.execute(REPLIES)
        await connection.execute(ANSWERS)
        await connection.execute(OUTCOMES, {"outcomes": size.outcomes})
        await connection.execute(REVERSALS)
        await connection.execute(COSTS)
        for table, trigger in LATE:
            await connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
        say("the replies and outcomes are written")
    await population.settle(database_url)
    say("the planner knows them")
    return ids


async def _add_campaign(connection: AsyncConnection, place: int, size: Size) -> UUID:
    line_id = await connection.scalar(text("SELECT id FROM line LIMIT 1"))
    campaign = {
        "line_id": line_id,
        "status": "completed",
        "count": size.first_messages,
        "body": population.BODY,
        "zone_keys": ["MA/America/New_York"],
    }
    campaign_id: UUID = (await connection.execute(population.CAMPAIGN, campaign)).scalar_one()
    of_campaign = {"campaign_id": campaign_id}
    await connection.execute(AUDIENCE, {**of_campaign, "place": place})
    await connection.execute(SECOND_VARIANT, of_campaign)
    counts = {"people": size.people, "count": size.first_messages, "parts": PARTS}
    for step in (0, 1):
        values = {**of_campaign, **counts, "place": place, "step": step}
        await connection.execute(MEMBERS, values)
    await connection.execute(ATTEMPTS, of_campaign)
    return campaign_id
