"""Add the conversations and messages of an office to the database of ``benchmarks.million``.

Each contact gets a conversation, and a fifth of all conversations are not done. 30 % of the
conversations get one to three messages that people or users wrote in the last two years; most of
these messages are recent. One user, who sends the requests of the benchmark, has read some of the
conversations.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks import million_statements, population
from benchmarks.bulk import bare_tables
from benchmarks.stage import say
from crm_api.domain.identity.users.credentials import ACCESS_PREFIX
from crm_api.domain.office.inbox import tallies
from crm_api.platform import clock
from crm_api.platform.encryption import hash_token
from crm_api.platform.ids import new_id

TABLES = ("conversation", "activity", "conversation_read")
USERS = 20
ACCESS = f"{ACCESS_PREFIX}of-a-benchmark-with-enough-characters"
"""The access token of the user who sends the requests. This is the first user."""

BEGINS = (
    "Hi.",
    "Hello,",
    "Yes,",
    "Thanks.",
    "Good morning,",
    "Sorry for the late answer,",
    "Please,",
)
SENTENCES = (
    "there is water in the basement after each heavy rain",
    "the foundation has a crack below the kitchen window",
    "we already have a quote from another company",
    "can you come and look on Tuesday afternoon",
    "how much does it cost to repair a wall",
    "please call my husband, he knows the house better",
    "the crawl space smells musty and the wood is wet",
    "our sump pump has failed again last night",
    "we sold the house in spring, so this is not for us",
    "the floor slopes towards the chimney",
    "is the inspection really free of charge",
    "we would like to wait until the summer",
    "the doors do not close any more since winter",
    "could you send me an e-mail with the details",
    "what times do you have next week",
    "my neighbor gave me your number",
)
RARE = "efflorescence"
"""A word that one message in ten thousand contains."""

_ADDED = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, last_outgoing_at,
        created_at)
    SELECT uuidv7(t.at - now()),
           (ARRAY(SELECT id FROM line ORDER BY phone_number_id))[
               1 + pg_temp.pick(hashtext(c.phone), 17, 2)],
           c.phone, c.id, t.at, t.at, t.at
    FROM contact c CROSS JOIN LATERAL (
        SELECT now() - pg_temp.pick(hashtext(c.phone), 41, 63072000) * interval '1 second'
    ) t (at)
    WHERE NOT EXISTS (SELECT FROM conversation k WHERE k.phone = c.phone)
""")
_USERS = text("""
    INSERT INTO app_user (id, email, name, role, status, password_hash, created_at, updated_at)
    SELECT uuidv7(interval '-3 years'), 'user' || n || '@example.com', 'User ' || n, 'owner',
           'active', 'none', now() - interval '3 years', now()
    FROM generate_series(1, CAST(:users AS integer)) AS n
    RETURNING id
""")
_SESSION = text("""
    INSERT INTO user_session (id, user_id, access_hash, access_expires_at, expires_at, created_at)
    VALUES (:id, :user_id, :hash, :until, :until, now())
""")
_WRITTEN = (
    """CREATE TEMP TABLE written ON COMMIT DROP AS
    SELECT k.id AS conversation_id, k.line_id, k.contact_id, k.phone, hashtext(k.phone) AS n, i.i,
           least(now(), now() - pg_temp.skewed(hashtext(k.phone), 43, 63072000)
               * interval '1 second' + i.i * interval '37 minutes') AS at,
           i.i % 2 = 1 AS is_incoming
    FROM conversation k CROSS JOIN LATERAL (
        SELECT generate_series(1, 1 + pg_temp.pick(hashtext(k.phone), 45, 3)) AS i
    ) i
    WHERE pg_temp.pick(hashtext(k.phone), 42, 10) < 3""",
    "ANALYZE written",
)
_MESSAGES = text("""
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT uuidv7(w.at - now()), 'message',
           CASE WHEN w.is_incoming THEN 'incoming' ELSE 'outgoing' END,
           CASE WHEN w.is_incoming THEN 'provider' ELSE 'manual' END, w.line_id, w.conversation_id,
           w.contact_id, w.phone, 'ACw' || w.i || w.phone,
           concat_ws(' ', (CAST(:begins AS text[]))[
                   1 + pg_temp.pick(w.n, 50 + w.i, cardinality(CAST(:begins AS text[])))],
               (CAST(:sentences AS text[]))[
                   1 + pg_temp.pick(w.n, 60 + w.i, cardinality(CAST(:sentences AS text[])))] || '.',
               CASE WHEN pg_temp.pick(w.n, 70 + w.i, 10000) = 0
                    THEN 'I see ' || CAST(:rare AS text) || '.' END,
               CASE WHEN pg_temp.pick(w.n, 80 + w.i, 3) = 0
                    THEN 'Ask for ' || c.last_name || ', ' || c.street || '.' END),
           CASE WHEN w.is_incoming THEN 'received' ELSE 'delivered' END, 4, w.at, w.at, w.at
    FROM written w JOIN contact c ON c.id = w.contact_id
""")
_WORK = text("""
    UPDATE conversation k
    SET state = CASE WHEN d.pick < 13 THEN 'waiting' WHEN d.pick < 60 THEN 'open'
                     WHEN d.pick < 67 THEN 'snoozed' ELSE 'done' END,
        waiting_since = CASE WHEN d.pick < 13 THEN d.heard END,
        snoozed_until = CASE WHEN d.pick BETWEEN 60 AND 66
            THEN now() + (1 + d.pick) * interval '1 day' END,
        assignee_id = CASE WHEN pg_temp.pick(d.n, 91, 10) < 4 THEN (CAST(:users AS uuid[]))[
            1 + pg_temp.pick(d.n, 92, cardinality(CAST(:users AS uuid[])))] END,
        campaign_id = CASE WHEN pg_temp.pick(d.n, 93, 2) = 0 THEN (
            SELECT array_agg(id) FROM campaign)[1 + pg_temp.pick(d.n, 94, 10)] END,
        last_incoming_at = greatest(k.last_incoming_at, d.heard),
        last_outgoing_at = greatest(k.last_outgoing_at, d.answered),
        last_activity_at = greatest(k.last_activity_at, d.heard, d.answered), updated_at = d.heard
    FROM (
        SELECT w.conversation_id AS id, w.n, pg_temp.pick(w.n, 90, 100) AS pick,
               max(w.at) FILTER (WHERE w.is_incoming) AS heard,
               max(w.at) FILTER (WHERE NOT w.is_incoming) AS answered
        FROM written w GROUP BY w.conversation_id, w.n
    ) d
    WHERE k.id = d.id
""")
_EMITTING = "ALTER TABLE conversation {} TRIGGER emit_conversation_event_on_update"
_READ = text("""
    INSERT INTO conversation_read (caller_id, conversation_id, read_until)
    SELECT CAST(:caller_id AS text), k.id, k.last_incoming_at FROM conversation k
    WHERE k.last_incoming_at IS NOT NULL
      AND pg_temp.pick(hashtext(k.phone), 95, 100) < CASE WHEN k.state = 'done' THEN 30 ELSE 3 END
""")


async def fill(database_url: str) -> None:
    """Add conversations, written messages, users, and what the first user has read."""
    async with bare_tables(database_url, TABLES) as connection:
        for statement in million_statements.PREPARATION:
            await connection.exec_driver_sql(statement)
        users = list(await connection.scalars(_USERS, {"users": USERS}))
        await _sign_in(connection, users[0])
        await connection.execute(_ADDED)
        for statement in _WRITTEN:
            await connection.exec_driver_sql(statement)
        words = {"begins": list(BEGINS), "sentences": list(SENTENCES), "rare": RARE}
        await connection.execute(_MESSAGES, words)
        await connection.exec_driver_sql(_EMITTING.format("DISABLE"))
        await connection.execute(_WORK, {"users": users})
        await connection.execute(_READ, {"caller_id": str(users[0])})
        await connection.exec_driver_sql(_EMITTING.format("ENABLE"))
        await connection.execute(tallies.COMPACT, {"rows": 0})
        say("the office's rows are written")
    await population.settle(database_url)
    say("the office's indexes are built")


async def _sign_in(connection: AsyncConnection, user_id: UUID) -> None:
    values = {"id": new_id(), "user_id": user_id, "hash": hash_token(ACCESS)}
    until = clock.wall_now() + timedelta(days=7)
    await connection.execute(_SESSION, {**values, "until": until})
