"""Add the log of events that clients read.

Many statements write messages, campaigns, opt-outs and alerts. Triggers emit the events about
these, so that no statement can omit an event. The code of the service emits the events about other
facts, such as the progress of an import.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261126_0022"
down_revision: str | None = "20261126_0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)

# A message that was sent more than seven days before it is stored comes from the provider's
# history. It emits no event.
TELL_NEW_MESSAGE = """
CREATE FUNCTION tell_new_message() RETURNS trigger LANGUAGE plpgsql AS $$
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
$$
"""
ON_NEW_MESSAGE = """
CREATE CONSTRAINT TRIGGER tell_new_message AFTER INSERT ON activity
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.kind = 'message' AND NEW.status NOT IN ('sending', 'released')
      AND NEW.occurred_at > NEW.created_at - interval '7 days')
EXECUTE FUNCTION tell_new_message()
"""

TELL_MESSAGE_STATUS = """
CREATE FUNCTION tell_message_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id, data)
    VALUES ('message.status', NEW.id, NEW.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', NEW.status, 'error_code', NEW.error_code, 'contact_id', NEW.contact_id,
        'conversation_id', NEW.conversation_id, 'line_id', NEW.line_id)));
    RETURN NULL;
END
$$
"""
ON_MESSAGE_STATUS = """
CREATE TRIGGER tell_message_status AFTER UPDATE ON activity FOR EACH ROW
WHEN (NEW.kind = 'message' AND OLD.status IS DISTINCT FROM NEW.status
      AND NEW.status NOT IN ('sending', 'released'))
EXECUTE FUNCTION tell_message_status()
"""

TELL_CAMPAIGN_STATUS = """
CREATE FUNCTION tell_campaign_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id, data)
    VALUES ('campaign.status', NEW.id, NEW.id, jsonb_strip_nulls(jsonb_build_object(
        'status', NEW.status, 'was', OLD.status,
        'paused_reason', CASE NEW.status WHEN 'paused' THEN NEW.paused_reason END,
        'blocked_reason', CASE NEW.status WHEN 'blocked' THEN NEW.blocked_reason END)));
    RETURN NULL;
END
$$
"""
ON_CAMPAIGN_STATUS = """
CREATE TRIGGER tell_campaign_status AFTER UPDATE ON campaign FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION tell_campaign_status()
"""

# The event contains no counts. The process that sends the event to clients reads the sums.
TELL_COUNTERS = """
CREATE FUNCTION tell_campaign_counters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id)
    SELECT DISTINCT 'campaign.counters', campaign_id, campaign_id FROM added;
    RETURN NULL;
END
$$
"""
ON_COUNTERS = """
CREATE TRIGGER tell_campaign_counters AFTER INSERT ON campaign_tally
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tell_campaign_counters()
"""

# An opt-out belongs to a number. The event has the id of the contact with this number and does not
# have the number itself.
TELL_OPT_OUTS = """
CREATE FUNCTION tell_opt_outs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id)
    SELECT CASE TG_OP WHEN 'INSERT' THEN 'opt_out' ELSE 'opt_in' END, c.id
    FROM changed f JOIN contact c ON c.phone = f.phone
    WHERE f.flag_type = 'opted_out';
    RETURN NULL;
END
$$
"""
ON_OPT_OUTS = {"insert": "NEW TABLE AS changed", "delete": "OLD TABLE AS changed"}

TELL_ALERT = """
CREATE FUNCTION tell_alert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('alert', NEW.id, jsonb_build_object('kind', NEW.kind, 'status', CASE
        WHEN NEW.resolved_at IS NOT NULL THEN 'resolved'
        WHEN NEW.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END));
    RETURN NULL;
END
$$
"""
ON_NEW_ALERT = """
CREATE TRIGGER tell_new_alert AFTER INSERT ON alert FOR EACH ROW EXECUTE FUNCTION tell_alert()
"""
ON_ALERT = """
CREATE TRIGGER tell_alert AFTER UPDATE ON alert FOR EACH ROW
WHEN ((OLD.resolved_at IS NULL, OLD.acknowledged_at IS NULL, OLD.opened_at)
      IS DISTINCT FROM (NEW.resolved_at IS NULL, NEW.acknowledged_at IS NULL, NEW.opened_at))
EXECUTE FUNCTION tell_alert()
"""

FUNCTIONS = {
    "tell_new_message": TELL_NEW_MESSAGE,
    "tell_message_status": TELL_MESSAGE_STATUS,
    "tell_campaign_status": TELL_CAMPAIGN_STATUS,
    "tell_campaign_counters": TELL_COUNTERS,
    "tell_opt_outs": TELL_OPT_OUTS,
    "tell_alert": TELL_ALERT,
}


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column(
            "data", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("recorded_at", INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "id", name=op.f("pk_event")),
    )
    op.create_table(
        "event_horizon",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_event_horizon")),
    )
    for function in FUNCTIONS.values():
        op.execute(function)
    for trigger in (
        ON_NEW_MESSAGE,
        ON_MESSAGE_STATUS,
        ON_CAMPAIGN_STATUS,
        ON_COUNTERS,
        ON_NEW_ALERT,
        ON_ALERT,
    ):
        op.execute(trigger)
    for event, rows in ON_OPT_OUTS.items():
        op.execute(
            f"CREATE TRIGGER tell_opt_outs_on_{event} AFTER {event.upper()} ON contact_flag "
            f"REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION tell_opt_outs()"
        )


def downgrade() -> None:
    for trigger, table in (
        ("tell_new_message", "activity"),
        ("tell_message_status", "activity"),
        ("tell_campaign_status", "campaign"),
        ("tell_campaign_counters", "campaign_tally"),
        ("tell_new_alert", "alert"),
        ("tell_alert", "alert"),
        *((f"tell_opt_outs_on_{event}", "contact_flag") for event in ON_OPT_OUTS),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}()")
    op.drop_table("event_horizon")
    op.drop_table("event")
