"""The statements that watch running campaigns: their sums, and what follows from them."""

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

# Every text counts, of whichever step. Whoever opts out after a follow-up is noted at the first
# text too, so the first step alone has each person once.
_ALL_STEPS = """
    CAST(coalesce(sum(t.people) FILTER (WHERE t.status IN ('sent', 'delivered')), 0) AS bigint)
        AS texts,
    CAST(coalesce(sum(t.people) FILTER (WHERE t.status = 'failed'), 0) AS bigint) AS failed,
    CAST(coalesce(sum(t.opted_out) FILTER (WHERE t.step = 0), 0) AS bigint) AS opted_out
"""

# One statement for all campaigns, a row for each of their variants. The wordings are compared by
# their first text: a follow-up is the same for all.
WATCHED = text(f"""
    WITH watched AS (
        SELECT c.id, c.name, c.max_opt_out_rate, c.max_failure_rate, c.ab_test, c.watched_from
        FROM campaign c
        WHERE c.status = 'running'
          AND (c.max_opt_out_rate IS NOT NULL OR c.max_failure_rate IS NOT NULL
               OR c.ab_test @> '{{"stop_harmful": true}}'
               OR c.ab_test @> '{{"shift_to_winner": true}}')
    ), sums AS (
        SELECT t.campaign_id, t.variant, {_ALL_STEPS},
               sum(t.people) FILTER (WHERE t.is_first) AS first_texts,
               sum(t.replied - t.opted_out) FILTER (WHERE t.is_first) AS first_replies,
               sum(t.opted_out) FILTER (WHERE t.is_first) AS first_opt_outs
        FROM (
            SELECT r.*, r.step = 0 AND r.status IN ('sent', 'delivered') AS is_first
            FROM watched w JOIN campaign_tally r ON r.campaign_id = w.id
        ) t
        GROUP BY t.campaign_id, t.variant
    )
    SELECT w.id, w.name AS campaign_name, w.max_opt_out_rate, w.max_failure_rate, w.ab_test,
           w.watched_from, v.position, v.name, v.weight,
           CASE WHEN v.stopped_at IS NOT NULL THEN v.stopped_reason END AS stopped,
           coalesce(s.texts, 0) AS texts, coalesce(s.failed, 0) AS failed,
           coalesce(s.opted_out, 0) AS opted_out,
           CAST(coalesce(s.first_texts, 0) AS bigint) AS first_texts,
           CAST(coalesce(s.first_replies, 0) AS bigint) AS first_replies,
           CAST(coalesce(s.first_opt_outs, 0) AS bigint) AS first_opt_outs
    FROM watched w
    JOIN campaign_variant v ON v.campaign_id = w.id
    LEFT JOIN sums s ON s.campaign_id = w.id AND s.variant = v.position
    ORDER BY w.id, v.position
""")

SUMS = text(f"""
    SELECT {_ALL_STEPS} FROM campaign_tally t WHERE t.campaign_id = :campaign_id
""")

# What fails or opts out after a resume may be of a text from before it. With the limit each
# recipient's attempts are looked up; without it the planner may read all that there are.
ANSWERED_SINCE = text("""
    SELECT count(*) FILTER (WHERE m.status = 'failed') AS failed,
           count(DISTINCT m.contact_id) FILTER (WHERE m.opted_out_at IS NOT NULL) AS opted_out
    FROM campaign_membership m
    CROSS JOIN LATERAL (
        SELECT 1 FROM send_attempt a
        WHERE a.membership_id = m.id AND a.called_at >= CAST(:since AS timestamptz) LIMIT 1
    ) called
    WHERE m.campaign_id = :campaign_id AND (m.status = 'failed' OR m.opted_out_at IS NOT NULL)
""")

# Whoever resumed it meanwhile began a new count, which these figures are not of.
PAUSE = text("""
    UPDATE campaign c
    SET status = 'paused', paused_reason = :reason, paused_evidence = :evidence, updated_at = :now
    WHERE c.id = :campaign_id AND c.status = 'running'
      AND c.watched_from IS NOT DISTINCT FROM :watched_from
    RETURNING c.id
""").bindparams(
    bindparam("evidence", type_=JSONB), bindparam("watched_from", type_=JSONB(none_as_null=True))
)

# Of two workers that stop variants at once the second sees what the first has left.
LOCK_LIVE_VARIANTS = text("""
    SELECT v.position FROM campaign_variant v
    WHERE v.campaign_id = :campaign_id AND v.stopped_at IS NULL AND v.weight > 0
    ORDER BY v.position FOR NO KEY UPDATE
""")

STOP_VARIANT = text("""
    UPDATE campaign_variant v SET stopped_at = :now, stopped_reason = :reason
    WHERE v.campaign_id = :campaign_id AND v.position = :position
""")
