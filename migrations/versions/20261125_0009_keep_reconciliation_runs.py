"""Store the runs of the reconciliation, and when the webhook receiver was last alive.

A reconciliation compares the messages and calls that the provider lists with the stored rows. If
the receiver had no heartbeat for some minutes, a run starts. The new index finds stored messages by
their time.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261125_0009"
down_revision: str | None = "20261125_0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNTS = ("pages_done", "items_seen", "created", "updated", "already_known", "errors")


def upgrade() -> None:
    # The index is built first, while the service runs. If an earlier build was interrupted, it left
    # an invalid index. Drop this index.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_activity_message")
        op.create_index(
            "idx_activity_message",
            "activity",
            ["occurred_at", "id"],
            unique=False,
            postgresql_where=sa.text("kind = 'message' AND openphone_id IS NOT NULL"),
            postgresql_concurrently=True,
        )
    op.create_table(
        "reconciliation_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("continues", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "position",
            postgresql.JSONB(astext_type=sa.Text(), none_as_null=True),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in COUNTS
        ),
        sa.Column(
            "drift",
            postgresql.JSONB(astext_type=sa.Text(), none_as_null=True),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("failures", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "trigger IN ('daily', 'outage', 'manual', 'import')",
            name=op.f("ck_reconciliation_run_trigger"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed')",
            name=op.f("ck_reconciliation_run_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_run")),
    )
    op.create_index(
        "idx_reconciliation_run_created", "reconciliation_run", ["created_at", "id"], unique=False
    )
    op.create_index(
        "idx_reconciliation_run_open",
        "reconciliation_run",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_index(
        "idx_reconciliation_run_completed",
        "reconciliation_run",
        ["until"],
        unique=False,
        postgresql_where=sa.text("status = 'completed' AND continues"),
    )
    op.create_table(
        "receiver_heartbeat",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_receiver_heartbeat")),
    )


def downgrade() -> None:
    op.drop_index(
        "idx_activity_message",
        table_name="activity",
        postgresql_where=sa.text("kind = 'message' AND openphone_id IS NOT NULL"),
    )
    op.drop_table("receiver_heartbeat")
    op.drop_table("reconciliation_run")
