"""The SQL statements that fill a database with a million contacts and several years of history.

The SQL functions ``pick`` and ``skewed`` return a hash of the row's number instead of a random
number, so that every run creates the same rows. Both return numbers that begin at 0. ``pick``
returns each number equally often. ``skewed`` returns small numbers far more often.
"""

from sqlalchemy import text

PREPARATION = (
    """CREATE FUNCTION pg_temp.pick(n bigint, seed integer, size integer) RETURNS integer
    LANGUAGE sql IMMUTABLE AS $$
        SELECT (((hashint8extended(n, seed) >> 33) & 2147483647) % size)::integer
    $$""",
    """CREATE FUNCTION pg_temp.skewed(n bigint, seed integer, size integer) RETURNS integer
    LANGUAGE sql IMMUTABLE AS $$
        SELECT trunc(size * power(pg_temp.pick(n, seed, 1000003) / 1000003.0::float8, 2))::integer
    $$""",
    "CREATE TEMP TABLE surname (n integer, name text, plain text) ON COMMIT DROP",
    "CREATE TEMP TABLE given_name (n integer, name text, plain text) ON COMMIT DROP",
    """CREATE TEMP TABLE place (n integer, area_code text, state text, city text, postal_code text,
        zone_key text) ON COMMIT DROP""",
)
SURNAMES = text("""
    INSERT INTO surname
    SELECT n, name, plain FROM ROWS FROM (
        generate_series(0, cardinality(CAST(:names AS text[])) - 1),
        unnest(CAST(:names AS text[])), unnest(CAST(:plain AS text[]))) AS r (n, name, plain)
""")
GIVEN_NAMES = text("""
    INSERT INTO given_name
    SELECT n, name, plain FROM ROWS FROM (
        generate_series(0, cardinality(CAST(:names AS text[])) - 1),
        unnest(CAST(:names AS text[])), unnest(CAST(:plain AS text[]))) AS r (n, name, plain)
""")
PLACES = text("""
    INSERT INTO place
    SELECT n, area_code, state, city, postal_code, zone_key FROM ROWS FROM (
        generate_series(0, cardinality(CAST(:area_codes AS text[])) - 1),
        unnest(CAST(:area_codes AS text[])), unnest(CAST(:states AS text[])),
        unnest(CAST(:cities AS text[])), unnest(CAST(:postal_codes AS text[])),
        unnest(CAST(:zone_keys AS text[]))
    ) AS r (n, area_code, state, city, postal_code, zone_key)
""")

# One thousand rows have the same time, as the rows of one chunk of an import have.
CONTACTS = text("""
    INSERT INTO contact (id, phone, first_name, last_name, email, company, street, city, state,
        postal_code, country, zone_key, tags, attributes, source, created_at, updated_at)
    SELECT uuidv7(t.created_at - now()),
           '+1' || p.area_code || '555' || lpad((d.n / CAST(:area_codes AS integer))::text, 4, '0'),
           g.name, s.name,
           CASE WHEN pg_temp.pick(d.n, 1, 10) < 7
               THEN lower(g.plain || '.' || s.plain) || d.n || '@example.com' END,
           CASE WHEN pg_temp.pick(d.n, 2, 10) = 0 THEN s.name || ' Builders' END,
           1 + pg_temp.pick(d.n, 3, 9999) || ' ' || r.name || ' Street', p.city, p.state,
           p.postal_code, 'US', p.zone_key,
           (CAST(:tags AS text[]))[
               1 + pg_temp.skewed(d.n, 4, 30) : pg_temp.skewed(d.n, 4, 30)
                   + pg_temp.pick(d.n, 5, 4)],
           jsonb_build_object(
               'year_built', 1900 + pg_temp.pick(d.n, 6, 120),
               'owner_occupied', pg_temp.pick(d.n, 7, 4) > 0,
               'home_value', 1000 * (150 + pg_temp.skewed(d.n, 8, 900))),
           CASE WHEN pg_temp.pick(d.n, 9, 20) = 0 THEN 'api' ELSE 'import' END,
           t.created_at,
           CASE WHEN pg_temp.pick(d.n, 10, 5) = 0
               THEN now() - (now() - t.created_at) * (pg_temp.pick(d.n, 11, 1000) / 1000.0::float8)
               ELSE t.created_at END
    FROM (
        SELECT n AS place, CAST(n * 7919 % CAST(:people AS bigint) AS integer) AS n
        FROM generate_series(0, CAST(:people AS bigint) - 1) AS n
    ) d
    CROSS JOIN LATERAL (
        SELECT now() - interval '3 years' * (1 - (d.place / 1000 * 1000) / CAST(:people AS float8))
    ) t (created_at)
    JOIN place p ON p.n = d.n % CAST(:area_codes AS integer) * 4 + pg_temp.pick(d.n, 12, 4)
    JOIN given_name g ON g.n = pg_temp.skewed(d.n, 13, CAST(:given_names AS integer))
    JOIN surname s ON s.n = pg_temp.skewed(d.n, 14, CAST(:surnames AS integer))
    JOIN surname r ON r.n = pg_temp.pick(d.n, 15, CAST(:surnames AS integer))
    ORDER BY d.place
""")
FLAGS = text("""
    INSERT INTO contact_flag (id, phone, flag_type, reason, expires_at, created_at)
    SELECT uuidv7(), c.phone, f.flag, 'benchmark',
           CASE WHEN f.flag = 'recently_texted' THEN now() + interval '20 days' END,
           now() - interval '90 days'
    FROM contact c CROSS JOIN LATERAL (
        SELECT (CASE WHEN pick < 30 THEN 'opted_out' WHEN pick < 33 THEN 'opt_out_hold'
                     WHEN pick < 43 THEN 'do_not_contact' WHEN pick < 53 THEN 'office_number'
                     WHEN pick < 63 THEN 'recently_texted' WHEN pick < 73 THEN 'vip' END)
        FROM pg_temp.pick(hashtext(c.phone), 16, 1000) AS pick
    ) f (flag)
    WHERE f.flag IS NOT NULL
""")
OPTED_OUT = text("SELECT phone FROM contact_flag WHERE flag_type = 'opted_out'")
CONSENT = text("""
    WITH said AS (
        INSERT INTO consent_entry (phone_hash, contact_id, action, source, actor, occurred_at,
            created_at)
        SELECT o.phone_hash, c.id, 'opt_out', 'message', 'person', now() - interval '90 days',
               now() - interval '90 days'
        FROM unnest(CAST(:phones AS text[]), CAST(:hashes AS bytea[])) AS o (phone, phone_hash)
        JOIN contact c ON c.phone = o.phone
        RETURNING id, phone_hash
    )
    INSERT INTO consent_wording (entry_id, phone, reason, evidence)
    SELECT s.id, o.phone, 'STOP', '{"text": "STOP"}'
    FROM said s
    JOIN unnest(CAST(:phones AS text[]), CAST(:hashes AS bytea[])) AS o (phone, phone_hash)
      ON o.phone_hash = s.phone_hash
""")

# The first list has half of all contacts, the next list has a quarter, and so on. The last list has
# a few hundred contacts.
LISTS = text("""
    INSERT INTO contact_list (id, name, created_at, updated_at)
    SELECT uuidv7(now() - n * interval '10 days' - now()), 'List ' || n, now() - n * interval
           '10 days', now()
    FROM generate_series(1, CAST(:lists AS integer)) AS n
""")
LIST_MEMBERS = text("""
    INSERT INTO contact_list_member (list_id, contact_id, added_at)
    SELECT l.id, c.id, greatest(l.created_at, c.created_at)
    FROM (SELECT id, created_at, row_number() OVER (ORDER BY created_at DESC) AS n
          FROM contact_list) l
    JOIN contact c ON pg_temp.pick(hashtext(c.phone), 100 + l.n::integer,
                                   power(2, l.n)::integer) = 0
""")

# The column ``rounds`` of a contact is the number of campaigns that send to the contact. These are
# always the first campaigns.
TALKS = (
    """CREATE TEMP TABLE talk (n bigint, id uuid, contact_id uuid, phone text, zone_key text,
        line_id uuid, rounds integer, has_replied boolean) ON COMMIT DROP""",
    """INSERT INTO talk
    SELECT hashtext(c.phone), uuidv7(c.created_at - now()), c.id, c.phone, c.zone_key,
           (ARRAY(SELECT id FROM line ORDER BY phone_number_id))[
               1 + pg_temp.pick(hashtext(c.phone), 17, 2)],
           3 + pg_temp.pick(hashtext(c.phone), 18, 12),
           pg_temp.pick(hashtext(c.phone), 19, 100) < 13
    FROM contact c WHERE pg_temp.pick(hashtext(c.phone), 20, 100) < 59""",
)
_ROUND_DAYS = 75
_SENT_AT = (
    f"now() - ((15 - r.round) * {_ROUND_DAYS * 86400} "
    f"- pg_temp.pick(t.n, r.round, {(_ROUND_DAYS - 2) * 86400})) * interval '1 second'"
)
CONVERSATIONS = text(f"""
    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, last_outgoing_at,
        last_incoming_at, created_at)
    SELECT t.id, t.line_id, t.phone, t.contact_id,
           {_SENT_AT} + CASE WHEN t.has_replied THEN interval '1 hour' ELSE interval '0' END,
           {_SENT_AT}, CASE WHEN t.has_replied THEN {_SENT_AT} + interval '1 hour' END,
           now() - interval '3 years'
    FROM talk t CROSS JOIN LATERAL (SELECT t.rounds) r (round)
""")  # noqa: S608 - of constants
ACTIVITIES = text(f"""
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        campaign_id, openphone_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT uuidv7(r.at - now()), CASE WHEN r.is_call THEN 'call' ELSE 'message' END, r.direction,
           CASE WHEN r.is_call OR r.direction = 'incoming' THEN 'provider' ELSE 'campaign' END,
           t.line_id, t.id, t.contact_id, t.phone, :campaign_id,
           'AC' || CAST(:round AS integer) || r.direction || t.phone,
           CASE WHEN NOT r.is_call THEN r.body END,
           CASE WHEN r.is_call THEN 'completed' WHEN r.direction = 'incoming' THEN 'received'
                ELSE 'delivered' END, 4, r.at, r.at, r.at
    FROM talk t
    CROSS JOIN LATERAL (
        SELECT {_SENT_AT} FROM (SELECT CAST(:round AS integer) AS round) r
    ) s (sent_at)
    CROSS JOIN LATERAL (
        SELECT 'outgoing', s.sent_at, pg_temp.pick(t.n, 50 + CAST(:round AS integer), 33) = 0,
               CAST(:body AS text) || t.n
        UNION ALL
        SELECT 'incoming', s.sent_at + interval '1 hour', false, 'Yes please, call me ' || t.n
        WHERE t.has_replied AND t.rounds = CAST(:round AS integer)
    ) r (direction, at, is_call, body)
    WHERE t.rounds >= CAST(:round AS integer)
""")  # noqa: S608 - of constants

# This statement gives one contact thousands of messages, spread over all years.
BUSIEST = text(f"""
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT uuidv7(s.at - now()), 'message',
           CASE WHEN i % 3 = 0 THEN 'incoming' ELSE 'outgoing' END, 'provider', t.line_id, t.id,
           t.contact_id, t.phone, 'AC' || CAST(:round AS integer) || 'busiest' || i,
           'Text number ' || i, CASE WHEN i % 3 = 0 THEN 'received' ELSE 'delivered' END, 4,
           s.at, s.at, s.at
    FROM (SELECT * FROM talk WHERE rounds = 14 ORDER BY phone LIMIT 1) t
    CROSS JOIN generate_series(1, 358) AS i
    CROSS JOIN LATERAL (
        SELECT now() - ((15 - CAST(:round AS integer)) * {_ROUND_DAYS * 86400} - i * 18000)
            * interval '1 second'
    ) s (at)
""")  # noqa: S608 - of constants
MEMBERSHIPS = text(f"""
    INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, status, attempts,
        provider_message_id, due_at, sent_at, delivered_at, replied_at, created_at, updated_at)
    SELECT uuidv7(s.sent_at - now()), :campaign_id, t.contact_id, t.phone, t.zone_key,
           CASE WHEN pg_temp.pick(t.n, 60 + CAST(:round AS integer), 50) = 0 THEN 'failed'
                ELSE 'delivered' END, 1, 'AC' || CAST(:round AS integer) || 'outgoing' || t.phone,
           s.sent_at, s.sent_at, s.sent_at + interval '3 seconds',
           CASE WHEN t.has_replied AND t.rounds = CAST(:round AS integer)
               THEN s.sent_at + interval '1 hour' END, s.sent_at, s.sent_at
    FROM talk t
    CROSS JOIN LATERAL (
        SELECT {_SENT_AT} FROM (SELECT CAST(:round AS integer) AS round) r
    ) s (sent_at)
    WHERE t.rounds >= CAST(:round AS integer)
""")  # noqa: S608 - of constants
BUSIEST_CONTACT = text("""
    SELECT contact_id FROM activity WHERE openphone_id = 'AC1busiest1'
""")
