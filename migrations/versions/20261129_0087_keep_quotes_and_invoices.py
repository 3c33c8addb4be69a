"""Store quotes and invoices, and which outcomes were recorded for appointments.

A quote, an invoice or an appointment records an outcome when its status changes. The column
`outcomes` has the id of the outcome for each status.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "20261129_0087"
down_revision: str | None = "20261129_0086"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
STATES = {
    "quote": "'draft', 'sent', 'approved', 'declined'",
    "invoice": "'open', 'paid', 'void'",
}
BEFORE = (
    "archive_not_kept campaign_blocked campaign_paused clock_skew disk_low doubtful_opt_out "
    "events_late job_failing job_overdue line_blocked mail_down media_fetch_dead "
    "message_id_given_twice month_not_dropped no_reports nothing_sent "
    "opt_out_on_unknown_line phone_lookup_refused phone_validation_failed "
    "provider_asked_to_wait provider_down provider_list_lags reconciliation_drift "
    "reconciliation_failed reconciliation_old refresh_token_reused restored send_parked "
    "sends_unclear texts_late webhook_endpoint_disabled webhook_event_dead webhook_health "
    "webhook_refused worker_away"
)
ALERT_KINDS = BEFORE.replace("reconciliation_drift", "quote_unscheduled reconciliation_drift")


def upgrade() -> None:
    for table, states in STATES.items():
        create_bills(table, states)
    op.create_index(
        "idx_quote_approved",
        "quote",
        ["status_at", "id"],
        postgresql_where=sa.text("status = 'approved'"),
    )
    op.create_index(
        "idx_invoice_open",
        "invoice",
        ["created_at", "id"],
        postgresql_where=sa.text("status = 'open'"),
    )
    op.add_column(
        "appointment",
        sa.Column("outcomes", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )
    allow_alert_kinds(ALERT_KINDS)


def create_bills(table: str, states: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("property_id", sa.Uuid(), nullable=True),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_at", INSTANT, nullable=False),
        sa.Column("outcomes", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(f"status IN ({states})", name=op.f(f"ck_{table}_status")),
        sa.CheckConstraint("amount_cents >= 0", name=op.f(f"ck_{table}_amount_cents")),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contact.id"],
            name=op.f(f"fk_{table}_contact_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["property_id"],
            ["property.id"],
            name=op.f(f"fk_{table}_property_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("number", name=op.f(f"uq_{table}_number")),
    )
    op.create_index(f"idx_{table}_created", table, ["created_at", "id"])
    op.create_index(f"idx_{table}_contact", table, ["contact_id", "created_at", "id"])


def downgrade() -> None:
    op.execute("DELETE FROM alert WHERE kind = 'quote_unscheduled'")
    op.execute("DELETE FROM suspicion WHERE kind = 'quote_unscheduled'")
    allow_alert_kinds(BEFORE)
    op.drop_column("appointment", "outcomes")
    op.drop_table("invoice")
    op.drop_table("quote")


def allow_alert_kinds(words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split())
    op.execute("ALTER TABLE alert DROP CONSTRAINT ck_alert_kind")
    op.execute(
        f"ALTER TABLE alert ADD CONSTRAINT ck_alert_kind CHECK (kind IN ({listed})) NOT VALID"
    )
    op.execute("ALTER TABLE alert VALIDATE CONSTRAINT ck_alert_kind")
