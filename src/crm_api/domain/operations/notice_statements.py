"""The statements by which a channel, such as mail, learns what there is to tell about alerts."""

from sqlalchemy import text

# One claim at a time for a channel: the next one's snapshot is taken when it has this lock.
LOCK_CHANNEL = text("SELECT pg_advisory_xact_lock(hashtextextended('alert news ' || :channel, 0))")

# An alert that opened and was over before anybody was told is not told. What was told is told to
# be over. Within the quiet period after the last telling nothing is told again, however often it
# happens; but whoever was told that it is over hears soon that it is not.
_TOLD = "(n.told_as IS NOT NULL AND n.told_as <> 'resolved' AND n.told_at >= a.opened_at)"
_QUIET_IS_OVER = """(n.told_at IS NULL
    OR n.told_at <= CAST(:now AS timestamptz) - make_interval(
        secs => CASE WHEN n.told_as = 'resolved'
            THEN least(CAST(:quiet AS float8), CAST(:anew AS float8))
            ELSE CAST(:quiet AS float8) END))"""
_NEWS = f"""CASE
    WHEN a.resolved_at IS NOT NULL THEN
        CASE WHEN n.told_as IN ('opened', 'escalated') THEN 'resolved' END
    WHEN a.acknowledged_at IS NOT NULL THEN NULL
    WHEN NOT coalesce({_TOLD}, false) THEN CASE WHEN {_QUIET_IS_OVER} THEN 'opened' END
    WHEN n.told_as = 'opened'
        AND a.opened_at <= CAST(:now AS timestamptz) - make_interval(secs => :escalate_after)
        THEN 'escalated'
    WHEN a.count > n.told_count AND {_QUIET_IS_OVER} THEN 'repeated'
    END"""
CLAIM = text(f"""
    WITH candidate AS (
        SELECT a.id, {_NEWS} AS news, coalesce(n.told_count, 0) AS told_count
        FROM alert a
        LEFT JOIN alert_notice n ON n.alert_id = a.id AND n.channel = :channel
        WHERE (a.resolved_at IS NULL OR n.told_as IN ('opened', 'escalated'))
          AND a.kind <> ALL(CAST(:leaves_out AS text[]))
          AND (n.claimed_until IS NULL OR n.claimed_until <= :now)
          AND NOT EXISTS (
              SELECT 1 FROM alert_notice l
              WHERE l.channel = :channel
                AND l.told_at > CAST(:now AS timestamptz) - make_interval(secs => :gap))
    ), due AS (
        SELECT id, news, told_count FROM candidate WHERE news IS NOT NULL LIMIT :limit
    ), claimed AS (
        INSERT INTO alert_notice AS n (alert_id, channel, claimed_until)
        SELECT id, :channel, CAST(:until AS timestamptz) FROM due
        ON CONFLICT (alert_id, channel) DO UPDATE SET claimed_until = excluded.claimed_until
    )
    SELECT a.id, a.kind, a.subject, a.detail, a.context, a.count AS happened,
           a.first_seen_at, a.last_seen_at, a.opened_at, a.resolved_at, d.news, d.told_count
    FROM due d JOIN alert a ON a.id = d.id
    ORDER BY a.opened_at, a.id
""")

# The claim's own end is its token: what was claimed anew meanwhile is left alone.
SETTLE = text("""
    UPDATE alert_notice n
    SET told_as = CASE WHEN x.news = 'repeated' THEN n.told_as ELSE x.news END,
        told_at = :told_at, told_count = x.count, claimed_until = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:news AS text[]), CAST(:counts AS integer[]))
        AS x (id, news, count)
    WHERE n.alert_id = x.id AND n.channel = :channel AND n.claimed_until = :until
""")
GIVE_BACK = text("""
    UPDATE alert_notice n SET claimed_until = NULL
    WHERE n.alert_id = ANY(CAST(:ids AS uuid[])) AND n.channel = :channel
      AND n.claimed_until = :until
""")
