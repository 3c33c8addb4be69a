"""Store who wrote and who approved a campaign, and whether the company requires an approval.

Processes of the previous release store no authors, and do not remove an approval when they change a
draft. So turn the setting `require_approval` on only when all processes run the new release.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0076"
down_revision: str | None = "20261129_0075"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "campaign",
        sa.Column(
            "author_ids", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
    )
    op.add_column("campaign", sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("campaign", sa.Column("approved_by", sa.Text(), nullable=True))
    op.add_column(
        "company_settings",
        sa.Column(
            "require_approval", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
    )


def downgrade() -> None:
    op.drop_column("company_settings", "require_approval")
    op.drop_column("campaign", "approved_by")
    op.drop_column("campaign", "approved_at")
    op.drop_column("campaign", "author_ids")
