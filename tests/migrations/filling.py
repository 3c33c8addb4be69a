"""Fill a database with tens of thousands of rows, so that plans are those of a year's data."""

from datetime import timedelta
from hashlib import md5
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW

IN_MONTHS = {"activity", "event"}
"""Kinds of rows in monthly partitions, chosen by the time in the id; all are in the first month."""
_LONG_AGO = "01900000"


def made_id(kind: str, position: int) -> UUID:
    """Return the id of the row of a kind at a position, as the statements below make it."""
    made = md5(f"{kind}{position}".encode(), usedforsecurity=False).hexdigest()
    return UUID(_LONG_AGO + made[8:] if kind in IN_MONTHS else made)


def phone_of(position: int) -> str:
    return f"+1{601 + position // 10_000}555{position % 10_000:04d}"


def _phone(position: str) -> str:
    """Return an SQL expression for the phone number at a position."""
    return (
        f"'+1' || (601 + ({position}) / 10000) || '555' "
        f"|| lpad((({position}) % 10000)::text, 4, '0')"
    )


def _in_months(name: str) -> str:
    """Return an SQL expression for the id of a row in a monthly partition."""
    return f"('{_LONG_AGO}' || substr(md5({name}), 9))::uuid"


LINE = made_id("line", 1)
RUNNING = made_id("campaign", 1)
FINISHED = made_id("campaign", 30)
WAITING = made_id("campaign", 4)
LIST = made_id("list", 1)
OTHER_LIST = made_id("list", 2)
NOON = NOW - timedelta(hours=1)

# The rows of a year of a busy line: 40 finished campaigns of 500 recipients, and a running campaign
# of 10,000 recipients.
_STATEMENTS = (
    """INSERT INTO line (id, phone_number_id, number, name, created_at, updated_at)
    SELECT md5('line' || i)::uuid, 'PN' || i, '+1617555' || lpad(i::text, 4, '0'), 'Line ' || i,
           CAST(:now AS timestamptz) - i * interval '1 day', :now
    FROM generate_series(1, 300) i""",
    f"""INSERT INTO contact (id, phone, first_name, last_name, email, zone_key, tags, created_at,
        updated_at, deleted_at)
    SELECT md5('contact' || i)::uuid, {_phone("i")}, 'Ada' || i % 700,
           'Rossi' || i % 900, 'ada' || i || '@example.com',
           'MA/zone' || i % 4, ARRAY['tag' || i % 400],
           CAST(:now AS timestamptz) - i * interval '1 minute', :now,
           CASE WHEN i % 500 = 0 THEN CAST(:now AS timestamptz) END
    FROM generate_series(1, 20000) i""",
    f"""INSERT INTO contact_flag (id, phone, expires_at, flag_type, created_at)
    SELECT md5('flag' || i)::uuid, {_phone("i")},
           CASE WHEN i % 20 = 7 THEN CAST(:now AS timestamptz) + (i - 500) * interval '1 hour' END,
           (ARRAY['opted_out', 'opt_out_hold', 'do_not_contact', 'vip', 'vip', 'vip', 'vip', 'vip',
                  'vip', 'vip'])[1 + i % 10], :now
    FROM generate_series(1, 5000) i""",
    """INSERT INTO property (id, address_key, street, postal_code, import_id, created_at,
        updated_at)
    SELECT md5('property' || i)::uuid, i || ' main st|02169', i || ' Main St', '02169',
           CASE WHEN i % 100 = 0 THEN md5('import' || i % 700)::uuid END,
           CAST(:now AS timestamptz) - i * interval '1 minute',
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 10000) i""",
    """INSERT INTO property_contact (property_id, contact_id, role, import_id, added_at)
    SELECT md5('property' || 1 + i % 10000)::uuid, md5('contact' || i)::uuid, 'primary',
           CASE WHEN i % 100 = 0 THEN md5('import' || i % 700)::uuid END,
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 20000) i""",
    f"""INSERT INTO phone_lookup (phone, line_type, source, checked_at, expires_at)
    SELECT {_phone("i")}, CASE WHEN i % 10 = 0 THEN 'landline' ELSE 'mobile' END, 'lookup_service',
           :now, CAST(:now AS timestamptz) + interval '90 days'
    FROM generate_series(1, 20000) i""",
    f"""INSERT INTO number_failure (id, phone, kind, code, line_id, activity_id, failed_at,
        created_at, learned_at)
    SELECT md5('failure' || i)::uuid, {_phone("i")}, 'landline', '30006', md5('line1')::uuid,
           md5('failed' || i)::uuid, :now, :now, CASE WHEN i > 20 THEN CAST(:now AS timestamptz) END
    FROM generate_series(1, 10000) i""",
    f"""INSERT INTO provider_stop (id, phone, line_id, code, message_id, first_failed_at,
        last_failed_at, created_at, updated_at)
    SELECT md5('stop' || i)::uuid, {_phone("i")}, md5('line1')::uuid, '21610',
           md5('stopped' || i)::uuid, :now, :now,
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 5000) i""",
    """INSERT INTO phone_validation (id, contact_ids, total, status, created_at)
    SELECT md5('validation' || i)::uuid, '{}', 1,
           CASE WHEN i <= 3 THEN 'pending' ELSE 'completed' END,
           CAST(:now AS timestamptz) - i * interval '1 hour'
    FROM generate_series(1, 2000) i""",
    """INSERT INTO contact_list (id, name, created_at, updated_at)
    SELECT md5('list' || i)::uuid, 'List ' || i,
           CAST(:now AS timestamptz) - i * interval '1 hour', :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO contact_list_member (list_id, contact_id, added_at)
    SELECT md5('list' || 1 + i % 40)::uuid, md5('contact' || i)::uuid,
           CAST(:now AS timestamptz) - i * interval '1 second'
    FROM generate_series(1, 20000) i""",
    """INSERT INTO contact_list_tally (list_id, contacts)
    SELECT md5('list' || 1 + i % 2000)::uuid, 0 FROM generate_series(1, 40000) i""",
    """INSERT INTO campaign (id, name, line_id, status, audience, days, window_start, window_end,
        zone_keys, recipients_total, started_at, created_at, updated_at)
    SELECT md5('campaign' || i)::uuid, 'Campaign ' || i, md5('line' || 1 + i % 2)::uuid,
           CASE WHEN i = 1 THEN 'running' WHEN i < 4 THEN 'completed' WHEN i = 4 THEN 'scheduled'
                ELSE 'completed' END,
           '{}', ARRAY['mon'], '09:00', '18:00', ARRAY['MA/zone0'],
           CASE WHEN i <> 4 THEN 500 END, CAST(:now AS timestamptz) - i * interval '1 day',
           CAST(:now AS timestamptz) - i * interval '1 day', :now
    FROM generate_series(1, 2000) i""",
    "UPDATE campaign SET line_id = md5('line1')::uuid WHERE id = md5('campaign1')::uuid",
    """UPDATE campaign SET next_occurrence_at = CAST(:now AS timestamptz) + interval '9 days'
    WHERE id = md5('campaign2')::uuid""",
    """INSERT INTO campaign_variant (id, campaign_id, position, name, body, template_id,
        template_version, weight)
    SELECT md5('variant' || i)::uuid, md5('campaign' || i)::uuid, 0, 'A', 'Hi',
           CASE WHEN i % 3 = 0 THEN md5('template' || i % 100)::uuid END,
           CASE WHEN i % 3 = 0 THEN 1 END, 100
    FROM generate_series(1, 2000) i""",
    """INSERT INTO campaign_tally (campaign_id, step, variant, status, people, replied, opted_out)
    SELECT md5('campaign' || 1 + i % 2000)::uuid, 0, 0, 'delivered', 5, 0, 0
    FROM generate_series(1, 40000) i""",
    """INSERT INTO message_template (id, name, body, created_at, updated_at)
    SELECT md5('template' || i)::uuid, 'Template ' || i, 'Hi',
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO template_version (template_id, version, body, created_at)
    SELECT id, n, body, :now FROM message_template, generate_series(1, 3) n""",
    """INSERT INTO saved_reply (id, name, body, created_at, updated_at)
    SELECT md5('saved' || i)::uuid, 'Saved reply ' || i, 'Hi',
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, status,
        due_at, sent_at, replied_at, opted_out_at, error_code, skip_reason, provider_message_id,
        created_at, updated_at)
    SELECT md5('member' || i)::uuid,
           CASE WHEN i <= 10000 THEN md5('campaign1')::uuid
                ELSE md5('campaign' || 2 + i / 500)::uuid END,
           md5('contact' || CASE WHEN i <= 10000 THEN i ELSE i % 500 + 1 END)::uuid,
           '+1617' || (5550000 + CASE WHEN i <= 10000 THEN i ELSE i % 500 + 1 END),
           'MA/zone' || i % 4,
           CASE WHEN i <= 2000 THEN 'pending' WHEN i % 50 = 0 THEN 'failed' ELSE 'delivered' END,
           CAST(:now AS timestamptz) - i * interval '1 second',
           CASE WHEN i > 2000 THEN CAST(:now AS timestamptz) - i * interval '10 minutes' END,
           CASE WHEN i > 2000 AND i % 30 = 0 THEN CAST(:now AS timestamptz) END,
           CASE WHEN i > 2000 AND i % 90 = 0 THEN CAST(:now AS timestamptz) END,
           CASE WHEN i > 2000 AND i % 50 = 0 THEN 'provider_refused' END,
           CASE WHEN i > 2000 AND i % 100 = 3 THEN 'opted_out' END,
           CASE WHEN i > 2000 THEN 'AC' || i END, :now, :now
    FROM generate_series(1, 30000) i""",
    """INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
        status, called_at, accepted_at, provider_message_id, created_at, updated_at)
    SELECT md5('attempt' || i)::uuid, m.id, m.campaign_id, md5('line' || 1 + i % 2)::uuid,
           md5('attempt' || i)::uuid, m.phone, 'Hi', m.status, m.sent_at, m.sent_at,
           m.provider_message_id, m.sent_at, m.sent_at
    FROM generate_series(2001, 30000) i
    JOIN campaign_membership m ON m.id = md5('member' || i)::uuid""",
    f"""INSERT INTO send_attempt (id, membership_id, campaign_id, line_id, activity_id, phone, body,
        status, token, lease_until, called_at, created_at, updated_at)
    SELECT md5('open' || i)::uuid, md5('member' || i)::uuid, md5('campaign1')::uuid,
           md5('line1')::uuid, md5('open' || i)::uuid, {_phone("i")}, 'Hi',
           (ARRAY['claimed', 'calling', 'unknown', 'parked', 'not_found'])[1 + i % 5],
           md5('token' || i)::uuid, CAST(:now AS timestamptz) + (i % 3 - 1) * interval '1 minute',
           CASE WHEN i % 5 > 0 THEN CAST(:now AS timestamptz) - i * interval '1 second' END,
           CAST(:now AS timestamptz) - interval '5 minutes', :now
    FROM generate_series(1, 250) i""",
    f"""INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at,
        last_outgoing_at, last_incoming_at, created_at, state, waiting_since, snoozed_until,
        campaign_id)
    SELECT md5('talk' || i)::uuid, md5('line1')::uuid, {_phone("i")},
           CASE WHEN i % 50 > 0 THEN md5('contact' || i)::uuid END,
           CAST(:now AS timestamptz) - i * interval '1 minute',
           CAST(:now AS timestamptz) - i * interval '10 minutes',
           CASE WHEN i % 10 = 1 THEN CAST(:now AS timestamptz) - i * interval '1 minute' END, :now,
           (ARRAY['done', 'waiting', 'open', 'snoozed'])[CASE WHEN i % 80 < 4 THEN 1 + i % 80
                                                              ELSE 1 END],
           CASE WHEN i % 80 = 1 THEN CAST(:now AS timestamptz) - i * interval '1 minute' END,
           CASE WHEN i % 80 = 3 THEN CAST(:now AS timestamptz) + (i - 300) * interval '1 hour' END,
           CASE WHEN i % 10 = 1 THEN md5('campaign' || i % 7)::uuid END
    FROM generate_series(1, 15000) i""",
    """INSERT INTO segment (id, name, filter, created_at, updated_at)
    SELECT md5('segment' || i)::uuid, 'Segment ' || i,
           CASE WHEN i % 2 = 0 THEN jsonb_build_object(
                    'field', 'lists', 'op', 'contains', 'value', md5('list1')::uuid)
                ELSE '{"field": "last_contacted_at", "op": "not_within_last",
                       "value": {"days": 30}}' END,
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 2000) i""",
    f"""INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id,
        phone, openphone_id, status, send_after, occurred_at, created_at, updated_at)
    SELECT {_in_months("'activity' || i")}, CASE WHEN i % 100 = 0 THEN 'call' ELSE 'message' END,
           CASE WHEN i % 10 = 1 THEN 'incoming' ELSE 'outgoing' END,
           CASE WHEN i % 10 = 1 OR i % 100 = 0 OR i % 200 = 7 THEN 'provider' ELSE 'campaign' END,
           md5('line1')::uuid, md5('talk' || 1 + i % 15000)::uuid,
           md5('contact' || 1 + i % 15000)::uuid, {_phone("1 + i % 15000")}, 'AC' || i,
           CASE WHEN i % 1000 = 3 THEN 'queued' ELSE 'delivered' END,
           CASE WHEN i % 1000 = 3 THEN CAST(:now AS timestamptz) - interval '1 minute' END,
           CAST(:now AS timestamptz) - i * interval '1 minute', :now, :now
    FROM generate_series(1, 40000) i""",
    """UPDATE activity SET reply_class = 'interested', campaign_id = md5('campaign1')::uuid
    WHERE kind = 'message' AND direction = 'incoming' AND length(openphone_id) = 4""",
    """INSERT INTO insight_tally (grain, campaign_id, at, sent, is_merged)
    SELECT (ARRAY['hour', 'hour', 'hour', 'all', 'day'])[1 + i % 5],
           CASE WHEN i % 5 = 3 THEN '00000000-0000-0000-0000-000000000000'
                ELSE md5('campaign' || 1 + i % 2000)::uuid END,
           date_trunc('day', CAST(:now AS timestamptz), 'UTC') - i * interval '1 day' / 20,
           0, i > 200
    FROM generate_series(1, 40000) i""",
    """INSERT INTO insight_person_tally (dimension, key, grain, at, is_first, first_at, sent)
    SELECT (ARRAY['zip', 'city', 'source'])[1 + i % 3], i % 500, 'day',
           date_trunc('day', CAST(:now AS timestamptz), 'UTC') - i / 500 * interval '1 day', true,
           :now, 1
    FROM generate_series(1, 40000) i""",
    """INSERT INTO insight_person_tally (dimension, key, grain, at, is_first, first_at, sent)
    SELECT (ARRAY['zip', 'city', 'source'])[1 + i % 3], i % 500, 'month',
           date_trunc('month', CAST(:now AS timestamptz), 'UTC') - i / 500 * interval '1 month',
           true, :now, 1
    FROM generate_series(1, 10000) i""",
    """INSERT INTO insight_person_until (id, until)
    SELECT 1, date_trunc('hour', CAST(:now AS timestamptz), 'UTC') - interval '2 hours'""",
    """INSERT INTO insight_answer (id, conversation_id, contact_id, at, waited, is_placed, zip)
    SELECT md5('answer' || i)::uuid, md5('talk' || 1 + i % 15000)::uuid,
           md5('contact' || 1 + i % 15000)::uuid,
           CAST(:now AS timestamptz) - i * interval '10 minutes', i, i % 2000 > 0, i % 500
    FROM generate_series(1, 40000) i""",
    """INSERT INTO insight_reply (id, contact_id, at, waited, is_placed, zip)
    SELECT md5('reply' || i)::uuid, md5('contact' || 1 + i % 15000)::uuid,
           CAST(:now AS timestamptz) - i * interval '10 minutes', i, i % 2000 > 0, i % 500
    FROM generate_series(1, 40000) i""",
    """INSERT INTO insight_outcome (id, contact_id, kind, at, amount_cents, source, is_placed, zip)
    SELECT md5('outcome' || i)::uuid, md5('contact' || 1 + i % 15000)::uuid,
           (ARRAY['invoice_paid', 'job_done', 'quote_sent'])[1 + i % 3],
           CAST(:now AS timestamptz) - i * interval '10 minutes', i, 'api', i % 2000 > 0, i % 500
    FROM generate_series(1, 40000) i""",
    """INSERT INTO insight_reply_until (id, until)
    SELECT 1, date_trunc('hour', CAST(:now AS timestamptz), 'UTC') - interval '74 hours'""",
    """INSERT INTO insight_answer_until (id, until)
    SELECT 1, date_trunc('hour', CAST(:now AS timestamptz), 'UTC') - interval '2 hours'""",
    f"""INSERT INTO webhook_event (id, provider_event_id, scheme, type, status, next_attempt_at,
        error_code, received_at, payload)
    SELECT {_in_months("'event' || i")}, 'EV' || i, 'legacy', 'message.received',
           CASE WHEN i % 100 = 0 THEN 'dead' WHEN i <= 200 THEN 'pending'
                WHEN i <= 250 THEN 'failed' ELSE 'processed' END,
           CAST(:now AS timestamptz) - i * interval '1 second',
           CASE WHEN i % 100 = 0 THEN 'error' || i / 100 % 20 END,
           CAST(:now AS timestamptz) - i * interval '1 second', '{{}}'
    FROM generate_series(1, 20000) i""",
    """INSERT INTO webhook_event_key (provider_event_id, event_id)
    SELECT provider_event_id, id FROM webhook_event""",
    """INSERT INTO media (id, sha256, content_type, size_bytes, created_at)
    SELECT md5('media' || i)::uuid, encode(sha256(convert_to('file' || i, 'UTF8')), 'hex'),
           'image/jpeg', 1000 + i, :now
    FROM generate_series(1, 40000) i""",
    f"""INSERT INTO media_fetch (id, activity_id, kind, url, status, attempts, next_attempt_at,
        media_id, created_at, updated_at)
    SELECT md5('fetch' || i)::uuid, {_in_months("'activity' || i")}, 'picture',
           'https://media.example.com/' || i,
           CASE WHEN i % 100 = 0 THEN 'dead' WHEN i <= 200 THEN 'pending' ELSE 'stored' END, 1,
           CAST(:now AS timestamptz) - i * interval '1 second',
           CASE WHEN i > 200 AND i % 100 > 0 THEN md5('media' || i)::uuid END,
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 10000) i""",
    """INSERT INTO consent_entry (phone_hash, action, source, actor, occurred_at,
        created_at)
    SELECT sha256(convert_to('hash' || i % 3000, 'UTF8')), 'opt_out', 'api', 'key', :now, :now
    FROM generate_series(1, 6000) i""",
    """INSERT INTO consent_wording (entry_id, phone)
    SELECT id, '+16175550000' FROM consent_entry""",
    f"""INSERT INTO reply_example (activity_id, phone_hash, body, is_sale, read_as, reading, label,
        decision, decided_at, created_at)
    SELECT {_in_months("'activity' || i")}, sha256(convert_to('hash' || i % 3000, 'UTF8')),
           'No thanks', false, 'doubtful', '{{}}', 'stop', 'opt_out', :now, :now
    FROM generate_series(1, 6000) i""",
    """UPDATE contact SET merged_into = md5('contact' || 1)::uuid, deleted_at = :now
    WHERE id IN (SELECT md5('contact' || 1000 + i)::uuid FROM generate_series(1, 50) i)""",
    """INSERT INTO contact_merge (id, primary_id, duplicate_ids, merged_by, merged_at)
    SELECT md5('merge' || i)::uuid, md5('contact' || i)::uuid,
           ARRAY[md5('contact' || i + 10000)::uuid], 'key',
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 5000) i""",
    """INSERT INTO tag_change (id, add, remove, status, requested_by, created_at)
    SELECT md5('tags' || i)::uuid, '{a}', '{}', CASE WHEN i % 500 = 0 THEN 'running'
           ELSE 'completed' END, 'key', CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 5000) i""",
    """INSERT INTO merge_candidate (id, first_id, second_id, email, found_at)
    SELECT md5('candidate' || i)::uuid, least(a.id, b.id), greatest(a.id, b.id), i % 100, :now
    FROM generate_series(1, 9000) i
    JOIN contact a ON a.id = md5('contact' || i)::uuid
    JOIN contact b ON b.id = md5('contact' || i + 10000)::uuid""",
    """INSERT INTO contact_note (id, contact_id, author, body, created_at, updated_at)
    SELECT md5('note' || i)::uuid, md5('contact' || 1 + i % 5000)::uuid, 'key', 'Called.',
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO app_user (id, email, name, role, status, password_hash, created_at, updated_at)
    SELECT md5('user' || i)::uuid, 'user' || i || '@firm.example.com', 'User', 'agent', 'active',
           'hash', CAST(:now AS timestamptz) - i * interval '1 hour', :now
    FROM generate_series(1, 2000) i""",
    """UPDATE conversation SET assignee_id = md5('user' || 1 + i % 50)::uuid
    FROM generate_series(1, 15000, 20) i WHERE id = md5('talk' || i)::uuid""",
    """INSERT INTO conversation_read (caller_id, conversation_id, read_until)
    SELECT md5('user' || 1 + i % 50)::uuid::text, md5('talk' || i)::uuid, :now
    FROM generate_series(1, 15000) i""",
    """INSERT INTO conversation_note (id, conversation_id, author, body, mentions, created_at)
    SELECT md5('talk note' || i)::uuid, md5('talk' || 1 + i % 15000)::uuid, 'key', 'Look.', '{}',
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 20000) i""",
    """INSERT INTO conversation_note (id, conversation_id, author, body, mentions, created_at)
    SELECT md5('mention' || i)::uuid, md5('talk' || i)::uuid, 'key', 'Look.',
           ARRAY[md5('user' || i)::uuid], CAST(:now AS timestamptz) - i * interval '1 hour'
    FROM generate_series(1, 500) i""",
    """INSERT INTO push_subscription (id, user_id, endpoint, p256dh, auth, created_at)
    SELECT md5('device' || i)::uuid, md5('user' || 1 + i % 2000)::uuid,
           'https://push.example.com/' || i, 'key', 'secret',
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 4000) i""",
    """INSERT INTO notice (id, user_id, channel, kind, subject_id, about, ended_at, outcome,
        created_at)
    SELECT md5('notice' || i)::uuid, md5('user' || 1 + i % 2000)::uuid,
           CASE i % 2 WHEN 0 THEN 'mail' ELSE 'push' END, 'task', md5('task' || i)::uuid, :now,
           CASE WHEN i % 40 > 0 THEN CAST(:now AS timestamptz) END,
           CASE WHEN i % 40 > 0 THEN 'sent' END, :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO saved_view (id, user_id, list, name, filter, created_at, updated_at)
    SELECT md5('view' || i)::uuid, md5('user' || 1 + i % 2000)::uuid, 'tasks', 'View ' || i, '{}',
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO task (id, title, due_at, contact_id, conversation_id, assignee_id, author,
        done_at, created_at, updated_at)
    SELECT md5('task' || i)::uuid, 'Call', CAST(:now AS timestamptz) - i * interval '1 minute',
           md5('contact' || 1 + i % 5000)::uuid,
           CASE WHEN i <= 15000 THEN md5('talk' || i)::uuid END,
           md5('user' || 1 + i % 2000)::uuid, 'key',
           CASE WHEN i % 4 > 0 THEN CAST(:now AS timestamptz) - i * interval '1 minute' END,
           :now, :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO appointment (id, contact_id, property_id, kind, starts_at, ends_at, timezone,
        assignee_id, status, author, created_at, updated_at)
    SELECT md5('appointment' || i)::uuid, md5('contact' || 1 + i % 5000)::uuid,
           md5('property' || 1 + i % 5000)::uuid, 'assessment',
           CAST(:now AS timestamptz) + (2000 - i) * interval '1 hour',
           CAST(:now AS timestamptz) + (2001 - i) * interval '1 hour', 'America/New_York',
           md5('user' || 1 + i % 2000)::uuid, 'booked', 'key', :now, :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO quote (id, number, contact_id, amount_cents, currency, status, status_at, author,
        created_at, updated_at)
    SELECT md5('quote' || i)::uuid, 'Q-' || i, md5('contact' || 1 + i % 5000)::uuid, 100, 'USD',
           CASE WHEN i % 20 = 0 THEN 'approved' ELSE 'sent' END,
           CAST(:now AS timestamptz) - i * interval '1 hour', 'key',
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO invoice (id, number, contact_id, amount_cents, currency, status, status_at,
        author, created_at, updated_at)
    SELECT md5('invoice' || i)::uuid, 'I-' || i, md5('contact' || 1 + i % 5000)::uuid, 100, 'USD',
           CASE WHEN i % 20 = 0 THEN 'open' ELSE 'paid' END,
           CAST(:now AS timestamptz) - i * interval '1 hour', 'key',
           CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO reminder_rule (id, name, line_id, body, hours_before, kinds, is_active, author,
        created_at, updated_at)
    SELECT md5('rule' || i)::uuid, 'Day', (SELECT id FROM line ORDER BY id LIMIT 1), 'Hi', 24,
           '{assessment}', i <= 20, 'key', CAST(:now AS timestamptz) - i * interval '1 day', :now
    FROM generate_series(1, 5000) i""",
    """INSERT INTO appointment_reminder (id, rule_id, appointment_id, starts_at, status, try_at,
        activity_id, created_at, updated_at)
    SELECT md5('reminder' || i)::uuid, md5('rule1')::uuid, md5('appointment' || i)::uuid,
           CAST(:now AS timestamptz) + (2000 - i) * interval '1 hour', 'queued', :now,
           md5('message' || i)::uuid, :now, :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO calendar_account (id, name, url, username, sealed, timezone, next_sync_at,
        author, created_at, updated_at)
    SELECT md5('account' || i)::uuid, 'Visits', 'https://dav.example.com/' || i, 'olga', '', 'UTC',
           :now, 'key', CAST(:now AS timestamptz) - i * interval '1 minute', :now
    FROM generate_series(1, 5000) i""",
    """INSERT INTO calendar_event (id, account_id, appointment_id, href, uid)
    SELECT md5('calendar event' || i)::uuid, md5('account' || 1 + i % 50)::uuid,
           md5('appointment' || i)::uuid, '/' || i || '.ics', 'uid' || i
    FROM generate_series(1, 20000) i""",
    """INSERT INTO calendar_busy_time (id, event_id, starts_at, ends_at)
    SELECT md5('busy' || i)::uuid, md5('calendar event' || 1 + i % 500)::uuid,
           CAST(:now AS timestamptz) + (2000 - i) * interval '1 hour',
           CAST(:now AS timestamptz) + (2001 - i) * interval '1 hour'
    FROM generate_series(1, 20000) i""",
    """INSERT INTO calendar_feed (id, name, token_hash, author, created_at)
    SELECT md5('feed' || i)::uuid, 'Feed', sha256(convert_to('feed' || i, 'UTF8')), 'key',
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 5000) i""",
    """INSERT INTO outcome (id, kind, amount_cents, currency, occurred_at, source, external_hash,
        reverses_id, recorded_by, created_at)
    SELECT md5('outcome' || i)::uuid, 'job_done', CASE WHEN i % 50 = 0 THEN -1000 ELSE 1000 END,
           'USD', CAST(:now AS timestamptz) - i * interval '1 hour', 'api',
           sha256(convert_to('outcome' || i, 'UTF8')),
           CASE WHEN i % 50 = 0 THEN md5('outcome' || i - 1)::uuid END, 'key',
           CAST(:now AS timestamptz) - i * interval '1 hour'
    FROM generate_series(1, 20000) i""",
    f"""INSERT INTO outcome_subject (outcome_id, contact_id, phone)
    SELECT md5('outcome' || i)::uuid,
           CASE WHEN i % 20 > 0 THEN md5('contact' || 1 + i % 5000)::uuid END,
           CASE WHEN i % 20 = 0 THEN {_phone("i + 50000")} END
    FROM generate_series(1, 20000) i WHERE i % 50 > 0""",
    """INSERT INTO outcome_credit (id, outcome_id, rules_version, campaign_id, numerator,
        denominator, cents)
    SELECT md5('credit' || i)::uuid, md5('outcome' || i)::uuid, 1,
           CASE WHEN i % 3 = 0 THEN md5('campaign' || 1 + i % 40)::uuid END, 1, 1, 1000
    FROM generate_series(1, 20000) i WHERE i % 50 > 0""",
    """INSERT INTO holdout (id, name, percent, scope, starts_at, ends_at, hash_key, created_by,
        created_at)
    SELECT md5('holdout' || i)::uuid, 'Plan', 10, 'cold',
           CAST(:now AS timestamptz) - (i + 1) * interval '1 day',
           CAST(:now AS timestamptz) - i * interval '1 day', '', 'key',
           CAST(:now AS timestamptz) - (i + 1) * interval '1 day'
    FROM generate_series(1, 2000) i""",
    """INSERT INTO cost_entry (id, kind, amount_cents, currency, incurred_at, created_by,
        created_at)
    SELECT md5('cost' || i)::uuid, 'other', 100, 'USD',
           CAST(:now AS timestamptz) - i * interval '1 hour', 'key', :now
    FROM generate_series(1, 5000) i""",
    """INSERT INTO attribution_run (id, rules_version, as_of, outcomes, inputs_hash, result_hash)
    SELECT md5('run' || i)::uuid, 1 + i % 3, CAST(:now AS timestamptz) - i * interval '1 day', 1,
           '', ''
    FROM generate_series(1, 2000) i""",
    """INSERT INTO user_session (id, user_id, access_hash, access_expires_at, expires_at,
        created_at)
    SELECT md5('session' || i)::uuid, md5('user' || 1 + i % 2000)::uuid,
           sha256(convert_to('access' || i, 'UTF8')), :now,
           CAST(:now AS timestamptz) + i * interval '1 minute', :now
    FROM generate_series(1, 10000) i""",
    """INSERT INTO refresh_token (token_hash, session_id, created_at)
    SELECT sha256(convert_to('refresh' || i, 'UTF8')), md5('session' || 1 + i % 10000)::uuid, :now
    FROM generate_series(1, 20000) i""",
    """INSERT INTO user_ticket (token_hash, user_id, purpose, expires_at, created_at)
    SELECT sha256(convert_to('ticket' || i, 'UTF8')), md5('user' || i)::uuid, 'invitation', :now,
           :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO outgoing_mail (id, recipient, subject, body, next_attempt_at, expires_at,
        created_at)
    SELECT md5('mail' || i)::uuid, 'a@firm.example.com', 'Subject', '',
           CAST(:now AS timestamptz) + i * interval '1 second', :now, :now
    FROM generate_series(1, 5000) i""",
    """INSERT INTO idempotency_key (caller, key, fingerprint, status, created_at)
    SELECT 'key' || i % 5, 'request' || i, '', 201,
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 10000) i""",
    """INSERT INTO consent_link (position, entry_id, key_id, digest)
    SELECT id, id, 'key', sha256('x') FROM consent_entry WHERE id <= 5900""",
    """INSERT INTO consent_unlinked (entry_id) SELECT id FROM consent_entry WHERE id > 5900""",
    """INSERT INTO erasure (id, contact_id, reason, actor, status, sealed, next_at, created_at)
    SELECT md5('erasure' || i)::uuid, md5('contact' || i)::uuid, 'asked', 'key',
           CASE WHEN i <= 3 THEN 'sweeping' ELSE 'completed' END,
           CASE WHEN i <= 3 THEN sha256('x') END, CAST(:now AS timestamptz) - interval '1 minute',
           CAST(:now AS timestamptz) - i * interval '1 hour'
    FROM generate_series(1, 2000) i""",
    """INSERT INTO erased_number (phone_hash, erased_at)
    SELECT sha256(convert_to('hash' || i, 'UTF8')), :now FROM generate_series(1, 5000) i""",
    """INSERT INTO do_not_contact_upload (id, status, byte_size, columns, reason, actor, dry_run,
        created_at, updated_at)
    SELECT md5('upload' || i)::uuid, CASE WHEN i <= 3 THEN 'pending' ELSE 'completed' END, 1, '{}',
           'list', 'key', false, CAST(:now AS timestamptz) - i * interval '1 hour', :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO do_not_contact_upload_error (upload_id, line, reason)
    SELECT md5('upload' || 1 + i % 100)::uuid, i, 'No number'
    FROM generate_series(1, 10000) i""",
    """INSERT INTO contact_import (id, status, byte_size, created_at, updated_at)
    SELECT md5('import' || i)::uuid, CASE WHEN i <= 3 THEN 'pending' ELSE 'completed' END, 1,
           CAST(:now AS timestamptz) - i * interval '1 hour', :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO contact_import (id, status, byte_size, dry_run_id, undo_state, created_at,
        updated_at)
    SELECT md5('commit' || i)::uuid, 'completed', 1, md5('import' || i)::uuid,
           CASE WHEN i % 100 = 0 THEN 'pending' END, :now, :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO contact_import_chunk (import_id, start, applied_at, outcomes, created_ids,
        changed_ids, changes)
    SELECT md5('import' || 1 + i % 100)::uuid, i, :now, '{}', ARRAY[md5('contact' || i)::uuid],
           ARRAY[md5('contact' || i + 1)::uuid], ARRAY['{}'::jsonb]
    FROM generate_series(1, 5000) i""",
    """INSERT INTO contact_import_error (import_id, line, code, reason)
    SELECT md5('import' || 1 + i % 100)::uuid, i, 'invalid_phone', 'No number'
    FROM generate_series(1, 10000) i""",
    """INSERT INTO alert (id, kind, subject, detail, first_seen_at, last_seen_at, opened_at,
        resolved_at)
    SELECT md5('alert' || i)::uuid, 'line_blocked', i::text, 'x', :now,
           CAST(:now AS timestamptz) - i * interval '1 minute', :now,
           CASE WHEN i % 50 > 0 THEN CAST(:now AS timestamptz) END
    FROM generate_series(1, 3000) i""",
    """INSERT INTO alert_notice (alert_id, channel, told_as, told_at)
    SELECT md5('alert' || i)::uuid, 'mail', 'resolved',
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 3000) i""",
    """INSERT INTO webhook_health_check (id, side, status, asked_by, created_at, concluded_at)
    SELECT md5('check' || i)::uuid, (ARRAY['test_text', 'silence', 'provider'])[1 + i % 3],
           CASE WHEN i <= 3 THEN 'waiting' ELSE 'passed' END, 'schedule',
           CAST(:now AS timestamptz) - i * interval '20 minutes', :now
    FROM generate_series(1, 9000) i""",
    """INSERT INTO reconciliation_run (id, trigger, status, until, continues, created_at)
    SELECT md5('run' || i)::uuid, 'daily', CASE WHEN i <= 3 THEN 'pending' ELSE 'completed' END,
           CAST(:now AS timestamptz) - i * interval '1 day', i % 10 > 0,
           CAST(:now AS timestamptz) - i * interval '1 day'
    FROM generate_series(1, 2000) i""",
    """INSERT INTO receiver_heartbeat (name, seen_at)
    SELECT 'other' || i, :now FROM generate_series(1, 3000) i""",
    """INSERT INTO api_key (id, name, key_hash, prefix, scopes, created_at)
    SELECT md5('key' || i)::uuid, 'key', sha256(convert_to('key' || i, 'UTF8')), 'crm_',
           ARRAY['admin'], CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 3000) i""",
    """INSERT INTO audit_log (actor, actor_id, action, operation, subject, created_at)
    SELECT 'key' || i % 300, 'id' || i % 300, 'act' || i % 150, 'act' || i % 150, 'x' || i,
           CAST(:now AS timestamptz) - i * interval '1 minute'
    FROM generate_series(1, 9000) i""",
    """INSERT INTO webhook_endpoint (id, url, description, event_types, scopes, created_by,
        created_at, updated_at)
    SELECT md5('endpoint' || i)::uuid, 'https://hooks.example.com/' || i, '', '{}', '{admin}',
           'key', CAST(:now AS timestamptz) - i * interval '1 day', :now
    FROM generate_series(1, 2000) i""",
    """INSERT INTO webhook_secret (id, endpoint_id, sealed, created_at, expires_at)
    SELECT md5('secret' || i)::uuid, md5('endpoint' || 1 + i % 2000)::uuid, sha256('x'), :now,
           CASE WHEN i > 2000 THEN CAST(:now AS timestamptz) + i * interval '1 second' END
    FROM generate_series(1, 6000) i""",
    """INSERT INTO webhook_delivery (id, endpoint_id, type, happened_at, data, status,
        next_attempt_at, created_at, delivered_at)
    SELECT md5('delivery' || i)::uuid, md5('endpoint' || 1 + i % 5)::uuid, 'opt_out', :now, '{}',
           CASE WHEN i % 100 = 0 THEN 'failed' WHEN i <= 500 THEN 'pending' ELSE 'delivered' END,
           :now, CAST(:now AS timestamptz) - i * interval '1 minute',
           CASE WHEN i % 100 > 0 AND i > 500 THEN CAST(:now AS timestamptz) END
    FROM generate_series(1, 40000) i""",
    """INSERT INTO audit_log (actor, action, subject, created_at)
    SELECT 'key', 'act', 'x', :now FROM generate_series(1, 3000) i""",
    # A job applies and deletes the rows of these tables every minute, so they are almost empty in
    # use.
    "TRUNCATE insight_person_change, insight_person_move",
    "TRUNCATE insight_answer_change, insight_reply_change, insight_outcome_change",
)


_NO_AUTOVACUUM = """
    DO $$
    DECLARE part regclass;
    BEGIN
        FOR part IN SELECT oid FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        LOOP
            EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', part);
        END LOOP;
    END $$
"""


async def fill(engine: AsyncEngine) -> None:
    """Insert and commit the rows.

    The planner has no statistics of these rows, as after a bulk load or on the first day of a
    month.
    """
    async with engine.begin() as connection:
        await connection.execute(text(_NO_AUTOVACUUM))
        for statement in _STATEMENTS:
            query = text(statement)
            values = {"now": NOW} if "now" in query._bindparams else {}
            await connection.execute(query, values)


async def collect_statistics(engine: AsyncEngine) -> None:
    """Collect statistics of the rows, as autovacuum does."""
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text("VACUUM ANALYZE"))
