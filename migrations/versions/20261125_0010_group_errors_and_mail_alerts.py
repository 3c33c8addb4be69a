"""Group failed events by their error, store notices of alerts, and add circuit breakers.

A failed event stores the class of its error until it is applied. So events with the same error can
be listed and replayed together. The index of statuses now contains only the rare statuses. Before,
each event wrote this index when it was received and again when it was applied.

An alert gets the time at which it last opened and the user who acknowledged it. `alert_notice`
stores what each channel, such as mail, last reported about an alert. A circuit breaker (`circuit`)
stores for all processes that an outside system is down.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261125_0010"
down_revision: str | None = "20261125_0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
UNUSUAL = "status IN ('failed', 'dead', 'ignored')"


def upgrade() -> None:
    op.add_column("webhook_event", sa.Column("error_code", sa.Text(), nullable=True))
    op.create_index(
        "idx_webhook_event_error",
        "webhook_event",
        ["error_code", "received_at", "id"],
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )
    op.drop_index("idx_webhook_event_status", table_name="webhook_event")
    op.create_index(
        "idx_webhook_event_status",
        "webhook_event",
        ["status", "received_at", "id"],
        postgresql_where=sa.text(UNUSUAL),
    )
    _widen_alerts()
    op.create_table(
        "alert_notice",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("told_as", sa.Text(), nullable=True),
        sa.Column("told_at", INSTANT, nullable=True),
        sa.Column("told_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_until", INSTANT, nullable=True),
        sa.CheckConstraint(
            "told_as IN ('opened', 'escalated', 'resolved')", name=op.f("ck_alert_notice_told_as")
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alert.id"], name=op.f("fk_alert_notice_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alert_id", "channel", name=op.f("pk_alert_notice")),
    )
    op.create_index("idx_alert_notice_told", "alert_notice", ["channel", "told_at"])
    op.create_table(
        "circuit",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", INSTANT, nullable=True),
        sa.Column("last_failed_at", INSTANT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("opened_at", INSTANT, nullable=True),
        sa.Column("trial_at", INSTANT, nullable=True),
        sa.Column("opens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_circuit")),
    )


def _widen_alerts() -> None:
    op.add_column("alert", sa.Column("opened_at", INSTANT, nullable=True))
    op.execute("UPDATE alert SET opened_at = first_seen_at")
    op.alter_column("alert", "opened_at", nullable=False)
    op.add_column("alert", sa.Column("acknowledged_at", INSTANT, nullable=True))
    op.add_column("alert", sa.Column("acknowledged_by", sa.Text(), nullable=True))
    op.create_index(
        "idx_alert_open",
        "alert",
        ["last_seen_at", "id"],
        postgresql_where=sa.text("resolved_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("circuit")
    op.drop_table("alert_notice")
    op.drop_index(
        "idx_alert_open", table_name="alert", postgresql_where=sa.text("resolved_at IS NULL")
    )
    for name in ("acknowledged_by", "acknowledged_at", "opened_at"):
        op.drop_column("alert", name)
    op.drop_index(
        "idx_webhook_event_status", table_name="webhook_event", postgresql_where=sa.text(UNUSUAL)
    )
    op.create_index(
        "idx_webhook_event_status", "webhook_event", ["status", "received_at", "id"], unique=False
    )
    op.drop_index(
        "idx_webhook_event_error",
        table_name="webhook_event",
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )
    op.drop_column("webhook_event", "error_code")
