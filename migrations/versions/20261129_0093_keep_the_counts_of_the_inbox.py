"""Store the counts of the inbox: sums of conversations, and which of them each caller has read.

A caller is a user or an API key. Triggers update the sums and the marks of read conversations. So
both are also correct after a change by a process of the previous release.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0093"
down_revision: str | None = "20261129_0092"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNT = """
CREATE OR REPLACE FUNCTION count_conversations()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    was_heard_on date;
    heard_on date;
    heard_at timestamptz;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        was_heard_on := CAST(OLD.last_incoming_at AT TIME ZONE 'UTC' AS date);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        heard_on := CAST(NEW.last_incoming_at AT TIME ZONE 'UTC' AS date);
    END IF;
    IF TG_OP <> 'UPDATE' OR OLD.state <> NEW.state OR was_heard_on IS DISTINCT FROM heard_on
        OR (OLD.assignee_id IS NULL) <> (NEW.assignee_id IS NULL)
    THEN
        IF TG_OP <> 'INSERT' AND OLD.state <> 'done' THEN
            INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
            VALUES (OLD.state, OLD.assignee_id IS NOT NULL, was_heard_on, -1);
        END IF;
        IF TG_OP <> 'DELETE' AND NEW.state <> 'done' THEN
            INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
            VALUES (NEW.state, NEW.assignee_id IS NOT NULL, heard_on, 1);
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.state IN ('waiting', 'open') THEN
            heard_at := NEW.last_incoming_at;
        END IF;
        UPDATE conversation_read r
        SET read_all_of = CASE WHEN r.read_until >= heard_at THEN heard_at END
        WHERE r.conversation_id = NEW.id AND r.read_all_of
            IS DISTINCT FROM CASE WHEN r.read_until >= heard_at THEN heard_at END;
    END IF;
    RETURN NULL;
END
$function$
"""
COUNT_TRIGGERS = (
    """CREATE OR REPLACE TRIGGER count_conversations_on_delete AFTER DELETE ON conversation FOR EACH ROW WHEN ((old.state <> 'done'::text)) EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_insert AFTER INSERT ON conversation FOR EACH ROW WHEN ((new.state <> 'done'::text)) EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_update AFTER UPDATE ON conversation FOR EACH ROW WHEN ((((old.state <> 'done'::text) OR (new.state <> 'done'::text)) AND ((old.state <> new.state) OR (old.assignee_id IS DISTINCT FROM new.assignee_id) OR (old.last_incoming_at IS DISTINCT FROM new.last_incoming_at)))) EXECUTE FUNCTION count_conversations()""",
)
COMPARE = """
CREATE OR REPLACE FUNCTION compare_read_conversation()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- The lock is taken before that of the row of `conversation_read`, as in `count_conversations`.
    SELECT CASE WHEN k.state IN ('waiting', 'open') AND NEW.read_until >= k.last_incoming_at
                THEN k.last_incoming_at END
    INTO NEW.read_all_of
    FROM conversation k WHERE k.id = NEW.conversation_id FOR SHARE;
    RETURN NEW;
END
$function$
"""
COMPARE_TRIGGERS = (
    """CREATE OR REPLACE TRIGGER compare_read_conversation_on_insert BEFORE INSERT ON conversation_read FOR EACH ROW EXECUTE FUNCTION compare_read_conversation()""",
    """CREATE OR REPLACE TRIGGER compare_read_conversation_on_update BEFORE UPDATE OF read_until ON conversation_read FOR EACH ROW EXECUTE FUNCTION compare_read_conversation()""",
)
INDEXES = {
    "idx_conversation_heard": (
        "conversation (last_incoming_at) WHERE state IN ('waiting', 'open')"
    ),
    "idx_conversation_read_all": (
        "conversation_read (caller_id, read_all_of) WHERE read_all_of IS NOT NULL"
    ),
}
# The creation of the triggers has locked `conversation` against changes until the commit. So these
# sums include every conversation. If an earlier run was interrupted, it left its sums. Delete them
# first.
NO_SUMS = "DELETE FROM conversation_tally"
FIRST_SUMS = """
    INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
    SELECT state, assignee_id IS NOT NULL, CAST(last_incoming_at AT TIME ZONE 'UTC' AS date),
           count(*)
    FROM conversation WHERE state <> 'done' GROUP BY 1, 2, 3
"""
FIRST_READ = """
    UPDATE conversation_read r SET read_all_of = k.last_incoming_at
    FROM conversation k
    WHERE k.id = r.conversation_id AND k.state IN ('waiting', 'open')
      AND r.read_until >= k.last_incoming_at
"""


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    op.create_table(
        "conversation_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("is_assigned", sa.Boolean(), nullable=False),
        sa.Column("heard_on", sa.Date(), nullable=True),
        sa.Column("conversations", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_tally")),
        if_not_exists=True,
    )
    op.add_column(
        "conversation_read",
        sa.Column("read_all_of", sa.DateTime(timezone=True), nullable=True),
        if_not_exists=True,
    )
    for statement in (COUNT, *COUNT_TRIGGERS, COMPARE, *COMPARE_TRIGGERS):
        op.execute(statement)
    for statement in (NO_SUMS, FIRST_SUMS, FIRST_READ):
        op.execute(statement)
    with op.get_context().autocommit_block():
        for name, on in INDEXES.items():
            # If an earlier build was interrupted, it left an invalid index. Drop this index first.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {on}")


def downgrade() -> None:
    for end in ("delete", "insert", "update"):
        op.execute(f"DROP TRIGGER count_conversations_on_{end} ON conversation")
    for end in ("insert", "update"):
        op.execute(f"DROP TRIGGER compare_read_conversation_on_{end} ON conversation_read")
    op.execute("DROP FUNCTION count_conversations()")
    op.execute("DROP FUNCTION compare_read_conversation()")
    op.execute("DROP INDEX idx_conversation_heard")
    op.drop_column("conversation_read", "read_all_of")
    op.drop_table("conversation_tally")
