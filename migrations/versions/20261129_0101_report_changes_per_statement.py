"""Run the triggers of conversations and received messages once for each statement.

The triggers count changed conversations and emit events. Before, they ran once for each row. The
row of a received message now contains its campaign from the start. So its event no longer waits for
the end of the transaction. A process of the previous release stores the campaign of a message
later. So until these processes have ended, the events of their messages have no campaign.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0101"
down_revision: str | None = "20261129_0100"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TRIGGERS_PER_STATEMENT = (
    """CREATE OR REPLACE FUNCTION count_conversations()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- Nested loops are off for the reason that `emit_message_status_event` gives.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
        SELECT state, assignee_id IS NOT NULL, CAST(last_incoming_at AT TIME ZONE 'UTC' AS date), count(*)
        FROM added WHERE state <> 'done' GROUP BY 1, 2, 3;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
        SELECT state, assignee_id IS NOT NULL, CAST(last_incoming_at AT TIME ZONE 'UTC' AS date), -count(*)
        FROM removed WHERE state <> 'done' GROUP BY 1, 2, 3;
    ELSE
        INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
        SELECT state, assignee_id IS NOT NULL, CAST(last_incoming_at AT TIME ZONE 'UTC' AS date), sum(conversations)
        FROM (
            SELECT state, assignee_id, last_incoming_at, 1 AS conversations FROM added
            UNION ALL SELECT state, assignee_id, last_incoming_at, -1 FROM removed
        ) change
        WHERE state <> 'done' GROUP BY 1, 2, 3 HAVING sum(conversations) <> 0;
        UPDATE conversation_read r
        SET read_all_of = CASE WHEN r.read_until >= h.heard_at THEN h.heard_at END
        FROM (
            SELECT n.id, CASE WHEN n.state IN ('waiting', 'open') THEN n.last_incoming_at END AS heard_at
            FROM added n
        ) h
        WHERE r.conversation_id = h.id
          AND r.conversation_id = ANY(ARRAY(
              SELECT n.id FROM added n JOIN removed o ON o.id = n.id
              WHERE (n.state, n.last_incoming_at) IS DISTINCT FROM (o.state, o.last_incoming_at)))
          AND r.read_all_of IS DISTINCT FROM CASE WHEN r.read_until >= h.heard_at THEN h.heard_at END;
    END IF;
    RETURN NULL;
END
$function$""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_delete AFTER DELETE ON conversation REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_insert AFTER INSERT ON conversation REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_update AFTER UPDATE ON conversation REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE FUNCTION emit_conversation_event()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- Nested loops are off for the reason that `emit_message_status_event` gives.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO event (type, subject_id, data)
        SELECT 'conversation.changed', n.id, jsonb_build_object(
            'conversation_id', n.id, 'line_id', n.line_id, 'contact_id', n.contact_id,
            'state', n.state, 'waiting_since', n.waiting_since, 'assignee_id', n.assignee_id,
            'snoozed_until', n.snoozed_until)
        FROM added n WHERE n.state <> 'done';
    ELSE
        INSERT INTO event (type, subject_id, data)
        SELECT 'conversation.changed', n.id, jsonb_build_object(
            'conversation_id', n.id, 'line_id', n.line_id, 'contact_id', n.contact_id,
            'state', n.state, 'waiting_since', n.waiting_since, 'assignee_id', n.assignee_id,
            'snoozed_until', n.snoozed_until)
        FROM added n JOIN removed o ON o.id = n.id
        WHERE (o.state, o.waiting_since, o.snoozed_until, o.assignee_id, o.contact_id)
            IS DISTINCT FROM (n.state, n.waiting_since, n.snoozed_until, n.assignee_id, n.contact_id);
    END IF;
    RETURN NULL;
END
$function$""",
    """CREATE OR REPLACE TRIGGER emit_conversation_event_on_insert AFTER INSERT ON conversation REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_conversation_event()""",
    """CREATE OR REPLACE TRIGGER emit_conversation_event_on_update AFTER UPDATE ON conversation REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_conversation_event()""",
    """CREATE OR REPLACE FUNCTION emit_received_message_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id, data)
    SELECT 'message.received', n.id, n.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', n.status, 'error_code', n.error_code, 'contact_id', n.contact_id,
        'conversation_id', n.conversation_id, 'line_id', n.line_id))
    FROM added n
    WHERE n.kind = 'message' AND n.direction = 'incoming'
      AND n.occurred_at > n.created_at - interval '7 days';
    RETURN NULL;
END
$function$""",
    """CREATE OR REPLACE TRIGGER emit_received_message_event AFTER INSERT ON activity REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_received_message_event()""",
    """CREATE OR REPLACE FUNCTION emit_new_message_event()
 RETURNS trigger
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
BEGIN
    -- At the end of the transaction, when the row has its final state.
    INSERT INTO event (type, subject_id, campaign_id, data)
    SELECT 'message.status', a.id, a.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', a.status, 'error_code', a.error_code, 'contact_id', a.contact_id,
        'conversation_id', a.conversation_id, 'line_id', a.line_id))
    FROM activity a WHERE a.id = NEW.id;
    RETURN NULL;
END
$function$""",
    """CREATE CONSTRAINT TRIGGER emit_new_message_event AFTER INSERT ON activity DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((new.kind = 'message'::text) AND (new.direction IS DISTINCT FROM 'incoming'::text) AND (new.status <> ALL (ARRAY['sending'::text, 'released'::text])) AND (new.occurred_at > (new.created_at - '7 days'::interval)))) EXECUTE FUNCTION emit_new_message_event()""",
)
TRIGGERS_PER_ROW = (
    """CREATE OR REPLACE FUNCTION count_conversations()
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
$function$""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_delete AFTER DELETE ON conversation FOR EACH ROW WHEN ((old.state <> 'done'::text)) EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_insert AFTER INSERT ON conversation FOR EACH ROW WHEN ((new.state <> 'done'::text)) EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE TRIGGER count_conversations_on_update AFTER UPDATE ON conversation FOR EACH ROW WHEN ((((old.state <> 'done'::text) OR (new.state <> 'done'::text)) AND ((old.state <> new.state) OR (old.assignee_id IS DISTINCT FROM new.assignee_id) OR (old.last_incoming_at IS DISTINCT FROM new.last_incoming_at)))) EXECUTE FUNCTION count_conversations()""",
    """CREATE OR REPLACE FUNCTION emit_conversation_event()
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
$function$""",
    """CREATE OR REPLACE TRIGGER emit_conversation_event_on_insert AFTER INSERT ON conversation FOR EACH ROW WHEN ((new.state <> 'done'::text)) EXECUTE FUNCTION emit_conversation_event()""",
    """CREATE OR REPLACE TRIGGER emit_conversation_event_on_update AFTER UPDATE ON conversation FOR EACH ROW WHEN (((old.state IS DISTINCT FROM new.state) OR (old.waiting_since IS DISTINCT FROM new.waiting_since) OR (old.snoozed_until IS DISTINCT FROM new.snoozed_until) OR (old.assignee_id IS DISTINCT FROM new.assignee_id) OR (old.contact_id IS DISTINCT FROM new.contact_id))) EXECUTE FUNCTION emit_conversation_event()""",
    """CREATE OR REPLACE FUNCTION emit_new_message_event()
 RETURNS trigger
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
BEGIN
    -- At the end of the transaction, when the row also says whose campaign it answers.
    INSERT INTO event (type, subject_id, campaign_id, data)
    SELECT CASE a.direction WHEN 'incoming' THEN 'message.received' ELSE 'message.status' END,
           a.id, a.campaign_id, jsonb_strip_nulls(jsonb_build_object(
               'status', a.status, 'error_code', a.error_code, 'contact_id', a.contact_id,
               'conversation_id', a.conversation_id, 'line_id', a.line_id))
    FROM activity a WHERE a.id = NEW.id;
    RETURN NULL;
END
$function$""",
    """CREATE CONSTRAINT TRIGGER emit_new_message_event AFTER INSERT ON activity DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((new.kind = 'message'::text) AND (new.status <> ALL (ARRAY['sending'::text, 'released'::text])) AND (new.occurred_at > (new.created_at - '7 days'::interval)))) EXECUTE FUNCTION emit_new_message_event()""",
)
REPLACED = (
    ("count_conversations_on_delete", "conversation"),
    ("count_conversations_on_insert", "conversation"),
    ("count_conversations_on_update", "conversation"),
    ("emit_conversation_event_on_insert", "conversation"),
    ("emit_conversation_event_on_update", "conversation"),
    ("emit_new_message_event", "activity"),
)
"""The triggers that both versions have, each with its table."""


def upgrade() -> None:
    _replace(TRIGGERS_PER_STATEMENT)


def downgrade() -> None:
    op.execute("DROP TRIGGER emit_received_message_event ON activity")
    op.execute("DROP FUNCTION emit_received_message_event()")
    _replace(TRIGGERS_PER_ROW)


def _replace(statements: Sequence[str]) -> None:
    for trigger, table in REPLACED:
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for statement in statements:
        op.execute(statement)
