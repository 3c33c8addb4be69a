"""SQL that takes a person out of the tables, at once.

What is unique by number (a contact, a conversation, a recipient) gets a name that is nobody's:
``erased:`` and an id. Rows stay, so that what was counted and what refers to them stays true.
"""

from sqlalchemy import text

# An id that was merged into another is that person's too.
LOCK_PERSON = text("""
    SELECT c.id, c.phone, c.first_name, c.last_name, c.email, c.deleted_at
    FROM contact c
    WHERE c.id = coalesce(
            (SELECT d.merged_into FROM contact d WHERE d.id = :contact_id), :contact_id)
      AND c.phone NOT LIKE 'erased:%'
    FOR NO KEY UPDATE
""")

# Whoever was merged into the person is the person.
MERGED = text("SELECT d.id, d.phone FROM contact d WHERE d.merged_into = :contact_id")

# Numbers that they had before; one that somebody else has by now is theirs.
FORMER_NUMBERS = text("""
    SELECT DISTINCT x.phone FROM (
        SELECT a.phone FROM activity a WHERE a.contact_id = ANY(CAST(:ids AS uuid[]))
        UNION ALL
        SELECT t.phone FROM conversation t WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
    ) x
    WHERE x.phone ~ '^[+][0-9]+$' AND NOT EXISTS (
        SELECT 1 FROM contact c
        WHERE c.phone = x.phone AND c.id <> ALL(CAST(:ids AS uuid[])))
""")

# What may have been sent and is not settled; a claimed text was taken back before.
UNDER_WAY = text("""
    SELECT count(*) FROM send_attempt a
    WHERE a.phone = ANY(CAST(:phones AS text[])) AND (a.is_open OR a.status = 'parked')
""")

CANCEL_QUEUED = text("""
    UPDATE activity a SET status = 'failed', error_code = 'erased', updated_at = :now
    WHERE a.status = 'queued' AND a.phone = ANY(CAST(:phones AS text[]))
""")

TALKS = text("""
    SELECT t.id FROM conversation t WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
    UNION
    SELECT t.id FROM line l JOIN conversation t ON t.line_id = l.id
    WHERE t.phone = ANY(CAST(:phones AS text[]))
""")

# Somebody else may have had the number before: what they said is theirs, only the number goes.
ERASE_ACTIVITIES = text("""
    UPDATE activity a
    SET phone = 'erased:' || a.id, updated_at = :now,
        contact_id = CASE WHEN x.is_theirs THEN :contact_id ELSE a.contact_id END,
        body = CASE WHEN NOT x.is_theirs THEN a.body END,
        media = CASE WHEN x.is_theirs THEN '[]' ELSE a.media END,
        call = CASE WHEN x.is_theirs THEN '{}' ELSE a.call END
    FROM (
        SELECT b.id, b.contact_id IS NULL OR b.contact_id = ANY(CAST(:ids AS uuid[])) AS is_theirs
        FROM activity b
        WHERE b.contact_id = ANY(CAST(:ids AS uuid[]))
           OR b.conversation_id = ANY(CAST(:talk_ids AS uuid[]))
    ) x
    WHERE a.id = x.id
""")

ERASE_TALKS = text("""
    UPDATE conversation t SET phone = 'erased:' || t.id, openphone_id = NULL
    WHERE t.id = ANY(CAST(:talk_ids AS uuid[]))
""")

ERASE_ATTEMPTS = text("""
    UPDATE send_attempt a
    SET phone = 'erased:' || a.id, body = '', error_detail = NULL, updated_at = :now
    WHERE a.phone = ANY(CAST(:phones AS text[]))
""")

# By the recipient's id, so that it is one name a campaign and step, and the same one as the
# contact's: whoever derives a status finds the contact deleted.
ERASE_MEMBERSHIPS = text("""
    UPDATE campaign_membership m SET phone = 'erased:' || m.contact_id, updated_at = :now
    WHERE m.phone = ANY(CAST(:phones AS text[]))
""")
# Its fields went when it was deleted.
ERASE_CONTACT = text("""
    UPDATE contact c SET phone = 'erased:' || c.id, zone_key = :zone_key, updated_at = :now
    WHERE c.id = ANY(CAST(:ids AS uuid[]))
""")
# Examples that an import shows, and what it keeps to be undone.
ERASE_SAMPLES = text("""
    UPDATE contact_import i
    SET sample = coalesce((
        SELECT jsonb_agg(x.one ORDER BY x.place)
        FROM jsonb_array_elements(i.sample) WITH ORDINALITY AS x (one, place)
        WHERE NOT (x.one ->> 'phone' = ANY(CAST(:phones AS text[])))), '[]')
    WHERE EXISTS (
        SELECT 1 FROM jsonb_array_elements(i.sample) AS x (one)
        WHERE x.one ->> 'phone' = ANY(CAST(:phones AS text[])))
""")
HOUSES = text("SELECT k.property_id FROM property_contact k WHERE k.contact_id = :contact_id")

# A house that nobody else belongs to goes with them.
DROP_HOUSES = text("""
    DELETE FROM property p
    WHERE p.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM property_contact k WHERE k.property_id = p.id)
""")

# By no index: these are for the job.
ERASE_CHANGES = text("""
    UPDATE contact_import_chunk k
    SET changes[array_position(k.changed_ids, CAST(:contact_id AS uuid))] = '{}'
    WHERE k.changed_ids @> ARRAY[CAST(:contact_id AS uuid)]
""")
FORMER_MEMBERSHIPS = text("""
    UPDATE campaign_membership m SET phone = 'erased:' || m.contact_id
    WHERE m.contact_id = :contact_id AND m.phone NOT LIKE 'erased:%'
""")

# Files that no other message has; those that a worker is fetching just now wait.
FREE_MEDIA = text("""
    WITH gone AS (
        DELETE FROM media_fetch f USING activity a
        WHERE a.contact_id = :contact_id AND f.activity_id = a.id
          AND NOT (f.status IN ('pending', 'failed') AND f.attempts > 0
                   AND f.next_attempt_at > CAST(:now AS timestamptz)
                   AND f.updated_at > CAST(:now AS timestamptz) - interval '5 minutes')
        RETURNING f.id, f.media_id
    )
    SELECT DISTINCT g.media_id FROM gone g WHERE g.media_id IS NOT NULL
""")
DROP_MEDIA = text("""
    DELETE FROM media m
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM media_fetch f WHERE f.media_id = m.id)
    RETURNING m.sha256
""")
FETCHES_LEFT = text("""
    SELECT EXISTS (
        SELECT 1 FROM media_fetch f JOIN activity a ON a.id = f.activity_id
        WHERE a.contact_id = :contact_id)
""")
STILL_STORED = text("SELECT m.sha256 FROM media m WHERE m.sha256 = ANY(CAST(:names AS text[]))")
