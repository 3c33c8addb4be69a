"""SQL that carries a chunk's plan out, and tells what came of it."""

from sqlalchemy import text

from crm_api.domain.transfer.merge_statements import COLUMNS

_NAMES = ", ".join(COLUMNS)
_SET = ", ".join(f"{name} = p.{name}" for name in COLUMNS)
_IS_NEW = "outcome IN ('created', 'revived')"

LOCK = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM contact WHERE phone = ANY (ARRAY(SELECT phone FROM import_person))
        ORDER BY phone FOR NO KEY UPDATE
    ) known
""")
"""In the order of the numbers, as everybody locks them."""

UNPLACED = text("""
    SELECT position, timezone, state, postal_code, phone FROM import_plan
    WHERE zone_key IS NULL AND outcome = 'updated'
""")
PLACE = text("""
    UPDATE import_plan AS p SET zone_key = r.zone_key
    FROM unnest(CAST(:positions AS integer[]), CAST(:zone_keys AS text[]))
        AS r (position, zone_key)
    WHERE p.position = r.position
""")

UPDATE = text(f"""
    UPDATE contact AS c SET {_SET}, zone_key = p.zone_key, tags = p.tags,
        attributes = p.attributes, updated_at = :now,
        created_at = CASE WHEN p.outcome = 'revived' THEN :now ELSE c.created_at END,
        source = CASE WHEN p.outcome = 'revived' THEN 'import' ELSE c.source END,
        deleted_at = NULL
    FROM import_plan p
    WHERE c.id = p.contact_id AND p.outcome IN ('updated', 'revived')
      -- The planner is told that they are few beside all contacts.
      AND c.id = ANY (ARRAY(
          SELECT contact_id FROM import_plan WHERE outcome IN ('updated', 'revived')
      ))
""")
INSERT = text(f"""
    INSERT INTO contact (id, phone, {_NAMES}, zone_key, tags, attributes, source, created_at,
        updated_at)
    SELECT contact_id, phone, {_NAMES}, zone_key, tags, attributes, 'import', :now, :now
    FROM import_plan WHERE outcome = 'created' ORDER BY phone
    ON CONFLICT (phone) DO NOTHING
""")
DROP_LOST = text("""
    DELETE FROM import_plan p
    WHERE p.outcome = 'created' AND NOT EXISTS (SELECT 1 FROM contact c WHERE c.id = p.contact_id)
""")
"""Whose number somebody else stored between the plan and the insert: they are known now."""

ADD_MEMBERS = text("""
    INSERT INTO contact_list_member (list_id, contact_id, added_at)
    SELECT :list_id, contact_id, :now FROM import_plan ORDER BY contact_id
    ON CONFLICT DO NOTHING
""")

COUNT = text("SELECT outcome, count(*) AS people FROM import_plan GROUP BY outcome")
COUNT_FIELDS = text("""
    SELECT field, count(*) FILTER (WHERE NOT is_old) AS filled,
        count(*) FILTER (WHERE is_old) AS overwritten
    FROM (
        SELECT unnest(filled), FALSE FROM import_plan WHERE outcome = 'updated'
        UNION ALL
        SELECT jsonb_object_keys(old - 'attributes'), TRUE FROM import_plan
        WHERE outcome = 'updated' AND old <> '{}'
        UNION ALL
        SELECT 'attributes.' || jsonb_object_keys(old -> 'attributes'), TRUE FROM import_plan
        WHERE outcome = 'updated' AND old ? 'attributes'
    ) AS each (field, is_old)
    GROUP BY field
""")
NEW_PHONES = text(f"SELECT phone FROM import_plan WHERE {_IS_NEW} ORDER BY position")
MOVED_PHONES = text("""
    SELECT phone FROM import_plan
    WHERE outcome IN ('updated', 'revived') AND zone_key <> old_zone_key
""")
SAMPLE = text(f"""
    SELECT line, phone, contact_id, outcome, {_NAMES}, tags, attributes, filled, old
    FROM import_plan
    WHERE (outcome = 'updated') = :is_known AND outcome <> 'unchanged'
    ORDER BY position LIMIT :limit
""")

_DIGESTS = """
    SELECT position, hashtextextended(
        replace(outcome, 'revived', 'created') || coalesce(array_to_string(filled, ' '), '')
        || ' ' || coalesce(CAST(old AS text), ''), 0) AS digest
    FROM import_plan
"""
KEEP_OUTCOMES = text(f"""
    INSERT INTO contact_import_chunk (import_id, start, applied_at, outcomes, created_ids,
        changed_ids, changes)
    SELECT :import_id, :start, :now, coalesce(array_agg(digest ORDER BY position), '{{}}'),
        '{{}}', '{{}}', '{{}}'
    FROM ({_DIGESTS}) plan
""")
COUNT_OTHERWISE = text(f"""
    SELECT count(*)
    FROM contact_import_chunk k
    CROSS JOIN LATERAL unnest(k.outcomes) WITH ORDINALITY AS told (digest, position)
    JOIN (SELECT digest, row_number() OVER (ORDER BY position) AS position FROM ({_DIGESTS}) d) now
        USING (position)
    WHERE k.import_id = :dry_run_id AND k.start = :start AND told.digest <> now.digest
""")
KEEP_CHANGES = text(f"""
    INSERT INTO contact_import_chunk (import_id, start, applied_at, outcomes, created_ids,
        changed_ids, changes)
    SELECT :import_id, :start, :now, '{{}}',
        coalesce(array_agg(contact_id ORDER BY position) FILTER (WHERE is_new), '{{}}'),
        coalesce(array_agg(contact_id ORDER BY position) FILTER (WHERE NOT is_new), '{{}}'),
        coalesce(array_agg(change ORDER BY position) FILTER (WHERE NOT is_new), '{{}}')
    FROM (
        SELECT position, contact_id, {_IS_NEW} AS is_new,
            CASE WHEN outcome = 'updated' THEN jsonb_strip_nulls(jsonb_build_object(
                'filled', to_jsonb(nullif(filled, '{{}}')),
                'zone_key', nullif(old_zone_key, zone_key),
                'updated_at', old_updated_at
            )) || CASE WHEN old = '{{}}' THEN old ELSE jsonb_build_object('old', old) END
            END AS change
        FROM import_plan WHERE outcome <> 'unchanged'
    ) plan
""")
