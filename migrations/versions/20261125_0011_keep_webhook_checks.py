"""Store the signing keys of webhooks, and the results of the webhook health checks.

`webhook_redelivery` has the deliveries that the provider was asked to repeat.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261125_0011"
down_revision: str | None = "20261125_0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhook_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("retire_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "scheme IN ('legacy', '2026-03-30')", name=op.f("ck_webhook_key_scheme")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_key")),
    )
    op.create_index(
        "uq_webhook_key_current",
        "webhook_key",
        ["webhook_id"],
        unique=True,
        postgresql_where=sa.text("retire_at IS NULL"),
    )
    op.create_table(
        "webhook_health_check",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("activity_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("sent_at", INSTANT, nullable=True),
        sa.Column("received_at", INSTANT, nullable=True),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        sa.Column("concluded_at", INSTANT, nullable=True),
        sa.Column("leg", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column(
            "evidence",
            postgresql.JSONB(none_as_null=True),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "side IN ('test_text', 'silence', 'provider')",
            name=op.f("ck_webhook_health_check_side"),
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'passed', 'failed')", name=op.f("ck_webhook_health_check_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_health_check")),
    )
    op.create_index(
        "idx_webhook_health_check_created", "webhook_health_check", ["created_at", "id"]
    )
    op.create_index(
        "idx_webhook_health_check_concluded",
        "webhook_health_check",
        ["side", "created_at"],
        postgresql_where=sa.text("status <> 'waiting'"),
    )
    op.create_index(
        "uq_webhook_health_check_waiting",
        "webhook_health_check",
        ["side"],
        unique=True,
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "webhook_redelivery",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("provider_event_id", sa.Text(), nullable=True),
        sa.Column("times", sa.SmallInteger(), nullable=False),
        sa.Column("asked_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_webhook_redelivery")),
    )


def downgrade() -> None:
    for table in ("webhook_redelivery", "webhook_health_check", "webhook_key"):
        op.drop_table(table)
