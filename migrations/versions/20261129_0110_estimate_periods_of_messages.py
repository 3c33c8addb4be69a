"""Create statistics from which the planner estimates the number of messages in a period.

A partial index finds messages by the time at which they were sent or due. The planner uses no
statistics of partial indexes. So before, it assumed the same share of the table for every period.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0110"
down_revision: str | None = "20261129_0101"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        "CREATE STATISTICS IF NOT EXISTS stat_campaign_membership_at "
        "ON (coalesce(sent_at, due_at)) FROM campaign_membership"
    )
    op.execute("ANALYZE campaign_membership")


def downgrade() -> None:
    op.execute("DROP STATISTICS IF EXISTS stat_campaign_membership_at")
