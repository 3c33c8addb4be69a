"""Store the office hours, the holidays and the away reply of the company.

The away reply is the automatic message that is sent while the office is closed.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261129_0078"
down_revision: str | None = "20261129_0077"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("company_settings", sa.Column("office_hours", postgresql.JSONB(), nullable=True))
    op.add_column(
        "company_settings",
        sa.Column(
            "holidays", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
    )
    op.add_column("company_settings", sa.Column("away_reply", sa.Text(), nullable=True))


def downgrade() -> None:
    for column in ("away_reply", "holidays", "office_hours"):
        op.drop_column("company_settings", column)
