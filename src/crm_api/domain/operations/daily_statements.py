"""The statements of the day's run: one row a day decides what is still to do."""

from sqlalchemy import text

FIRST_LINE = text("SELECT timezone, created_at FROM line ORDER BY created_at, id LIMIT 1")

# A letter that was not sent is made up for by the next one, a week at most.
MAKE = text("""
    INSERT INTO daily_run (day, since, until, made_at)
    SELECT :day, greatest(coalesce(max(r.until), CAST(:until AS timestamptz) - interval '1 day'),
                          CAST(:until AS timestamptz) - interval '7 days'), :until, :now
    FROM daily_run r WHERE r.mailed_at IS NOT NULL AND r.until < CAST(:until AS timestamptz)
    ON CONFLICT (day) DO NOTHING
""")

READ = text("""
    SELECT day, since, until, cleaned_at, mailed_at FROM daily_run WHERE day = :day
""")

NOTE_CLEANED = text("UPDATE daily_run SET cleaned_at = :now WHERE day = :day")

CLAIM_LETTER = text("""
    UPDATE daily_run SET mail_claimed_until = :claimed_until
    WHERE day = :day AND mailed_at IS NULL
      AND (mail_claimed_until IS NULL OR mail_claimed_until <= :now)
    RETURNING day
""")

NOTE_MAILED = text("""
    UPDATE daily_run SET mailed_at = :now, mail_claimed_until = NULL, last_error = NULL
    WHERE day = :day
""")

PUT_OFF = text("""
    UPDATE daily_run SET mail_claimed_until = :retry_at, last_error = :error WHERE day = :day
""")
