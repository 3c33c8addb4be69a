"""The statements behind the schedule's last runs and the workers' heartbeats.

A minute is missed when a job neither began in it nor was under way. Only whole minutes count, so
the one in which a run ended and the one in which the next begins are not missed.
"""

from sqlalchemy import text

# Also the columns that code before the misses were counted writes: it may still run beside.
COVERED = "greatest(j.covered_until, j.last_started_at, j.last_finished_at)"
_MISSED = f"""greatest(0, CAST(extract(epoch FROM
    date_trunc('minute', CAST(:now AS timestamptz)) - date_trunc('minute', {COVERED})) / 60
    AS bigint) - 1)"""

START = text(f"""
    INSERT INTO scheduled_job AS j (name, last_started_at, covered_until, runs)
    VALUES (:name, :now, :now, 1)
    ON CONFLICT (name) DO UPDATE
    SET last_started_at = :now, runs = j.runs + 1,
        covered_until = greatest(j.covered_until, CAST(:now AS timestamptz)),
        misses = j.misses + {_MISSED},
        missed_from = CASE WHEN {_MISSED} > 0
            THEN date_trunc('minute', {COVERED}) + interval '1 minute' ELSE j.missed_from END,
        missed_until = CASE WHEN {_MISSED} > 0
            THEN date_trunc('minute', CAST(:now AS timestamptz)) - interval '1 minute'
            ELSE j.missed_until END
""")

FINISH = text("""
    UPDATE scheduled_job j
    SET last_finished_at = :now, duration_ms = :duration_ms, last_error = :error,
        last_result = CASE WHEN CAST(:error AS text) IS NULL THEN 'ok' ELSE 'failed' END,
        covered_until = greatest(j.covered_until, CAST(:now AS timestamptz)),
        failures = CASE WHEN CAST(:error AS text) IS NULL THEN 0 ELSE j.failures + 1 END,
        failing_since = CASE WHEN CAST(:error AS text) IS NOT NULL
            THEN coalesce(j.failing_since, CAST(:now AS timestamptz)) END
    WHERE j.name = :name
""")

NOTE_AT_WORK = text("""
    UPDATE scheduled_job SET covered_until = greatest(covered_until, CAST(:now AS timestamptz))
    WHERE name = :name
""")

SKIP_TIME = (
    text("UPDATE worker_heartbeat SET seen_at = seen_at + CAST(:skipped AS interval)"),
    text(f"UPDATE scheduled_job j SET covered_until = {COVERED} + CAST(:skipped AS interval)"),
)

BEAT = text("""
    INSERT INTO worker_heartbeat (id, started_at, seen_at, host, process_id, version)
    VALUES (:id, :started_at, :now, :host, :process_id, :version)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
""")

STOP = text("UPDATE worker_heartbeat SET stopped_at = :now WHERE id = :id")

FORGET_SILENT = text("""
    DELETE FROM worker_heartbeat
    WHERE seen_at < CAST(:now AS timestamptz) - interval '1 day'
""")
