"""Store reminder rules and reminders of appointments, and allow messages that are reminders."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0088"
down_revision: str | None = "20261129_0087"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
KINDS = {
    ("activity", "origin"): "campaign manual test confirmation help away provider",
    ("send_attempt", "kind"): "campaign manual test confirmation help away",
}


def upgrade() -> None:
    op.create_table(
        "reminder_rule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("hours_before", sa.SmallInteger(), nullable=False),
        sa.Column("kinds", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "hours_before BETWEEN 1 AND 336", name=op.f("ck_reminder_rule_hours_before")
        ),
        sa.ForeignKeyConstraint(["line_id"], ["line.id"], name=op.f("fk_reminder_rule_line_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder_rule")),
    )
    op.create_index("idx_reminder_rule_created", "reminder_rule", ["created_at", "id"])
    op.create_table(
        "appointment_reminder",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("appointment_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("try_at", INSTANT, nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "status IN ('waiting', 'queued', 'skipped')",
            name=op.f("ck_appointment_reminder_status"),
        ),
        sa.CheckConstraint(
            "reason IN ('opted_out', 'contact_deleted', 'do_not_contact', 'invalid_number', "
            "'opt_out_hold', 'outside_hours', 'too_many_messages', 'line_blocked', "
            "'missing_value', 'text_failed')",
            name=op.f("ck_appointment_reminder_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["rule_id"],
            ["reminder_rule.id"],
            name=op.f("fk_appointment_reminder_rule_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["appointment_id"],
            ["appointment.id"],
            name=op.f("fk_appointment_reminder_appointment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appointment_reminder")),
        sa.UniqueConstraint(
            "appointment_id",
            "rule_id",
            "starts_at",
            name=op.f("uq_appointment_reminder_appointment_id_rule_id_starts_at"),
        ),
    )
    op.create_index(
        "idx_appointment_reminder_queued",
        "appointment_reminder",
        ["starts_at"],
        postgresql_where=sa.text("status = 'queued'"),
    )
    for (table, column), words in KINDS.items():
        allow_words(table, column, f"{words} reminder")


def downgrade() -> None:
    op.execute("UPDATE activity SET origin = 'manual' WHERE origin = 'reminder'")
    op.execute("UPDATE send_attempt SET kind = 'manual' WHERE kind = 'reminder'")
    for (table, column), words in KINDS.items():
        allow_words(table, column, words)
    op.drop_table("appointment_reminder")
    op.drop_table("reminder_rule")


def allow_words(table: str, column: str, words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split())
    name = f"ck_{table}_{column}"
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    op.execute(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IN ({listed})) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
