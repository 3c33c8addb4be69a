"""Add a CHECK constraint to the remaining columns that may contain only certain words."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0057"
down_revision: str | None = "20261128_0056"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WORDS = {
    ("campaign", "paused_reason"): "opt_out_rate failure_rate missed_start restored",
    ("campaign_membership", "skip_reason"): (
        "opted_out do_not_contact opt_out_hold contact_deleted invalid_number landline "
        "duplicate_number merged previously_contacted rejected replied called previous_failed "
        "campaign_ended texted_since_backup missing_value missing_identification text_failed"
    ),
    ("campaign_membership", "ended_by"): "replied called merged",
    ("campaign_variant", "stopped_reason"): "harmful lost",
    ("alert", "kind"): (
        "archive_not_kept campaign_blocked campaign_paused clock_skew disk_low "
        "doubtful_opt_out events_late job_failing job_overdue line_blocked mail_down "
        "media_fetch_dead message_id_given_twice month_not_dropped no_reports nothing_sent "
        "opt_out_on_unknown_line phone_lookup_refused phone_validation_failed "
        "provider_asked_to_wait provider_down provider_list_lags reconciliation_drift "
        "reconciliation_failed reconciliation_old refresh_token_reused restored send_parked "
        "sends_unclear texts_late webhook_endpoint_disabled webhook_event_dead webhook_health "
        "webhook_refused worker_away"
    ),
    ("event", "type"): (
        "message.received message.status call.status campaign.status campaign.counters "
        "import.progress contact.created opt_out opt_in alert"
    ),
    ("activity", "direction"): "incoming outgoing",
    ("webhook_event", "scheme"): "legacy 2026-03-30",
}


def upgrade() -> None:
    # With NOT VALID only new rows are checked, so the lock is short. VALIDATE reads the existing
    # rows and does not block statements that write. After an interruption, the migration starts
    # again from the beginning.
    with op.get_context().autocommit_block():
        for (table, column), words in WORDS.items():
            listed = ", ".join(f"'{word}'" for word in words.split())
            name = f"ck_{table}_{column}"
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
            op.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} "
                f"CHECK ({column} IN ({listed})) NOT VALID"
            )
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    for table, column in WORDS:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}")
