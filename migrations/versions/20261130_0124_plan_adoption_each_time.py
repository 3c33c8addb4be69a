"""Make a new plan each time that new contacts are linked to conversations and outcomes.

PostgreSQL stores the plan of a statement in a function for the whole session. A plan from a time
when the table had one row read all conversations or outcomes without a contact, for each batch of
contacts. Revision 0122 prevented this only for tables without statistics, and only for
conversations. A plan made with `EXECUTE` fits the present size of the table.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261130_0124"
down_revision: str | None = "20261130_0123"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONVERSATIONS = """CREATE OR REPLACE FUNCTION adopt_conversations_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- `EXECUTE` makes a plan each time. A kept plan may be from the time of an empty table.
    IF EXISTS (SELECT FROM conversation WHERE contact_id IS NULL) THEN
        EXECUTE 'UPDATE conversation k SET contact_id = a.id FROM added a '
            'WHERE k.phone = a.phone AND k.contact_id IS NULL AND a.deleted_at IS NULL';
    END IF;
    RETURN NULL;
END
$function$"""
OUTCOMES = """CREATE OR REPLACE FUNCTION adopt_outcomes_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- `EXECUTE` makes a plan each time. A kept plan may be from the time of an empty table.
    IF EXISTS (SELECT FROM outcome_subject WHERE phone IS NOT NULL) THEN
        EXECUTE 'UPDATE outcome_subject s SET contact_id = a.id, phone = NULL FROM added a '
            'WHERE s.phone = a.phone AND a.deleted_at IS NULL';
    END IF;
    RETURN NULL;
END
$function$"""

EARLIER_CONVERSATIONS = """CREATE OR REPLACE FUNCTION adopt_conversations_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
BEGIN
    -- The plan is kept for the whole session, and may be made while the tables are empty. So the
    -- subquery reads `idx_conversation_nobody` for each new contact: `ORDER BY` and `enable_sort`
    -- exclude the other index, which would read all conversations without a contact. Without
    -- `enable_seqscan`, each conversation is found by its id.
    IF EXISTS (SELECT FROM conversation WHERE contact_id IS NULL) THEN
        UPDATE conversation k SET contact_id = f.contact_id
        FROM (
            SELECT c.id, a.id AS contact_id
            FROM added a
            CROSS JOIN LATERAL (
                SELECT id FROM conversation
                WHERE phone BETWEEN a.phone AND a.phone AND contact_id IS NULL
                ORDER BY phone OFFSET 0
            ) c
            WHERE a.deleted_at IS NULL
        ) f
        WHERE k.id = f.id;
    END IF;
    RETURN NULL;
END
$function$"""
EARLIER_OUTCOMES = """CREATE OR REPLACE FUNCTION adopt_outcomes_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF EXISTS (SELECT FROM outcome_subject WHERE phone IS NOT NULL) THEN
        UPDATE outcome_subject s SET contact_id = a.id, phone = NULL
        FROM added a
        WHERE s.phone = a.phone AND a.deleted_at IS NULL;
    END IF;
    RETURN NULL;
END
$function$"""


def upgrade() -> None:
    op.execute(CONVERSATIONS)
    op.execute(OUTCOMES)


def downgrade() -> None:
    op.execute(EARLIER_CONVERSATIONS)
    op.execute(EARLIER_OUTCOMES)
