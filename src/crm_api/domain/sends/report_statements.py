"""What webhooks and lists tell about messages, and who answered what."""

from sqlalchemy import text

# The timeline row of a message that nobody holds yet. Who writes its key first stores it.
STORE_FOREIGN = text("""
    WITH named AS (
        INSERT INTO activity_key (openphone_id, activity_id) VALUES (:message_id, :id)
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING openphone_id, activity_id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, user_id, body, media, status, rank, error_code, occurred_at, created_at,
        updated_at)
    SELECT activity_id, 'message', 'outgoing', 'provider', CAST(:line_id AS uuid),
        CAST(:conversation_id AS uuid), CAST(:contact_id AS uuid), CAST(:phone AS text),
        openphone_id, CAST(:user_id AS text), CAST(:body AS text), CAST(:media AS jsonb),
        CAST(:status AS text), CAST(:rank AS smallint), CAST(:error_code AS text),
        CAST(:occurred_at AS timestamptz), CAST(:now AS timestamptz),
        CAST(:reported_at AS timestamptz)
    FROM named
    RETURNING id
""")
# Of one that is stored as somebody's a report only raises the rank, and of two of one rank the
# earlier stays. In a statement after it, which sees what was stored while the one before waited. No
# row comes back when the message is one of ours.
_WINS = """(CAST(:rank AS smallint) > a.rank OR (
    CAST(:rank AS smallint) = a.rank AND CAST(:reported_at AS timestamptz) < a.updated_at))"""
RAISE_FOREIGN = text(f"""
    UPDATE activity a
    SET status = CASE WHEN {_WINS} THEN CAST(:status AS text) ELSE a.status END,
        error_code = CASE WHEN {_WINS} THEN CAST(:error_code AS text) ELSE a.error_code END,
        updated_at = CASE WHEN {_WINS} THEN CAST(:reported_at AS timestamptz) ELSE a.updated_at END,
        rank = greatest(a.rank, CAST(:rank AS smallint))
    FROM activity_key k
    WHERE k.openphone_id = :message_id AND a.id = k.activity_id AND a.origin = 'provider'
    RETURNING a.id
""")

UPSERT_CONVERSATION = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, openphone_id, last_activity_at,
        last_outgoing_at, created_at)
    VALUES (:id, :line_id, :phone, :contact_id, :openphone_id, :at, :outgoing_at, :now)
    ON CONFLICT (line_id, phone) DO UPDATE
    SET last_activity_at = greatest(conversation.last_activity_at, excluded.last_activity_at),
        last_outgoing_at = greatest(conversation.last_outgoing_at, excluded.last_outgoing_at),
        contact_id = coalesce(conversation.contact_id, excluded.contact_id),
        openphone_id = coalesce(excluded.openphone_id, conversation.openphone_id)
    RETURNING id
""")

ATTEMPTS_OF_MESSAGES = text("""
    SELECT a.provider_message_id, a.id, a.activity_id, a.is_matched
    FROM send_attempt a WHERE a.provider_message_id = ANY(CAST(:message_ids AS text[]))
""")

# R8: our line, that number, made between the gate and the end of the grace. Nothing is matched
# while its call still runs, for its own answer may be on its way.
UNSETTLED = text("""
    SELECT a.id, a.body, a.status, a.membership_id, a.activity_id
    FROM send_attempt a
    WHERE a.phone = :phone AND a.line_id = :line_id
      AND a.status IN ('unknown', 'parked', 'not_found')
      AND a.called_at >= CAST(:made_at AS timestamptz) - make_interval(secs => :grace)
      AND a.called_at <= CAST(:made_at AS timestamptz) + make_interval(secs => :skew)
    FOR NO KEY UPDATE
""")

# R14: the newest campaign text to the number, whether or not its answer is in yet; figures speak of
# people, so the first text of the campaign has the answer too. The earliest answer is the one that
# counts, also when it is told of after a later one.
NOTE_REPLIES = text("""
    WITH answered AS (
        SELECT said.place, said.at, said.is_opt_out, m.campaign_id, m.contact_id, m.step
        FROM unnest(CAST(:places AS integer[]), CAST(:phones AS text[]),
                    CAST(:line_ids AS uuid[]), CAST(:ats AS timestamptz[]),
                    CAST(:opt_outs AS boolean[]))
            AS said (place, phone, line_id, at, is_opt_out)
        CROSS JOIN LATERAL (
            SELECT a.membership_id FROM send_attempt a
            WHERE a.phone = said.phone AND a.line_id = said.line_id AND a.kind = 'campaign'
              AND a.status IN ('calling', 'unknown', 'parked', 'sent', 'failed', 'delivered')
              AND a.called_at <= said.at + make_interval(secs => :skew)
              AND a.created_at > said.at - interval '72 hours'
            ORDER BY a.created_at DESC LIMIT 1
        ) newest
        JOIN campaign_membership m ON m.id = newest.membership_id
    ), noted AS (
        UPDATE campaign_membership m
        SET replied_at = least(m.replied_at, x.replied_at),
            opted_out_at = least(m.opted_out_at, x.opted_out_at), updated_at = :now
        FROM (
            SELECT a.campaign_id, a.contact_id, told.step, min(a.at) AS replied_at,
                   min(a.at) FILTER (WHERE a.is_opt_out) AS opted_out_at
            FROM answered a CROSS JOIN LATERAL (VALUES (0), (a.step)) AS told (step)
            GROUP BY a.campaign_id, a.contact_id, told.step
        ) x
        WHERE m.campaign_id = x.campaign_id AND m.contact_id = x.contact_id AND m.step = x.step
    )
    SELECT place, campaign_id FROM answered
""")
