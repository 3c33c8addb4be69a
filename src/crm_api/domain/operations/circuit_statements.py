"""The statements of circuits: one row for each outside system."""

from sqlalchemy import text

ADD = text("INSERT INTO circuit (name) VALUES (:name) ON CONFLICT (name) DO NOTHING")
LOCK = text("""
    SELECT failures, failing_since, last_failed_at, opened_at, trial_at, opens
    FROM circuit WHERE name = :name FOR UPDATE
""")
READ = text("""
    SELECT failures, failing_since, last_failed_at, opened_at, trial_at, opens
    FROM circuit WHERE name = :name
""")
WRITE = text("""
    UPDATE circuit
    SET failures = :failures, failing_since = :failing_since, last_failed_at = :last_failed_at,
        opened_at = :opened_at, trial_at = :trial_at, opens = :opens,
        last_error = coalesce(:error, last_error)
    WHERE name = :name
""")
# As a rule nothing has failed, and nothing is written. What is no proof ends only a row of
# failures, and closes nothing.
CLOSE = text("""
    UPDATE circuit c
    SET failures = 0, failing_since = NULL, opened_at = NULL, trial_at = NULL, opens = 0
    FROM circuit b
    WHERE c.name = :name AND c.failures > 0 AND (:is_proof OR c.opens = 0) AND b.name = c.name
    RETURNING b.opens
""")
BEGIN_TRIAL = text("""
    UPDATE circuit SET trial_at = CAST(:now AS timestamptz) + make_interval(secs => :seconds)
    WHERE name = :name AND opened_at IS NOT NULL AND trial_at <= :now
    RETURNING name
""")
