"""Mark recipients who replied with interest, store their sums by hour, and index reply times.

Figures now read `interested_rate` from the stored sums, as they read `reply_rate`. Before, they
used an index of the replies with interest. This index is dropped, so a statement that links a reply
to its campaign writes no index.

A trigger updates the mark of a recipient when a user corrects the class of a reply, and when a
process of the previous release stores a reply. The migration marks the existing recipients after it
has created this trigger. The trigger that counts messages adds them to the sums.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0098"
down_revision: str | None = "20261129_0097"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOBODY = "'00000000-0000-0000-0000-000000000000'"
OLD_COUNTS = ("sent", "delivered", "failed", "replied", "opted_out")
COUNTS = ("sent", "delivered", "failed", "replied", "interested", "opted_out")


def _messages(rows: str, counts: Sequence[str], sign: str = "") -> str:
    at = "coalesce(sent_at, due_at)"
    interested = ""
    if "interested" in counts:
        interested = (
            f"{sign}(status <> 'failed' AND replied_at IS NOT NULL AND is_interested)::integer "
            "AS interested,\n                   "
        )
    return f"""            SELECT campaign_id, step, variant, date_bin('1 hour', {at}, '2000-01-01Z') AS hour, date_bin('1 day', {at}, '2000-01-01Z') AS day,
                   {sign}(status <> 'failed')::integer AS sent, {sign}(status = 'delivered')::integer AS delivered,
                   {sign}(status = 'failed')::integer AS failed,
                   {sign}(status <> 'failed' AND replied_at IS NOT NULL)::integer AS replied,
                   {interested}{sign}(status <> 'failed' AND opted_out_at IS NOT NULL)::integer AS opted_out
            FROM {rows} WHERE status IN ('sent', 'delivered', 'failed')"""


def _add(rows: str, counts: Sequence[str]) -> str:
    return f"""
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, {", ".join(counts)})
        SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
               coalesce(campaign_id, {NOBODY}), step, coalesce(variant, 0), coalesce(hour, day),
               {", ".join(f"sum({one})" for one in counts)}
        FROM (
{rows}
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING {" OR ".join(f"sum({one}) <> 0" for one in counts)};"""


def count_messages_by_hour(counts: Sequence[str]) -> str:
    """Return the SQL that creates the trigger function that counts messages."""
    added, removed = _messages("added", counts), _messages("removed", counts, "-")
    return f"""CREATE OR REPLACE FUNCTION count_messages_by_hour()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN{_add(added, counts)}
    ELSIF TG_OP = 'DELETE' THEN{_add(removed, counts)}
    ELSE{_add(f"{added}{chr(10)}                UNION ALL{chr(10)}{removed}", counts)}
    END IF;
    RETURN NULL;
END
$function$"""


MARK_INTEREST = """CREATE OR REPLACE FUNCTION mark_interest()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    wanted boolean := NEW.reply_class = 'interested' OR EXISTS (
        SELECT FROM activity a
        WHERE a.contact_id = NEW.contact_id AND a.campaign_id = NEW.campaign_id
          AND a.kind = 'message' AND a.direction = 'incoming' AND a.reply_class = 'interested');
    changed uuid[] := ARRAY(
        SELECT m.id FROM campaign g
        CROSS JOIN generate_series(0, jsonb_array_length(g.follow_ups)) AS s (step)
        JOIN campaign_membership m ON m.campaign_id = g.id AND m.step = s.step
        WHERE g.id = NEW.campaign_id AND m.replied_at IS NOT NULL AND m.is_interested <> wanted
          AND m.contact_id = ANY(ARRAY(
              SELECT NEW.contact_id
              UNION ALL SELECT d.id FROM contact d WHERE d.merged_into = NEW.contact_id)));
BEGIN
    IF cardinality(changed) > 0 THEN
        UPDATE campaign_membership m SET is_interested = wanted WHERE m.id = ANY(changed);
    END IF;
    RETURN NULL;
END
$function$"""
MARKS = (
    "CREATE OR REPLACE TRIGGER mark_interest AFTER UPDATE OF campaign_id, reply_class ON activity "
    "FOR EACH ROW WHEN (((new.direction = 'incoming'::text) AND (new.campaign_id IS NOT NULL) AND "
    "((new.reply_class = 'interested'::text) OR (old.reply_class = 'interested'::text)))) "
    "EXECUTE FUNCTION mark_interest()"
)
MARK_ALL = """
    UPDATE campaign_membership m SET is_interested = true
    FROM (
        SELECT a.campaign_id, a.contact_id FROM activity a
        WHERE a.kind = 'message' AND a.direction = 'incoming' AND a.reply_class = 'interested'
        UNION
        SELECT a.campaign_id, d.id FROM contact d JOIN activity a ON a.contact_id = d.merged_into
        WHERE a.kind = 'message' AND a.direction = 'incoming' AND a.reply_class = 'interested'
    ) i
    WHERE m.campaign_id = i.campaign_id AND m.contact_id = i.contact_id
      AND m.replied_at IS NOT NULL AND NOT m.is_interested
"""
TIMES = "idx_campaign_membership_reply_time"
TIMES_DEFINITION = (
    "campaign_membership "
    "((date_bin('1 hour', coalesce(sent_at, due_at), '2000-01-01Z')), "
    "(CAST(extract(epoch FROM replied_at - sent_at) * 1000000 AS bigint))) "
    "INCLUDE (campaign_id, contact_id, step, variant, sent_at, due_at, replied_at) "
    "WHERE replied_at IS NOT NULL AND status IN ('sent', 'delivered')"
)
REPLIED = "idx_campaign_membership_replied"
REPLIED_DEFINITION = (
    "campaign_membership (campaign_id, contact_id) "
    "INCLUDE (step, variant, status, sent_at, due_at, replied_at, id) "
    "WHERE replied_at IS NOT NULL"
)
INTERESTED = "idx_activity_interested"
INTERESTED_DEFINITION = (
    "(campaign_id, contact_id) "
    "WHERE kind = 'message' AND direction = 'incoming' AND reply_class = 'interested'"
)
# Find the monthly partitions whose index is not attached yet. After an interruption, the next run
# of the migration continues with these partitions.
UNINDEXED = """
SELECT i.inhrelid::regclass::text AS month FROM pg_inherits i
WHERE i.inhparent = 'activity'::regclass AND NOT EXISTS (
    SELECT FROM pg_index x JOIN pg_inherits a ON a.inhrelid = x.indexrelid
    WHERE x.indrelid = i.inhrelid AND a.inhparent = CAST(:index AS regclass))
ORDER BY 1
"""


def upgrade() -> None:
    # After an interruption, the migration starts again. So each statement also works if it has run
    # before.
    op.execute(
        "ALTER TABLE campaign_membership "
        "ADD COLUMN IF NOT EXISTS is_interested boolean DEFAULT false NOT NULL"
    )
    op.execute(
        "ALTER TABLE insight_tally ADD COLUMN IF NOT EXISTS interested integer DEFAULT 0 NOT NULL"
    )
    op.execute(count_messages_by_hour(COUNTS))
    op.execute(MARK_INTEREST)
    op.execute(MARKS)
    with op.get_context().autocommit_block():
        op.execute(MARK_ALL)
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {TIMES}")
        op.execute(f"CREATE INDEX CONCURRENTLY {TIMES} ON {TIMES_DEFINITION}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {REPLIED}")
        op.execute(f"DROP INDEX IF EXISTS {INTERESTED}")


def downgrade() -> None:
    # As in `upgrade`, these statements may run again.
    op.execute("DROP TRIGGER IF EXISTS mark_interest ON activity")
    op.execute("DROP FUNCTION IF EXISTS mark_interest()")
    op.execute(count_messages_by_hour(OLD_COUNTS))
    op.drop_column("insight_tally", "interested", if_exists=True)
    op.drop_column("campaign_membership", "is_interested", if_exists=True)
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {TIMES}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {REPLIED}")
        op.execute(f"CREATE INDEX CONCURRENTLY {REPLIED} ON {REPLIED_DEFINITION}")
        op.execute(
            f"CREATE INDEX IF NOT EXISTS {INTERESTED} ON ONLY activity {INTERESTED_DEFINITION}"
        )
        months = op.get_bind().execute(sa.text(UNINDEXED), {"index": INTERESTED}).scalars().all()
        for month in months:
            own = f"{INTERESTED}_{month}"
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {own}")
            op.execute(f"CREATE INDEX CONCURRENTLY {own} ON {month} {INTERESTED_DEFINITION}")
            op.execute(f"ALTER INDEX {INTERESTED} ATTACH PARTITION {own}")
