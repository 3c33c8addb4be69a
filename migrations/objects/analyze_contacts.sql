CREATE OR REPLACE FUNCTION analyze_contacts()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    -- Do not wait for an automatic VACUUM: it would be cancelled after a second.
    ANALYZE (SKIP_LOCKED) public.contact, public.contact_list_member;
END
$function$;
