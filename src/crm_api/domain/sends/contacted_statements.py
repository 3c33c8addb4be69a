"""People who were texted before: asked when an audience is written down, and by each claim."""

from sqlalchemy import text

from crm_api.domain.sends.rule_fragments import FLAGGED

TEXTED_BEFORE = """(
    EXISTS (
        SELECT 1 FROM campaign_membership p
        WHERE p.phone = {phone} AND p.sent_at IS NOT NULL {each})
    OR EXISTS (
        SELECT 1 FROM contact d JOIN campaign_membership p ON p.phone = d.phone
        WHERE d.merged_into = {contact} AND p.sent_at IS NOT NULL {each})
    OR EXISTS (
        SELECT 1 FROM activity t
        WHERE t.contact_id = {contact} AND t.kind = 'message' AND t.direction = 'outgoing'
          AND t.origin IN ('manual', 'provider') {each}))"""
"""A campaign has texted the number, or one that was merged into this person, or somebody has texted
them by hand.

``each``: ``OFFSET 0`` keeps it to one probe a person where the planner would read the tables whole.
"""

CONTACTED = f"""(
    m.step = 0 AND m.approved_at IS NULL
    AND ({FLAGGED.format(phone="m.phone", flags="'recently_texted'")}
         OR {TEXTED_BEFORE.format(phone="m.phone", contact="m.contact_id", each="")}))"""
"""Of a recipient ``m`` who waits: texted before, as is known now, and approved by nobody."""

# The numbers are locked, so of two campaigns that claim one at once the second sees what the first
# has sent. An opt-out may have come meanwhile; a plain `=` would take the partial index of all who
# wait.
SET_ASIDE = text(f"""
    UPDATE campaign_membership m
    SET status = CASE WHEN CAST(:rule AS text) = 'skip' THEN 'skipped' ELSE 'review' END,
        skip_reason = CASE WHEN CAST(:rule AS text) = 'skip' THEN 'previously_contacted' END,
        updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[])) AND m.status IS NOT DISTINCT FROM 'pending'
      AND {CONTACTED}
    RETURNING m.id
""")
