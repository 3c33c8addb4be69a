"""The large statements of campaigns: beginning, ending, counting."""

from sqlalchemy import text

# When it was to begin: as scheduled, not before it was started, and anew with each resume.
_DUE_AT = "greatest(c.start_at, c.started_at, CAST(c.watched_from ->> 'at' AS timestamptz))"

MISSED = text(f"""
    SELECT c.id, c.name, {_DUE_AT} AS due_at, c.start_grace_hours, c.end_at
    FROM campaign c
    WHERE c.status = 'scheduled' AND c.recipients_total IS NOT NULL
      AND {_DUE_AT} < CAST(:now AS timestamptz) - make_interval(hours => c.start_grace_hours)
""")

BEGIN_DUE = text(f"""
    UPDATE campaign c SET status = 'running', updated_at = :now
    WHERE c.status = 'scheduled' AND c.recipients_total IS NOT NULL
      AND (c.start_at IS NULL OR c.start_at <= CAST(:now AS timestamptz))
      AND ({_DUE_AT} < CAST(:now AS timestamptz) - make_interval(hours => c.start_grace_hours))
          IS NOT TRUE
    RETURNING c.id
""")

# So many at a time, found by one probe for each step and open status.
_WAITING = """
    FROM campaign c
    CROSS JOIN LATERAL generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
    JOIN campaign_membership w ON w.campaign_id = c.id AND w.step = s.step
        AND w.status IN ('pending', 'review', 'held')
"""

END_OVERDUE = text(f"""
    WITH waiting AS (
        SELECT w.id {_WAITING}
        WHERE c.status = 'running' AND c.end_at <= CAST(:now AS timestamptz)
        LIMIT :limit
    )
    UPDATE campaign_membership m
    SET status = 'cancelled', skip_reason = 'campaign_ended', updated_at = :now
    FROM waiting w WHERE m.id = w.id AND m.status IN ('pending', 'review', 'held')
""")

# A cancel ends the first so many itself. And what was recorded while it was under way looked at a
# campaign that still ran, and may have put somebody back in the queue or made the next step due. A
# day, for an outage right after it.
END_CANCELLED = text(f"""
    WITH waiting AS (
        SELECT w.id {_WAITING}
        WHERE c.status = 'cancelled'
          AND c.finished_at > CAST(:now AS timestamptz) - interval '1 day'
        LIMIT :limit
    )
    UPDATE campaign_membership m SET status = 'cancelled', updated_at = :now
    FROM waiting w WHERE m.id = w.id AND m.status IN ('pending', 'review', 'held')
""")

# One probe of idx_campaign_membership_campaign for each step and open status.
COMPLETE_FINISHED = text("""
    UPDATE campaign c SET status = 'completed', finished_at = :now, updated_at = :now
    WHERE c.status = 'running' AND c.recipients_total IS NOT NULL
      AND NOT EXISTS (
          SELECT 1
          FROM generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
          JOIN campaign_membership m ON m.campaign_id = c.id AND m.step = s.step
          WHERE m.status IN ('pending', 'review', 'held', 'sending', 'unknown'))
    RETURNING c.id
""")

# A trigger appends what each statement changes: the sums are exact, and as fast at any size.
COUNT = text("""
    SELECT 'count' AS what, t.status, t.variant, CAST(sum(t.people) AS bigint) AS people,
           CAST(sum(t.replied) AS bigint) AS replied, CAST(sum(t.opted_out) AS bigint) AS opted_out
    FROM campaign_tally t
    WHERE t.campaign_id = :campaign_id AND t.step = :step
    GROUP BY t.status, t.variant
    UNION ALL
    SELECT 'parked', NULL, 0, count(DISTINCT m.id), 0, 0
    FROM send_attempt a JOIN campaign_membership m ON m.id = a.membership_id
    WHERE a.line_id = :line_id AND a.campaign_id = :campaign_id AND a.is_uncertain
      AND a.status = 'parked' AND m.step = :step AND m.status = 'unknown'
""")

# One at a time: of two at once the second would find nothing and count nothing, but wait for it.
COMPACT_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('compact_tallies', 0))")
COMPACT = text("""
    WITH gone AS (
        DELETE FROM campaign_tally t
        WHERE t.campaign_id IN (
            SELECT l.campaign_id FROM campaign_tally l
            GROUP BY l.campaign_id HAVING count(*) > :rows)
        RETURNING t.campaign_id, t.step, t.variant, t.status, t.people, t.replied, t.opted_out
    )
    INSERT INTO campaign_tally (campaign_id, step, variant, status, people, replied, opted_out)
    SELECT campaign_id, step, variant, status, sum(people), sum(replied), sum(opted_out)
    FROM gone GROUP BY campaign_id, step, variant, status
    HAVING sum(people) <> 0 OR sum(replied) <> 0 OR sum(opted_out) <> 0
""")

ANALYZE = text("SELECT analyze_memberships()")
