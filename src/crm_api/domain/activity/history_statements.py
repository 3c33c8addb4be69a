"""Many texts of the past at once, with the contacts and conversations that they need."""

from sqlalchemy import text

# A merge that would move what a number has waits until what is told of it now is stored.
HOLD = text("""
    SELECT FROM contact WHERE phone = ANY(CAST(:phones AS text[])) ORDER BY phone FOR KEY SHARE
""")
LOOK = text("""
    SELECT wanted.phone, coalesce(c.merged_into, c.id) AS id,
           c.deleted_at IS NOT NULL AND c.merged_into IS NULL AS is_deleted,
           EXISTS (SELECT FROM send_attempt a WHERE a.phone = wanted.phone) AS was_texted,
           EXISTS (SELECT FROM line l WHERE l.number = wanted.phone) AS is_own
    FROM unnest(CAST(:phones AS text[])) AS wanted (phone)
    LEFT JOIN contact c ON c.phone = wanted.phone
""")

# In the order of the numbers, so that two imports do not wait for each other in a circle.
ADD_CONTACTS = text("""
    INSERT INTO contact (id, phone, zone_key, source, created_at, updated_at)
    SELECT id, phone, zone_key, 'message', :now, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:phones AS text[]), CAST(:zone_keys AS text[]))
        AS made (id, phone, zone_key)
    ORDER BY phone
    ON CONFLICT (phone) DO NOTHING
    RETURNING phone, id
""")

# A row that this statement inserted has no deleting transaction; one that it updated has.
TOUCH_CONVERSATIONS = text("""
    INSERT INTO conversation AS known
        (id, line_id, phone, contact_id, openphone_id, last_activity_at, last_outgoing_at,
         last_incoming_at, created_at)
    SELECT id, line_id, phone, contact_id, openphone_id, at, outgoing_at, incoming_at, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:line_ids AS uuid[]), CAST(:phones AS text[]),
                CAST(:contact_ids AS uuid[]), CAST(:openphone_ids AS text[]),
                CAST(:ats AS timestamptz[]), CAST(:outgoing AS timestamptz[]),
                CAST(:incoming AS timestamptz[]))
        AS told (id, line_id, phone, contact_id, openphone_id, at, outgoing_at, incoming_at)
    ORDER BY line_id, phone
    ON CONFLICT (line_id, phone) DO UPDATE
       SET contact_id = coalesce(known.contact_id, excluded.contact_id),
           openphone_id = coalesce(known.openphone_id, excluded.openphone_id),
           last_activity_at = greatest(known.last_activity_at, excluded.last_activity_at),
           last_outgoing_at = greatest(known.last_outgoing_at, excluded.last_outgoing_at),
           last_incoming_at = greatest(known.last_incoming_at, excluded.last_incoming_at)
    RETURNING id, line_id, phone, xmax = 0 AS is_new
""")

ADD_TEXTS = text("""
    WITH told AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:directions AS text[]), CAST(:line_ids AS uuid[]),
            CAST(:conversation_ids AS uuid[]), CAST(:contact_ids AS uuid[]),
            CAST(:phones AS text[]), CAST(:openphone_ids AS text[]), CAST(:user_ids AS text[]),
            CAST(:bodies AS text[]), CAST(:statuses AS text[]), CAST(:ranks AS smallint[]),
            CAST(:error_codes AS text[]), CAST(:occurred AS timestamptz[]),
            CAST(:updated AS timestamptz[]))
            AS told (id, direction, line_id, conversation_id, contact_id, phone, openphone_id,
                     user_id, body, status, rank, error_code, occurred_at, updated_at)
    ), named AS (
        INSERT INTO activity_key (openphone_id, activity_id)
        SELECT openphone_id, id FROM told ORDER BY openphone_id
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING activity_id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, user_id, body, status, rank, error_code, occurred_at, created_at, updated_at)
    SELECT told.id, 'message', direction, 'provider', line_id, conversation_id, contact_id, phone,
           openphone_id, user_id, body, status, rank, error_code, occurred_at, :now, updated_at
    FROM told JOIN named ON named.activity_id = told.id
    RETURNING openphone_id
""")

# What was told of a number before it was a contact's. Not by `IS NULL`, for which the planner would
# read all that is nobody's; the new contact has nothing else yet.
ADOPT = text("""
    UPDATE activity a SET contact_id = made.contact_id
    FROM unnest(CAST(:conversation_ids AS uuid[]), CAST(:contact_ids AS uuid[]))
        AS made (conversation_id, contact_id)
    WHERE a.conversation_id = made.conversation_id
      AND coalesce(a.contact_id, made.contact_id) = made.contact_id
""")
