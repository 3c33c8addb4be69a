"""The rules of the claim, asked one by one for one recipient.

The conditions are the claim's own fragments, so that what is explained is what is done.
"""

from sqlalchemy import text

from crm_api.domain.sends.contacted_statements import CONTACTED
from crm_api.domain.sends.rule_fragments import (
    DELETED,
    FLAGGED,
    KEPT,
    TEXTED_LATELY,
    TEXTED_OFTEN,
)
from crm_api.domain.sends.usage_statements import LINE_LIMIT

# When the oldest of so many texts no longer counts.
_OFTEN_UNTIL = """(
    SELECT greatest(a.created_at, a.called_at, a.accepted_at) + make_interval(hours => {hours})
    FROM send_attempt a
    WHERE a.phone = m.phone AND a.kind = 'campaign' AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(hours => {hours} + 1)
    ORDER BY greatest(a.created_at, a.called_at, a.accepted_at) DESC
    OFFSET {max_recent} - 1 LIMIT 1)"""
_BY_LAW = {
    "max_recent": "CAST(:max_recent AS integer)",
    "hours": "CAST(:recent_hours AS integer)",
}
_BY_CAMPAIGN = {
    "max_recent": "CAST(c.frequency_cap ->> 'texts' AS integer)",
    "hours": "(CAST(c.frequency_cap ->> 'days' AS integer) * 24)",
}

PLACE = text("""
    SELECT m.zone_key FROM campaign_membership m
    WHERE m.campaign_id = :campaign_id AND m.contact_id = :contact_id LIMIT 1
""")

RECIPIENT = text(f"""
    SELECT m.id, m.contact_id, m.phone, m.zone_key, m.variant, m.step, m.status, m.skip_reason,
           m.error_code, m.due_at, m.attempts, m.sent_at,
           c.status AS campaign_status, c.start_at, c.end_at, c.paused_reason,
           c.paused_evidence, c.blocked_reason,
           c.daily_limit, c.min_days_between, c.frequency_cap, c.line_id, c.days, c.window_start,
           c.window_end, c.timezone, c.opt_out_footer, c.pacing_mode, c.batch_size,
           c.batch_interval_minutes, c.follow_ups, o.next_at, o.batch_left,
           (SELECT jsonb_agg(jsonb_build_object('body', v.body, 'weight', v.weight,
                                                'is_stopped', v.stopped_at IS NOT NULL)
                             ORDER BY v.position)
              FROM campaign_variant v WHERE v.campaign_id = c.id) AS variants,
           l.status AS line_status, l.blocked_reason AS line_blocked_reason,
           l.probe_at AS line_probe_at,
           l.is_probing AND EXISTS (
               SELECT 1 FROM send_attempt a WHERE a.line_id = l.id AND a.is_open) AS is_trial_busy,
           {LINE_LIMIT.format(line="l")} AS line_limit, l.daily_limit AS line_daily_limit,
           l.timezone AS line_timezone, l.name, l.number,
           p.first_name, p.last_name, p.email, p.company, p.street, p.city, p.state,
           p.postal_code, p.attributes,
           {FLAGGED.format(phone="m.phone", flags="'opted_out'")} AS is_opted_out,
           {FLAGGED.format(phone="m.phone", flags="'do_not_contact'")} AS is_do_not_contact,
           {FLAGGED.format(phone="m.phone", flags="'opt_out_hold'")} AS is_held,
           {DELETED.format(phone="m.phone")} AS is_deleted,
           {KEPT.format(phone="m.phone")} AS is_kept,
           (SELECT max(a.called_at) + make_interval(secs => :grace) FROM send_attempt a
             WHERE a.phone = m.phone AND (a.status = 'parked' OR a.is_matched)) AS kept_until,
           c.previously_contacted,
           c.previously_contacted <> 'send' AND m.status = 'pending' AND {CONTACTED}
               AS was_contacted,
           {TEXTED_LATELY.format(phone="m.phone", min_days="c.min_days_between")}
               AS was_texted_lately,
           {TEXTED_OFTEN.format(phone="m.phone", **_BY_LAW)} AS was_texted_often,
           {_OFTEN_UNTIL.format(**_BY_LAW)} AS often_until,
           {TEXTED_OFTEN.format(phone="m.phone", **_BY_CAMPAIGN)} AS is_capped,
           {_OFTEN_UNTIL.format(**_BY_CAMPAIGN)} AS capped_until,
           EXISTS (
               SELECT 1 FROM send_attempt a
               WHERE a.phone = m.phone AND a.is_open
                 AND a.membership_id IS DISTINCT FROM m.id) AS is_busy,
           (SELECT max(a.created_at) FROM send_attempt a
             WHERE a.phone = m.phone AND a.kind = 'campaign' AND a.campaign_id <> :campaign_id
               AND a.status NOT IN ('released', 'refused')) AS last_texted_at
    FROM campaign_membership m
    JOIN campaign c ON c.id = m.campaign_id
    JOIN line l ON l.id = c.line_id
    LEFT JOIN campaign_pace o ON o.campaign_id = c.id
    LEFT JOIN contact p ON p.id = m.contact_id
    WHERE m.campaign_id = :campaign_id AND m.contact_id = :contact_id
      AND (CAST(:step AS smallint) IS NULL OR m.step = CAST(:step AS smallint))
    ORDER BY m.status IN ('sent', 'delivered', 'failed'), m.step LIMIT 1
""")
