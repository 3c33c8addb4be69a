"""Emit events for calls and for new contacts, because integrations need them.

An import that adds contacts emits no event for each contact. It emits events about its progress
instead.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261126_0035"
down_revision: str | None = "20261126_0034"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# When an answered call ends, its rank changes, but not its status. So the trigger compares both.
# A call is inserted with the status `unknown` and gets its real status by an update in the same
# transaction; only the update emits an event. An old call that a reconciliation finds emits no
# event.
TELL_CALL_STATUS = """
CREATE FUNCTION tell_call_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('call.status', NEW.id, jsonb_strip_nulls(jsonb_build_object(
        'status', NEW.status, 'is_over', NEW.rank = 5, 'direction', NEW.direction, 'contact_id', NEW.contact_id,
        'conversation_id', NEW.conversation_id, 'line_id', NEW.line_id)));
    RETURN NULL;
END
$$
"""
ON_CALL_STATUS = """
CREATE TRIGGER tell_call_status AFTER UPDATE ON activity FOR EACH ROW
WHEN (NEW.kind = 'call' AND NEW.status <> 'unknown'
      AND (OLD.status, OLD.rank) IS DISTINCT FROM (NEW.status, NEW.rank)
      AND NEW.occurred_at > NEW.updated_at - interval '7 days')
EXECUTE FUNCTION tell_call_status()
"""

# The trigger runs once per statement, because a batch adds hundreds of contacts in one statement.
TELL_NEW_CONTACTS = """
CREATE FUNCTION tell_new_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id)
    SELECT 'contact.created', id FROM added
    WHERE source IN ('api', 'message') AND deleted_at IS NULL;
    RETURN NULL;
END
$$
"""
ON_NEW_CONTACTS = """
CREATE TRIGGER tell_new_contacts AFTER INSERT ON contact
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tell_new_contacts()
"""

# A deleted contact keeps its row. If the contact is added again, the row is updated, and this
# trigger emits the event.
TELL_CONTACT_AGAIN = """
CREATE FUNCTION tell_contact_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id) VALUES ('contact.created', NEW.id);
    RETURN NULL;
END
$$
"""
ON_CONTACT_AGAIN = """
CREATE TRIGGER tell_contact_again AFTER UPDATE ON contact FOR EACH ROW
WHEN (OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL AND NEW.source IN ('api', 'message'))
EXECUTE FUNCTION tell_contact_again()
"""

TRIGGERS = (
    ("tell_call_status", "activity", TELL_CALL_STATUS, ON_CALL_STATUS),
    ("tell_new_contacts", "contact", TELL_NEW_CONTACTS, ON_NEW_CONTACTS),
    ("tell_contact_again", "contact", TELL_CONTACT_AGAIN, ON_CONTACT_AGAIN),
)


def upgrade() -> None:
    for _, _, function, trigger in TRIGGERS:
        op.execute(function)
        op.execute(trigger)


def downgrade() -> None:
    for name, table, _, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON {table}")
        op.execute(f"DROP FUNCTION {name}()")
