CREATE OR REPLACE FUNCTION forget_audit_entries(before timestamp with time zone, at_most integer)
 RETURNS bigint
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    WITH gone AS (
        DELETE FROM public.audit_log
        WHERE id IN (
            SELECT id FROM public.audit_log
            WHERE created_at < least($1, now() - interval '365 days')
            ORDER BY created_at, id
            LIMIT $2
        )
        RETURNING 1
    )
    SELECT count(*) FROM gone
$function$;
