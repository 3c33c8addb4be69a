"""Let the planner know how many messages a period has.

Messages are found by the time when they were sent, or due, with a partial index. The planner takes
no statistics from partial indexes, so every period seemed to have the same part of the table.
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
