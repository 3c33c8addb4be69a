"""Add the id of the conversation to the data of the event `conversation.changed`.

The events of messages already have this id in their data. Processes of the previous release send
the data to clients unchanged.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0092"
down_revision: str | None = "20261129_0090"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EMIT = """
CREATE OR REPLACE FUNCTION emit_conversation_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('conversation.changed', NEW.id, jsonb_build_object(
        'conversation_id', NEW.id, 'line_id', NEW.line_id, 'contact_id', NEW.contact_id, 'state', NEW.state,
        'waiting_since', NEW.waiting_since, 'assignee_id', NEW.assignee_id,
        'snoozed_until', NEW.snoozed_until));
    RETURN NULL;
END
$function$
"""
BEFORE = EMIT.replace("'conversation_id', NEW.id, ", "")


def upgrade() -> None:
    op.execute(EMIT)


def downgrade() -> None:
    op.execute(BEFORE)
