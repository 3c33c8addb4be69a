"""Store the settings of the company: names, test numbers, brand and carrier budgets.

An administrator changes these settings while the service runs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261128_0050"
down_revision: str | None = "20261128_0049"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "company_settings",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("business_name", sa.Text(), nullable=True),
        sa.Column("business_contact", sa.Text(), nullable=True),
        sa.Column(
            "test_numbers",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("brand", postgresql.JSONB(), nullable=True),
        sa.Column(
            "carrier_budgets",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_company_settings")),
        sa.CheckConstraint("id = 1", name=op.f("ck_company_settings_one_row")),
    )


def downgrade() -> None:
    op.drop_table("company_settings")
