"""Write the keys and events of changed messages once for each statement, not for each row.

The keys are the rows of `activity_key`, one for each id of the provider. A worker records the
provider's responses to a hundred messages in one statement. Before, triggers ran for each message
and executed two statements each time. This took a third of the time of the update.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0063"
down_revision: str | None = "20261129_0062"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EMIT = """
CREATE OR REPLACE FUNCTION emit_message_status_event()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- The plan is kept for the whole session, and the first statement may change only one row. So
    -- nested loops are off: they would compare each row of a later, large statement with each other.
    INSERT INTO event (type, subject_id, campaign_id, data)
    SELECT 'message.status', n.id, n.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', n.status, 'error_code', n.error_code, 'contact_id', n.contact_id,
        'conversation_id', n.conversation_id, 'line_id', n.line_id))
    FROM changed n JOIN original o ON o.id = n.id
    WHERE n.kind = 'message' AND o.status IS DISTINCT FROM n.status
      AND n.status NOT IN ('sending', 'released') AND o.status <> 'released';
    RETURN NULL;
END
$function$
"""

MOVE = """
CREATE OR REPLACE FUNCTION move_activity_keys()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- Nested loops are off for the reason that `emit_message_status_event` gives.
    IF EXISTS (SELECT FROM original WHERE openphone_id IS NOT NULL) THEN
        DELETE FROM activity_key k
        WHERE k.openphone_id = ANY (ARRAY(
                SELECT o.openphone_id FROM original o JOIN changed n ON n.id = o.id
                WHERE o.openphone_id IS NOT NULL AND o.openphone_id IS DISTINCT FROM n.openphone_id))
          AND EXISTS (SELECT FROM original o
                      WHERE o.id = k.activity_id AND o.openphone_id = k.openphone_id);
    END IF;
    INSERT INTO activity_key (openphone_id, activity_id)
    SELECT n.openphone_id, n.id FROM changed n JOIN original o ON o.id = n.id
    WHERE n.openphone_id IS NOT NULL AND o.openphone_id IS DISTINCT FROM n.openphone_id;
    RETURN NULL;
END
$function$
"""

TRIGGERS = (
    (
        "CREATE TRIGGER emit_message_status_event AFTER UPDATE ON activity "
        "REFERENCING OLD TABLE AS original NEW TABLE AS changed "
        "FOR EACH STATEMENT EXECUTE FUNCTION emit_message_status_event()"
    ),
    (
        "CREATE TRIGGER keep_activity_key AFTER UPDATE ON activity "
        "REFERENCING OLD TABLE AS original NEW TABLE AS changed "
        "FOR EACH STATEMENT EXECUTE FUNCTION move_activity_keys()"
    ),
)

EMIT_BEFORE = """
CREATE OR REPLACE FUNCTION emit_message_status_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id, data)
    VALUES ('message.status', NEW.id, NEW.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', NEW.status, 'error_code', NEW.error_code, 'contact_id', NEW.contact_id,
        'conversation_id', NEW.conversation_id, 'line_id', NEW.line_id)));
    RETURN NULL;
END
$function$
"""

TRIGGERS_BEFORE = (
    (
        "CREATE TRIGGER emit_message_status_event AFTER UPDATE ON activity FOR EACH ROW "
        "WHEN (NEW.kind = 'message' AND OLD.status IS DISTINCT FROM NEW.status "
        "AND NEW.status NOT IN ('sending', 'released') AND OLD.status <> 'released') "
        "EXECUTE FUNCTION emit_message_status_event()"
    ),
    (
        "CREATE TRIGGER keep_activity_key AFTER UPDATE ON activity FOR EACH ROW "
        "WHEN (OLD.openphone_id IS DISTINCT FROM NEW.openphone_id) "
        "EXECUTE FUNCTION keep_activity_key()"
    ),
)


def upgrade() -> None:
    # The removal of the triggers locks the table until the commit. So no message changes while the
    # table has neither the old nor the new triggers.
    _drop_triggers()
    op.execute(EMIT)
    op.execute(MOVE)
    for statement in TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    _drop_triggers()
    op.execute(EMIT_BEFORE)
    op.execute("DROP FUNCTION move_activity_keys()")
    for statement in TRIGGERS_BEFORE:
        op.execute(statement)


def _drop_triggers() -> None:
    op.execute("DROP TRIGGER emit_message_status_event ON activity")
    op.execute("DROP TRIGGER keep_activity_key ON activity")
