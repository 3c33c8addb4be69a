"""Store failures that show something lasting about a number, and the provider's stop list.

Such a failure shows that the person opted out at the provider, that the number is a landline, or
that it is unreachable. The stop list (`provider_stop`) has the numbers that the provider refuses
after an opt-out.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261128_0053"
down_revision: str | None = "20261128_0052"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "number_failure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=False),
        sa.Column("failed_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("learned_at", INSTANT, nullable=True),
        sa.Column("counted_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "kind IN ('stop', 'landline', 'unreachable')", name=op.f("ck_number_failure_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_failure")),
    )
    op.create_index("uq_number_failure_activity_id", "number_failure", ["activity_id"], unique=True)
    op.create_index("idx_number_failure_phone", "number_failure", ["phone"])
    op.create_index(
        "idx_number_failure_new",
        "number_failure",
        ["phone"],
        postgresql_where=sa.text("learned_at IS NULL"),
    )
    op.create_table(
        "provider_stop",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("first_failed_at", INSTANT, nullable=False),
        sa.Column("last_failed_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("resolved_at", INSTANT, nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_stop")),
    )
    op.create_index(
        "uq_provider_stop_phone",
        "provider_stop",
        ["phone"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index("idx_provider_stop_created", "provider_stop", ["created_at", "id"])


def downgrade() -> None:
    op.drop_table("provider_stop")
    op.drop_table("number_failure")
