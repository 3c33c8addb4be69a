"""Rename the functions and triggers that emit events, so that each name contains its event.

Only names change, so code of the previous release keeps working.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0056"
down_revision: str | None = "20261128_0055"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTIONS = (
    ("tell_alert", "emit_alert_event"),
    ("tell_call_status", "emit_call_status_event"),
    ("tell_campaign_counters", "emit_campaign_counters_event"),
    ("tell_campaign_status", "emit_campaign_status_event"),
    ("tell_contact_again", "emit_revived_contact_event"),
    ("tell_message_status", "emit_message_status_event"),
    ("tell_new_contacts", "emit_new_contact_events"),
    ("tell_new_message", "emit_new_message_event"),
    ("tell_opt_outs", "emit_opt_out_events"),
)
"""The old and the new name of each function."""

TRIGGERS = (
    ("alert", "tell_alert", "emit_alert_event"),
    ("activity", "tell_call_status", "emit_call_status_event"),
    ("campaign_tally", "tell_campaign_counters", "emit_campaign_counters_event"),
    ("campaign", "tell_campaign_status", "emit_campaign_status_event"),
    ("contact", "tell_contact_again", "emit_revived_contact_event"),
    ("activity", "tell_message_status", "emit_message_status_event"),
    ("alert", "tell_new_alert", "emit_new_alert_event"),
    ("contact", "tell_new_contacts", "emit_new_contact_events"),
    ("activity", "tell_new_message", "emit_new_message_event"),
    ("contact_flag", "tell_opt_outs_on_delete", "emit_opt_in_events"),
    ("contact_flag", "tell_opt_outs_on_insert", "emit_opt_out_events"),
)
"""The table, the old name and the new name of each trigger."""

# If the trigger of a partitioned table is renamed, PostgreSQL 14 does not rename the triggers of
# its partitions.
RENAME_ON_PARTITIONS = """
    DO $$
    DECLARE part regclass;
    BEGIN
        FOR part IN
            SELECT t.tgrelid FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
            WHERE c.relispartition AND t.tgname = '{old}'
        LOOP
            EXECUTE format('ALTER TRIGGER {old} ON %s RENAME TO {new}', part);
        END LOOP;
    END $$
"""


def upgrade() -> None:
    for old, new in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {old}() RENAME TO {new}")
    for table, old, new in TRIGGERS:
        rename_trigger(table, old, new)


def downgrade() -> None:
    for table, old, new in TRIGGERS:
        rename_trigger(table, new, old)
    for old, new in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {new}() RENAME TO {old}")


def rename_trigger(table: str, old: str, new: str) -> None:
    op.execute(f"ALTER TRIGGER {old} ON {table} RENAME TO {new}")
    op.execute(RENAME_ON_PARTITIONS.format(old=old, new=new))
