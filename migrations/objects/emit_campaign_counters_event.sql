CREATE OR REPLACE FUNCTION emit_campaign_counters_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id)
    SELECT DISTINCT 'campaign.counters', campaign_id, campaign_id FROM added;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_campaign_counters_event AFTER INSERT ON campaign_tally REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_campaign_counters_event();
