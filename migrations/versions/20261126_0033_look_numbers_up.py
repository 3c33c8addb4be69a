"""Store the line types of phone numbers, the number of look-ups per day, and validation runs.

A line type is, for example, mobile or landline. A validation run checks the numbers of a list or of
some contacts. Campaigns can skip landlines.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261126_0033"
down_revision: str | None = "20261126_0032"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
OPEN = sa.text("status IN ('pending', 'running')")


def upgrade() -> None:
    op.create_table(
        "phone_lookup",
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("line_type", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("checked_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "line_type IN ('mobile', 'landline', 'voip', 'toll_free', 'premium', 'unknown')",
            name=op.f("ck_phone_lookup_line_type"),
        ),
        sa.PrimaryKeyConstraint("phone", name=op.f("pk_phone_lookup")),
    )
    op.create_table(
        "phone_lookup_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("ck_phone_lookup_day_used")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_phone_lookup_day")),
    )
    op.create_table(
        "phone_validation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("list_id", sa.Uuid(), nullable=True),
        sa.Column("contact_ids", sa.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("checked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("looked_up", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "line_types",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("position", sa.Uuid(), nullable=True),
        sa.Column("failures", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT, nullable=True),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_phone_validation_status"),
        ),
        sa.CheckConstraint(
            "(list_id IS NULL) <> (contact_ids IS NULL)",
            name=op.f("ck_phone_validation_one_source"),
        ),
        sa.ForeignKeyConstraint(
            ["list_id"],
            ["contact_list.id"],
            name=op.f("fk_phone_validation_list_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_phone_validation")),
    )
    op.create_index("idx_phone_validation_created", "phone_validation", ["created_at", "id"])
    op.create_index(
        "idx_phone_validation_open",
        "phone_validation",
        ["created_at", "id"],
        postgresql_where=OPEN,
    )
    op.add_column(
        "campaign",
        sa.Column("skip_landlines", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("campaign", "skip_landlines")
    op.drop_table("phone_validation")
    op.drop_table("phone_lookup_day")
    op.drop_table("phone_lookup")
