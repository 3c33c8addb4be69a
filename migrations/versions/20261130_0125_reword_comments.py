"""Reword the comments in two functions; nothing else changes."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261130_0125"
down_revision: str | None = "20261130_0124"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ADD_PARTITION = """CREATE OR REPLACE FUNCTION add_partition(parent text, month date)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '3s'
AS $function$
DECLARE
    name text := parent || to_char(month, '_YYYY_MM');
    low uuid := smallest_id_at(month::timestamp AT TIME ZONE 'UTC');
    high uuid := smallest_id_at((month + interval '1 month') AT TIME ZONE 'UTC');
    is_there boolean;
BEGIN
    IF parent NOT IN ('webhook_event', 'activity') OR extract(day FROM month) <> 1 THEN
        RAISE EXCEPTION 'no month of a table that has months';
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH '
        '(autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, '
        'fillfactor = 85)', name, parent);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id >= %L AND id < %L)',
                   parent || '_default', low, high) INTO is_there;
    IF is_there THEN
        -- The rows are moved and not deleted, so the triggers do not run.
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', parent || '_default');
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE id >= %L AND id < %L RETURNING *) '
            'INSERT INTO %I SELECT * FROM moved', parent || '_default', low, high, name);
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', parent || '_default');
    END IF;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, name, low, high);
END
$function$"""
REFUSE_CHANGE = """CREATE OR REPLACE FUNCTION refuse_change_of_audit_log()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- The limit uses the clock of the database. So a user with the right to delete cannot delete
    -- the entries of the last year.
    IF TG_OP = 'DELETE' AND OLD.created_at < now() - interval '365 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'restrict_violation';
END
$function$"""


def upgrade() -> None:
    op.execute(ADD_PARTITION)
    op.execute(REFUSE_CHANGE)


def downgrade() -> None:
    """Keep the functions, because only their comments differ."""
