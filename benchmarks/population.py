"""Fills the tables for benchmarks, by statements and not row by row."""

from sqlalchemy import text

from crm_api.db import open_engine

PHONE_NUMBER_ID = "PNsandbox1"
BODY = (
    "Hi {{ first_name }}, this is Granite Foundations. Have you seen cracks in your basement? "
    "We look at them for free this month. Reply STOP to opt out."
)
_SCHEMA_TABLES = (
    "activity, send_attempt, campaign_membership, campaign_variant, campaign, conversation, "
    "contact, line, rate_limit"
)


def phone(position: int) -> str:
    """Return the position-th number; area codes 200 to 999 and exchange 555."""
    return f"+1{200 + position // 10_000}555{position % 10_000:04d}"


def body(position: int) -> str:
    """Return what the position-th contact gets."""
    return BODY.replace("{{ first_name }}", f"Ada{position}")


_LINE = text("""
    INSERT INTO line (id, phone_number_id, number, name, daily_limit, created_at, updated_at)
    VALUES (uuid_v7(), :phone_number_id, '+16175550100', 'Main', 10000000, now(), now())
    ON CONFLICT DO NOTHING
""")
_CONTACTS = text("""
    INSERT INTO contact (id, phone, first_name, zone_key, created_at, updated_at)
    SELECT uuid_v7(), '+1' || (200 + n / 10000) || '555' || lpad((n % 10000)::text, 4, '0'),
           'Ada' || n, 'MA/America/New_York', now(), now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    ON CONFLICT DO NOTHING
""")
_CAMPAIGN = text("""
    WITH made AS (
        INSERT INTO campaign (id, name, line_id, status, audience, days, window_start, window_end,
            daily_limit, pacing_mode, batch_size, batch_interval_minutes, zone_keys,
            recipients_total, started_at, created_at, updated_at)
        SELECT uuid_v7(), 'Bench', l.id, :status, '{}', '{mon,tue,wed,thu,fri,sat,sun}', '00:00',
               '23:59', 10000000, 'burst', 10000000, 1, '{MA/America/New_York}', :count, now(),
               now(), now()
        FROM line l WHERE l.phone_number_id = :phone_number_id
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
    FROM contact c ORDER BY c.phone OFFSET :first LIMIT :count
""")
_FINISHED = (
    """
    INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, status,
        attempts, due_at, sent_at, delivered_at, created_at, updated_at)
    SELECT uuid_v7(), :campaign_id, c.id, c.phone, c.zone_key, 'delivered', 1, now(),
           now() - interval '9 days', now() - interval '9 days', now(), now()
    FROM contact c ORDER BY c.phone LIMIT :count
    """,
    """
    INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
        status, called_at, accepted_at, reported_at, provider_message_id, created_at, updated_at)
    SELECT m.id, m.id, m.campaign_id, l.id, m.id, m.phone, 'Hello', 'delivered', m.sent_at,
           m.sent_at, m.sent_at, 'ACold' || m.phone, m.sent_at, m.sent_at
    FROM campaign_membership m CROSS JOIN line l WHERE m.campaign_id = :campaign_id
    """,
    """
    INSERT INTO activity (id, kind, direction, origin, line_id, contact_id, phone, campaign_id,
        openphone_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT m.id, 'message', 'outgoing', 'campaign', l.id, m.contact_id, m.phone, m.campaign_id,
           'ACold' || m.phone, 'Hello', 'delivered', 5, m.sent_at, m.sent_at, m.sent_at
    FROM campaign_membership m CROSS JOIN line l WHERE m.campaign_id = :campaign_id
    """,
)


async def start_campaign(database_url: str, count: int, *, first: int = 0) -> None:
    """Add ``count`` contacts and a running campaign to them, ready to drain."""
    async with open_engine(database_url) as engine:
        async with engine.begin() as connection:
            line = {"phone_number_id": PHONE_NUMBER_ID}
            await connection.execute(_LINE, line)
            await connection.execute(_CONTACTS, {"first": first, "last": first + count - 1})
            campaign_id = await connection.scalar(
                _CAMPAIGN, {**line, "status": "running", "count": count, "body": BODY}
            )
            members = {"campaign_id": campaign_id, "first": first, "count": count}
            await connection.execute(_MEMBERS, members)
        await _settle(database_url)


async def finish_campaign(database_url: str, count: int) -> None:
    """Add a completed campaign with ``count`` delivered texts, on numbers of its own too."""
    async with open_engine(database_url) as engine, engine.begin() as connection:
        line = {"phone_number_id": PHONE_NUMBER_ID}
        await connection.execute(_LINE, line)
        await connection.execute(_CONTACTS, {"first": 0, "last": count - 1})
        campaign_id = await connection.scalar(
            _CAMPAIGN, {**line, "status": "completed", "count": count, "body": BODY}
        )
        for statement in _FINISHED:
            await connection.execute(text(statement), {"campaign_id": campaign_id, "count": count})


async def clear(database_url: str) -> None:
    """Empty the tables."""
    async with open_engine(database_url) as engine, engine.begin() as connection:
        await connection.execute(text(f"TRUNCATE {_SCHEMA_TABLES} CASCADE"))


async def _settle(database_url: str) -> None:
    async with open_engine(database_url) as engine, engine.connect() as connection:
        outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await outside.execute(text("VACUUM ANALYZE"))
        await outside.execute(text("CHECKPOINT"))
