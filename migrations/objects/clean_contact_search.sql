CREATE OR REPLACE FUNCTION clean_contact_search()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    PERFORM gin_clean_pending_list('public.idx_contact_search');
    PERFORM gin_clean_pending_list('public.idx_contact_tags');
END
$function$;
