CREATE OR REPLACE FUNCTION add_partition(parent text, month date)
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
$function$;
