"""Drop the index of the recipients who replied or opted out.

The index was used to count these recipients. `campaign_tally` now has these counts.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261125_0006"
down_revision: str | None = "20261125_0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.drop_index("idx_campaign_membership_answered", table_name="campaign_membership")


def downgrade() -> None:
    op.create_index(
        "idx_campaign_membership_answered",
        "campaign_membership",
        ["campaign_id", "step", "variant"],
        postgresql_where=sa.text("replied_at IS NOT NULL OR opted_out_at IS NOT NULL"),
    )
