CREATE OR REPLACE FUNCTION analyze_memberships()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    ANALYZE public.campaign_membership;
END
$function$;
