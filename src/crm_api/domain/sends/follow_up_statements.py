"""The statements that end the follow-ups of a person who answered or called."""

from sqlalchemy import text

# Only of campaigns that had texted the person by then, at whatever number: an older message, told
# late, ends nothing.
# Whoever answers from a number that was merged has answered for the person.
# What is claimed meanwhile waits for this row or finds the mark in the gate.
END = text("""
    UPDATE campaign_membership m
    SET ended_by = :why, updated_at = :now,
        status = CASE WHEN m.step > 0 AND m.status IN ('pending', 'review', 'held')
                      THEN 'skipped' ELSE m.status END,
        skip_reason = CASE WHEN m.step > 0 AND m.status IN ('pending', 'review', 'held')
                           THEN :why ELSE m.skip_reason END
    FROM campaign c, (
        SELECT t.phone, t.at FROM unnest(CAST(:phones AS text[]), CAST(:ats AS timestamptz[]))
            AS t (phone, at)
        UNION
        SELECT p.phone, t.at FROM unnest(CAST(:phones AS text[]), CAST(:ats AS timestamptz[]))
            AS t (phone, at)
        JOIN contact d ON d.phone = t.phone JOIN contact p ON p.id = d.merged_into
    ) told
    WHERE m.phone = told.phone AND m.ended_by IS NULL AND c.id = m.campaign_id
      AND c.follow_ups <> '[]' AND c.status IN ('scheduled', 'running', 'paused', 'blocked')
      AND EXISTS (
          SELECT 1 FROM campaign_membership f JOIN send_attempt a ON a.membership_id = f.id
          WHERE f.campaign_id = m.campaign_id AND f.step = 0
            AND f.contact_id IN (
                SELECT m.contact_id
                UNION ALL SELECT d.id FROM contact d WHERE d.merged_into = m.contact_id)
            AND a.called_at <= told.at + make_interval(secs => :skew)
            AND a.status NOT IN ('released', 'refused'))
    RETURNING m.id
""")

TAKE_BACK = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        FROM campaign_membership m
        WHERE a.is_open AND a.status = 'claimed'
          AND a.phone IN (
              SELECT unnest(CAST(:phones AS text[]))
              UNION ALL
              SELECT p.phone FROM contact d JOIN contact p ON p.id = d.merged_into
              WHERE d.phone = ANY(CAST(:phones AS text[])))
          AND m.id = a.membership_id AND m.step > 0 AND m.ended_by IS NOT NULL
        RETURNING a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t SET status = 'released', updated_at = :now
        FROM freed f WHERE t.id = f.activity_id
    )
    SELECT membership_id FROM freed
""")
