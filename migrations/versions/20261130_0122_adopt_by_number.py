"""Look up the conversations of each new contact by its number.

A trigger links new contacts to conversations that have their number and no contact. PostgreSQL
stores the plan of a statement in a function for the whole session. Before, a plan from a time when
the table was empty compared each new contact with all conversations without a contact. So a first
reconciliation became slower with each batch: with 8,000 such conversations, 180 new contacts took
350 ms.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261130_0122"
down_revision: str | None = "20261130_0121"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTION = """CREATE OR REPLACE FUNCTION adopt_conversations_for_new()
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

EARLIER = """CREATE OR REPLACE FUNCTION adopt_conversations_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF EXISTS (SELECT FROM conversation WHERE contact_id IS NULL) THEN
        UPDATE conversation k SET contact_id = a.id
        FROM added a
        WHERE k.phone = a.phone AND k.contact_id IS NULL AND a.deleted_at IS NULL;
    END IF;
    RETURN NULL;
END
$function$"""


def upgrade() -> None:
    op.execute(FUNCTION)


def downgrade() -> None:
    op.execute(EARLIER)
