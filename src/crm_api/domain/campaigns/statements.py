"""The large statements of campaigns: writing the audience down, ending, counting."""

from sqlalchemy import text

from crm_api.domain.campaigns.template import ATTRIBUTES, CONTACT_FIELDS
from crm_api.domain.sends.contacted_statements import TEXTED_BEFORE

# Who is in the audience and what becomes of each. Deleted contacts are nobody; a number that may
# not be texted stays, with its reason, so that "why did they not get it" has an answer. A recipient
# of an excluded campaign is known by person and by number: either may have changed since. Somebody
# who was merged is meant under the old id and the old number too.
_AUDIENCE = f"""
    audience AS (
        SELECT c.id AS contact_id, c.phone, c.zone_key
        FROM contact c
        WHERE c.deleted_at IS NULL
          AND c.id IN (
              SELECT l.contact_id FROM contact_list_member l
              WHERE l.list_id = CAST(:list_id AS uuid)
              UNION ALL
              SELECT unnest(CAST(:contact_ids AS uuid[]))
              UNION ALL
              SELECT d.merged_into FROM contact d WHERE d.id = ANY(CAST(:contact_ids AS uuid[])))
          AND NOT EXISTS (
              SELECT 1 FROM contact_list_member l
              WHERE l.list_id = ANY(CAST(:exclude_list_ids AS uuid[])) AND l.contact_id = c.id)
          AND NOT EXISTS (
              SELECT 1 FROM unnest(CAST(:exclude_contact_ids AS uuid[])) AS x (id)
              WHERE x.id = c.id)
          AND NOT EXISTS (
              SELECT 1 FROM contact d
              WHERE d.id = ANY(CAST(:exclude_contact_ids AS uuid[])) AND d.merged_into = c.id)
          AND NOT EXISTS (
              SELECT 1 FROM contact d JOIN campaign_membership p ON p.phone = d.phone
              WHERE d.merged_into = c.id
                AND p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled'))
          AND NOT EXISTS (
              SELECT 1 FROM campaign_membership p
              WHERE p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled') AND p.contact_id = c.id)
          AND NOT EXISTS (
              SELECT 1 FROM campaign_membership p
              WHERE p.campaign_id = ANY(CAST(:exclude_campaign_ids AS uuid[]))
                AND p.status NOT IN ('skipped', 'cancelled') AND p.phone = c.phone)
    ), flags AS (
        SELECT f.phone,
               bool_or(f.flag_type = 'opted_out') AS opted_out,
               bool_or(f.flag_type = 'do_not_contact') AS do_not_contact,
               bool_or(f.flag_type = 'opt_out_hold') AS on_hold,
               bool_or(f.flag_type = 'recently_texted') AS recently_texted
        FROM contact_flag f
        WHERE f.flag_type IN ('opted_out', 'do_not_contact', 'opt_out_hold', 'recently_texted')
          AND (f.expires_at IS NULL OR f.expires_at > CAST(:now AS timestamptz))
        GROUP BY f.phone
    ), standing AS (
        SELECT a.contact_id, a.phone, a.zone_key,
               CASE WHEN f.opted_out THEN 'opted_out'
                    WHEN f.do_not_contact THEN 'do_not_contact'
                    WHEN f.on_hold THEN 'held'
                    WHEN CAST(:previously_contacted AS text) = 'send' THEN 'pending'
                    WHEN f.recently_texted
                      OR {TEXTED_BEFORE.format(phone="a.phone", contact="a.contact_id")}
                    THEN CASE CAST(:previously_contacted AS text)
                         WHEN 'skip' THEN 'previously_contacted' ELSE 'review' END
                    ELSE 'pending' END AS verdict
        FROM audience a LEFT JOIN flags f ON f.phone = a.phone
    )
"""

# The share decides by a hash of person and campaign: the same person gets the same variant
# however often this runs, and another one in the next campaign. `thresholds` are the summed
# weights without the last, so that the bucket is the variant's position.
_VARIANT = """
    width_bucket(
        (hashtextextended(s.contact_id::text || CAST(:campaign_id AS uuid)::text, 0)
            & 9223372036854775807) % 100,
        CAST(:thresholds AS bigint[]))
"""

# Until the end of the transaction. After five runs on a connection PostgreSQL would take a plan for
# any audience: one that counts on small lists, and takes 12 s instead of 0.6 for 100,000 people.
PLAN_FOR_VALUES = text("SET LOCAL plan_cache_mode = force_custom_plan")

# Where the first of those is who may be texted. `shut`: places that are known to be of no use.
ANYONE_TO_TEXT = text(f"""
    WITH {_AUDIENCE}
    SELECT s.zone_key FROM standing s
    WHERE s.verdict IN ('pending', 'review') AND s.zone_key <> ALL(CAST(:shut AS text[]))
    LIMIT 1
""")

MATERIALISE = text(f"""
    WITH {_AUDIENCE}, inserted AS (
        INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key,
            variant, status, skip_reason, due_at, created_at, updated_at)
        SELECT uuid_v7(), :campaign_id, 0, s.contact_id, s.phone, s.zone_key,
               {_VARIANT},
               CASE WHEN s.verdict IN ('pending', 'review', 'held') THEN s.verdict
                    ELSE 'skipped' END,
               CASE WHEN s.verdict NOT IN ('pending', 'review', 'held') THEN s.verdict END,
               :now, :now, :now
        FROM standing s
        ON CONFLICT DO NOTHING
        RETURNING zone_key
    )
    SELECT count(*) AS total,
           coalesce(array_agg(DISTINCT zone_key), CAST('{{}}' AS text[])) AS zone_keys
    FROM inserted
""")

COUNT_AUDIENCE = text(f"""
    WITH {_AUDIENCE}
    SELECT s.verdict, count(*) AS people FROM standing s GROUP BY s.verdict
""")

COUNT_AUDIENCE_PLACES = text(f"""
    WITH {_AUDIENCE}
    SELECT s.verdict, s.zone_key, count(*) AS people
    FROM standing s GROUP BY s.verdict, s.zone_key
""")

# Of a row of READ_AUDIENCE: first who it is, then what a text may name, as the claim reads it.
LEADING = ("contact_id", "verdict", "variant")
NAMED = tuple(sorted({*CONTACT_FIELDS, ATTRIBUTES}))

# `chosen` asks for these people only.
READ_AUDIENCE = text(f"""
    WITH {_AUDIENCE}
    SELECT s.contact_id, s.verdict, {_VARIANT} AS variant,
           {", ".join(f"c.{name}" for name in NAMED)}
    FROM standing s JOIN contact c ON c.id = s.contact_id
    WHERE CAST(:chosen AS uuid[]) IS NULL OR s.contact_id = ANY(CAST(:chosen AS uuid[]))
    ORDER BY s.contact_id
    LIMIT :limit
""")

# When it was to begin: as scheduled, not before it was started, and anew with each resume.
_DUE_AT = "greatest(c.start_at, c.started_at, CAST(c.watched_from ->> 'at' AS timestamptz))"

MISSED = text(f"""
    SELECT c.id, c.name, {_DUE_AT} AS due_at, c.start_grace_hours, c.end_at
    FROM campaign c
    WHERE c.status = 'scheduled' AND c.recipients_total IS NOT NULL
      AND {_DUE_AT} < CAST(:now AS timestamptz) - make_interval(hours => c.start_grace_hours)
""")

BEGIN_DUE = text(f"""
    UPDATE campaign c SET status = 'running', updated_at = :now
    WHERE c.status = 'scheduled' AND c.recipients_total IS NOT NULL
      AND (c.start_at IS NULL OR c.start_at <= CAST(:now AS timestamptz))
      AND ({_DUE_AT} < CAST(:now AS timestamptz) - make_interval(hours => c.start_grace_hours))
          IS NOT TRUE
    RETURNING c.id
""")

END_OVERDUE = text("""
    UPDATE campaign_membership m
    SET status = 'cancelled', skip_reason = 'campaign_ended', updated_at = :now
    FROM campaign c
    WHERE c.status = 'running' AND c.end_at <= CAST(:now AS timestamptz)
      AND m.campaign_id = c.id AND m.status IN ('pending', 'review', 'held')
""")

# What was recorded while a cancel was under way looked at a campaign that still ran, and may have
# put somebody back in the queue or made the next step due. A day, for an outage right after it.
END_CANCELLED = text("""
    UPDATE campaign_membership m SET status = 'cancelled', updated_at = :now
    FROM campaign c
    WHERE c.status = 'cancelled' AND c.finished_at > CAST(:now AS timestamptz) - interval '1 day'
      AND m.campaign_id = c.id AND m.status IN ('pending', 'review', 'held')
""")

# One probe of idx_campaign_membership_campaign for each step and open status.
COMPLETE_FINISHED = text("""
    UPDATE campaign c SET status = 'completed', finished_at = :now, updated_at = :now
    WHERE c.status = 'running' AND c.recipients_total IS NOT NULL
      AND NOT EXISTS (
          SELECT 1
          FROM generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
          JOIN campaign_membership m ON m.campaign_id = c.id AND m.step = s.step
          WHERE m.status IN ('pending', 'review', 'held', 'sending', 'unknown'))
    RETURNING c.id
""")

# A trigger appends what each statement changes: the sums are exact, and as fast at any size.
COUNT = text("""
    SELECT 'count' AS what, t.status, t.variant, CAST(sum(t.people) AS bigint) AS people,
           CAST(sum(t.replied) AS bigint) AS replied, CAST(sum(t.opted_out) AS bigint) AS opted_out
    FROM campaign_tally t
    WHERE t.campaign_id = :campaign_id AND t.step = :step
    GROUP BY t.status, t.variant
    UNION ALL
    SELECT 'parked', NULL, 0, count(DISTINCT m.id), 0, 0
    FROM send_attempt a JOIN campaign_membership m ON m.id = a.membership_id
    WHERE a.line_id = :line_id AND a.campaign_id = :campaign_id AND a.is_uncertain
      AND a.status = 'parked' AND m.step = :step AND m.status = 'unknown'
""")

# One at a time: of two at once the second would find nothing and count nothing, but wait for it.
COMPACT_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('compact_tallies', 0))")
COMPACT = text("""
    WITH gone AS (
        DELETE FROM campaign_tally t
        WHERE t.campaign_id IN (
            SELECT l.campaign_id FROM campaign_tally l
            GROUP BY l.campaign_id HAVING count(*) > :rows)
        RETURNING t.campaign_id, t.step, t.variant, t.status, t.people, t.replied, t.opted_out
    )
    INSERT INTO campaign_tally (campaign_id, step, variant, status, people, replied, opted_out)
    SELECT campaign_id, step, variant, status, sum(people), sum(replied), sum(opted_out)
    FROM gone GROUP BY campaign_id, step, variant, status
    HAVING sum(people) <> 0 OR sum(replied) <> 0 OR sum(opted_out) <> 0
""")

ANALYZE = text("ANALYZE campaign_membership")
