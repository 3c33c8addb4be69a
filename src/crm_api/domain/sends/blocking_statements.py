"""The statements of the breaker: block, open on trial, prove.

A line is tried by one text at a time, so a trial is a question of few rows; none of these runs
once a message.
"""

from sqlalchemy import text

# A line that is blocked already keeps its wait: calls that were under way when it was blocked are
# refused too, and each would double it.
BLOCK_LINE = text("""
    UPDATE line
    SET status = 'blocked', blocked_reason = :reason, blocked_at = :now, is_probing = false,
        probe_at = CAST(:now AS timestamptz) + make_interval(
            secs => least(:longest, :first * 2 ^ least(probes, 20))),
        probes = probes + 1, updated_at = :now
    WHERE id = :line_id AND status = 'active'
    RETURNING number, probe_at
""")
BLOCK_CAMPAIGN = text("""
    UPDATE campaign SET status = 'blocked', blocked_reason = :reason, updated_at = :now
    WHERE id = :campaign_id AND status = 'running' RETURNING id
""")

# A line that was blocked by hand or by a restore has no probe_at: only a person opens it.
OPEN_ON_TRIAL = text("""
    UPDATE line SET status = 'active', is_probing = true, probe_at = :now, updated_at = :now
    WHERE status = 'blocked' AND probe_at <= :now
    RETURNING id
""")

PROVE = text("""
    UPDATE line l
    SET is_probing = false, probes = 0, probe_at = NULL, blocked_reason = NULL, blocked_at = NULL,
        updated_at = :now
    FROM line b
    WHERE l.id = ANY(CAST(:line_ids AS uuid[])) AND l.status = 'active' AND l.is_probing
      AND b.id = l.id
    RETURNING l.id, b.probes AS blocks, b.blocked_reason AS reason
""")

# The trial's own texts are those called since it began. The provider's clock, by which accepted
# texts are indexed, may lag a little behind ours.
SETTLED_TRIALS = text("""
    SELECT l.id FROM line l
    WHERE l.is_probing AND l.status = 'active' AND EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.line_id = l.id AND a.accepted_at > l.probe_at - interval '1 minute'
          AND a.called_at >= l.probe_at)
""")

LOCK_LINES = text("""
    SELECT l.id FROM line l WHERE l.id = ANY(CAST(:line_ids AS uuid[]))
    ORDER BY l.id FOR NO KEY UPDATE
""")

LOCK_TRIALS = text("""
    SELECT l.id FROM line l
    WHERE l.id = ANY(CAST(:line_ids AS uuid[])) AND l.is_probing
    ORDER BY l.id FOR NO KEY UPDATE
""")
BUSY_LINES = text("""
    SELECT DISTINCT a.line_id FROM send_attempt a
    WHERE a.line_id = ANY(CAST(:line_ids AS uuid[])) AND a.is_open
""")
